"""The dlt resources: they take what an `Extraction` brought and hand it to dlt with the declared hints."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.schema.typing import TColumnSchema
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from sources.braze.arrow import DELETED, conform, empty, to_arrow, union
from sources.braze.columns import describe_discovered
from sources.braze.cursors import Cursors
from sources.braze.disposition import ADDED, disposition, merges
from sources.braze.export_jobs import Audience
from sources.braze.extraction import Extraction
from sources.braze.failures import Failure, OpenFailures
from sources.braze.model import Column, Table, Type
from sources.braze.parcels import PACKED_ROWS, Parcel
from sources.braze.tables import RESOURCES, TABLES, tables_of
from sources.braze.users import ProfileRequest

BATCH_ROWS = 50_000
"""Rows per Arrow item: dlt charges about a millisecond for each."""
FAILURES = "sync_failures"
ZONE = "time_zone"
_LOAD_ID = pa.field("_dlt_load_id", pa.string(), nullable=False)
TOMBSTONE = Column(DELETED, Type.BOOL, "Marks a removal on its way into the warehouse; null in every stored row.")


class Chunk:
    """What one load package takes: about `rows` rows or `seconds` of work, unless it is unlimited (None)."""

    def __init__(self, rows: int | None = None, seconds: float | None = None) -> None:
        self._limit = rows
        self._ends = time.monotonic() + seconds if seconds else None
        self.rows = 0
        self.tables: Counter[str] = Counter()
        self.open: set[str] = set()
        self.keeps_failures = False
        self.settled = False
        self._on_commit: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether what comes next belongs to the next chunk."""
        if self._limit is not None and self.rows >= self._limit:
            return True
        return self._ends is not None and self.rows > 0 and time.monotonic() >= self._ends

    @property
    def is_all(self) -> bool:
        """Whether this is the only chunk of its run."""
        return self._limit is None and self._ends is None

    def loads(self, parcel: Parcel) -> None:
        """Remember what `parcel` wants done when it is in the warehouse."""
        if parcel.on_commit:
            self._on_commit.append(parcel.on_commit)

    def committed(self, extraction: Extraction) -> None:
        """To be called when the package is in the warehouse: what was loaded from files can go now."""
        for done in self._on_commit:
            done()
        count = len(self._on_commit)
        self._on_commit.clear()
        extraction.run.outbox.committed(count)


def resources(extraction: Extraction, chunk: Chunk, names: Iterable[str] = RESOURCES) -> list[DltResource]:
    """One dlt resource per name, and `sync_failures`; together they end when `chunk` is full or all is loaded."""
    return [_resource(_rows(extraction, chunk, name), name) for name in names] + [failures(extraction, chunk)]


def failures(extraction: Extraction, chunk: Chunk) -> DltResource:
    """The resource of `sync_failures`; `chunk.settled` says afterwards whether it also had what was mended."""
    return _resource(_failures(extraction, chunk), FAILURES)


def hints(table: Table) -> Any:
    """Dlt's hints for `table`: types, descriptions, and delete-insert by grain and parent where that works."""
    columns = (*table.columns, TOMBSTONE) if table.parent else table.columns
    return dlt.mark.make_hints(
        table_name=table.name,
        write_disposition=disposition(),
        primary_key=table.key,
        merge_key=table.parent,
        columns={column.name: _column_hint(table, column) for column in columns},
    )


def with_table(table: Table, rows: pa.Table) -> DataItemWithMeta:
    """`rows` as an item of a dlt resource, with the hints of the table that they belong to."""
    return dlt.mark.with_hints(_stamped(rows), hints(table), create_table_variant=True)


def _stamped(rows: pa.Table) -> pa.Table:
    """`rows` with the load that they belong to.

    dlt can add it, but to the end: where columns were discovered after it, dlt then writes every file a second time.
    """
    load_id = dlt.current.load_package_state()["load_id"]
    return rows.append_column(_LOAD_ID, pa.repeat(load_id, rows.num_rows))


def merge_keys() -> dict[str, tuple[str, ...]]:
    """The columns by which a merge finds the rows it replaces, by table."""
    return {name: table.parent or table.key for name, table in TABLES.items()}


def _column_hint(table: Table, column: Column) -> TColumnSchema:
    hint: TColumnSchema = {
        "name": column.name,
        "data_type": column.type.value,
        "nullable": column.name not in table.key,
        "description": column.description,
    }
    if column.type is Type.TIMESTAMP:
        hint["timezone"] = True
    if not table.parent and column.name in (TABLES[table.name].parent or ()):
        hint["merge_key"] = False  # the schema remembers it from loads that replaced the parent's rows
    if column.name == DELETED:
        hint["hard_delete"] = True
    return hint


