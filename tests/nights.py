"""Nights without a warehouse: real requests to a sandbox, real cursors, and tables that are dictionaries.

A night through dlt costs seconds, whatever it loads; here it costs its requests. The tables take rows as the
warehouses do (by key, children replaced with their parent), and cursors and failures pass through the same JSON.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as wall_time
from typing import Any

from sources.braze import default_names
from sources.braze.client import Client
from sources.braze.cursors import Cursors
from sources.braze.extraction import Extraction
from sources.braze.failures import Failure
from sources.braze.model import TOMBSTONE
from sources.braze.parcels import Parcel
from sources.braze.resource_state import (
    FAILURES,
    cursors_from_state,
    end_backfill,
    failures_from_state,
    keep,
    keep_cursors,
    learn,
)
from sources.braze.settings import Settings, resolve
from sources.braze.tables import TABLES
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox
from sources.braze_sandbox.request_log import Asked

NOON = wall_time(12, 30)
SMALL = {"campaigns": 8, "canvases": 3, "segments": 3, "cards": 2, "events": 3, "products": 2, "users": 1, "days": 60}
"""A workspace of every kind of entity, dormant, archived and draft ones among them."""
SERIES = "campaign_series,canvas_series,segment_series,card_series,kpis,sessions,event_series,purchases"
NONE_OPEN = '{"open": []}'
Row = dict[str, Any]


def quick_client(settings: Settings, backoff: float = 0.01) -> Client:
    """A client whose pauses between attempts do not hold up a test."""
    return Client(
        settings.base_url,
        settings.api_key,
        concurrency=settings.concurrency,
        rate_reserve=settings.rate_reserve,
        backoff=backoff,
    )


@dataclass
class Night:
    """What one run asked and what became of it; `planned` only for plans."""

    requests: list[Asked]
    failures: list[Failure]
    resolved: list[Failure]
    planned: dict[str, int] = field(default_factory=dict)

    def asked(self, path: str, **params: str) -> list[Asked]:
        """The requests to a path with these parameters."""
        return [
            request
            for request in self.requests
            if request.path == path and all(request.params.get(name) == value for name, value in params.items())
        ]


class Nights:
    """A sandbox, and what its nights have loaded so far.

    `tables` are its rows, `state` the cursors as dlt would keep them, `open` the failures nobody has mended.
    """

    def __init__(self, sandbox: Sandbox, backoff: float = 0.01, **settings: Any) -> None:
        self.sandbox = sandbox
        self.backoff = backoff
        self.settings = {
            "api_key": "key",
            "endpoint": sandbox.url,
            "start_date": sandbox.workspace.opened,
            "time_zone": sandbox.workspace.options.time_zone,
            "concurrency": 8,
            **settings,
        }
        self._stored: dict[str, dict[tuple[Any, ...], dict[tuple[Any, ...], Row]]] = {}
        self.state = "{}"
        self.open = NONE_OPEN

    def night(self, day: date | None = None, at: wall_time = NOON, select: str | None = None, **settings: Any) -> Night:
        """A sync on `day` (the sandbox's, which is moved there), at this time in the workspace's zone."""
        if day:
            self.sandbox.set(today=day, time_of_day=at)
        return self.run(self.sandbox.workspace.now(), select, **settings)

    def run(
        self,
        now: datetime,
        select: str | None = None,
        only: Span | None = None,
        dry: bool = False,
        requests: int | None = None,
        **settings: Any,
    ) -> Night:
        """A run at `now`; of `only` these days; that is killed after so many `requests`, having saved what it took."""
        resolved_settings = resolve(**{**self.settings, **settings})
        names = select.split(",") if select else default_names(resolved_settings)
        extraction = Extraction(resolved_settings, quick_client(resolved_settings, self.backoff), now, only, dry)
        extraction.run.known.filled.update(self._stored)
        state, failures = json.loads(self.state), failures_from_state({"resources": {FAILURES: json.loads(self.open)}})
        cursors = cursors_from_state({"resources": state}, extraction)
        learn(extraction, {"resources": state})
        self.sandbox.log.reset()
        extraction.start(names, cursors, failures)
        killed = self._take(extraction, names, requests)
        for name in names if not dry else ():
            keep_cursors(extraction, extraction.run.cursors.setdefault(name, Cursors()), state.setdefault(name, {}))
            keep(extraction, name, state[name])
        if only and not (killed or dry):
            for name in names:
                end_backfill(extraction, state[name])
        self.state = json.dumps(state)
        mended: list[Failure] = []
        if not (killed or dry):
            mended, still_open = failures.settle(now)
            still_open += extraction.failures
            self.open = json.dumps({"open": [failure.to_state() for failure in still_open]})
        planned = {endpoint.path: count for endpoint, count in extraction.run.api.requests.items()}
        return Night(self.sandbox.log.requests, list(extraction.failures), mended, planned)

    def _take(self, extraction: Extraction, names: Iterable[str], requests: int | None) -> bool:
        """Take what comes until all has come, or so many `requests` were sent; say whether that was so."""
        plain: dict[str, Parcel] = defaultdict(Parcel)
        killed = False
        while not (killed or extraction.finished):
            for name in names:
                while not killed and (parcel := extraction.take(name)):
                    parcel.move(extraction.run.cursors.setdefault(name, Cursors()))
                    self._merge(parcel)
                    plain[name].gather(parcel)
                    killed = requests is not None and len(self.sandbox.log.requests) >= requests
            time.sleep(0.004 if requests is None else 0.001)
        if killed:
            extraction.stop()
            extraction.join()
        elif extraction.crash:
            raise extraction.crash
        for parcel in plain.values():
            parcel.pack(extraction.run.known)
            self._merge(parcel)
        return killed

    def _merge(self, parcel: Parcel) -> None:
        for name, rows in parcel.tables.items():
            self._merge_rows(name, rows.to_pylist())

    def _merge_rows(self, name: str, rows: list[Row]) -> None:
        table, stored = TABLES[name], self._stored.setdefault(name, {})
        grain = table.parent or table.key
        for parent in {tuple(row[column] for column in grain) for row in rows}:
            stored[parent] = {}
        for row in rows:
            if not row.pop(TOMBSTONE.name, None):
                parent = tuple(row[column] for column in grain)
                present = {column: value for column, value in row.items() if value is not None}
                stored[parent][tuple(row[column] for column in table.key)] = present

    @property
    def tables(self) -> dict[str, list[Row]]:
        """The rows of every table."""
        return {
            name: [row for family in stored.values() for row in family.values()]
            for name, stored in self._stored.items()
        }

    def rows(self, table: str, **where: Any) -> list[Row]:
        """The rows of a table in which these columns have these values."""
        found = self.tables.get(table, [])
        return [row for row in found if all(row.get(name) == value for name, value in where.items())]

    def days(self, table: str, **where: Any) -> list[date]:
        """Their dates, in order."""
        return sorted(row["date"] for row in self.rows(table, **where))

    def differences(self, **scope: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
        """Where the sums of the loaded tables are not what the sandbox says: `table.column` → (loaded, right)."""
        workspace = self.sandbox.workspace
        totals = self.sandbox.totals(workspace.opened, workspace.now().date(), **scope)
        return differences(totals, self.tables)


def differences(totals: dict[str, dict[str, Any]], loaded: dict[str, list[Row]]) -> dict[str, tuple[Any, Any]]:
    """Compare the sums of every counter in every table that was loaded: `table.column` → (loaded, right).

    Not the number of rows: those of an entity at rest, which say nothing but zero, may be a week late.
    """
    found = {}
    for table, columns in totals.items():
        sums = Counter(dict.fromkeys(columns, 0) if table in loaded else {})
        for row in loaded.get(table, ()):
            for column, value in row.items():
                if value and column in sums:
                    sums[column] += value
        del sums["rows"]
        for column, ours in sums.items():
            if round(ours, 2) != round(columns[column], 2):
                found[f"{table}.{column}"] = (ours, columns[column])
    return found


def utc(day: date, at: wall_time = NOON) -> datetime:
    """That time of that day in UTC."""
    return datetime.combine(day, at, UTC)
