"""HTTP with Braze: one request in, one parsed answer out, or one of `errors`.

Retries and waits for the rate limit are `await`s on the event loop and hold no thread.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

import requests
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from sources.braze.answers import (
    Answer,
    FailedAttempt,
    Question,
    detail,
    json_object,
    network_failure,
    problem,
    says_running,
    shown,
)
from sources.braze.endpoints import Endpoint, Json, Param
from sources.braze.errors import (
    BadAnswer,
    BrazeError,
    ConfigurationError,
    ExportRunning,
    InvalidKey,
    PermissionDenied,
    Stopped,
    Unreachable,
)
from sources.braze.exchange import Call, Exchange
from sources.braze.lanes import aside
from sources.braze.rate_limits import RateLimits
from sources.braze.traffic import Traffic

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
FIRST_ATTEMPTS = 3
"""Attempts to connect to a host that has never answered: then rather the setting is wrong."""
LONGEST_PAUSE = 30.0
LONGEST_RETRY_AFTER = 300.0
"""Seconds of pause that a failing server is granted at most; what needs longer is left for the next run."""
REFUSALS = 20
"""429s in a row after which a request is given up."""


class Client:
    """One workspace's REST API, for use within one event loop.

    `concurrency` is the number of requests at a time; `rate_reserve` the share of each reserved pool that
    stays free; `timeout` the seconds to connect and between two bytes; `clock` the local time in epoch
    seconds; `backoff` the longest first pause, in seconds, before a request is tried again. `room`, if set, is
    awaited before a request leaves: where answers go may be full.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        concurrency: int = 16,
        rate_reserve: float = 0.2,
        *,
        timeout: tuple[float, float] = (10, 90),
        clock: Callable[[], float] = time.time,
        backoff: float = 0.5,
        limits: RateLimits | None = None,
    ) -> None:
        self.base_url = base_url
        self._host = urlsplit(base_url).netloc
        self._api_key = _checked_key(api_key)
        self._clock = clock
        self._backoff = backoff
        self._limits = limits or RateLimits(rate_reserve, clock)
        self._exchange = Exchange(base_url, self._api_key, concurrency, timeout)
        # `concurrency` of them wait for Braze, as many are ready to leave, as many answers wait to be read. All others
        # wait where they can still be held back.
        self._handed_over = asyncio.Semaphore(3 * concurrency)
        self.room: Callable[[], Awaitable[object]] | None = None
        self._answered = False
        self._denied: dict[Endpoint, BrazeError] = {}
        self._stopped = asyncio.Event()
        self.traffic = Traffic(self._limits)

    @overload
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param] | None = None,
        then: None = None,
        lane: asyncio.Semaphore | None = None,
    ) -> Json: ...
    @overload
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param] | None,
        then: Callable[[Json], T],
        lane: asyncio.Semaphore | None = None,
    ) -> T: ...
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param] | None = None,
        then: Callable[[Json], Any] | None = None,
        lane: asyncio.Semaphore | None = None,
    ) -> Any:
        """Return the answer to a GET: the JSON object, or what `then` makes of it in the worker thread.

        Parameters that are None are left out. The held `lane` is given up during back-off and rate-limit
        waits. Raises the exceptions of `sources.braze.errors`, and whatever `then` raises. An endpoint that was
        denied once is not asked again: its error is raised anew.
        """
        return await self._call(self._query(endpoint, params, then=then, lane=lane))

    async def get_page(self, endpoint: Endpoint, params: Mapping[str, Param] | None = None) -> tuple[Json, str | None]:
        """Return the answer to a GET that is paged by `Link` header, and the next page's `cursor` (None: the last)."""
        page: tuple[Json, str | None] = await self._call(self._query(endpoint, params, linked=True))
        return page

    def _query(self, endpoint: Endpoint, params: Mapping[str, Param] | None, **options: Any) -> Call:
        query = {name: _query_value(value) for name, value in (params or {}).items() if value is not None}
        return Call(Question(endpoint, query, self._api_key), self._exchange.get(endpoint.path, query), **options)

    @overload
    async def post(self, endpoint: Endpoint, body: Mapping[str, Any], then: None = None) -> Json: ...
    @overload
    async def post(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        then: Callable[[Json], T],
        parse: Callable[[bytes], Json | None] = json_object,
    ) -> T: ...
    async def post(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        then: Callable[[Json], Any] | None = None,
        parse: Callable[[bytes], Json | None] = json_object,
    ) -> Any:
        """Return the answer to a POST of the JSON object `body`; as `get` otherwise. `parse` reads the answer.

        What starts a job is not sent again once Braze may have received it without answering: that is a
        `BadAnswer`. The answer of a `bodiless` endpoint may be None.
        """
        prepared = self._exchange.post(endpoint.path, body)
        return await self._call(Call(Question(endpoint, body, self._api_key), prepared, then, parse=parse))

    def stop(self) -> None:
        """Send nothing more: what waits, for the rate limit or for another attempt, raises `Stopped`.

        What is under way goes on. Must be called in the client's event loop.
        """
        self._stopped.set()
        self._limits.stop()

    async def aclose(self) -> None:
        """Drop what has not been sent and close idle connections; requests under way end by themselves."""
        self._exchange.close()

    async def _call(self, call: Call) -> Any:
        try:
            try:
                return await self._attempt(call)
            except FailedAttempt as failure:
                return await self._go_on(call, failure)
        except FailedAttempt as failure:
            raise self._given_up(call.question, failure) from None

    async def _go_on(self, call: Call, failure: FailedAttempt) -> Any:
        """Try again after `failure`, the outcome of the first attempt.

        tenacity counts that one, but does not make it: most requests need no other, and it takes as long as sending.
        """
        first = [failure]

        async def attempt() -> Any:
            if first:
                raise first.pop()
            return await self._attempt(call)

        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, FailedAttempt) and error.again),
            stop=self._is_enough,
            wait=self._pause,
            before_sleep=self._count_retry,
            sleep=partial(self._sleep_aside, call.lane),
            reraise=True,
        )
        return await attempts(attempt)

    def _is_enough(self, state: RetryCallState) -> bool:
        return state.attempt_number >= (FIRST_ATTEMPTS if self._at_first_contact(state) else ATTEMPTS)

    def _pause(self, state: RetryCallState) -> float:
        if self._at_first_contact(state):
            return self._backoff * state.attempt_number
        failure = _failure(state)
        asked_for = failure.retry_after if isinstance(failure, FailedAttempt) else 0.0
        return max(asked_for, wait_random_exponential(multiplier=self._backoff, max=LONGEST_PAUSE)(state))

    def _at_first_contact(self, state: RetryCallState) -> bool:
        failure = _failure(state)
        return not self._answered and isinstance(failure, FailedAttempt) and not failure.sent

    async def _sleep_aside(self, lane: asyncio.Semaphore | None, seconds: float) -> None:
        async with aside(lane):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
                    raise Stopped

    def _count_retry(self, _: RetryCallState) -> None:
        self.traffic.retries += 1

    def _given_up(self, question: Question, failure: FailedAttempt) -> BrazeError:
        if not failure.sent and not self._answered:
            return Unreachable(self._host, question.endpoint, failure.detail)
        return BadAnswer(question.endpoint, question.subject, failure.status, failure.detail)

    async def _attempt(self, call: Call) -> Any:
        for _ in range(REFUSALS):
            self._may_leave(call.question.endpoint)
            await self._limits.admit(call.question.endpoint.pool, call.lane)
            answer = await self._send(call)
            if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                return self._result(call.question, answer)
        said = f"refused {REFUSALS} times in a row (429: {detail(call.question, answer)})"
        raise FailedAttempt(said, status=answer.status, again=False)

    async def _send(self, call: Call) -> Answer:
        """Send an admitted request once and tell the rate limits about it."""
        endpoint, answer, sent_at = call.question.endpoint, None, None
        try:
            async with self._handed_over:
                if self.room and not self._stopped.is_set():
                    await self.room()
                self._may_leave(endpoint)
                sent_at = self._clock()
                answer = await self._hand_over(call)
        except requests.RequestException as error:
            raise network_failure(call.question, error) from None
        finally:
            if sent_at is None:
                self._limits.unsent(endpoint.pool)
            elif answer is None:
                self._limits.lost(endpoint.pool)
        self._answered = True
        self._observe(call.question, answer, sent_at)
        return answer

    def _may_leave(self, endpoint: Endpoint) -> None:
        if self._stopped.is_set():
            raise Stopped
        if denial := self._denied.get(endpoint):
            raise denial

    async def _hand_over(self, call: Call) -> Answer:
        self.traffic.requests += 1
        self.traffic.in_flight += 1
        try:
            return await self._exchange.send(call)
        finally:
            self.traffic.in_flight -= 1

    def _observe(self, question: Question, answer: Answer, sent_at: float) -> None:
        endpoint = question.endpoint
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            self._limits.observe(endpoint.pool, answer.headers, sent_at)
        elif endpoint.starts_job and (self._limits.has_allowance(answer.headers) or says_running(answer)):
            self._limits.observe(endpoint.pool, answer.headers, sent_at)
            raise ExportRunning(endpoint, question.subject, detail(question, answer))
        else:
            self._limits.refuse(endpoint.pool, answer.headers, sent_at)
            self.traffic.refused += 1

    def _result(self, question: Question, answer: Answer) -> Any:
        error = problem(question, answer, anything_succeeded=self.traffic.succeeded > 0)
        if isinstance(error, PermissionDenied | InvalidKey):
            self._denied[question.endpoint] = error
        if isinstance(error, FailedAttempt):
            error.retry_after = min(self._limits.retry_after(answer.headers), LONGEST_RETRY_AFTER)
        if error:
            raise error
        self.traffic.succeeded += 1
        errors = answer.payload and answer.payload.get("errors")
        if errors:
            logger.warning(
                "%s answered with errors beside the data: %s", question.endpoint.path, shown(question, errors)
            )
        if answer.crash:
            raise answer.crash
        return answer.result


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _checked_key(api_key: str) -> str:
    key = api_key.strip()
    if not key:
        raise ConfigurationError("There is no API key: set `api_key` (SOURCES__BRAZE__API_KEY).")
    if not re.fullmatch(r"[!#-&(-~]+", key):
        raise ConfigurationError("`api_key` holds quotes, spaces or other characters that no Braze key has.")
    return key


def _query_value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