def cursors_from_state(state: Any, extraction: Extraction) -> dict[str, Cursors]:
    """The cursors that this run goes by: the nightly ones, or those of the same backfill if it was interrupted.

    In another time zone days are other days: after the setting has changed everything is loaded anew.
    """
    kept, zone = section(extraction), extraction.run.settings.zone.key
    return {
        name: Cursors.from_state(resource_state.get(kept, {}))
        for name, resource_state in state.get("resources", {}).items()
        if resource_state.get(ZONE, zone) == zone
    }


def failures_from_state(state: Any) -> OpenFailures:
    """The failures that are still open."""
    stored = state.get("resources", {}).get(FAILURES, {}).get("open", [])
    return OpenFailures(Failure.from_state(failure) for failure in stored)


def forget_backfill(extraction: Extraction, names: Iterable[str]) -> DltResource:
    """A resource without rows that removes what a completed backfill kept to be resumable."""

    def forget() -> Iterator[None]:
        for name in names:
            dlt.current.resource_state(name).pop(section(extraction), None)
        yield None

    return _resource(forget(), "backfill_completed")


def _resource(rows: Iterator[Any], name: str) -> DltResource:
    # Of a generator, dlt's decorator asks all imported modules whether it is theirs: half a second for all resources.
    return DltResource.from_data(rows, name)


def descriptions(schema: dlt.Schema) -> dict[str, tuple[str, dict[str, str]]]:
    """Table and column descriptions of all our tables in `schema`, those of discovered columns included."""
    described = {}
    for name, stored in schema.tables.items():
        if declared := TABLES.get(name):
            columns = {column: _describe(declared, column) for column in stored["columns"]}
            described[name] = (declared.description, columns)
    return described


def _describe(table: Table, name: str) -> str:
    column = table.column(name)
    if column:
        return column.description
    return TOMBSTONE.description if name == DELETED else describe_discovered(name)


def section(extraction: Extraction) -> str:
    """Where in a resource's state the cursors are: backfills keep their own and leave the nightly ones alone."""
    only = extraction.run.calendar.only
    return f"backfill {only.first}..{only.last}" if only else "cursors"


def _rows(extraction: Extraction, chunk: Chunk, resource: str) -> Iterator[DataItemWithMeta | None]:
    chunk.open.add(resource)
    yield None  # every selected resource is opened once before the first one starts the extraction
    _start(extraction, chunk)
    hourly = extraction.run.settings.hourly
    yield from _missing_tables(table for table in tables_of(resource) if hourly or "hour" not in table.key)
    writer = _Writer(extraction, chunk, resource)
    while writer.unfinished or not (chunk.full or extraction.finished):
        if extraction.waits_for_commit:
            if not chunk.is_all:
                break
            # Nobody will say that this only package was loaded: from here on dlt keeps its rows safe.
            yield from writer.flush()
            if resource == "users":
                chunk.committed(extraction)
        parcel = extraction.take(resource)
        if parcel is None:
            yield None
            continue
        yield from writer.add(parcel)
    if any(table.key == ("id",) for table in tables_of(resource)):
        # Parents that were listed before their figures came must not come in a later package than these.
        while parcel := extraction.take(resource):
            yield from writer.add(parcel)
    yield from writer.flush()
    chunk.open.discard(resource)
    if not (chunk.open or chunk.keeps_failures):
        yield from _failure_rows(extraction, chunk)  # nobody selected `sync_failures`: they are kept all the same


def exports_folder(pipeline: dlt.Pipeline) -> Path:
    """Where a pipeline keeps exports of profiles between runs: beside its working directory, which dlt may drop."""
    return Path(pipeline.pipelines_dir) / f"{pipeline.pipeline_name}.exports"


def _start(extraction: Extraction, chunk: Chunk) -> None:
    selected = [name for name in RESOURCES if name in chunk.open]
    if not extraction.request:
        audiences = tuple(Audience(segment) for segment in extraction.run.settings.segments)
        extraction.request = ProfileRequest(exports_folder(dlt.current.pipeline()), audiences)
    state = dlt.current.source_state()
    learn(extraction, dlt.current.source_schema())
    extraction.start(selected, cursors_from_state(state, extraction), failures_from_state(state))


def learn(extraction: Extraction, schema: dlt.Schema) -> None:
    """Tell `extraction`, before it starts, what `schema` knows: types of discovered columns, tables that hold data."""
    for name, table in schema.tables.items():
        declared = TABLES.get(name)
        if not declared:
            continue
        for column_name, column in table["columns"].items():
            if data_type := column.get("data_type"):
                extraction.run.known.types[name].setdefault(column_name, Type(data_type))
        if (table.get("x-normalizer") or {}).get("seen-data"):
            extraction.run.known.filled.add(name)


