"""Progress while a run is under way, and the table that closes it."""

import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from pipelines.outcome import Outcome
from pipelines.terminal import stderr, stdout
from sources.braze.extraction import Extraction
from sources.braze.record import Progress as ResourceProgress
from sources.braze.users import Profiles

logger = logging.getLogger(__name__)
LINE_SECONDS = 10.0
"""Seconds between progress lines where there is no terminal."""
REFRESH_SECONDS = 0.2
MOST_PLACES = 20
MOST_FAILURES = 10


class Reporter:
    """Shows progress per resource until the block ends: bars on a terminal, lines elsewhere."""

    def __init__(self, progress: Mapping[str, ResourceProgress], log_format: str) -> None:
        self._progress = progress
        self._console = stderr()
        self._bars = self._console.is_terminal and log_format == "text"
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._draw if self._bars else self._log, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _draw(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        tasks: dict[str, TaskID] = {}
        with Progress(*columns, console=self._console, transient=True) as bars:
            while not self._ended.wait(REFRESH_SECONDS):
                for name, progress in list(self._progress.items()):
                    if name not in tasks:
                        tasks[name] = bars.add_task(name, total=None, pace="")
                    total = None if progress.listing else progress.known
                    bars.update(tasks[name], total=total, completed=progress.done, pace=self._pace(progress))

    def _log(self) -> None:
        said: dict[str, int] = {}
        while not self._ended.wait(LINE_SECONDS):
            for name, progress in list(self._progress.items()):
                if said.get(name) != progress.done < progress.known:
                    said[name] = progress.done
                    known = f"at least {progress.known}" if progress.listing else progress.known
                    logger.info("%s: %d of %s requests, %s", name, progress.done, known, self._pace(progress))

    def _pace(self, progress: ResourceProgress) -> str:
        known, done = progress.known, progress.done
        rate = done / max(0.001, time.monotonic() - self._started)
        pace = f"{rate:.0f}/s" if rate >= 1 else f"{60 * rate:.0f}/min"
        return (
            f"{pace}, about {(known - done) / rate:.0f} s left" if 0 < done < known and not progress.listing else pace
        )


def print_outcome(extraction: Extraction, outcome: Outcome) -> None:
    """Print rows per table, then one line on requests, and what failed."""
    console = stdout()
    table = Table("table", "rows", title=None)
    table.columns[1].justify = "right"
    for name, rows in sorted(outcome.rows.items()):
        if rows:
            table.add_row(name, f"{rows:,}")
    table.add_section()
    table.add_row("all", f"{outcome.rows.total():,}")
    console.print(table)
    traffic = extraction.run.client.traffic
    console.print(
        f"{outcome.status}: {traffic.requests:,} requests, {traffic.retries:,} retries, {traffic.refused:,} refused"
        f" (429), {traffic.waited:.0f} s waited for the rate limit, {outcome.seconds:.1f} s in all."
    )
    if extraction.profiles and extraction.profiles.unknown:
        console.print(_unknown_ids(extraction.profiles), soft_wrap=True)
    _print_failures(extraction)


def print_gaps(extraction: Extraction) -> None:
    """Print why a plan is not whole."""
    why = "it was interrupted" if extraction.stopping else "not everything could be read"
    stdout().print(f"The plan is incomplete, because {why}: a run may send more requests.", soft_wrap=True)
    _print_failures(extraction)


def _print_failures(extraction: Extraction) -> None:
    console, failures = stdout(), extraction.failures
    for failure in failures[:MOST_FAILURES]:
        console.print(f"  failed: {failure.resource} {failure.entity_id}: {failure.message}", soft_wrap=True)
    if len(failures) > MOST_FAILURES:
        where = "" if extraction.run.dry else " in sync_failures"
        console.print(f"  … and {len(failures) - MOST_FAILURES:,} more{where}.")


def _unknown_ids(profiles: Profiles) -> str:
    """Where the unknown ids stand in the input: the ids themselves are personal data, and output is often kept."""
    places = [f"{place:,}" for place, _ in profiles.unknown_ids[:MOST_PLACES]]
    more = ", …" if profiles.unknown > len(places) else ""
    ids, lines = ("1 id is", "line") if profiles.unknown == 1 else (f"{profiles.unknown:,} ids are", "lines")
    return f"{ids} not known to Braze: {lines} {', '.join(places)}{more} of the input."
