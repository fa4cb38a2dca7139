"""What could not be loaded, and when it was loaded after all: the rows of `sync_failures`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from sources.braze.model import ALL
from sources.braze.windows import ONE_DAY, Span, Unit

ALWAYS = Span(date.min, date.max)


@dataclass(frozen=True)
class Failure:
    """A row of `sync_failures`: grain run, resource, entity and range of days (both ends included).

    `units` says whether the series by day or by hour failed, or both; it is no column.
    """

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
    units: tuple[Unit, ...] = (Unit.DAY,)

    @property
    def days(self) -> Span:
        """The days that were asked for."""
        return Span(self.start_date, self.end_date)

    def row(self) -> dict[str, Any]:
        """The row as column values."""
        row = asdict(self)
        del row["units"]
        return row

    def to_state(self) -> dict[str, Any]:
        """A JSON-able dict for dlt's state."""
        state = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in asdict(self).items()
            if name != "resolved_at"
        }
        return {**state, "units": [unit.value for unit in self.units]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Failure":
        """The inverse of `to_state`."""
        days = {name: date.fromisoformat(state[name]) for name in ("start_date", "end_date")}
        units = tuple(map(Unit, state.get("units", (Unit.DAY,))))
        return cls(**{**state, **days, "failed_at": datetime.fromisoformat(state["failed_at"]), "units": units})


class OpenFailures:
    """The failures of earlier runs that no run has mended yet, by resource and entity.

    Series by day and by hour are loaded each by itself: a failure of both is mended when both are.
    """

    def __init__(self, failures: Iterable[Failure] = ()) -> None:
        self._failures: dict[tuple[str, str], list[Failure]] = {}
        self._loaded: dict[tuple[str, str, Unit], list[tuple[Span, Collection[str]]]] = {}
        for failure in failures:
            self._failures.setdefault((failure.resource, failure.entity_id), []).append(failure)

    def days(self, resource: str, entity_id: str, unit: Unit) -> list[Span]:
        """The spans of days in which the series of `entity_id` by `unit` failed."""
        return [failure.days for failure in self._failures.get((resource, entity_id), ()) if unit in failure.units]

    def loaded(
        self,
        resource: str,
        entity_id: str,
        span: Span,
        units: Iterable[Unit] = tuple(Unit),
        but: Collection[str] = (),
    ) -> None:
        """Note that `span` of `entity_id` has now been loaded by `units`, `but` for what these endpoints would say."""
        if (resource, entity_id) in self._failures:
            for unit in units:
                self._loaded.setdefault((resource, entity_id, unit), []).append((span, but))

    def forget(self, resource: str, present: set[str]) -> None:
        """Close failures of entities no longer listed; `present` is the complete list of `resource`."""
        for entity_id in self.entities(resource) - present - {ALL}:
            self.loaded(resource, entity_id, ALWAYS)

    def forget_hours(self, resource: str) -> None:
        """Close what failed of series by hour, if they are not asked for any more."""
        for entity_id in self.entities(resource):
            self.loaded(resource, entity_id, ALWAYS, (Unit.HOUR,))

    def entities(self, resource: str) -> set[str]:
        """The entities of `resource` that have failures."""
        return {entity_id for failed_resource, entity_id in self._failures if failed_resource == resource}

    def all(self) -> list[Failure]:
        """Every failure that was open when the run began."""
        return [failure for failures in self._failures.values() for failure in failures]

    def settle(self, now: datetime) -> tuple[list[Failure], list[Failure]]:
        """(resolved with `resolved_at` = `now`, still open)."""
        resolved, still_open = [], []
        for failures in self._failures.values():
            for failure in failures:
                if all(_covers(self._spans(failure, unit), failure.days) for unit in failure.units):
                    resolved.append(replace(failure, resolved_at=now))
                else:
                    still_open.append(failure)
        return resolved, still_open

    def _spans(self, failure: Failure, unit: Unit) -> list[Span]:
        """The days that were loaded since `failure` by `unit` of what had failed."""
        loaded = self._loaded.get((failure.resource, failure.entity_id, unit), ())
        return [span for span, but in loaded if failure.endpoint not in but]


def _covers(spans: Iterable[Span], wanted: Span) -> bool:
    first = wanted.first
    for span in sorted(spans):
        if span.first <= first <= span.last:
            if span.last >= wanted.last:
                return True
            first = span.last + ONE_DAY
    return False
