"""The dlt resources: they take what an `Extraction` brought and hand it to dlt with the declared hints."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.common.pipeline import SupportsPipeline
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from sources.braze.arrow import empty, to_arrow
from sources.braze.audience import Audience
from sources.braze.chunks import Chunk
from sources.braze.extraction import Extraction
from sources.braze.hints import with_table
from sources.braze.model import Table, Type
from sources.braze.private_files import private_folder
from sources.braze.profile_tables import USERS_RESOURCE
from sources.braze.resource_state import FAILURES, cursors_from_state, end_backfill, failures_from_state, learn
from sources.braze.rows import Sheet
from sources.braze.tables import RESOURCES, TABLES, tables_of
from sources.braze.users import ProfileRequest
from sources.braze.writer import Writer


def resources(extraction: Extraction, chunk: Chunk, names: Iterable[str] = RESOURCES) -> list[DltResource]:
    """One dlt resource per name, and `sync_failures`; together they end when `chunk` is full or all is loaded."""
    return [_resource(_rows(extraction, chunk, name), name) for name in names] + [failures(extraction, chunk)]


def failures(extraction: Extraction, chunk: Chunk) -> DltResource:
    """The resource of `sync_failures`; `chunk.settled` says afterwards whether it also had what was mended."""
    return _resource(_failures(extraction, chunk), FAILURES)


def ended_backfill(extraction: Extraction, names: Iterable[str]) -> DltResource:
    """A resource without rows that ends what a backfill keeps to be resumable."""

    def end() -> Iterator[None]:
        for name in names:
            end_backfill(extraction, dlt.current.resource_state(name))
        yield None

    return _resource(end(), "backfill_ended")


def forgotten(names: Iterable[str]) -> DltResource:
    """A resource without rows that has the resources `names` loaded as if for the first time."""

    def forget() -> Iterator[None]:
        for name in names:
            dlt.current.resource_state(name).clear()
        yield None

    return _resource(forget(), "forgotten")


def _resource(rows: Iterator[Any], name: str) -> DltResource:
    # Of a generator, dlt's decorator asks all imported modules whether it is theirs: half a second for all resources.
    return DltResource.from_data(rows, name)


def _rows(extraction: Extraction, chunk: Chunk, resource: str) -> Iterator[DataItemWithMeta | None]:
    chunk.open.add(resource)
    yield None  # every selected resource is opened once before the first one starts the extraction
    _start(extraction, chunk)
    hourly = extraction.run.settings.hourly
    yield from _missing_tables(table for table in tables_of(resource) if hourly or "hour" not in table.key)
    writer = Writer(extraction, chunk, resource)

    def flushed() -> Iterator[DataItemWithMeta]:
        yield from writer.flush()
        if chunk.is_all and resource == USERS_RESOURCE:
            # Nobody will say that this only package was loaded: from here on dlt keeps its rows safe.
            chunk.committed(extraction)

    while writer.unfinished or not (chunk.full or extraction.finished):
        if extraction.waits_for_commit:
            if not chunk.is_all:
                break
            yield from flushed()
        parcel = extraction.take(resource)
        if parcel is None:
            yield None
            continue
        yield from writer.add(parcel)
    if any(table.key == ("id",) for table in tables_of(resource)):
        # Parents that were listed before their figures came must not come in a later package than these.
        while parcel := extraction.take(resource):
            yield from writer.add(parcel)
    yield from flushed()
    chunk.open.discard(resource)
    if not (chunk.open or chunk.keeps_failures):
        yield from _failure_rows(extraction, chunk)  # nobody selected `sync_failures`: they are kept all the same


def exports_folder(pipeline: dlt.Pipeline) -> Path:
    """Where a pipeline keeps exports of profiles between runs: beside its working directory, which dlt may drop."""
    return Path(pipeline.pipelines_dir) / f"{pipeline.pipeline_name}.exports"


def _start(extraction: Extraction, chunk: Chunk) -> None:
    selected = [name for name in RESOURCES if name in chunk.open]
    if USERS_RESOURCE in selected:
        _leave_nothing_behind(dlt.current.pipeline())
    if not extraction.request:
        audiences = tuple(Audience(segment) for segment in extraction.run.settings.segments)
        extraction.request = ProfileRequest(exports_folder(dlt.current.pipeline()), audiences)
    begin(extraction, selected, dlt.current.source_schema(), dlt.current.source_state())


def _leave_nothing_behind(pipeline: SupportsPipeline) -> None:
    """Let no profile stay in the working folder and staging dataset of `pipeline`, unless settings keep them there."""
    private_folder(Path(pipeline.working_dir))  # load packages are on their way there
    # The commands bring these as defaults of their own; in a script there is nobody else to set them.
    for setting in ("load.delete_completed_jobs", "load.truncate_staging_dataset"):
        if dlt.config.get(setting) is None:
            dlt.config[f"{pipeline.pipeline_name}.{setting}"] = True


def begin(extraction: Extraction, selected: Iterable[str], schema: dlt.Schema, state: Any) -> None:
    """Start `extraction` of the `selected` resources with what dlt has kept of earlier runs: `schema` and `state`."""
    _learn_schema(extraction, schema)
    learn(extraction, state)
    extraction.start(selected, cursors_from_state(state, extraction), failures_from_state(state))


def _learn_schema(extraction: Extraction, schema: dlt.Schema) -> None:
    """Tell `extraction` what `schema` knows: types of discovered columns, tables that hold data."""
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


def _failures(extraction: Extraction, chunk: Chunk) -> Iterator[DataItemWithMeta | None]:
    """The resource of `sync_failures`, which waits for all others."""
    chunk.keeps_failures = True
    yield None  # dlt asks all resources in turn: those that come later are opened before this one is asked again
    while chunk.open:
        yield None
    _start(extraction, chunk)  # where no other resource was selected, nothing but the open failures is known yet
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
        yield with_table(table, to_arrow(table, Sheet(rows), {}))
