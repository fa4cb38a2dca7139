"""What could not be loaded, and when it was loaded after all: the rows of `sync_failures`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from sources.braze.model import ALL
from sources.braze.windows import ONE_DAY, Span


@dataclass(frozen=True)
class Failure:
    """A row of `sync_failures`: grain run, resource, entity and range of days (both ends included)."""

    run_id: str
    resource: str
    entity_id: str
    start_date: date
    end_date: date
    endpoint: str
    status: int | None
    message: str
    failed_at: datetime
    resolved_at: datetime | None = None

    @property
    def days(self) -> Span:
        """The days that were asked for."""
        return Span(self.start_date, self.end_date)

    def row(self) -> dict[str, Any]:
        """The row as column values."""
        return asdict(self)

    def to_state(self) -> dict[str, Any]:
        """A JSON-able dict for dlt's state."""
        return {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in asdict(self).items()
            if name != "resolved_at"
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Failure":
        """The inverse of `to_state`."""
        days = {name: date.fromisoformat(state[name]) for name in ("start_date", "end_date")}
        return cls(**{**state, **days, "failed_at": datetime.fromisoformat(state["failed_at"])})


class OpenFailures:
    """The failures of earlier runs that no run has mended yet, by resource and entity."""

    def __init__(self, failures: Iterable[Failure] = ()) -> None:
        self._failures: dict[tuple[str, str], list[Failure]] = {}
        self._loaded: dict[tuple[str, str], list[Span]] = {}
        for failure in failures:
            self._failures.setdefault((failure.resource, failure.entity_id), []).append(failure)

    def days(self, resource: str, entity_id: str) -> list[Span]:
        """The spans of days in which `entity_id` failed."""
        return [failure.days for failure in self._failures.get((resource, entity_id), ())]

    def loaded(self, resource: str, entity_id: str, span: Span) -> None:
        """Note that `span` of `entity_id` has now been loaded."""
        if (resource, entity_id) in self._failures:
            self._loaded.setdefault((resource, entity_id), []).append(span)

    def forget(self, resource: str, present: set[str]) -> None:
        """Close failures of entities no longer listed; `present` is the complete list of `resource`."""
        for failed_resource, entity_id in self._failures:
            if failed_resource == resource and entity_id not in present and entity_id != ALL:
                self._loaded.setdefault((resource, entity_id), []).append(Span(date.min, date.max))

    def entities(self, resource: str) -> set[str]:
        """The entities of `resource` that have failures."""
        return {entity_id for failed_resource, entity_id in self._failures if failed_resource == resource}

    def all(self) -> list[Failure]:
        """Every failure that was open when the run began."""
        return [failure for failures in self._failures.values() for failure in failures]

    def settle(self, now: datetime) -> tuple[list[Failure], list[Failure]]:
        """(resolved with `resolved_at` = `now`, still open)."""
        resolved, still_open = [], []
        for name, failures in self._failures.items():
            for failure in failures:
                if _covers(self._loaded.get(name, ()), failure.days):
                    resolved.append(replace(failure, resolved_at=now))
                else:
                    still_open.append(failure)
        return resolved, still_open


def _covers(spans: Iterable[Span], wanted: Span) -> bool:
    first = wanted.first
    for span in sorted(spans):
        if span.first <= first <= span.last:
            if span.last >= wanted.last:
                return True
            first = span.last + ONE_DAY
    return False
