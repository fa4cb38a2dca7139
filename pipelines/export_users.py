"""`braze-elt export-users`: profiles of segments, of the global control group, or by external id."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

import click
import orjson
from dlt.destinations.exceptions import DatabaseException
from sqlglot.errors import SqlglotError

from destinations.reading import connected
from destinations.refusals import first_line
from pipelines.errors import RunFailed
from pipelines.job import PIPELINE, Job, make_pipeline
from pipelines.outcome import ExitCode
from pipelines.run import run
from sources.braze import open_client
from sources.braze.errors import BrazeError, ConfigurationError, PermissionDenied
from sources.braze.exports import cancel_export
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP
from sources.braze.resources import exports_folder
from sources.braze.settings import Settings, resolve
from sources.braze.user_query import UserQuery

_ROWS_AT_A_TIME = 10_000


def run_export(
    job: Job,
    segments: tuple[str, ...],
    global_control_group: bool,
    external_ids: TextIO | None,
    external_ids_query: str | None,
    external_ids_url: str | None,
) -> ExitCode:
    """Load the profiles asked for, as `job` says where, and return the exit code.

    Raises `ConfigurationError` if none are asked for, a segment has no id, or the ids cannot be read.
    """
    _check_segments(segments)
    sources: list[Iterator[str]] = []
    if external_ids:
        sources.append(_kept_aside(_lines(external_ids)))
    if external_ids_query and external_ids_url:
        sources.append(_kept_aside(_queried(external_ids_url, external_ids_query)))
    elif external_ids_query:
        sources.append(_kept_aside(_from_warehouse(job, external_ids_query)))
    elif external_ids_url:
        raise ConfigurationError("--external-ids-url needs --external-ids-query: the SQL whose first column holds ids.")
    audiences = (*dict.fromkeys(segments), *([GLOBAL_CONTROL_GROUP] if global_control_group else []))
    if not audiences and not sources:
        raise ConfigurationError(
            "Nothing to export: give --segment ID, --global-control-group, --external-ids FILE or"
            " --external-ids-query SQL."
        )
    return run(replace(job, audiences=audiences, external_ids=chain.from_iterable(sources) if sources else None))


def _check_segments(segments: tuple[str, ...]) -> None:
    if not all(segment.strip() for segment in segments):
        raise ConfigurationError("--segment is empty: give it a segment's id. Is a variable of your shell not set?")


def _lines(file: TextIO) -> Iterator[str]:
    try:
        for line in file:
            yield line.strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"--external-ids: {file.name} is not text in UTF-8: save it as such.") from None


def _queried(url: str, sql: str) -> Iterator[str]:
    """The first column of `sql` at a SQLAlchemy `url`, nulls as empty lines: a row's number tells which it is."""
    with UserQuery(url, sql, "--external-ids-url", "--external-ids-query").result() as result:
        for row in result.yield_per(_ROWS_AT_A_TIME):
            yield "" if row[0] is None else str(row[0])


def _from_warehouse(job: Job, sql: str) -> Iterator[str]:
    """The first column of `sql` in the warehouse, as `_queried` gives it."""
    with connected(make_pipeline(job.pipeline, job.dataset, job.destination, read_only=True)) as dataset:
        try:
            for value in dataset.first_column(sql):
                yield "" if value is None else value
        except (DatabaseException, SqlglotError) as error:
            raise ConfigurationError(f"--external-ids-query fails: {first_line(error)}. Correct the query.") from None


def _kept_aside(ids: Iterator[str]) -> Iterator[str]:
    """The ids, read to the end now: an open query could hinder the load, and its errors would come too late."""
    file = TemporaryFile()  # noqa: SIM115 - it has no name and is gone once it was read
    file.writelines(orjson.dumps(external_id) + b"\n" for external_id in ids)
    file.seek(0)
    return map(orjson.loads, file)


def cancel_exports(segments: tuple[str, ...], destination: str, dataset: str) -> ExitCode:
    """Cancel all running exports of the segments.

    Raises `ConfigurationError` if none is named, or one has no id, and `RunFailed` for those that were not cancelled.
    """
    if not segments:
        raise ConfigurationError("--cancel needs the segments whose exports to cancel: --segment ID.")
    _check_segments(segments)
    jobs = exports_folder(make_pipeline(PIPELINE, dataset, destination))
    if failed := asyncio.run(_cancel(resolve(), segments, jobs)):
        raise RunFailed(" ".join(map(str, failed)))
    return ExitCode.OK


async def _cancel(settings: Settings, segments: tuple[str, ...], jobs: Path) -> list[BrazeError]:
    """Cancel the exports of each segment; returns an error for each whose exports were not cancelled."""
    client = open_client(settings)
    failed: list[BrazeError] = []
    try:
        for segment in dict.fromkeys(segments):
            try:
                await cancel_export(client, jobs, segment)
            except (ConfigurationError, PermissionDenied):  # which concern all of them
                raise
            except BrazeError as error:
                failed.append(error)
            else:
                click.echo(f"Cancelled the exports of {segment}.")
    finally:
        await client.aclose()
    return failed
