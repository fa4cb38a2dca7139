"""What a run leaves behind beside its tables, however it ends: a summary, metrics, an alert."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.alerts import alert, webhook
from pipelines.history import History, read_history
from pipelines.job import Job
from pipelines.metrics import write_metrics
from pipelines.outcome import Outcome, Status
from pipelines.summary import append_summary, run_summary

logger = logging.getLogger(__name__)


@contextmanager
def concluded(job: Job, plan: bool = False) -> Iterator[Outcome]:
    """The outcome of the run in the block, to be filled in there; published when the block has ended.

    What cannot be published is logged and changes neither the outcome nor the error of the run. With `plan` there is
    only the summary.
    """
    outcome = Outcome(job.command, job.now)
    try:
        yield outcome
    except Exception as error:
        outcome.status, outcome.error = Status.FAILED, error
        outcome.end()
        raise
    finally:
        if outcome.finished_at or outcome.plan:  # not if a second Ctrl-C ended it at once
            _publish(job, outcome, plan)


def _publish(job: Job, outcome: Outcome, plan: bool) -> None:
    publish_summary(job, run_summary(outcome))
    if plan:
        return
    url = webhook(job) if outcome.exit_code else None
    history = read_history(job) if url or job.metrics else History()
    if job.metrics:
        _attempt("The metrics", lambda file: write_metrics(file, job, outcome, history), job.metrics)
    if url:
        alert(url, job, outcome, history)


def publish_summary(job: Job, text: str) -> None:
    """Add `text` to the file that `--summary` names, if it does. What hinders it is logged."""
    if job.summary:
        _attempt("The summary", lambda file: append_summary(file, text), job.summary)


def _attempt(what: str, write: Callable[[Path], None], file: Path) -> None:
    try:
        write(file)
    except OSError as error:
        logger.warning("%s could not be written to %s: %s.", what, file, error.strerror)
