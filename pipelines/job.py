"""A command's inputs made ready: selection, settings, pipeline, locks."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import dlt
from dlt.extract import DltSource
from filelock import FileLock, Timeout

from destinations.access import check
from destinations.errors import DestinationError
from destinations.factory import destination
from destinations.location import exists, fingerprint, is_lake
from destinations.locks import lock
from destinations.packages import complete, kept_open, load_package
from destinations.settings import apply_loader_defaults
from destinations.state import adopt
from pipelines.errors import RunFailed, loading
from pipelines.lost_tables import restore
from sources.braze import default_names, open_client
from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.disposition import can_merge
from sources.braze.errors import ConfigurationError
from sources.braze.profile_tables import USERS_RESOURCE
from sources.braze.settings import Settings
from sources.braze.tables import RESOURCES
from sources.braze.users import ProfileRequest
from sources.braze.windows import Span

logger = logging.getLogger(__name__)
PIPELINE = "braze"
CHUNK_ROWS = 4_000_000
CHUNK_SECONDS = 30.0
"""A kill loses the chunk in progress: half a minute of work."""


@dataclass(frozen=True)
class Job:
    """What a loading command was asked for. `now` is its clock; `only` a backfill's range; `file` a DuckDB file.

    `client` makes the connection to Braze; a load package takes `chunk_rows` rows or `chunk_seconds` of work. The
    file `summary` gets the run as Markdown, `metrics` its figures for Prometheus.
    """

    command: str
    select: str | None = None
    destination: str = "duckdb"
    dataset: str = "braze"
    log_format: str = "text"
    only: Span | None = None
    now: datetime = field(default_factory=lambda: datetime.now(tz=UTC))
    pipeline: str = PIPELINE
    file: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    audiences: tuple[str, ...] | None = None
    external_ids: Iterable[str] | None = None
    client: Callable[[Settings], Client] = open_client
    chunk_rows: int = CHUNK_ROWS
    chunk_seconds: float = CHUNK_SECONDS
    summary: Path | None = None
    metrics: Path | None = None

    def profiles(self, settings: Settings, folder: Path) -> ProfileRequest:
        """Whose profiles to load: those the command names, or else the configured segments."""
        return ProfileRequest(folder, tuple(map(Audience, self._audiences(settings))), self.external_ids)

    def _audiences(self, settings: Settings) -> tuple[str, ...]:
        return settings.segments if self.audiences is None else self.audiences

    def names(self, settings: Settings) -> tuple[str, ...]:
        """The selected resources. Raises `ConfigurationError` for an unknown one, with the nearest."""
        if self.select is None:
            names = default_names(settings)
            return tuple(name for name in names if name != USERS_RESOURCE) if self.only else names
        asked = [name.strip() for name in self.select.split(",") if name.strip()]
        for name in asked:
            if name not in RESOURCES:
                nearest = get_close_matches(name, RESOURCES, n=1, cutoff=0)[0]
                raise ConfigurationError(
                    f"--select names {name!r}, which is no resource. Did you mean {nearest}?"
                    f" The resources are {', '.join(RESOURCES)}."
                )
        if not asked:
            raise ConfigurationError(f"--select is empty: name one or more of {', '.join(RESOURCES)}.")
        return tuple(name for name in RESOURCES if name in asked)

    def names_to_load(self, settings: Settings) -> tuple[str, ...]:
        """The selected resources. Raises `ConfigurationError` also if nothing says which profiles or sends to load."""
        names = self.names(settings)
        if "sends" in names and not (settings.sends or settings.sends_query):
            raise ConfigurationError(
                "--select names sends, but neither `sends` nor `sends_query` is set: list the sends there, each as"
                " campaign_id:send_id, or set a query that selects them, since Braze has no list of them."
            )
        if USERS_RESOURCE in names and not self._audiences(settings) and self.external_ids is None:
            raise ConfigurationError(
                "--select names users, but `segments` is empty: list the segments whose profiles to load there, or"
                " load some by braze-elt export-users."
            )
        return names


def make_pipeline(
    name: str, dataset: str, destination_name: str, file: Path | None = None, read_only: bool = False
) -> dlt.Pipeline:
    """The dlt pipeline that loads into `dataset` of the destination, or, `read_only`, reads it; opens nothing."""
    apply_loader_defaults()
    return dlt.pipeline(name, destination=destination(destination_name, file, read_only), dataset_name=dataset)


@dataclass(frozen=True)
class OpenDataset:
    """A dataset that belongs to this run alone: the pipeline into it, and what makes sure of the lock on it."""

    pipeline: dlt.Pipeline
    keep_lock: Callable[[], None]

    def load(self, source: DltSource) -> None:
        """Load what `source` yields, as one package.

        Raises dlt's PipelineStepFailed, and `DestinationBusy` if the lock was lost and another run has it now.
        """
        load_package(self.pipeline, source, self.keep_lock)


@contextmanager
def opened(job: Job, settings: Settings) -> Iterator[OpenDataset]:
    """The job's dataset, locked, its warehouse checked, its state taken from the warehouse, earlier loads completed.

    What was left pending under other rules for personal data is dropped and asked for again.

    Raises `DestinationError` (nothing written) for a warehouse that cannot be used, `RunFailed` if another run is
    under way.
    """
    pipeline = make_pipeline(job.pipeline, job.dataset, job.destination, job.file)
    assert pipeline.destination
    with only_run(pipeline):
        check(pipeline.destination, job.dataset)
        if notice := append_notice(pipeline):
            logger.warning(notice)
        with lock(pipeline.destination, job.dataset) as keep_lock:
            _put_in_order(pipeline, job, settings)
            yield OpenDataset(pipeline, keep_lock)


def _put_in_order(pipeline: dlt.Pipeline, job: Job, settings: Settings) -> None:
    """Take the state from the warehouse, make what was dropped there again, and load what was left pending."""
    assert pipeline.destination
    there = exists(pipeline.destination, job.dataset)
    with kept_open(pipeline) if there else nullcontext(), loading():
        adopt(pipeline, f"{fingerprint(pipeline.destination, job.dataset)} {settings.pii.fingerprint}")
        restore(pipeline, job.names(settings), settings.hourly)
        complete(pipeline)


def append_notice(pipeline: dlt.Pipeline) -> str | None:
    """What to know about a destination that cannot replace rows; None if it can.

    Raises `DestinationError` for one that has neither merges nor files that views can be read from.
    """
    assert pipeline.destination
    if can_merge(pipeline.destination.capabilities()):
        return None
    name = pipeline.destination.destination_name
    if not is_lake(pipeline.destination):
        raise DestinationError(
            f"The {name} destination cannot replace rows by their parent: choose an SQL destination."
        )
    return (
        f"The {name} destination cannot replace rows: every load is appended, and what is current is in the views that"
        f" views.sql in the dataset {pipeline.dataset_name} makes."
    )


@contextmanager
def only_run(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Hold the pipeline's working directory. Raises `RunFailed` if another run has it."""
    folder = Path(pipeline.pipelines_dir)
    folder.mkdir(parents=True, exist_ok=True)
    running = FileLock(folder / f"{pipeline.pipeline_name}.lock")
    try:
        running.acquire(blocking=False)
    except Timeout:
        raise RunFailed(
            f"Another run of the pipeline {pipeline.pipeline_name!r} is under way: wait until it has ended, then run"
            f" again. (Its working directory is {os.path.join(folder, pipeline.pipeline_name)}; runs that share"
            " nothing can have their own by DLT_DATA_DIR.)"
        ) from None
    try:
        yield
    finally:
        running.release()
