"""`sync` and `backfill`: chunk after chunk from the extraction into the warehouse, and the ledger of the run."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

import dlt
from dlt.extract import DltResource, DltSource

from destinations.comments import write as write_comments
from destinations.indexes import ensure as ensure_indexes
from destinations.state import prune_state
from destinations.views import write as write_views
from pipelines.errors import loading
from pipelines.job import Job, opened
from pipelines.logs import configure_logging
from pipelines.plan import print_plan
from pipelines.report import Reporter, print_outcome
from sources.braze.arrow import to_arrow
from sources.braze.export_files import open_bucket
from sources.braze.extraction import USERS, Extraction
from sources.braze.resources import (
    Chunk,
    cursors_from_state,
    descriptions,
    exports_folder,
    failures,
    failures_from_state,
    forget_backfill,
    hints,
    learn,
    merge_keys,
    resources,
)
from sources.braze.settings import Settings, resolve
from sources.braze.tables import TABLES

SOURCE = "braze"
RUNNING = "running"


@dataclass
class Outcome:
    """What a run did, for the closing table and `sync_runs`."""

    started_at: datetime
    status: str = RUNNING
    rows: Counter[str] = field(default_factory=Counter)
    finished_at: datetime | None = None


def run(job: Job, plan: bool = False) -> int:
    """Carry `job` out and return its exit code. With `plan` nothing is loaded: what would be asked is printed."""
    configure_logging(job.log_format)
    settings = resolve(**job.overrides)
    names = job.names(settings)
    if USERS in names and settings.export_bucket:
        open_bucket(settings.export_bucket)  # a bucket that cannot be opened ends the run before it has begun
    with opened(job) as pipeline:
        request = job.profiles(settings, exports_folder(pipeline))
        extraction = Extraction(settings, job.client(settings), job.now, job.only, dry=plan, request=request)
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
    outcome, began = Outcome(job.now), time.monotonic()
    with Reporter(extraction.run.record.progress, job.log_format):
        first = True
        while first or not extraction.finished:
            chunk = Chunk(job.chunk_rows, job.chunk_seconds)
            package = resources(extraction, chunk, names)
            if first:
                package.append(_ledger(job, extraction, outcome, names))
            _run_package(pipeline, package, extraction)
            chunk.committed(extraction)
            outcome.rows.update(chunk.tables)
            first = False
    outcome.status = _status(extraction)
    outcome.finished_at = job.now + timedelta(seconds=time.monotonic() - began)
    closing = [_ledger(job, extraction, outcome, names)]
    if not chunk.settled:
        closing.append(failures(extraction, chunk))
    if job.only and outcome.status == "ok":
        closing.append(forget_backfill(extraction, names))
    _run_package(pipeline, closing, extraction)
    with loading():
        ensure_indexes(pipeline, merge_keys())
        write_comments(pipeline, descriptions(pipeline.default_schema))
        prune_state(pipeline)
        write_views(pipeline)
    print_outcome(extraction, outcome)
    return {"ok": 0, "partial": 3}.get(outcome.status, 1)


def _status(extraction: Extraction) -> str:
    if extraction.stopping:
        return "interrupted"
    return "partial" if extraction.failures else "ok"


def _run_package(pipeline: dlt.Pipeline, package: list[DltResource], extraction: Extraction) -> None:
    """Load one package. Raises what ended the extraction, or `RunFailed` if it could not be written or loaded."""
    source = DltSource(dlt.Schema(SOURCE), SOURCE, package)
    try:
        with loading():
            pipeline.run(source)
    except Exception:
        extraction.stop()
        _raise_crash(extraction)
        raise


def _ledger(job: Job, extraction: Extraction, outcome: Outcome, names: tuple[str, ...]) -> DltResource:
    """The row of this run in `sync_runs`, and that of the run before if it was killed or failed."""
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
        state = dlt.current.resource_state()
        unfinished = state.pop(RUNNING, None)
        died = unfinished and unfinished["run_id"] != extraction.run_id
        if outcome.status == RUNNING:
            state[RUNNING] = {**row, "started_at": outcome.started_at.isoformat()}
        ledger = [{**unfinished, "status": "failed"}, row] if died else [row]
        yield dlt.mark.with_hints(to_arrow(table, ledger, {}), hints(table), create_table_variant=True)

    return dlt.resource(rows, name="sync_runs")


def _await_first_contact(extraction: Extraction) -> None:
    """Wait until Braze has answered anything: a wrong key or host must end the run before anything is written.

    An export that an earlier run requested comes without a question to Braze.
    """
    run = extraction.run
    while not (run.client.traffic.succeeded or extraction.asked or not run.outbox.empty):
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
