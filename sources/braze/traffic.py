"""What a run has sent, for progress, `sync_runs` and metrics."""

from dataclasses import dataclass

from sources.braze.rate_limits import RateLimits


@dataclass
class Traffic:
    """What was sent so far; written by the event loop, safe to read from other threads.

    `requests` are HTTP requests sent, among them `retries` and those `refused` with 429; `succeeded` got a usable
    answer; `in_flight` are under way now.
    """

    limits: RateLimits
    requests: int = 0
    retries: int = 0
    refused: int = 0
    succeeded: int = 0
    in_flight: int = 0

    @property
    def waited(self) -> float:
        """Return the seconds for which rate limits held requests back."""
        return self.limits.waited
