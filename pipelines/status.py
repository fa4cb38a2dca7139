"""`braze-elt status`: how the last runs went and how fresh the tables are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click
import dlt
import orjson
from rich.table import Table

from destinations.errors import DestinationError
from destinations.reading import Dataset, as_instant, reading
from pipelines.outcome import LOADED_IN_SQL, ExitCode
from pipelines.terminal import stdout
from sources.braze.cursors import RECHECK_DAYS
from sources.braze.series import DAILY, HOURLY
from sources.braze.settings import parse_zone
from sources.braze.tables import TABLES
from sources.braze.windows import ONE_DAY

MOST_PROBLEMS = 20
RUNS = 10
_LAST_RUNS = f"""
    SELECT run_id, command, status, started_at, finished_at, requests, retries, rate_limited, "rows", failures
    FROM sync_runs ORDER BY started_at DESC LIMIT {RUNS}
"""
_LAST_GOOD_RUN = f"""
    SELECT max(finished_at) AS finished_at FROM sync_runs WHERE command = 'sync' AND status IN {LOADED_IN_SQL}
"""
_OPEN_FAILURES = """
    SELECT resource, entity_id, start_date, end_date, status, message, failed_at
    FROM sync_failures WHERE resolved_at IS NULL ORDER BY failed_at DESC
"""


@dataclass(frozen=True)
class Standing:
    """What `status` says.

    `freshness` is the newest day per table; `behind` counts entities by resource that are still listed and lack days;
    `age_hours` is the time since the last sync that loaded, `late` names the tables that a sync always brings up to
    date and the hours since their newest day ended.
    """

    runs: list[dict[str, Any]]
    freshness: list[dict[str, Any]]
    behind: dict[str, int]
    failures: list[dict[str, Any]]
    age_hours: float | None
    late: dict[str, float]

    def older_than(self, hours: float) -> bool:
        """Whether the last sync or anything it should have loaded is older."""
        return self.age_hours is None or max(self.age_hours, *self.late.values(), 0.0) > hours


def run_status(
    destination: str, dataset: str, output: str, max_age_hours: float | None, now: datetime | None = None
) -> ExitCode:
    """Print the status; `PARTIAL` if anything that a sync loads is older than `max_age_hours` at `now`, else `OK`."""
    zone = workspace_zone()
    with reading(destination, dataset) as opened:
        status = read_status(opened, (now or datetime.now(tz=UTC)).astimezone(zone))
    if output == "json":
        click.echo(orjson.dumps(asdict(status), default=str, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(status, zone)
    late = max_age_hours is not None and status.older_than(max_age_hours)
    return ExitCode.PARTIAL if late else ExitCode.OK


def workspace_zone() -> ZoneInfo:
    """The configured time zone; what is read from the warehouse needs no other setting of the source, and no key."""
    return parse_zone(dlt.config.get("sources.braze.time_zone", str) or "UTC")


def read_status(dataset: Dataset, now: datetime) -> Standing:
    """Read the ledger and the newest days from the warehouse; `now` is in the workspace's zone."""
    counts = dataset.table_counts()
    if "sync_runs" not in counts:
        raise DestinationError(
            "Nothing has been loaded here yet: run braze-elt sync; or this user may not read it: grant it SELECT."
        )
    finished = as_instant(dataset.query(_LAST_GOOD_RUN)[0]["finished_at"])
    newest = newest_days(dataset, counts, now.tzinfo)
    freshness = _freshness(newest, counts, now.date())
    return Standing(
        runs=[_with_instants(row, "started_at", "finished_at") for row in dataset.query(_LAST_RUNS)],
        freshness=freshness,
        behind=_behind(dataset, newest, counts),
        failures=dataset.query(_OPEN_FAILURES) if "sync_failures" in counts else [],
        age_hours=(now - finished).total_seconds() / 3600 if finished else None,
        late=_late(freshness, now),
    )


