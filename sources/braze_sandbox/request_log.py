"""What was asked of the server: counts, the most at once, and the requests themselves."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request and how it was answered; status 0 is an answer cut short or a connection reset."""

    method: str
    path: str
    params: Mapping[str, Any]
    status: int
    fault: str | None


class RequestLog:
    """Counts per path and status, the latest requests (up to `kept`), and how many are being answered: `open`."""

    def __init__(self, kept: int = 100_000) -> None:
        self._kept = kept
        self.open = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.paths: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.most_at_once = 0
        self._requests: deque[Asked] = deque(maxlen=self._kept)

    def begin(self, path: str) -> None:
        """A request has come in."""
        self.paths[path] += 1
        self.open += 1
        self.most_at_once = max(self.most_at_once, self.open)

    def end(self, asked: Asked) -> None:
        """It has been answered."""
        self.open -= 1
        self.statuses[asked.status] += 1
        self._requests.append(asked)

    @property
    def requests(self) -> list[Asked]:
        """The requests answered so far, oldest first."""
        return list(self._requests)

    def as_json(self, listed: bool) -> dict[str, Any]:
        """The counts, and on demand the requests, for JSON."""
        counts = {
            "total": sum(self.paths.values()),
            "paths": dict(self.paths),
            "statuses": {str(status): number for status, number in self.statuses.items()},
            "most_at_once": self.most_at_once,
        }
        return counts | ({"requests": [asdict(asked) for asked in self.requests]} if listed else {})
