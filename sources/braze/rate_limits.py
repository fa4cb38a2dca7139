"""Braze's rate limits: how many requests may go out now, and when the next ones may.

Every answer carries `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds) of its endpoint's pool.
Pools renew on the clock hour or minute and are used by others too, so the answers are the truth and counting
only bridges the time between them.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from sources.braze.endpoints import Pool
from sources.braze.errors import Stopped
from sources.braze.lanes import aside
from sources.braze.server_clock import ServerClock, http_date

logger = logging.getLogger(__name__)

PROBES = 4
"""Requests sent into a window of which nothing is known yet: the pool may be nearly empty."""
LONGEST_WAIT = 86_400.0
LONGEST_BACKOFF = 60.0
WORTH_TELLING = 5.0


@dataclass(frozen=True)
class Reading:
    """What an answer's headers say, times in epoch seconds; None for what is missing, empty or nonsense."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_at: float | None = None


def read_headers(headers: Mapping[str, str], now: float) -> Reading:
    """Read an answer's rate-limit headers (a case-insensitive mapping); `now` is the server's time."""
    limit = _whole(headers.get("X-RateLimit-Limit"))
    reset = _whole(headers.get("X-RateLimit-Reset"))
    return Reading(
        limit=limit or None,
        remaining=_whole(headers.get("X-RateLimit-Remaining")),
        reset=reset if reset and abs(reset - now) <= LONGEST_WAIT else None,
        retry_at=_retry_at(headers.get("Retry-After"), now),
    )


def _whole(text: str | None) -> int | None:
    try:
        return max(0, int(text or ""))
    except ValueError:
        return None


def _retry_at(text: str | None, now: float) -> float | None:
    seconds = _whole(text)
    at = http_date(text) if seconds is None else now + seconds
    return at if at is not None and now < at <= now + LONGEST_WAIT else None


@dataclass
class Window:
    """One period of a pool: `spendable` more requests may go out until `reset`.

    The reserve is already deducted. The next window counts as open at `opens_at`, a little after the reset,
    so that not every consumer comes back in the same instant. An `assumed` reset was not stated by Braze but
    follows from the documented period.
    """

    reset: float
    opens_at: float
    spendable: int
    assumed: bool


