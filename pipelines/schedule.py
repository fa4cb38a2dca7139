"""`braze-elt schedule`: syncs at the times of a cron expression, where there is no cron.

Each sync is a process of its own, so that none can end the scheduler, and its memory is given back.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo

from pipelines.alerts import alert, webhook
from pipelines.errors import RunFailed
from pipelines.history import last_start, read_history
from pipelines.job import Job
from pipelines.logs import configure_logging
from pipelines.outcome import ExitCode, Outcome, Status
from pipelines.signals import on_termination
from pipelines.timetable import Timetable
from sources.braze.settings import resolve

logger = logging.getLogger(__name__)
NAP_SECONDS = 1.0
"""A signal, or a clock that was set, is noticed within it."""


def run_schedule(job: Job, cron: str, at_once: bool = False) -> ExitCode:
    """Sync as `job` says at the times of `cron` in the workspace's time zone, until SIGTERM or Ctrl-C; returns `OK`.

    A sync that was due since the last one that loaded, while no scheduler ran, is made up for at the start.

    Raises `ConfigurationError` and `DestinationError` if no sync could succeed.
    """
    configure_logging(job.log_format)
    settings = resolve(**job.overrides)
    names = job.names_to_load(settings)
    timetable = Timetable(cron, settings.zone)
    try:
        last = last_start(job, names)
    except RunFailed as under_way:
        logger.info("%s", under_way)
        last = None
    syncs = Syncs(arguments(job), lambda number: _alert_of_death(job, number))
    with syncs.until_signalled():
        if at_once:
            syncs.run()
        now = datetime.now(tz=UTC)
        follow(timetable, now if at_once else last or now, syncs.run, lambda due: syncs.wait(due, settings.zone))
    return ExitCode.OK


def follow(
    timetable: Timetable,
    since: datetime,
    run: Callable[[], None],
    wait: Callable[[datetime], bool],
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
) -> None:
    """Call `run` for what is due after `since`, once `wait` has waited for it; end when `wait` returns False.

    Times that pass while `run` is busy, or that had passed already, are made up for by one call at once.
    """
    while wait(timetable.after(since)):
        since = now()
        run()


def _alert_of_death(job: Job, number: int) -> None:
    """Send the alert that a sync could not send by itself, because a signal killed it."""
    if url := webhook(job):
        now = datetime.now(tz=UTC)
        error = RunFailed(f"The process was killed by signal {number}, as happens where memory runs out.")
        alert(url, job, Outcome(job.command, now, Status.FAILED, finished_at=now, error=error), read_history(job))


def arguments(job: Job) -> list[str]:
    """The arguments of `braze-elt` that make it do `job`."""
    options = {
        "select": job.select,
        "destination": job.destination,
        "dataset": job.dataset,
        "log-format": job.log_format,
        "summary": job.summary,
        "metrics": job.metrics,
    }
    return [job.command, *(f"--{name}={value}" for name, value in options.items() if value is not None)]


class Syncs:
    """Runs `braze-elt` with `arguments`, one process after the other, until a signal stops it.

    `killed` is called with the signal that ended a process for which nobody asked.
    """

    def __init__(self, arguments: Sequence[str], killed: Callable[[int], None]) -> None:
        self._killed = killed
        # What this process did not import from the current folder, the other must not either.
        isolated = [] if sys.path[0] in ("", os.getcwd()) else ["-P"]
        self._command = [sys.executable, *isolated, "-m", "pipelines", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> None:
        """Run to the end. However it ends, it is logged and that is all."""
        # In a process group of its own: Ctrl-C reaches it from here, and once.
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603 - this very program
        if self._stopping:
            self._process.terminate()
        code = self._process.wait()
        self._process = None
        if code:
            logger.warning("The sync ended with exit code %d.", code)
        if code < 0 and not self._stopping:
            self._killed(-code)

    def wait(self, due: datetime, zone: tzinfo) -> bool:
        """Wait until `due`; False as soon as a signal stops it. Says so first, in the clocks of `zone`."""
        if self._stopping:
            return False
        if due > datetime.now(tz=UTC):
            logger.info("Next sync: %s.", f"{due.astimezone(zone):%Y-%m-%d %H:%M %Z}")
        else:
            logger.info("A sync was due at %s: it starts now.", f"{due.astimezone(zone):%Y-%m-%d %H:%M %Z}")
        while not self._stopping and (left := (due - datetime.now(tz=UTC)).total_seconds()) > 0:
            time.sleep(min(left, NAP_SECONDS))
        return not self._stopping

    @contextmanager
    def until_signalled(self) -> Iterator[None]:
        """Within the block SIGTERM and Ctrl-C stop it: a sync under way ends its requests and loads what it has.

        A second Ctrl-C ends that sync at once.
        """

        def stop(number: int) -> None:
            again, self._stopping = self._stopping, True
            if self._process:
                self._process.send_signal(signal.SIGINT if again and number == signal.SIGINT else signal.SIGTERM)

        with on_termination(stop):
            yield
