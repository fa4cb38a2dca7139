"""The rate limiter: against a real server with windows, and its arithmetic."""

import asyncio
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from sources.braze.client import Client
from sources.braze.endpoints import CAMPAIGNS_LIST, EVENTS_LIST, Pool
from sources.braze.rate_limits import PROBES, PoolState, RateLimits, Reading, read_headers
from sources.braze.server_clock import ServerClock
from tests.lanes import places
from tests.loopback import Loopback, Received, Reply

SMALL = Pool("small", 50, 3600)
POOL = Pool("pool", 1000, 3600, reserved=True)


class Windows:
    """A server that allows `limit` requests per clock `period`, counted as they arrive.

    Its clock is off by `skew` seconds. Other consumers send `others` requests for each of ours.
    """

    def __init__(self, limit: int, period: int, skew: float = 0, latency: float = 0.02, others: int = 0) -> None:
        self.limit, self.period, self.skew, self.latency = limit, period, skew, latency
        self.others = others
        self.served: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.lowest = limit
        self._used: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, _: Received) -> Reply:
        now = time.time() + self.skew
        window = int(now // self.period)
        with self._lock:
            allowed = self._used[window] < self.limit
            (self.served if allowed else self.refused)[window] += 1
            self._used[window] += (1 + self.others) if allowed else 0
            remaining = max(0, self.limit - self._used[window])
            self.lowest = min(self.lowest, remaining)
        headers = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str((window + 1) * self.period),
            "date": formatdate(now, usegmt=True),
        }
        return Reply(200 if allowed else 429, headers=headers, delay=self.latency)

    def full_windows(self) -> list[int]:
        """Return what was served in each window that the load filled from its beginning to its end."""
        return [self.served[window] for window in sorted(self.served)[1:-1]]


def run_load(windows: Windows, requests: int, reserve: float = 0, concurrency: int = 16) -> Client:
    async def load(url: str) -> Client:
        client = Client(url, "key", concurrency, limits=RateLimits(reserve, jitter=0.1))
        lane = asyncio.Semaphore(concurrency)

        async def one() -> None:
            async with lane:
                await client.get(CAMPAIGNS_LIST, {}, lane=lane)

        await asyncio.gather(*(one() for _ in range(requests)))
        await client.aclose()
        return client

    with Loopback(windows) as server:
        return asyncio.run(load(server.url))


@pytest.mark.parametrize("skew", [0, 1000.3, -1000.6], ids=["same clock", "server ahead", "server behind"])
def test_small_windows_are_used_up_and_hardly_ever_refused(skew: float) -> None:
    windows = Windows(limit=50, period=2, skew=skew)
    client = run_load(windows, requests=120)
    assert windows.full_windows()
    assert min(windows.full_windows()) >= 0.95 * windows.limit
    assert sum(windows.refused.values()) < 0.01 * 120
    assert client.traffic.waited > 1


def test_the_reserve_stays_free() -> None:
    windows = Windows(limit=100, period=1)
    run_load(windows, requests=180, reserve=0.25)
    assert windows.lowest >= 25
    assert min(windows.full_windows()) >= 0.95 * 75


def test_what_others_use_is_not_spent_again() -> None:
    windows = Windows(limit=100, period=1, others=1)
    run_load(windows, requests=90, reserve=0.2)
    assert sum(windows.refused.values()) == 0
    assert windows.lowest >= 20 - 16  # what others send while our last 16 are under way cannot be foreseen


