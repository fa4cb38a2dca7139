"""The threads of a client: those that send and receive, and the one that makes answers of what came."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import ConnectionPool

from sources.braze.answers import Answer, Question, is_success, json_object
from sources.braze.endpoints import Json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A request and what is to become of its answer: `parse` reads it, `then` makes something of its JSON object.

    `linked` ones are paged by `Link` header. `lane` is the place that the caller holds among those who ask.
    """

    question: Question
    prepared: requests.PreparedRequest
    then: Callable[[Json], Any] | None = None
    lane: asyncio.Semaphore | None = None
    linked: bool = False
    parse: Callable[[bytes], Json | None] = json_object


class Exchange:
    """Connections to one host, at most `concurrency` of them; `timeout` as in `Client`.

    A thread for each sends and receives, and goes on with the next request as soon as it has handed over an answer.
    One thread makes rows of what they receive: several would only take turns, and let those that send wait for more.
    """

    def __init__(self, base_url: str, api_key: str, concurrency: int, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        self._places = ThreadPoolExecutor(concurrency, thread_name_prefix="braze")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="braze-reader")
        # Copied for each request, since preparing one takes ten times as long. It also keeps `.netrc` out.
        self._blank = requests.PreparedRequest()
        headers = {
            "Authorization": f"Bearer {api_key}",
            "User-Agent": "braze-elt",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        self._blank.prepare("GET", f"{base_url}/", headers)
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _OneHost(pool_connections=1, pool_maxsize=concurrency))
        self._environment = self._session.merge_environment_settings(base_url, {}, True, None, None)

    def get(self, path: str, parameters: Mapping[str, str]) -> requests.PreparedRequest:
        """A GET of `path`."""
        prepared = copy(self._blank)
        prepared.url = f"{self._blank.url}{path}?{urlencode(parameters)}"
        return prepared

    def post(self, path: str, body: Mapping[str, Any]) -> requests.PreparedRequest:
        """A POST of a JSON object to `path`."""
        prepared = self._blank.copy()
        prepared.method, prepared.url = "POST", f"{self._blank.url}{path}"
        prepared.headers["Content-Type"] = "application/json"
        prepared.prepare_body(orjson.dumps(dict(body)), files=None)
        return prepared

    async def send(self, call: Call) -> Answer:
        """Send once, and return the answer. Raises `requests.RequestException`."""
        answer: Future[Answer] = Future()
        self._places.submit(self._send, call, answer)
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Drop what has not been sent and close idle connections; requests under way end by themselves."""
        for threads in (self._places, self._reader):
            threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _send(self, call: Call, answer: Future[Answer]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        started = time.perf_counter()
        try:
            response = self._session.send(
                call.prepared, timeout=self._timeout, allow_redirects=False, **self._environment
            )
            # In one piece: requests itself takes ten kilobytes at a time, and all threads take turns for each of them.
            content = b"".join(response.iter_content(None))
            logger.debug(
                "%s %s: %d in %d ms, request id %s",
                call.prepared.method,
                call.question.endpoint.path,
                response.status_code,
                (time.perf_counter() - started) * 1000,
                response.headers.get("X-Request-Id"),
            )
            self._reader.submit(self._read, call, response, content, answer)
        except BaseException as error:
            answer.set_exception(error)

    def _read(self, call: Call, response: requests.Response, content: bytes, answer: Future[Answer]) -> None:
        try:
            answer.set_result(_answer(call, response, call.parse(content)))
        except BaseException as error:
            answer.set_exception(error)


class _OneHost(HTTPAdapter):
    """An adapter that looks up the connections to its host once, since all requests go there."""

    _connections: ConnectionPool | None = None

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> ConnectionPool:
        """The connections to the host of the first request."""
        self._connections = self._connections or super().get_connection_with_tls_context(*args, **options)
        return self._connections


def _answer(call: Call, response: requests.Response, payload: Json | None) -> Answer:
    """The answer in `response`, whose JSON object is `payload`, with what `then` makes of that."""
    result: Any = (payload, _next_cursor(response)) if call.linked else payload
    crash = None
    if call.then and payload is not None and is_success(response.status_code):
        try:
            result = call.then(payload)
        except Exception as error:
            crash = error
    return Answer(response.status_code, response.reason or "", response.headers, payload, result, crash)


def _next_cursor(response: requests.Response) -> str | None:
    """The cursor in the `rel="next"` link, decoded once: it may be percent-encoded in there."""
    query = urlsplit(response.links.get("next", {}).get("url", "")).query
    return parse_qs(query).get("cursor", [None])[0]
