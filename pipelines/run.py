"""`sync` and `backfill`: chunk after chunk from the extraction into the warehouse, and the ledger of the run."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import dlt
from dlt.extract import DltResource, DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from destinations.comments import write as write_comments
from destinations.indexes import ensure as ensure_indexes
from destinations.state import prune_state
from pipelines.errors import RunFailed
from pipelines.job import Job, opened
from pipelines.logs import configure_logging
from pipelines.plan import print_plan
from pipelines.report import Reporter, print_outcome
from sources.braze import open_client
from sources.braze.arrow import to_arrow
from sources.braze.extraction import Extraction
from sources.braze.resources import (
    Chunk,
    cursors_from_state,
    descriptions,
    exports_folder,
    failures_from_state,
    forget_backfill,
    hints,
    learn,
    merge_keys,
    resources,
)
from sources.braze.settings import Settings, resolve
from sources.braze.tables import TABLES

CHUNK_ROWS = 2_000_000
CHUNK_SECONDS = 60.0
"""A kill loses the chunk in progress: a minute's work."""
SOURCE = "braze"


@dataclass
class Outcome:
    """What a run did, for the closing table and `sync_runs`."""

    started_at: datetime
    status: str = "running"
    rows: Counter[str] = field(default_factory=Counter)
    finished_at: datetime | None = None


def run(job: Job, plan: bool = False) -> int:
    """Carry `job` out and return its exit code. With `plan` nothing is loaded: what would be asked is printed."""
    configure_logging(job.log_format)
    settings = resolve(**job.overrides)
    names = job.names(settings)
    with opened(job) as pipeline:
        request = job.profiles(settings, exports_folder(pipeline))
        extraction = Extraction(settings, open_client(settings), job.now, job.only, dry=plan, request=request)
        state = pipeline.state.get("sources", {}).get(SOURCE, {})
        if SOURCE in pipeline.schemas:
            learn(extraction, pipeline.schemas[SOURCE])
        with _stopping_cleanly(extraction):
            extraction.start(names, cursors_from_state(state, extraction), failures_from_state(state))
            _await_first_contact(extraction)
            if plan:
                extraction.join()
                _raise_crash(extraction)
                print_plan(extraction.run.planned, extraction.run.planned_days, settings)
                return 0
            return _load(job, pipeline, extraction, settings, names)


def _load(job: Job, pipeline: dlt.Pipeline, extraction: Extraction, settings: Settings, names: tuple[str, ...]) -> int:
    outcome = Outcome(job.now)
    with Reporter(extraction.run.record.progress, job.log_format):
        first = True
        while first or not extraction.finished:
            chunk = Chunk(CHUNK_ROWS, CHUNK_SECONDS)
            package = resources(extraction, chunk, names)
            if first:
                package.append(_ledger(job, extraction, outcome, names))
            _run_package(pipeline, package, extraction)
            chunk.committed(extraction)
            outcome.rows.update(chunk.tables)
            first = False
    outcome.status = _status(extraction)
    outcome.finished_at = datetime.now(tz=UTC)
    closing = [_ledger(job, extraction, outcome, names)]
    if job.only and outcome.status == "ok":
        closing.append(forget_backfill(extraction, names))
    _run_package(pipeline, closing, extraction)
    ensure_indexes(pipeline, merge_keys())
    write_comments(pipeline, descriptions(pipeline.default_schema))
    prune_state(pipeline)
    print_outcome(extraction, outcome)
    return {"ok": 0, "partial": 3}.get(outcome.status, 1)


def _status(extraction: Extraction) -> str:
    if extraction.stopping:
        return "interrupted"
    return "partial" if extraction.failures else "ok"


def _run_package(pipeline: dlt.Pipeline, package: list[DltResource], extraction: Extraction) -> None:
    """Load one package. Raises what ended the extraction, or `RunFailed` if the warehouse did not take it."""
    source = DltSource(dlt.Schema(SOURCE), SOURCE, package)
    try:
        pipeline.run(source)
    except PipelineStepFailed as failure:
        extraction.stop()
        _raise_crash(extraction)
        if failure.step != "load":
            raise
        raise RunFailed(
            f"The warehouse did not take the load: {_cause(failure)}. What was loaded before is complete; the rest"
            " is kept and will be loaded first by the next run."
        ) from failure


def _cause(failure: PipelineStepFailed) -> str:
    error: BaseException = failure
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _ledger(job: Job, extraction: Extraction, outcome: Outcome, names: tuple[str, ...]) -> DltResource:
    """The row of this run in `sync_runs`."""
    traffic = extraction.run.client.traffic
    row = {
        "run_id": extraction.run_id,
        "command": job.command,
        "selected": ",".join(names),
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "status": outcome.status,
        "requests": traffic.requests,
        "retries": traffic.retries,
        "rate_limited": traffic.refused,
        "waited_seconds": float(traffic.waited),
        "rows": outcome.rows.total(),
        "failures": len(extraction.failures),
    }
    table = TABLES["sync_runs"]

    def rows() -> Iterator[Any]:
        yield dlt.mark.with_hints(to_arrow(table, [row], {}), hints(table), create_table_variant=True)

    return dlt.resource(rows, name="sync_runs")


def _await_first_contact(extraction: Extraction) -> None:
    """Wait until Braze has answered anything: a wrong key or host must end the run before anything is written."""
    while not (extraction.run.client.traffic.succeeded or extraction.asked):
        time.sleep(0.005)
    if extraction.asked:
        _raise_crash(extraction)


def _raise_crash(extraction: Extraction) -> None:
    if extraction.crash:
        raise extraction.crash


@contextmanager
def _stopping_cleanly(extraction: Extraction) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the requests; what has arrived is loaded. A second Ctrl-C ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if extraction.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        extraction.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        extraction.stop() if not extraction.asked else None
        for number, handler in before.items():
            signal.signal(number, handler)
