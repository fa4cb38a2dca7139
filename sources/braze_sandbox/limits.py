"""Rate limits by pool, in clock-aligned windows, with the documented headers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sources.braze_sandbox.options import RateLimit


@dataclass(frozen=True)
class Allowance:
    """What a pool allows after a request was counted."""

    granted: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The `X-RateLimit-*` headers; the reset is in epoch seconds."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }


class Limiter:
    """Counts requests per pool and window."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._used: dict[str, tuple[int, int]] = {}

    def take(self, pool: str, rate: RateLimit) -> Allowance:
        """Count a request against a pool; refused ones do not count."""
        window = int(self._clock()) // rate.period
        before, used = self._used.get(pool, (window, 0))
        used = used if before == window else 0
        granted = used < rate.limit
        used += granted
        self._used[pool] = (window, used)
        return Allowance(granted, rate.limit, rate.limit - used, (window + 1) * rate.period)
