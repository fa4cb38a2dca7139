"""What the warehouse remembers of earlier runs: when they were good, since when something fails, how new it all is."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from destinations.access import check
from destinations.location import exists
from destinations.reading import Dataset, as_instant, connected
from pipelines.job import Job, make_pipeline, only_run
from pipelines.outcome import LOADED_IN_SQL, Status
from pipelines.status import newest_days, workspace_zone

logger = logging.getLogger(__name__)
_GOOD_RUNS = """
    SELECT status, max(finished_at) AS finished_at FROM sync_runs
    WHERE command = '{command}' GROUP BY status
"""
_FAILING_SINCE = """
    SELECT resource, entity_id, min(failed_at) AS since FROM sync_failures
    WHERE resolved_at IS NULL GROUP BY resource, entity_id
"""

_LAST_START = """
    SELECT max(started_at) AS started_at FROM sync_runs
    WHERE command = '{command}' AND selected = '{selected}' AND status IN {loaded}
"""


@dataclass(frozen=True)
class History:
    """What is remembered; empty if the warehouse could not be asked.

    `ok` and `partial` are when the last run of the command that ended so did; `since` when an open failure, by
    resource and entity, was first met; `newest` the newest day by table.
    """

    ok: datetime | None = None
    partial: datetime | None = None
    since: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    newest: Mapping[str, date | None] = field(default_factory=dict)

    @property
    def loaded(self) -> datetime | None:
        """When the last run that loaded, with or without failures, ended."""
        return max(filter(None, (self.ok, self.partial)), default=None)


def read_history(job: Job) -> History:
    """The history of the job's command. Never raises: a warehouse that cannot be asked has an empty history.

    It is not asked while another run is under way: opening a DuckDB file could get in the way of that run.
    """
    try:
        pipeline = make_pipeline(job.pipeline, job.dataset, job.destination, job.file, read_only=True)
        with only_run(pipeline), connected(pipeline) as dataset:
            return _read(dataset, job.command)
    except Exception as error:  # every driver has its own
        logger.debug("The history could not be read: %s", type(error).__name__)
        return History()


def _read(dataset: Dataset, command: str) -> History:
    tables = dataset.table_names()
    if "sync_runs" not in tables:
        return History()
    good = {row["status"]: as_instant(row["finished_at"]) for row in dataset.query(_GOOD_RUNS.format(command=command))}
    failing = dataset.query(_FAILING_SINCE) if "sync_failures" in tables else []
    return History(
        ok=good.get(Status.OK),
        partial=good.get(Status.PARTIAL),
        since={(row["resource"], row["entity_id"]): as_instant(row["since"]) for row in failing},
        newest=newest_days(dataset, tables, workspace_zone()),
    )


def last_start(job: Job, names: Sequence[str]) -> datetime | None:
    """When the last run of the job's command for the resources `names` that loaded began; None if there was none.

    Raises `RunFailed` while a run is under way, `DestinationError` for a warehouse that cannot be used.
    """
    pipeline = make_pipeline(job.pipeline, job.dataset, job.destination, job.file, read_only=True)
    assert pipeline.destination
    with only_run(pipeline):
        check(pipeline.destination, job.dataset)
        if not exists(pipeline.destination, job.dataset):
            return None
        with connected(pipeline) as dataset:
            if "sync_runs" not in dataset.table_names():
                return None
            sql = _LAST_START.format(command=job.command, selected=",".join(names), loaded=LOADED_IN_SQL)
            started: datetime | None = as_instant(dataset.query(sql)[0]["started_at"])
            return started
