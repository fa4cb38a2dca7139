"""The warehouse compared with the API, entity by entity, in batches that bound memory."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from destinations.inspection import Extent
from pipelines.consistency import look_inside
from pipelines.findings import Report
from pipelines.loaded_rows import Days, Held, Key
from sources.braze import flatten
from sources.braze.catalog import CATALOGS, Catalog, entity_named
from sources.braze.columns import MESSAGE_BODIES
from sources.braze.comparison import (
    Difference,
    Kind,
    compare,
    compare_steps,
    compare_sums,
    sampled,
    typed,
)
from sources.braze.endpoints import Json
from sources.braze.errors import (
    BrazeError,
    ConfigurationError,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    UnknownEntity,
    documented_shape,
)
from sources.braze.model import ALL
from sources.braze.record import OPTIONAL
from sources.braze.rereading import Reread, Rereading
from sources.braze.rows import Row, Rows
from sources.braze.series import CANVAS_SERIES, CANVAS_SUMMARY, SUMMARY_DAYS, Gaps, SeriesSpec
from sources.braze.tables import TABLES
from sources.braze.windows import ONE_DAY, Span, windows

BATCH_DAYS = 2_000
"""Days of entities whose rows are in memory at a time, for each resource."""
BATCH_ENTITIES = 100
_ALWAYS: dict[str, tuple[dict[str, str], ...]] = {
    "kpis": ({"app_id": ALL},),
    "sessions": ({"app_id": ALL, "segment_id": ALL},),
    "event_series": (),
    "purchases": ({"product": ALL, "app_id": ALL},),
    "sends": (),
}
"""Series of the workspace itself: they are compared for the keys that the warehouse has; these every load has."""


class Verification:
    """One comparison, of `count` entities per resource (None: all); `report` is what it finds.

    Only closed days are compared, and only if they were closed when they were loaded. With a dry `api` nothing is
    compared: `api.counted` counts what would be asked.
    """

    def __init__(self, held: Held, api: Rereading, count: int | None) -> None:
        self.report = Report((api.settings.api_key,))
        self._held = held
        self._api = api
        self._calendar = held.calendar
        self._count = count
        self._refused: InvalidKey | None = None

    async def run(self, names: Sequence[str]) -> None:
        """Compare the resources `names`. Raises `ConfigurationError` if Braze answers nothing at all."""
        present = [name for name in names if self._held.has(name)]
        self.report.not_loaded = [name for name in names if name not in present]
        for name in present:
            self.report.tally(name)
            await self._held.aside(partial(self._look_inside, name))
        work: list[tuple[str, Awaitable[None]]] = [
            *((catalog.resource, self._catalog(catalog, present)) for catalog in CATALOGS),
            *((name, self._by_key(name)) for name in present if name in _ALWAYS),
        ]
        if "events" in present:
            work.append(("events", self._events()))
        if "purchases" in present:
            work.append(("purchases", self._products()))
        async with asyncio.TaskGroup() as tasks:
            for name, comparison in work:
                tasks.create_task(self._guarded(name, comparison))
        if self._refused and not self._api.client.traffic.succeeded:
            raise self._refused

    def _look_inside(self, resource: str) -> None:
        for spec in self._held.series(resource):
            self._held.survey(spec)
        if not self._api.dry:
            look_inside(self._held, resource, self.report)

    async def _guarded(self, resource: str, work: Awaitable[None], entity: str = ALL, listed: bool = True) -> None:
        """Await `work`; if it fails, `entity` is reported as not compared, and nothing else is held up.

        What is not `listed` but known from the warehouse alone may be gone from Braze.
        """
        try:
            await work
        except InvalidKey as error:
            self._refused = error
            self.report.fail(resource, entity, error)
        except ConfigurationError:
            raise
        except BrazeError as error:
            if isinstance(error, UnknownEntity) and not listed:
                self.report.lose(resource, entity)
            else:
                self.report.fail(resource, entity, error)

    # Catalogs

    async def _catalog(self, catalog: Catalog, names: Sequence[str]) -> None:
        """Compare the entities of a catalog, and the series in `names` that are asked for each of them."""
        series = [spec for name in names for spec in self._held.series(name) if spec.of == catalog.resource]
        whole = catalog.resource in names
        if not (series or whole):
            return
        entries = await self._listed(catalog)
        self._forget_gone(catalog, entries, series)
        chosen = sampled(entries, lambda entry: str(entry["id"]), self._count, self._calendar.today)
        for batch in _chunks(chosen):
            await self._entries(catalog, batch, series, whole)
        askable = [(entry["id"],) for entry in chosen if not catalog.skip(entry, {})]
        for spec in series:
            extents = self._held.extents(spec)
            await self._series(spec, [extents[entity] for entity in askable if entity in extents])

    async def _listed(self, catalog: Catalog) -> Sequence[Json]:
        """What the catalog lists: nothing where it is one that not every workspace has."""
        try:
            return await self._api.entries(catalog)
        except (InvalidKey, NotAvailable, PermissionDenied) as error:
            if catalog.resource not in OPTIONAL:
                raise
            if isinstance(error, InvalidKey):
                self._refused = error
            return []

    def _forget_gone(self, catalog: Catalog, entries: Sequence[Json], series: Sequence[SeriesSpec]) -> None:
        """What Braze does not list any more, or keeps no figures of, is neither asked for nor behind."""
        present = {entry["id"] for entry in entries if not catalog.skip(entry, {})}
        for spec in series:
            for (entity,) in self._held.extents(spec):
                if entity not in present:
                    self.report.lose(spec.resource, entity)

    async def _entries(
        self, catalog: Catalog, batch: Sequence[Json], series: Sequence[SeriesSpec], whole: bool
    ) -> None:
        resource = catalog.resource
        stored = await self._held.entries(resource, [entry["id"] for entry in batch]) if whole else {}
        newest = await self._held.newest(resource, "synced_at") if whole else None

        async def one(entry: Json) -> None:
            unknown = [spec for spec in series if (entry["id"],) not in self._held.extents(spec)]
            if not (whole or unknown):
                return
            details = await self._api.details(catalog, entry["id"])
            if details is None:
                return
            with documented_shape(catalog.details, entry["id"]):
                if whole:
                    rows = catalog.flatten(entry, details)
                    created = details.get("created_at")
                    is_new = not (created and newest) or flatten.parse_instant(created, self._calendar.zone) > newest
                    self._compare_entry(resource, entry["id"], rows, stored, is_new)
                for spec in unknown:
                    self._compare_beginning(catalog, spec, entry, details)

        await asyncio.gather(*(self._guarded(resource, one(entry), entry["id"]) for entry in batch))

    def _compare_entry(
        self, resource: str, name: str, rows: Rows, stored: Mapping[str, Mapping[Key, list[Row]]], is_new: bool
    ) -> None:
        """Compare all rows of a catalog entry; one that may be newer than the last run may be absent."""
        tally = self.report.tally(resource)
        if is_new and not stored[resource].get((name,)):
            self.report.late(resource, name, 0)
            return
        tally.entities += 1
        ignored = frozenset() if self._api.settings.message_bodies else MESSAGE_BODIES
        for table_name, said in rows.items():
            tally.rows += len(said)
            table = TABLES[table_name]
            for difference in compare(table, stored[table_name].get((name,), []), typed(table, said), ignored):
                self.report.add(difference)

    def _compare_beginning(self, catalog: Catalog, spec: SeriesSpec, entry: Json, details: Json) -> None:
        """An entity without any row: a difference if its figures begin before the newest day of the others.

        One that was never active has none to begin with.
        """
        entity = catalog.entity(entry, details, self._calendar.zone)
        extents = self._held.extents(spec).values()
        if entity is None or entity.never_active or spec.summary or not extents:
            return
        yesterday = self._calendar.yesterday
        newest = min(max(self._held.day(extent.last) for extent in extents), yesterday)
        first = self._calendar.floor(entity)
        if spec.gaps is Gaps.NONE and entity.begins and first < newest:
            key = {**entity.key, "start_date": first, "end_date": newest}
            self.report.add(Difference(Kind.MISSING, spec.tables[0].name, key, None, "no row at all"))
        elif first <= yesterday:
            self.report.late(spec.resource, entity.id, len(Span(first, yesterday)))

    async def _events(self) -> None:
        entries = {entry["name"]: entry for entry in await self._api.events()}
        chosen = sampled(entries, str, self._count, self._calendar.today)
        for batch in _chunks(chosen):
            stored = await self._held.entries("events", batch)
            for name in batch:
                self._compare_entry("events", name, flatten.event(entries[name]), stored, is_new=True)

    async def _products(self) -> None:
        for batch in _chunks(await self._api.products()):
            stored = await self._held.entries("purchases", batch)
            for name in batch:
                if not stored["products"].get((name,)):
                    self.report.late("purchases", name, 0)

    # Series

    async def _by_key(self, resource: str) -> None:
        """Compare series of the workspace itself, for each key that the warehouse has."""
        for spec in self._held.series(resource):
            extents = self._held.extents(spec)
            for key in _ALWAYS[resource]:
                if tuple(key.values()) not in extents:
                    self.report.late(resource, entity_named(key).id, 0)
            chosen = sampled(extents.values(), lambda extent: str(extent.key), self._count, self._calendar.today)
            await self._series(spec, chosen)

    async def _series(self, spec: SeriesSpec, extents: Sequence[Extent]) -> None:
        for batch in self._batches(extents):
            days = await self._held.days(spec, batch)
            entities = (self._entity(spec, extent, days) for extent in batch)
            await asyncio.gather(*entities)

    def _batches(self, extents: Sequence[Extent]) -> Iterator[list[Extent]]:
        batch: list[Extent] = []
        days = 0
        for extent in extents:
            days += len(self._held.closed(extent))
            if batch and (days > BATCH_DAYS or len(batch) >= BATCH_ENTITIES):
                yield batch
                batch, days = [], len(self._held.closed(extent))
            batch.append(extent)
        if batch:
            yield batch

    async def _entity(self, spec: SeriesSpec, extent: Extent, days: Days) -> None:
        """Compare everything that `spec` says of one entity."""
        name, span = entity_named(extent.key).id, self._held.closed(extent)
        tally = self.report.tally(spec.resource)
        tally.entities += 1
        if (*extent.key.values(), span.last) in days.unfinished:
            self.report.late(spec.resource, name, len(Span(span.last, self._calendar.yesterday)))
        work: list[Awaitable[None]] = [
            self._window(spec, extent, window, days) for window in self._windows(spec, extent, span, days)
        ]
        if spec is CANVAS_SERIES:
            work.append(self._sum(extent, span, days))
        await asyncio.gather(*(self._guarded(spec.resource, one, name, listed=spec.of is not None) for one in work))

    def _windows(self, spec: SeriesSpec, extent: Extent, span: Span, days: Days) -> list[Span]:
        if not spec.summary:
            return windows(span, spec.days_per_request)
        held = days.of(spec.tables[0], tuple(extent.key.values()), span.days())
        # Whether Braze counts the day of `ending_at` is not known: a total may reach into the day after its last.
        return [Span(row["start_date"], row["end_date"]) for row in held if row["end_date"] < self._calendar.yesterday]

    async def _window(self, spec: SeriesSpec, extent: Extent, span: Span, held: Days) -> None:
        said = await self._api.series(spec, entity_named(extent.key), span)
        if said is None:
            return
        entity = tuple(extent.key.values())
        days = [day for day in self._comparable_days(spec, span, said) if (*entity, day) not in held.unfinished]
        tally, moment = self.report.tally(spec.resource), spec.moment
        tally.days += len(days)
        for table in spec.tables:
            theirs = [row for row in said.rows[table.name] if self._held.day(row[moment]) in days]
            tally.rows += len(theirs)
            for difference in compare(table, held.of(table, entity, days), theirs, said.ignored):
                self.report.add(difference)
        if spec is CANVAS_SERIES:
            steps, messages = TABLES["canvas_step_daily"], TABLES["canvas_step_message_daily"]
            for difference in compare_steps(messages, held.of(steps, entity, days), held.of(messages, entity, days)):
                self.report.add(difference)

    def _comparable_days(self, spec: SeriesSpec, span: Span, said: Reread) -> list[date]:
        """The days of an answer that say something: Braze forgets the figures of sends after a while."""
        if spec.summary:
            return [span.first]
        days = [day for day in span.days() if day in said.days]
        if spec.gaps is not Gaps.ANY:
            return days
        kept = {row["date"] for row in said.rows[spec.tables[0].name] if flatten.has_figures(row)}
        return [day for day in days if day in kept]

    async def _sum(self, extent: Extent, span: Span, held: Days) -> None:
        """Compare the newest days of a Canvas, summed, with Braze's own total of them."""
        entity, table = tuple(extent.key.values()), TABLES["canvas_daily"]
        last = span.last - ONE_DAY * ((*entity, span.last) in held.unfinished)
        window = Span(max(span.first, last - timedelta(days=SUMMARY_DAYS - 1)), last)
        rows = held.of(table, entity, window.days())
        if not len(window) or len(rows) != len(window):
            return
        said = await self._api.series(CANVAS_SUMMARY, entity_named(extent.key), window)
        key = {**extent.key, "start_date": window.first, "end_date": window.last}
        for total in said.rows["canvas_summary"] if said else ():
            for difference in compare_sums(table, key, rows, total):
                self.report.add(difference)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[place : place + BATCH_ENTITIES] for place in range(0, len(items), BATCH_ENTITIES))
