"""What orchestrators show of a load: rows, newest day and open failures by resource, read from the warehouse."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from destinations.reading import reading
from pipelines.status import read_status
from sources.braze.tables import TABLES


@dataclass(frozen=True)
class Loaded:
    """What the warehouse holds of one resource: rows by table, the newest day of any, how many failures are open."""

    rows: dict[str, int]
    newest: date | None
    failures: int


def loaded(destination: str, dataset: str, resources: Iterable[str]) -> dict[str, Loaded]:
    """What `dataset` holds of each of `resources`. Raises `DestinationError` if nothing was ever loaded."""
    with reading(destination, dataset) as opened:
        counts, status = opened.table_counts(), read_status(opened, datetime.now(tz=UTC))
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