def _missing_tables(tables: Iterable[Table]) -> Iterator[DataItemWithMeta]:
    """Empty items for tables that do not exist yet: an analyst's query must not fail for want of rows."""
    existing = dlt.current.source_schema().tables
    for table in tables:
        if table.name not in existing:
            yield with_table(table, empty(table))


class _Writer:
    """Gathers the parcels of one resource into items worth their cost, and moves its cursors with them."""

    def __init__(self, extraction: Extraction, chunk: Chunk, resource: str) -> None:
        self._extraction = extraction
        self._chunk = chunk
        self._resource = resource
        self._cursors = extraction.run.cursors.setdefault(resource, Cursors())
        self._moved = False
        self.unfinished = False
        self._waiting: dict[str, list[pa.Table]] = defaultdict(list)
        self._shapes: dict[str, Table] = {}
        self._waiting_rows = 0
        self._plain = Parcel()
        self._hinted: dict[str, Table] = {}

    def add(self, parcel: Parcel) -> Iterator[DataItemWithMeta]:
        for entity, first in parcel.started:
            self._cursors.start(entity, first)
        for entity, span in parcel.reached:
            self._cursors.advance(entity, span)
        for entity, quiet in parcel.quiet:
            self._cursors.mark_quiet(entity, quiet)
        self._moved = self._moved or bool(parcel.reached or parcel.quiet)
        self.unfinished = parcel.more
        self._shapes |= parcel.shapes
        self._chunk.loads(parcel)
        for name, table in parcel.tables.items():
            self._waiting[name].append(table)
        self._plain.gather(parcel)
        if self._plain.rows >= PACKED_ROWS:
            self._pack()
        self._waiting_rows += parcel.rows
        self._chunk.rows += parcel.rows
        if self._waiting_rows >= BATCH_ROWS:
            yield from self._write()

    def flush(self) -> Iterator[DataItemWithMeta]:
        yield from self._write()
        if self._moved:
            state = dlt.current.resource_state()
            zone = self._extraction.run.settings.zone.key
            if state.get(ZONE, zone) != zone:
                state.clear()  # what other runs have loaded was loaded by other days
            state[section(self._extraction)] = self._cursors.to_state()
            state[ZONE] = zone

    def _write(self) -> Iterator[DataItemWithMeta]:
        known = self._extraction.run.known
        self._pack()
        for name, tables in self._waiting.items():
            table = self._shapes.get(name, TABLES[name])
            # Tables with a shape of their own come from DuckDB, cleaned and in one piece.
            united = tables[0] if name in self._shapes and len(tables) == 1 else union(tables)
            item = conform(table, united, known.types[name])
            removed = pc.sum(item.column(DELETED)).as_py() or 0 if DELETED in item.column_names else 0
            self._chunk.tables[name] += item.num_rows - removed
            yield self._marked(table, self._beside_siblings(table, item))
        self._waiting.clear()
        self._waiting_rows = 0

    def _pack(self) -> None:
        self._plain.pack(self._extraction.run.known)
        for name, packed in self._plain.tables.items():
            self._waiting[name].append(packed)
        self._plain = Parcel()

    def _beside_siblings(self, table: Table, item: pa.Table) -> pa.Table:
        """Rows that replace nothing but themselves say so where only the rows themselves can."""
        if table.parent or not TABLES[table.name].parent or merges():
            return item
        return item.append_column(DELETED, pa.repeat(pa.scalar(ADDED), item.num_rows))

    def _marked(self, table: Table, item: pa.Table) -> DataItemWithMeta:
        if self._hinted.get(table.name) == table:
            return dlt.mark.with_table_name(_stamped(item), table.name)
        self._hinted[table.name] = table
        return with_table(table, item)


def _failures(extraction: Extraction, chunk: Chunk) -> Iterator[DataItemWithMeta | None]:
    """The resource of `sync_failures`, which waits for all others."""
    chunk.keeps_failures = True
    yield None
    yield None
    while chunk.open:
        yield None
    yield from _failure_rows(extraction, chunk)


def _failure_rows(extraction: Extraction, chunk: Chunk) -> Iterator[DataItemWithMeta]:
    """Rows of `sync_failures`: what failed since the last chunk and, at the end, what was mended."""
    earlier = extraction.run.record.open_failures
    chunk.settled = extraction.finished
    known = dict.fromkeys(extraction.failures)
    resolved, still_open = earlier.settle(extraction.run.calendar.now) if chunk.settled else ([], earlier.all())
    dlt.current.resource_state(FAILURES)["open"] = [failure.to_state() for failure in (*still_open, *known)]
    rows = [failure.row() for failure in (*known, *resolved)]
    yield from _missing_tables([TABLES[FAILURES]])
    if rows:
        table = TABLES[FAILURES]
        yield with_table(table, to_arrow(table, rows, {}))
