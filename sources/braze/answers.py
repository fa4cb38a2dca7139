"""What an answer, or the lack of one, means: pure functions between HTTP and `errors`."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.exceptions import NewConnectionError

from sources.braze.endpoints import Endpoint, Json
from sources.braze.errors import InvalidKey, NotAvailable, PermissionDenied, UnknownEntity, redact

LONGEST_DETAIL = 300
_PERHAPS_STARTED = "Braze may have started the job all the same"
NAMING = ("campaign_id", "send_id", "canvas_id", "segment_id", "card_id", "event", "product", "app_id")
"""Parameters that say in an error what was asked about."""
PERSONAL = ("external_ids", "user_aliases", "device_id", "braze_id", "email_address", "phone")
"""Body fields whose values must not show up in errors and logs."""
_UNTAKEN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
"""Failures of a server after which it is known that Braze has not received the request."""
_LONE_SURROGATE = re.compile(
    r"""
    (\\\\ | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})  # an escaped backslash, or a whole pair
    | \\u[dD][89a-fA-F][0-9a-fA-F]{2}
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Question:
    """The query parameters or body `fields` that were put to `endpoint`."""

    endpoint: Endpoint
    fields: Mapping[str, Any] = field(repr=False)
    api_key: str = field(repr=False)

    @property
    def subject(self) -> str:
        """The entity that was asked about, in words."""
        return ", ".join(f"{name} {self.fields[name]}" for name in NAMING if self.fields.get(name))

    @property
    def personal(self) -> tuple[str, ...]:
        """The values of persons that were asked about."""
        return tuple(_strings(self.fields.get(name) for name in PERSONAL))


@dataclass(frozen=True)
class Answer:
    """What came back. `payload` is None unless the body is a JSON object; `crash` is what `then` raised."""

    status: int
    reason: str
    headers: Mapping[str, str]
    payload: Json | None
    result: Any = None
    crash: Exception | None = None


class FailedAttempt(Exception):
    """An attempt that brought no usable answer.

    `status` is None if there was no answer; `sent` is False if the request surely never left; `again` says
    whether the same request may be sent once more, `retry_after` after how many seconds at the earliest.
    """

    retry_after = 0.0

    def __init__(self, detail: str, *, status: int | None = None, sent: bool = True, again: bool = True) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.sent = sent
        self.again = again


def is_success(status: int) -> bool:
    """Say whether the status is that of a usable answer: GETs answer 200, exports 201."""
    return status in (HTTPStatus.OK, HTTPStatus.CREATED)


def json_object(content: bytes) -> Json | None:
    """Return the JSON object in `content`, None if it is anything else; U+FFFD takes the place of what is no text."""
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        payload = _repaired(content)
    return payload if isinstance(payload, dict) else None


def _repaired(content: bytes) -> Any:
    """JSON with halves of characters in it, as a name has that was cut off within an emoji; None for anything else."""
    text = content.decode("utf-8-sig", "replace")
    try:
        return orjson.loads(_LONE_SURROGATE.sub(lambda found: found[1] or r"\ufffd", text))
    except orjson.JSONDecodeError:
        return None


def exact_json_object(content: bytes) -> Json | None:
    """As `json_object`, at a fifth of its speed: whole numbers of any size stay whole, and texts need be no Unicode."""
    try:
        payload = json.loads(content.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def detail(question: Question, answer: Answer) -> str:
    """Return what Braze said, redacted and cut to a readable length."""
    payload = answer.payload or {}
    message = payload.get("message") or answer.reason or "no message"
    return shown(question, ": ".join(filter(None, [str(message), _errors(payload)]))).rstrip(".")


def _errors(payload: Json) -> str:
    """What the `errors` beside the message say: texts, or objects with a `message` and an `id`."""
    listed = payload.get("errors")
    errors = listed if isinstance(listed, list) else [listed]
    said = (error.get("message") or error.get("id") if isinstance(error, Mapping) else error for error in errors)
    return ", ".join(str(words) for words in said if words)


def says_running(answer: Answer) -> bool:
    """Say whether Braze's words are that it is busy with a job already."""
    return bool(re.search(r"\brunning\b|\bin progress\b", str((answer.payload or {}).get("message")), re.IGNORECASE))


def shown(question: Question, words: object) -> str:
    """Return words of Braze in a form fit for logs and errors."""
    return redact(str(words), [question.api_key], question.personal)[:LONGEST_DETAIL]


def problem(question: Question, answer: Answer, anything_succeeded: bool) -> Exception | None:
    """Return what an answer other than 429 stands for, an error or a `FailedAttempt`; None if it is usable."""
    endpoint, status = question.endpoint, answer.status
    if endpoint.bodiless and 200 <= status < 300:
        return None
    if is_success(status):
        if answer.payload is not None:
            return None
        return FailedAttempt("the answer is not a JSON object", status=status, again=not endpoint.starts_job)
    said = detail(question, answer)
    match status:
        case HTTPStatus.BAD_REQUEST:
            return UnknownEntity(endpoint, question.subject, said)
        case HTTPStatus.UNAUTHORIZED if not anything_succeeded:
            return InvalidKey(endpoint, said)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return PermissionDenied(endpoint, status, said)
        case HTTPStatus.NOT_FOUND:
            return NotAvailable(endpoint, question.subject, said)
        case _ if 300 <= status < 400:
            host = urlsplit(answer.headers.get("Location", "")).hostname or "another path"
            return FailedAttempt(f"a redirect to {host} ({status})", status=status, again=False)
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT
    if failed and endpoint.starts_job and status not in _UNTAKEN:
        return FailedAttempt(f"{status}: {said}; {_PERHAPS_STARTED}", status=status, again=False)
    return FailedAttempt(f"{status}: {said}", status=status, again=failed)


def network_failure(question: Question, error: requests.RequestException) -> FailedAttempt:
    """Return what a network error means for the attempt.

    A job may have been started although its answer was lost, so its request must not be repeated.
    """
    said = shown(question, _cause(error))
    if _never_sent(error):
        return FailedAttempt(said, sent=False)
    if question.endpoint.starts_job:
        return FailedAttempt(f"{said}; {_PERHAPS_STARTED}", again=False)
    return FailedAttempt(said)


def _never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    return isinstance(getattr(next(iter(error.args), None), "reason", None), NewConnectionError)


def _cause(error: BaseException) -> str:
    """Return the words of the innermost error, without the representation of the connection before them."""
    inner = [getattr(error, "reason", None), *reversed(error.args)]
    cause = next((item for item in inner if isinstance(item, BaseException)), None)
    return _cause(cause) if cause else str(error).rpartition("): ")[2] or type(error).__name__


def _strings(value: Any) -> Iterable[str]:
    """Yield every string in a nest of lists and dict values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(value.values())
    elif isinstance(value, Iterable):
        for item in value:
            yield from _strings(item)
