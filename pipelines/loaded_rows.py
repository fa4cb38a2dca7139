"""The warehouse's side of a verification: what it holds of which entity and day. Reads only."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from destinations import inspection
from destinations.inspection import Extent
from destinations.reading import Dataset, as_instant
from pipelines.column_values import as_declared, row_as_declared
from sources.braze.comparison import comparable
from sources.braze.model import Table
from sources.braze.planning import Calendar
from sources.braze.rows import Row
from sources.braze.series import SeriesSpec, specs
from sources.braze.tables import TABLES, tables_of
from sources.braze.windows import Span, Unit, local_day, midnight

_RUNS = "SELECT _dlt_load_id AS load_id, started_at FROM sync_runs"
Key = tuple[Any, ...]
T = TypeVar("T")


class Loads:
    """When rows were asked for, by `_dlt_load_id`: at the start of the first run whose last load is not earlier."""

    def __init__(self, runs: Iterable[Row], zone: ZoneInfo) -> None:
        self._runs = sorted((float(run["load_id"]), as_instant(run["started_at"])) for run in runs)
        self._zone = zone

    def day(self, load_id: str) -> date:
        """The day on which a row was asked for; loads that no run of the ledger has made count by their own time."""
        place = bisect_left(self._runs, (float(load_id),))
        started = self._runs[place][1] if place < len(self._runs) else datetime.fromtimestamp(float(load_id), UTC)
        return local_day(started, self._zone)


@dataclass(frozen=True)
class Days:
    """Comparable rows of some entities by table, entity and day; `unfinished` were loaded before the day was over."""

    rows: Mapping[str, Mapping[Key, list[Row]]]
    unfinished: frozenset[Key]

    def of(self, table: Table, entity: Key, days: Iterable[date]) -> list[Row]:
        """The rows of `entity` on `days`, in their order."""
        rows = self.rows[table.name]
        return [row for day in days for row in rows.get((*entity, day), [])]


class Held:
    """What one dataset holds, read through its open SQL client; `extents` are known once a series was surveyed."""

    def __init__(self, dataset: Dataset, calendar: Calendar) -> None:
        self.client = dataset.client
        self.calendar = calendar
        self.tables = frozenset(dataset.table_names())
        self._loads = Loads(dataset.query(_RUNS) if "sync_runs" in self.tables else [], calendar.zone)
        self._extents: dict[str, dict[Key, Extent]] = {}
        self._one_at_a_time = asyncio.Lock()

    def has(self, resource: str) -> bool:
        """Whether anything of `resource` was ever loaded."""
        return any(table.name in self.tables for table in tables_of(resource))

    def series(self, resource: str) -> list[SeriesSpec]:
        """The series of `resource` that were ever loaded, by hour too."""
        return [spec for spec in specs(resource, hourly=True) if spec.tables[0].name in self.tables]

    def survey(self, spec: SeriesSpec) -> None:
        """Find out which entities there are, and their first and last moments."""
        main = spec.tables[0]
        found = inspection.extents(self.client, main.name, main.entity, spec.moment)
        self._extents[main.name] = {tuple(extent.key.values()): _typed(spec, extent) for extent in found}

    def extents(self, spec: SeriesSpec) -> Mapping[Key, Extent]:
        """The entities that were surveyed, by the values of their key columns."""
        return self._extents[spec.tables[0].name]

    def moments(self, spec: SeriesSpec, extent: Extent) -> list[Any]:
        """The moments that there are of a surveyed entity."""
        main = spec.tables[0]
        found = inspection.moments(self.client, main.name, extent.key, spec.moment)
        return [as_declared(main, spec.moment, moment) for moment in found]

    def day(self, moment: Any) -> date:
        """The day of a date or an instant, in the workspace's zone."""
        return local_day(moment, self.calendar.zone) if isinstance(moment, datetime) else moment

    def closed(self, extent: Extent) -> Span:
        """The closed days from the first to the last that there are; empty if all there is is of today."""
        return Span(self.day(extent.first), min(self.day(extent.last), self.calendar.yesterday))

    async def entries(self, resource: str, ids: Sequence[str]) -> dict[str, Mapping[Key, list[Row]]]:
        """The comparable rows of catalog entries, by table and entity (its id in Braze)."""
        entries: dict[str, Mapping[Key, list[Row]]] = {}
        id_of = {name.replace("\x00", ""): name for name in ids}  # no warehouse takes these characters
        for table in tables_of(resource):
            column = table.key[0]
            found: dict[Key, list[Row]] = defaultdict(list)
            for row in await self._rows(table, [{column: stored} for stored in id_of]):
                found[id_of[row[column]],].append(comparable(row))
            entries[table.name] = found
        return entries

    async def days(self, spec: SeriesSpec, batch: Sequence[Extent]) -> Days:
        """The rows of all tables of `spec` for the closed days of the entities in `batch`."""
        rows: dict[str, Mapping[Key, list[Row]]] = {}
        unfinished: set[Key] = set()
        keys = [extent.key for extent in batch]
        bounds = self._bounds(spec, min(self.closed(extent).first for extent in batch))
        tables = spec.tables
        for table in tables:
            found: dict[Key, list[Row]] = defaultdict(list)
            for row in await self._rows(table, keys, spec.moment, bounds):
                day = self.day(row[spec.moment])
                place = (*(row[name] for name in table.entity), day)
                found[place].append(comparable(row))
                if table is tables[0] and self._is_unfinished(row, day):
                    unfinished.add(place)
            rows[table.name] = found
        return Days(rows, frozenset(unfinished))

    async def newest(self, table: str, column: str) -> Any:
        """The largest value of a column."""
        found = await self.aside(lambda: inspection.newest(self.client, table, column))
        return as_declared(TABLES[table], column, found)

    async def aside(self, read: Callable[[], T]) -> T:
        """Read the warehouse in a thread, one read at a time."""
        async with self._one_at_a_time:
            return await asyncio.to_thread(read)

    def _bounds(self, spec: SeriesSpec, first: date) -> tuple[Any, Any]:
        zone, today = self.calendar.zone, self.calendar.today
        return (first, today) if spec.unit is Unit.DAY else (midnight(first, zone), midnight(today, zone))

    def _is_unfinished(self, row: Row, day: date) -> bool:
        load_id = row.get("_dlt_load_id")
        return load_id is not None and self._loads.day(load_id) <= row.get("end_date", day)

    async def _rows(self, table: Table, keys: Sequence[Row], *during: Any) -> list[Row]:
        if table.name not in self.tables:
            return []
        found = await self.aside(lambda: list(inspection.rows(self.client, table.name, keys, *during)))
        return [row_as_declared(table, row) for row in found]


def _typed(spec: SeriesSpec, extent: Extent) -> Extent:
    first, last = (as_declared(spec.tables[0], spec.moment, value) for value in (extent.first, extent.last))
    return replace(extent, first=first, last=last)
