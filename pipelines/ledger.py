"""The row of a run in `sync_runs`: "running" in its first package, brought up to date when it has ended."""

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.extract import DltResource

from destinations.ledger import can_close, close
from pipelines.outcome import Outcome, Status
from sources.braze.arrow import to_arrow
from sources.braze.extraction import Extraction
from sources.braze.hints import with_table
from sources.braze.rows import Row, Sheet
from sources.braze.tables import TABLES

_TABLE = TABLES["sync_runs"]
_UNFINISHED = "running"
"""Where the state keeps the row of a run that has not ended."""


class Ledger:
    """Keeps the row of one run, and notes that runs before it were killed."""

    def __init__(
        self, outcome: Outcome, pipeline: dlt.Pipeline, extraction: Extraction, names: tuple[str, ...]
    ) -> None:
        self._outcome = outcome
        self._pipeline = pipeline
        self._extraction = extraction
        self._names = names
        self._in_place = can_close(pipeline)

    def opening(self) -> DltResource:
        """The resource for the run's first package."""
        return DltResource.from_data(self._rows(), _TABLE.name)

    def closing(self) -> list[DltResource]:
        """What goes in the run's last package: nothing where `close` can do it."""
        return [] if self._in_place else [self.opening()]

    def close(self) -> None:
        """Bring the row up to date, and say of earlier runs that were never closed that they failed."""
        if self._in_place:
            close(self._pipeline, _TABLE.name, self._row())

    def _row(self) -> Row:
        traffic = self._extraction.run.client.traffic
        return {
            "run_id": self._extraction.run_id,
            "command": self._outcome.command,
            "selected": ",".join(self._names),
            "started_at": self._outcome.started_at,
            "finished_at": self._outcome.finished_at,
            "status": self._outcome.status.value,
            "requests": traffic.requests,
            "retries": traffic.retries,
            "rate_limited": traffic.refused,
            "waited_seconds": float(traffic.waited),
            "rows": self._outcome.rows.total(),
            "failures": len(self._extraction.failures),
        }

    def _rows(self) -> Iterator[Any]:
        row = self._row()
        rows = [row] if self._in_place else [*self._unfinished(row), row]
        yield with_table(_TABLE, to_arrow(_TABLE, Sheet(rows), {}))

    def _unfinished(self, row: Row) -> Iterator[Row]:
        """The row of the run before if it was killed: where rows cannot be changed, the state remembers it."""
        state = dlt.current.resource_state()
        earlier = state.pop(_UNFINISHED, None)
        if earlier and earlier["run_id"] != row["run_id"]:
            yield {**earlier, "status": Status.FAILED.value}
        if self._outcome.status is Status.RUNNING:
            state[_UNFINISHED] = {**row, "started_at": self._outcome.started_at.isoformat()}