def _with_instants(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return row | {name: as_instant(row[name]) for name in names}


_ALWAYS_CURRENT = frozenset({"kpi_daily", "session_daily", "event_daily", "purchase_daily"})
"""Tables of the whole workspace: a row a day whatever happens in it, and asked for by every sync."""


def _late(freshness: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, float]:
    late = {}
    for row in freshness:
        if row["table"] in _ALWAYS_CURRENT and row["newest"] and row["newest"] < now.date():
            ended = datetime.combine(row["newest"] + ONE_DAY, time.min, now.tzinfo)
            late[row["table"]] = (now - ended).total_seconds() / 3600
    return late


def _freshness(newest: Mapping[str, date | None], counts: Mapping[str, int], today: date) -> list[dict[str, Any]]:
    return [
        {
            "table": name,
            "rows": counts[name],
            "newest": day,
            "days_old": (today - day).days if day else None,
        }
        for name, day in newest.items()
    ]


_IN_PARTS = frozenset(spec.table for spec in (*DAILY, *HOURLY) if spec.table)
"""Tables whose columns come from several endpoints: each may be late alone."""


def newest_days(dataset: Dataset, tables: Iterable[str], zone: tzinfo | None) -> dict[str, date | None]:
    """The newest day of each of `tables` that has days, with whatever the table ever had; None for one without rows.

    Hours belong to days of `zone`.
    """
    times = {name: time for name in tables if (time := _time_column(name))}
    days: dict[str, list[date]] = {name: [] for name in times}
    # A date as text begins alike in every destination; as a value it may be an instant.
    dates = {name: time for name, time in times.items() if time != "hour"}
    for name, text in _newest(dataset, dates, 'CAST(max("{}") AS VARCHAR)'):
        days[name].append(date.fromisoformat(str(text)[:10]))
    hours = {name: time for name, time in times.items() if time == "hour"}
    for name, hour in _newest(dataset, hours, 'max("{}")'):
        days[name].append(as_instant(hour).astimezone(zone).date())
    return {name: min(found, default=None) for name, found in days.items()}


def _newest(dataset: Dataset, times: Mapping[str, str], newest: str) -> Iterator[tuple[str, Any]]:
    """Each table with rows and the `newest` of its column of `times`; one in parts with that of each part."""
    selects = [
        f'SELECT \'{name}\' AS name, {newest.format(time)} AS newest FROM "{name}" WHERE "{column}" IS NOT NULL'
        for name, time in times.items()
        for column in (_figures(name) if name in _IN_PARTS else (time,))
    ]
    for row in dataset.query(" UNION ALL ".join(selects)) if selects else ():
        if row["newest"]:
            yield row["name"], row["newest"]


def _figures(table: str) -> list[str]:
    return [column.name for column in TABLES[table].columns if column.name not in TABLES[table].key]


def _time_column(table: str) -> str | None:
    declared = TABLES.get(table)
    if not declared:
        return None
    times = [name for name in ("date", "hour", "end_date") if name in declared.key]
    return times[0] if times and not table.startswith("sync_") else None


@dataclass(frozen=True)
class _Entities:
    """Where the entities of a table with days are listed, and how many days they may lack by design.

    `condition` says which of them have days at all.
    """

    table: str
    column: str
    catalog: str
    key: str = "id"
    rest: int = 0
    condition: str = "TRUE"


_ENTITIES = (
    _Entities("campaign_daily", "campaign_id", "campaigns", rest=RECHECK_DAYS),
    _Entities("canvas_daily", "canvas_id", "canvases", rest=RECHECK_DAYS),
    _Entities("segment_daily", "segment_id", "segments", condition="analytics_tracking_enabled"),
    _Entities("event_daily", "event", "events", key="name"),
)


def _behind(dataset: Dataset, newest: Mapping[str, date | None], counts: Mapping[str, int]) -> dict[str, int]:
    """Entities by resource that the newest list names and that lack more days than those at rest may."""
    behind = {}
    for entities in _ENTITIES:
        day = newest.get(entities.table)
        if day and entities.catalog in counts:
            sql = f"""
                SELECT count(*) AS entities FROM (
                    SELECT {entities.column} FROM {entities.table} WHERE {entities.column} IN (
                        SELECT {entities.key} FROM {entities.catalog}
                        WHERE synced_at = (SELECT max(synced_at) FROM {entities.catalog}) AND {entities.condition}
                    ) GROUP BY {entities.column}
                    HAVING max(date) < DATE '{day - timedelta(days=entities.rest)}'
                ) AS late
            """
            behind[TABLES[entities.table].resource] = int(dataset.query(sql)[0]["entities"])
    return behind


def _print(status: Standing, zone: tzinfo) -> None:
    console = stdout()
    runs = Table("started", "command", "status", "requests", "rows", "failures", title="Last runs")
    for run in status.runs:
        runs.add_row(
            f"{run['started_at'].astimezone(zone):%Y-%m-%d %H:%M %Z}",
            run["command"],
            run["status"],
            f"{run['requests']:,}",
            f"{run['rows']:,}",
            f"{run['failures']:,}",
        )
    console.print(runs)
    fresh = Table("table", "rows", "newest day", "days old", title="Freshness")
    for row in status.freshness:
        age = "–" if row["days_old"] is None else str(row["days_old"])
        fresh.add_row(row["table"], f"{row['rows']:,}", str(row["newest"] or "–"), age)
    console.print(fresh if status.freshness else "Freshness: no table has days.")
    late = {name: count for name, count in status.behind.items() if count}
    console.print("Entities behind their table: " + (", ".join(f"{n} {c:,}" for n, c in late.items()) or "none."))
    if not status.failures:
        console.print("Open failures: none.")
        return
    problems = _problems(status.failures)
    failures = Table("resource", "entity", "days", "message", title=f"Open failures: {len(problems):,}")
    for (resource, entity, message), (first, last) in list(problems.items())[:MOST_PROBLEMS]:
        failures.add_row(resource, entity, f"{first} to {last}", message)
    console.print(failures)
    if len(problems) > MOST_PROBLEMS:
        console.print(f"… and {len(problems) - MOST_PROBLEMS:,} more in sync_failures.")


def _problems(failures: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], tuple[Any, Any]]:
    """(resource, entity, message) → the first and the last day of all its failures: what fails every night is one."""
    problems: dict[tuple[str, str, str], tuple[Any, Any]] = {}
    for failure in failures:
        problem = failure["resource"], failure["entity_id"], failure["message"]
        first, last = failure["start_date"], failure["end_date"]
        known_first, known_last = problems.get(problem, (first, last))
        problems[problem] = min(first, known_first), max(last, known_last)
    return problems