@dataclass
class PoolState:
    """The state of one pool; a pure state machine over the server's time `now` and the local `sent_at`.

    A request is counted in `in_flight` from admission to its answer. `ceiling` bounds `in_flight` while the
    state of the pool is not known: at first, after a reset, after a refusal.
    """

    pool: Pool
    reserve: float
    jitter: float
    backoff: float
    in_flight: int = 0
    ceiling: float = PROBES
    window: Window | None = None
    paused_until: float = float("-inf")
    refusals: int = 0
    refused_at: float = float("-inf")
    announced: float = float("-inf")
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, now: float) -> bool:
        """Count one request as in flight if it may go out now, and say whether it may."""
        if self.window and now >= self.window.opens_at:
            self.window = None
            self.ceiling = self.in_flight + PROBES
        if self.blocked_until(now) is not None or self.in_flight >= self.ceiling:
            return False
        if self.window and self.in_flight >= self.window.spendable:
            return False
        self.in_flight += 1
        return True

    def blocked_until(self, now: float) -> float | None:
        """Return when requests may go out again, None if that is now or up to the answers in flight."""
        if now < self.paused_until:
            return self.paused_until
        if self.window and self.window.spendable <= 0:
            return self.window.opens_at
        return None

    def answered(self, reading: Reading, sent_at: float, now: float) -> None:
        """Take in the answer to a request."""
        self.in_flight -= 1
        self._learn(reading, now)
        if self.window and sent_at >= self.refused_at:
            self.refusals = 0
            self.ceiling = math.inf

    def lost(self) -> None:
        """Take in that a request will have no answer; Braze may have counted it."""
        self.in_flight -= 1
        if self.window:
            self.window.spendable -= 1

    def unsent(self) -> None:
        """Take in that an admitted request never left."""
        self.in_flight -= 1

    def refused(self, reading: Reading, sent_at: float, now: float, local: float) -> None:
        """Take in a 429; requests sent before the last refusal was known are part of the same refusal."""
        self.in_flight -= 1
        again = sent_at < self.refused_at
        if not again:
            self.refusals += 1
            self.refused_at = local
        self.ceiling = self.in_flight + PROBES
        empty = reading.reset is not None and reading.reset > now and not reading.remaining
        if reading.retry_at:
            self.paused_until = max(self.paused_until, reading.retry_at)
            empty = empty and reading.remaining is not None
        elif not (empty or again):
            self.paused_until = now + self._backoff()
        if empty:
            self._learn(Reading(reading.limit, 0, reading.reset), now)

    def _backoff(self) -> float:
        longest = min(LONGEST_BACKOFF, math.ldexp(self.backoff, min(self.refusals - 1, 10)))
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _spread(self, wait: float) -> float:
        return random.uniform(0, min(self.jitter, wait / 20))  # noqa: S311

    def _learn(self, reading: Reading, now: float) -> None:
        if reading.reset is not None and reading.reset <= now:
            return  # an answer that was long under way, from a window that is over
        if reading.remaining is None:
            self.window = self.window or self._window(reading, self.pool.limit, now)
            self.window.spendable -= 1
            return
        old, new = self.window, self._window(reading, reading.remaining, now)
        if old is None or (not new.assumed and (old.assumed or new.reset > old.reset)):
            self.window = new
        elif new.assumed or new.reset == old.reset:
            old.spendable = min(old.spendable, new.spendable)

    def _window(self, reading: Reading, remaining: int, now: float) -> Window:
        reset = reading.reset or self._clock_reset(now)
        limit = reading.limit or self.pool.limit
        kept = math.ceil(limit * self.reserve - 1e-9) if self.pool.reserved else 0
        return Window(reset, reset + self._spread(reset - now), remaining - kept, assumed=reading.reset is None)

    def _clock_reset(self, now: float) -> float:
        return (now // self.pool.period + 1) * self.pool.period


class RateLimits:
    """The pools of one workspace. Belongs to one event loop.

    `reserve` is the share of each reserved pool that stays free. `clock` is the local time in epoch seconds;
    `jitter` the most seconds by which a return after a reset is put off at random; `backoff` the first pause
    after a refusal that says neither when the pool renews nor when to come back.
    """

    def __init__(
        self,
        reserve: float,
        clock: Callable[[], float] = time.time,
        jitter: float = 0.5,
        backoff: float = 1.0,
    ) -> None:
        self.waited = 0.0
        """Seconds for which pools had nothing left or were paused while requests were waiting."""
        self._reserve = reserve
        self._clock = clock
        self._server = ServerClock(clock)
        self._jitter = jitter
        self._backoff = backoff
        self._states: dict[Pool, PoolState] = {}
        self._stopped = False

    async def admit(self, pool: Pool, lane: asyncio.Semaphore | None = None) -> None:
        """Return once a request to `pool` may go out, first come first served.

        The held `lane` is given up while waiting. Every admission must be followed by one call of `observe`,
        `refuse`, `lost` or `unsent`. Raises `Stopped` after `stop`.
        """
        state = self._state(pool)
        if not (self._stopped or state.queue.locked()) and state.take(self._server.now()):
            return
        async with AsyncExitStack() as stack:
            async with aside(lane):
                await stack.enter_async_context(state.queue)
            while self._stopped or not state.take(self._server.now()):
                if self._stopped:
                    raise Stopped
                async with aside(lane):
                    await self._wait(state)

    def stop(self) -> None:
        """Admit nothing any more, also of what is waiting."""
        self._stopped = True
        for state in self._states.values():
            state.changed.set()

    def observe(self, pool: Pool, headers: Mapping[str, str], sent_at: float) -> None:
        """Take in an answer other than 429 to a request sent at local time `sent_at` (epoch seconds)."""
        state, now = self._received(pool, headers, sent_at)
        state.answered(read_headers(headers, now), sent_at, now)

    def refuse(self, pool: Pool, headers: Mapping[str, str], sent_at: float) -> None:
        """Take in a 429: the pool rests until `Retry-After`, its reset if it is empty, or for a growing pause."""
        state, now = self._received(pool, headers, sent_at)
        state.refused(read_headers(headers, now), sent_at, now, self._clock())

    def unsent(self, pool: Pool) -> None:
        """Take in that an admitted request was not sent."""
        state = self._state(pool)
        state.unsent()
        state.changed.set()

    def lost(self, pool: Pool) -> None:
        """Take in that a request was sent and got no answer."""
        state = self._state(pool)
        state.lost()
        state.changed.set()

    def retry_after(self, headers: Mapping[str, str]) -> float:
        """The seconds for which an answer's `Retry-After` asks; 0 if it has none."""
        now = self._server.now()
        retry_at = read_headers(headers, now).retry_at
        return retry_at - now if retry_at else 0.0

    def has_allowance(self, headers: Mapping[str, str]) -> bool:
        """Say whether a 429 with these headers has another reason than an empty pool, of which they would tell."""
        reading = read_headers(headers, self._server.now())
        if reading.remaining is not None:
            return reading.remaining > 0
        return reading.reset is None and reading.retry_at is None

    def _state(self, pool: Pool) -> PoolState:
        if pool not in self._states:
            self._states[pool] = PoolState(pool, self._reserve, self._jitter, self._backoff)
        return self._states[pool]

    def _received(self, pool: Pool, headers: Mapping[str, str], sent_at: float) -> tuple[PoolState, float]:
        self._server.observe(headers.get("Date"), sent_at)
        state = self._state(pool)
        state.changed.set()
        return state, self._server.now()

    async def _wait(self, state: PoolState) -> None:
        started, now = self._clock(), self._server.now()
        blocked_until = state.blocked_until(now)
        until = blocked_until or (state.window.opens_at if state.window else now + LONGEST_WAIT)
        if blocked_until:
            _announce(state, blocked_until, blocked_until - now)
        state.changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(until - now):
                await state.changed.wait()
        if blocked_until:
            self.waited += self._clock() - started


def _announce(state: PoolState, until: float, seconds: float) -> None:
    if seconds > WORTH_TELLING and until > state.announced:
        state.announced = until
        logger.info(
            "The rate limit pool %s is used up (less the reserve); its requests resume in %d s.",
            state.pool.name,
            math.ceil(seconds),
        )
