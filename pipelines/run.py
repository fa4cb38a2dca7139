"""`sync`, `backfill` and `export-users`: from the extraction into the warehouse, chunk by chunk, and the ledger."""

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dlt
from dlt.extract import DltResource, DltSource

from destinations.comments import write as write_comments
from destinations.indexes import ensure as ensure_indexes
from destinations.packages import kept_open
from destinations.state import prune_state, settle
from destinations.views import write as write_views
from pipelines.errors import loading
from pipelines.job import Job, OpenDataset, opened
from pipelines.ledger import Ledger
from pipelines.logs import configure_logging
from pipelines.outcome import ExitCode, Outcome, Status
from pipelines.plan import planned_rows, print_plan
from pipelines.publishing import concluded
from pipelines.report import Reporter, print_gaps, print_outcome
from pipelines.signals import on_termination
from sources.braze import SOURCE
from sources.braze.chunks import Chunk
from sources.braze.errors import ConfigurationError
from sources.braze.export_files import open_bucket
from sources.braze.extraction import Extraction
from sources.braze.hints import descriptions, merge_keys
from sources.braze.profile_tables import USERS_RESOURCE
from sources.braze.resources import begin, ended_backfill, exports_folder, failures, resources
from sources.braze.settings import Settings, resolve
from sources.braze.windows import local_day

logger = logging.getLogger(__name__)


def run(job: Job, plan: bool = False) -> ExitCode:
    """Carry `job` out and return its exit code. With `plan` nothing is loaded: what would be asked is printed."""
    configure_logging(job.log_format)
    with concluded(job, plan) as outcome:
        return _run(job, plan, outcome)


def _run(job: Job, plan: bool, outcome: Outcome) -> ExitCode:
    settings = resolve(**job.overrides)
    outcome.zone = settings.zone
    names = job.names_to_load(settings)
    _check_days(job, settings)
    if USERS_RESOURCE in names and settings.export_bucket:
        open_bucket(settings.export_bucket)  # a bucket that cannot be opened ends the run before it has begun
    with opened(job, settings) as dataset:
        pipeline = dataset.pipeline
        request = job.profiles(settings, exports_folder(pipeline))
        extraction = Extraction(settings, job.client(settings), job.now, job.only, dry=plan, request=request)
        outcome.traffic, outcome.failures = extraction.run.client.traffic, extraction.failures
        state = pipeline.state.get("sources", {}).get(SOURCE, {})
        schema = pipeline.schemas[SOURCE] if SOURCE in pipeline.schemas else dlt.Schema(SOURCE)
        with _stopping_cleanly(extraction):
            begin(extraction, names, schema, state)
            _await_first_contact(extraction)
            if plan:
                extraction.join()
                _raise_crash(extraction)
                outcome.plan = planned_rows(extraction.run.api, settings)
                print_plan(outcome.plan)
                outcome.status = _status(extraction)
                if outcome.status is not Status.OK:
                    print_gaps(extraction)
                return ExitCode.FAILED if extraction.stopping else ExitCode.OK
            _load(job, dataset, extraction, outcome, names)
    print_outcome(extraction, outcome)
    return outcome.exit_code


def _check_days(job: Job, settings: Settings) -> None:
    """Raise `ConfigurationError` for a backfill, and warn of a sync, of nothing but days to come."""
    today = local_day(job.now, settings.zone)
    if job.only and job.only.first > today:
        raise ConfigurationError(
            f"--start {job.only.first} is in the future, and Braze has no figures of days to come: name days up to"
            f" {today}."
        )
    if not job.only and settings.start_date and settings.start_date > today:
        logger.warning(
            "`start_date` is %s, which is in the future: until then no figures are loaded.", settings.start_date
        )


def _load(job: Job, dataset: OpenDataset, extraction: Extraction, outcome: Outcome, names: tuple[str, ...]) -> None:
    pipeline = dataset.pipeline
    ledger = Ledger(outcome, pipeline, extraction, names)
    with Reporter(extraction.run.record.progress, job.log_format):
        first = True
        while first or not extraction.finished:
            chunk = Chunk(job.chunk_rows, job.chunk_seconds)
            package = resources(extraction, chunk, names)
            if first:
                package.append(ledger.opening())
            _run_package(dataset, package, extraction)
            chunk.committed(extraction)
            outcome.rows.update(chunk.tables)
            first = False
    outcome.status = _status(extraction)
    outcome.end()
    last_package = ledger.closing()
    if not chunk.settled:
        last_package.append(failures(extraction, chunk))
    if job.only and outcome.status is not Status.INTERRUPTED:
        last_package.append(ended_backfill(extraction, names))
    if last_package:
        _run_package(dataset, last_package, extraction)
    with loading(), kept_open(pipeline):
        ledger.close()
        write_comments(pipeline, descriptions(pipeline.default_schema))
        prune_state(pipeline)
        write_views(pipeline)
        settle(pipeline)


def _status(extraction: Extraction) -> Status:
    if extraction.stopping:
        return Status.INTERRUPTED
    return Status.PARTIAL if extraction.failures else Status.OK


def _run_package(dataset: OpenDataset, package: list[DltResource], extraction: Extraction) -> None:
    """Load one package. Raises what ended the extraction, or `RunFailed` if it could not be written or loaded.

    Also `DestinationBusy` if the lock on the dataset was lost, and another run has it now.
    """
    source = DltSource(dlt.Schema(SOURCE), SOURCE, package)
    try:
        with loading():
            dataset.load(source)
            ensure_indexes(dataset.pipeline, merge_keys())  # the next package is merged by them
    except Exception:
        extraction.stop()
        _raise_crash(extraction)
        raise


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

    def stop(number: int) -> None:
        if extraction.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        extraction.stop()

    with on_termination(stop):
        try:
            yield
        finally:
            if not extraction.asked:
                extraction.stop()
