"""`braze-elt status`: how the last runs went and how fresh the tables are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import click
import dlt
import orjson
from rich.table import Table

from destinations.errors import DestinationError
from destinations.reading import query, table_counts
from pipelines.job import PIPELINE, make_pipeline
from pipelines.terminal import stdout
from sources.braze.tables import TABLES

RUNS = 10
_LAST_RUNS = f"""
    SELECT run_id, command, status, started_at, finished_at, requests, retries, rate_limited, "rows", failures
    FROM sync_runs ORDER BY started_at DESC LIMIT {RUNS}
"""
_LAST_GOOD_RUN = "SELECT max(finished_at) AS finished_at FROM sync_runs WHERE status IN ('ok', 'partial')"
_OPEN_FAILURES = """
    SELECT resource, entity_id, start_date, end_date, status, message, failed_at
    FROM sync_failures WHERE resolved_at IS NULL ORDER BY failed_at DESC
"""


@dataclass(frozen=True)
class Status:
    """What `status` says.

    `freshness` is the newest day per table; `behind` counts entities by resource whose
    newest day is older than their table's; `age_hours` is the time since the last run that loaded.
    """

    runs: list[dict[str, Any]]
    freshness: list[dict[str, Any]]
    behind: dict[str, int]
    failures: list[dict[str, Any]]
    age_hours: float | None


def run_status(destination: str, dataset: str, output: str, max_age_hours: float | None) -> int:
    """Print the status; 3 if the last run that loaded is older than `max_age_hours`, 0 otherwise."""
    pipeline = make_pipeline(PIPELINE, dataset, destination)
    status = read_status(pipeline, datetime.now(tz=UTC))
    if output == "json":
        click.echo(orjson.dumps(asdict(status), default=str, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(status)
    too_old = max_age_hours is not None and (status.age_hours is None or status.age_hours > max_age_hours)
    return 3 if too_old else 0


def read_status(pipeline: dlt.Pipeline, now: datetime) -> Status:
    """Read the ledger and the newest days from the warehouse."""
    counts = table_counts(pipeline)
    if "sync_runs" not in counts:
        raise DestinationError("Nothing has been loaded here yet: run braze-elt sync.")
    finished = query(pipeline, _LAST_GOOD_RUN)[0]["finished_at"]
    return Status(
        runs=query(pipeline, _LAST_RUNS),
        freshness=_freshness(pipeline, counts, now.date()),
        behind=_behind(pipeline, counts),
        failures=query(pipeline, _OPEN_FAILURES) if "sync_failures" in counts else [],
        age_hours=(now - finished).total_seconds() / 3600 if finished else None,
    )


def _freshness(pipeline: dlt.Pipeline, counts: Mapping[str, int], today: date) -> list[dict[str, Any]]:
    dated = {name: time for name in counts if (time := _time_column(name))}
    if not dated:
        return []
    selects = [
        f'SELECT \'{name}\' AS name, CAST(max("{time}") AS DATE) AS newest FROM "{name}"'
        for name, time in dated.items()
    ]
    newest = {row["name"]: row["newest"] for row in query(pipeline, " UNION ALL ".join(selects))}
    return [
        {
            "table": name,
            "rows": counts[name],
            "newest": newest[name],
            "days_old": (today - newest[name]).days if newest[name] else None,
        }
        for name in dated
    ]


def _time_column(table: str) -> str | None:
    declared = TABLES.get(table)
    if not declared:
        return None
    times = [name for name in ("date", "hour", "end_date") if name in declared.key]
    return times[0] if times and not table.startswith("sync_") else None


_ENTITIES = {
    "campaign_daily": "campaign_id",
    "canvas_daily": "canvas_id",
    "segment_daily": "segment_id",
    "event_daily": "event",
}


def _behind(pipeline: dlt.Pipeline, counts: Mapping[str, int]) -> dict[str, int]:
    behind = {}
    for table, entity in _ENTITIES.items():
        if table in counts:
            sql = f"""
                SELECT count(*) AS entities FROM (SELECT {entity} FROM {table} GROUP BY {entity}
                HAVING max(date) < (SELECT max(date) FROM {table})) AS late
            """
            behind[TABLES[table].resource] = int(query(pipeline, sql)[0]["entities"])
    return behind


def _print(status: Status) -> None:
    console = stdout()
    runs = Table("started", "command", "status", "requests", "rows", "failures", title="Last runs")
    for run in status.runs:
        runs.add_row(
            f"{run['started_at']:%Y-%m-%d %H:%M}",
            run["command"],
            run["status"],
            f"{run['requests']:,}",
            f"{run['rows']:,}",
            f"{run['failures']:,}",
        )
    console.print(runs)
    fresh = Table("table", "rows", "newest day", "days old", title="Freshness")
    for row in status.freshness:
        fresh.add_row(row["table"], f"{row['rows']:,}", str(row["newest"] or "–"), str(row["days_old"] or 0))
    console.print(fresh)
    late = {name: count for name, count in status.behind.items() if count}
    console.print("Entities behind their table: " + (", ".join(f"{n} {c:,}" for n, c in late.items()) or "none."))
    if not status.failures:
        console.print("Open failures: none.")
        return
    failures = Table("resource", "entity", "days", "message", title=f"Open failures: {len(status.failures):,}")
    for failure in status.failures[:20]:
        days = f"{failure['start_date']} to {failure['end_date']}"
        failures.add_row(failure["resource"], failure["entity_id"], days, failure["message"])
    console.print(failures)
