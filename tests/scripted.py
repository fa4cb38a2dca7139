"""A workspace whose every answer a test scripts, for what the sandbox never does: real requests, made-up Braze."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from sources.braze_sandbox import Sandbox
from sources.braze_sandbox.request_log import Asked
from tests.loopback import Loopback, Received, Reply
from tests.nights import Nights

Query = Mapping[str, str]
Answer = Callable[[str, Query], Any]


class Scripted(Loopback):
    """Answers a request by `answer(path, query)`: a JSON object, or a `Reply`. Takes the place of a `Sandbox`."""

    def __init__(self, answer: Answer, opened: date, time_zone: str = "UTC") -> None:
        super().__init__(self._reply)
        self.answer = answer
        self.workspace = SimpleNamespace(opened=opened, options=SimpleNamespace(time_zone=time_zone))
        self.log = self

    def _reply(self, request: Received) -> Reply:
        said = self.answer(request.path, _query(request))
        return said if isinstance(said, Reply) else Reply(body=said)

    def nights(self, **settings: Any) -> Nights:
        """Nights of this workspace."""
        return Nights(cast(Sandbox, self), **settings)

    def reset(self) -> None:
        """Forget the requests so far."""
        self.received.clear()

    @property
    def requests(self) -> list[Asked]:
        """The requests since."""
        return [Asked(request.method, f"/{request.path}", _query(request), 0, None) for request in self.received]


def _query(request: Received) -> dict[str, str]:
    return {name: values[0] for name, values in request.query.items()}


def page(items: str, entries: list[Any], query: Query) -> dict[str, Any]:
    """The only page of a list."""
    return {items: entries if query.get("page", "0") == "0" else []}


def days_asked(query: Query) -> list[date]:
    """The days that a series request asks for, if the day of `ending_at` does not count."""
    end, length = date.fromisoformat(query["ending_at"][:10]), int(query["length"])
    return [end - timedelta(days=back) for back in range(length, 0, -1)]


def moments(query: Query) -> list[str]:
    """The times of the rows that a request asks for, by day or by hour."""
    if query.get("unit") != "hour":
        return [day.isoformat() for day in days_asked(query)]
    end = datetime.fromisoformat(query["ending_at"])
    return [(end - back * timedelta(hours=1)).isoformat() for back in range(int(query["length"]), 0, -1)]
