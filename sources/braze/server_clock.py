"""What time it is at the server, told by the `Date` of its answers."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=100)
def http_date(text: str | None) -> float | None:
    """Epoch seconds of an HTTP date, None if it is none."""
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, OverflowError):
        return None


class ServerClock:
    """The server's clock as far as its answers let it be known, in epoch seconds.

    `clock` is the local one. An answer's `Date` has whole seconds and falls between sending and receiving;
    that bounds the difference of the two clocks, and many answers narrow it down. The local clock counts as
    right until the bounds rule that out; then the server's time is taken as early as they allow, since coming
    back after a reset a little late costs nothing, and too early a refusal.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._least = float("-inf")
        self._most = float("inf")

    def now(self) -> float:
        """Return the time at the server, epoch seconds."""
        local_is_right = self._least <= 0 <= self._most
        return self._clock() + (0 if local_is_right else self._least)

    def observe(self, date: str | None, sent_at: float) -> None:
        """Learn from the `Date` of an answer just received to a request sent at local time `sent_at`."""
        at = http_date(date)
        if at is None:
            return
        least, most = at - self._clock(), at + 1 - sent_at
        if least > self._most or most < self._least:  # one of the clocks has been set
            self._least, self._most = least, most
        else:
            self._least, self._most = max(self._least, least), min(self._most, most)
