"""`braze-elt export-users`: profiles of segments, of the global control group, or by external id."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

import click
import sqlalchemy
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from destinations.reading import connected
from pipelines.job import PIPELINE, Job, make_pipeline
from pipelines.run import run
from sources.braze import open_client
from sources.braze.errors import ConfigurationError
from sources.braze.exports import cancel_export
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP
from sources.braze.resources import exports_folder
from sources.braze.settings import Settings, resolve

_ROWS_AT_A_TIME = 10_000


def run_export(
    job: Job,
    segments: tuple[str, ...],
    global_control_group: bool,
    external_ids: TextIO | None,
    external_ids_query: str | None,
    external_ids_url: str | None,
) -> int:
    """Load the profiles asked for, as `job` says where, and return the exit code.

    Raises `ConfigurationError` if none are asked for.
    """
    sources: list[Iterator[str]] = []
    if external_ids:
        sources.append(line.strip() for line in external_ids)
    if external_ids_query and external_ids_url:
        sources.append(_kept_aside(_queried(external_ids_url, external_ids_query)))
    elif external_ids_query:
        pipeline = make_pipeline(job.pipeline, job.dataset, job.destination)
        with connected(pipeline) as dataset:
            sources.append(_kept_aside(dataset.first_column(external_ids_query)))
    elif external_ids_url:
        raise ConfigurationError("--external-ids-url needs --external-ids-query: the SQL whose first column holds ids.")
    audiences = (*segments, *([GLOBAL_CONTROL_GROUP] if global_control_group else []))
    if not audiences and not sources:
        raise ConfigurationError(
            "Nothing to export: give --segment ID, --global-control-group, --external-ids FILE or"
            " --external-ids-query SQL."
        )
    return run(replace(job, audiences=audiences, external_ids=chain.from_iterable(sources) if sources else None))


def _queried(url: str, sql: str) -> Iterator[str]:
    """The first column of `sql` at a SQLAlchemy `url`, streamed."""
    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execution_options(stream_results=True).execute(sqlalchemy.text(sql))
            for row in rows.yield_per(_ROWS_AT_A_TIME):
                if row[0] is not None:
                    yield str(row[0])
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"--external-ids-url cannot be used ({type(error).__name__}).") from None
    except SQLAlchemyError as error:
        raise ConfigurationError(f"--external-ids-query failed ({type(error).__name__}).") from None


def _kept_aside(ids: Iterator[str]) -> Iterator[str]:
    """The ids, read to the end now: an open query could hinder the load, and what it fails with comes too late."""
    file = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - it has no name and is gone once it was read
    file.writelines(f"{external_id}\n" for external_id in ids)
    file.seek(0)
    return (line.rstrip("\n") for line in file)


def cancel_exports(segments: tuple[str, ...], destination: str, dataset: str) -> int:
    """Cancel all running exports of the segments. Raises `ConfigurationError` if none is named."""
    if not segments:
        raise ConfigurationError("--cancel needs the segments whose exports to cancel: --segment ID.")
    asyncio.run(_cancel(resolve(), segments, exports_folder(make_pipeline(PIPELINE, dataset, destination))))
    for segment in segments:
        click.echo(f"Cancelled the exports of {segment}.")
    return 0


async def _cancel(settings: Settings, segments: tuple[str, ...], jobs: Path) -> None:
    client = open_client(settings)
    try:
        for segment in segments:
            await cancel_export(client, jobs, segment)
    finally:
        await client.aclose()