class FakeTime:
    """A local clock and the limits that go by it."""

    def __init__(self, now: float = 1_000_000_800.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def headers_of(remaining: int, reset: float, limit: int = 1000, retry_after: str = "") -> CaseInsensitiveDict[str]:
    return CaseInsensitiveDict(
        {
            "x-ratelimit-limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-Ratelimit-Reset": str(int(reset)),
            "Retry-After": retry_after,
        }
    )


async def admitted(limits: RateLimits, pool: Pool, most: int = 10_000) -> int:
    """Return how many requests go out at once, without an answer."""
    count = 0
    while count < most:
        task = asyncio.ensure_future(limits.admit(pool))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            break
        count += 1
    return count


def scenario(work: Callable[[RateLimits, FakeTime], Awaitable[None]], reserve: float = 0.2) -> None:
    """Run `work(limits, clock)` on an event loop, an hour and a bit before nothing in particular."""

    async def run() -> None:
        clock = FakeTime()
        await work(RateLimits(reserve, clock, jitter=0), clock)

    asyncio.run(run())


def test_only_a_few_requests_probe_an_unknown_pool() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        assert await admitted(limits, POOL) == PROBES
        limits.observe(POOL, headers_of(300, clock.now + 600), clock.now)
        # 300 left, 200 of them reserved, 3 still under way
        assert await admitted(limits, POOL) == 100 - (PROBES - 1)

    scenario(work)


def test_minute_pools_have_no_reserve() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await limits.admit(SMALL)
        limits.observe(SMALL, headers_of(40, clock.now + 60, limit=50), clock.now)
        assert await admitted(limits, SMALL) == 40

    scenario(work)


def test_the_lowest_remaining_counts_when_answers_come_out_of_order() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        reset = clock.now + 600
        await admitted(limits, POOL)
        for remaining in (400, 210, 405, 404):
            limits.observe(POOL, headers_of(remaining, reset), clock.now)
        assert await admitted(limits, POOL) == 10

    scenario(work)


def test_a_new_window_replaces_the_old_one_and_late_answers_do_not_bring_it_back() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        reset = clock.now + 600
        await admitted(limits, POOL)
        limits.observe(POOL, headers_of(200, reset), clock.now)
        assert await admitted(limits, POOL) == 0
        clock.now = reset + 1
        assert await admitted(limits, POOL) == PROBES
        limits.observe(POOL, headers_of(199, reset), reset - 1)
        assert await admitted(limits, POOL) == 1
        limits.observe(POOL, headers_of(999, reset + 3600), clock.now)
        limits.observe(POOL, headers_of(199, reset), reset - 1)
        assert await admitted(limits, POOL) == 799 - 5

    scenario(work)


@pytest.mark.parametrize("nonsense", ["", "soon", "12.5e", "-7"])
def test_headers_that_make_no_sense_are_ignored(nonsense: str) -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await admitted(limits, POOL)
        limits.observe(POOL, headers_of(300, clock.now + 600), clock.now)
        limits.observe(POOL, CaseInsensitiveDict({"X-RateLimit-Reset": nonsense, "Date": nonsense}), clock.now)
        assert await admitted(limits, POOL) == 100 - 1 - 2  # one counted without headers, two under way

    scenario(work)


def test_without_headers_the_documented_limit_is_counted_on_the_clock_hour() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await limits.admit(POOL)
        limits.observe(POOL, {}, clock.now)
        assert await admitted(limits, POOL) == 800 - 1
        for _ in range(799):
            limits.observe(POOL, {}, clock.now)
        assert await admitted(limits, POOL) == 0
        clock.now = (clock.now // 3600 + 1) * 3600
        assert await admitted(limits, POOL) == PROBES
        limits.observe(POOL, {}, clock.now)
        assert await admitted(limits, POOL) == 800 - 1 - 3

    scenario(work)


def test_stated_windows_win_over_assumed_ones() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await admitted(limits, POOL)
        limits.observe(POOL, {}, clock.now)
        limits.observe(POOL, headers_of(250, clock.now + 60), clock.now)
        assert await admitted(limits, POOL) == 50 - 2

    scenario(work)


def test_endpoints_of_a_pool_with_different_limits_do_not_stall_each_other() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        reset = clock.now + 600
        await admitted(limits, POOL)
        limits.observe(POOL, headers_of(900, reset, limit=1000), clock.now)
        limits.observe(POOL, headers_of(240_000, reset, limit=250_000), clock.now)
        assert await admitted(limits, POOL) == 700 - 2

    scenario(work)


def test_refusals_without_a_time_pause_the_pool_longer_and_longer() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await admitted(limits, POOL)
        pauses = []
        for _ in range(4):
            limits.refuse(POOL, {}, clock.now)
            started = clock.now
            while await admitted(limits, POOL, most=1) == 0:
                clock.now += 0.05
            pauses.append(clock.now - started)
        for nth, pause in enumerate(pauses):
            assert 2**nth / 2 - 0.06 <= pause <= 2**nth + 0.06

    scenario(work)


def test_refusals_of_requests_sent_together_count_once() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await admitted(limits, POOL)
        sent_at = clock.now
        clock.now += 0.2
        for _ in range(PROBES):
            limits.refuse(POOL, {}, sent_at)
        clock.now += 1.01
        assert await admitted(limits, POOL) == PROBES

    scenario(work)


def test_a_refusal_by_another_limit_does_not_wait_for_the_hour() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await limits.admit(POOL)
        limits.refuse(POOL, headers_of(900, clock.now + 3000), clock.now)
        assert await admitted(limits, POOL) == 0
        clock.now += 1.01
        assert await admitted(limits, POOL) == PROBES

    scenario(work)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_pauses_the_pool(as_date: bool) -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        retry = formatdate(clock.now + 120, usegmt=True) if as_date else "120"
        await limits.admit(POOL)
        limits.refuse(POOL, headers_of(900, clock.now + 3000, retry_after=retry), clock.now)
        clock.now += 119
        assert await admitted(limits, POOL) == 0
        clock.now += 1
        assert await admitted(limits, POOL) == PROBES

    scenario(work)


def test_pools_are_independent() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await limits.admit(POOL)
        limits.refuse(POOL, headers_of(0, clock.now + 3000), clock.now)
        assert await admitted(limits, POOL) == 0
        assert await admitted(limits, SMALL) == PROBES

    scenario(work)


def test_a_long_wait_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        await limits.admit(POOL)
        limits.observe(POOL, headers_of(200, clock.now + 600), clock.now)
        waiting = [asyncio.ensure_future(limits.admit(POOL)) for _ in range(5)]
        await asyncio.sleep(0.01)
        limits.lost(POOL)
        await asyncio.sleep(0.01)
        clock.now += 601
        limits.lost(POOL)  # an answer of any kind makes the first in the queue look again
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        assert limits.waited == pytest.approx(601)

    with caplog.at_level(logging.INFO):
        scenario(work)
    (record,) = caplog.records
    assert record.getMessage() == (
        "The rate limit pool pool is used up (less the reserve); its requests resume in 600 s."
    )


def test_waiting_for_one_pool_gives_the_lane_to_another() -> None:
    async def work(limits: RateLimits, clock: FakeTime) -> None:
        lane = asyncio.Semaphore(1)
        await limits.admit(EVENTS_LIST.pool)
        limits.refuse(EVENTS_LIST.pool, headers_of(0, clock.now + 3000), clock.now)

        async def one(pool: Pool) -> None:
            async with lane:
                await limits.admit(pool, lane)

        blocked = asyncio.ensure_future(one(EVENTS_LIST.pool))
        await asyncio.sleep(0)
        await asyncio.wait_for(one(CAMPAIGNS_LIST.pool), 1)
        assert not blocked.done()
        blocked.cancel()
        await asyncio.gather(blocked, return_exceptions=True)
        assert await places(lane) == 1

    scenario(work)


@given(
    text=st.text(max_size=12) | st.integers().map(str) | st.floats().map(str),
    now=st.floats(1e9, 2e9),
)
def test_reading_headers_never_fails(text: str, now: float) -> None:
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After")
    reading = read_headers(dict.fromkeys(names, text), now)
    assert reading.limit is None or reading.limit > 0
    assert reading.remaining is None or reading.remaining >= 0
    assert reading.reset is None or abs(reading.reset - now) <= 86_400
    assert reading.retry_at is None or now < reading.retry_at <= now + 86_400


@given(
    limit=st.integers(1, 400),
    reserve=st.floats(0, 0.9),
    used_by_others=st.integers(0, 400),
    answers=st.lists(st.integers(0, 15), max_size=400),
)
def test_a_known_pool_never_falls_below_its_reserve(
    limit: int, reserve: float, used_by_others: int, answers: list[int]
) -> None:
    """Answers of a server that counts at arrival, in any order: no admission eats into the reserve."""
    now, remaining = 1_000_000_000.0, max(0, limit - used_by_others)
    start = remaining
    state = PoolState(Pool("p", limit, 3600, reserved=True), reserve, jitter=0, backoff=1)
    under_way: list[Reading] = []
    for answer in answers:
        while len(under_way) < 16 and state.take(now):
            remaining -= 1
            under_way.append(Reading(limit, max(0, remaining), now + 1000))
        if not under_way:
            break
        state.answered(under_way.pop(answer % len(under_way)), now, now)
    assert remaining >= min(start - PROBES, math.ceil(limit * reserve - 1e-9))


@given(skew=st.floats(-5000, 5000), delays=st.lists(st.floats(0.001, 3), min_size=1, max_size=30))
def test_the_server_clock_is_never_early_once_the_skew_shows(skew: float, delays: list[float]) -> None:
    local = FakeTime()
    clock = ServerClock(local)
    for delay in delays:
        sent_at = local.now
        date = formatdate(local.now + skew + delay / 2, usegmt=True)
        local.now += delay
        clock.observe(date, sent_at)
    error = clock.now() - (local.now + skew)
    if abs(skew) > 5:
        assert -1 - max(delays) <= error <= 1e-3
    else:
        assert abs(error) <= max(abs(skew), 1 + max(delays)) + 1e-3
