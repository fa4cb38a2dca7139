"""What orchestrators do: a load, and then what they show of it, read from the warehouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from destinations.location import dataset_name
from destinations.reading import reading
from pipelines.errors import RunFailed
from pipelines.job import Job
from pipelines.outcome import ExitCode
from pipelines.run import run
from pipelines.status import read_status, workspace_zone
from sources.braze.tables import TABLES


@dataclass(frozen=True)
class Loaded:
    """What the warehouse holds of one resource: rows by table, the newest day of any, how many failures are open."""

    rows: dict[str, int]
    newest: date | None
    failures: int


def load(resources: Sequence[str], destination: str, dataset: str) -> dict[str, Loaded]:
    """Sync `resources`, and return what `dataset` then holds of each.

    Raises `RunFailed` also for a run that was interrupted.
    """
    dataset = dataset_name(dataset)
    if run(Job("sync", ",".join(resources), destination, dataset)) is ExitCode.FAILED:
        raise RunFailed("The run was interrupted: what had arrived is loaded, the next run asks for the rest.")
    with reading(destination, dataset) as opened:
        counts, status = opened.table_counts(), read_status(opened, datetime.now(workspace_zone()))
    newest = {row["table"]: row["newest"] for row in status.freshness}
    return {
        resource: Loaded(
            rows={name: count for name, count in counts.items() if _resource(name) == resource},
            newest=max((day for name, day in newest.items() if day and _resource(name) == resource), default=None),
            failures=sum(failure["resource"] == resource for failure in status.failures),
        )
        for resource in resources
    }


def _resource(table: str) -> str | None:
    return TABLES[table].resource if table in TABLES else None
