"""Runs in processes of their own, to be killed; forked from one that has imported everything already."""

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.repository import REPOSITORY

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pipelines.cli", "pipelines.run", "dlt.destinations", "psycopg2", "duckdb"])
_SETTINGS = ("DESTINATION__", "SOURCES__", "DLT_", "RUNTIME__", "LOAD__")


class Child:
    """A process that works in the current folder with the current settings; its output is in `log`."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        settings = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
        self.log = Path.cwd() / f"child-{time.monotonic_ns()}.log"
        self.log.touch()
        self._process: BaseProcess = _context.Process(
            target=_within, args=(Path.cwd(), settings, self.log, work, arguments), daemon=True
        )
        with pytest.MonkeyPatch.context() as patch:  # the first one starts the server, which is to import this code
            patch.setenv("PYTHONPATH", str(REPOSITORY))
            self._process.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code, once it has ended."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"still running after {seconds} s: {self.log.read_text()}"
        return self._process.exitcode

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    def when(self, happened: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something has happened or it has ended."""
        deadline = time.monotonic() + seconds
        while self.running and not happened() and time.monotonic() < deadline:
            time.sleep(0.005)


def _within(
    folder: Path, settings: Mapping[str, str], log: Path, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith(_SETTINGS)]:
        del os.environ[name]
    os.environ.update(settings)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    raise SystemExit(work(*arguments))


def command(*arguments: str) -> None:
    """`braze-elt` with these arguments."""
    from pipelines.cli import cli

    cli(list(arguments), prog_name="braze-elt")


def command_with_little_disk(most: int, *arguments: str) -> None:
    """The same where no file can grow beyond `most` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    command(*arguments)


def command_killed_before(step: str, part: str, *arguments: str) -> None:
    """The same, killed before the first such file-system step (an audit event) on a path with `part` in it."""

    def kill(event: str, details: tuple[Any, ...]) -> None:
        if event == step and any(part in str(detail) for detail in details):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    command(*arguments)


def command_killed_at(module: str, function: str, *arguments: str) -> None:
    """The same, killed instead of calling a function by its name in a module."""
    setattr(import_module(module), function, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    command(*arguments)


def command_that_notes_its_stop(note: Path, *arguments: str) -> None:
    """The same; the file `note` is there once it was told to stop."""
    from sources.braze.extraction import Extraction

    stop = Extraction.stop

    def noted(extraction: Extraction) -> None:
        stop(extraction)
        note.touch()

    Extraction.stop = noted  # type: ignore[method-assign]
    command(*arguments)


def command_killed_after_its_load(*arguments: str) -> None:
    """The same, killed once the profiles of an export are in the warehouse, before the export is noted as loaded."""
    from sources.braze.export_jobs import ExportJob

    ExportJob.loaded = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    command(*arguments)


def export_killed_half_way(segment: str) -> int:
    """An export in groups of 50 profiles, a package for each, killed after the third."""
    from pipelines.job import Job
    from pipelines.run import run
    from sources.braze import profiles
    from sources.braze.export_jobs import ExportJob

    profiles.GROUP_PROFILES = 50
    loaded, calls = ExportJob.loaded, count(1)

    def killed(job: ExportJob, *arguments: Any, **options: Any) -> None:
        loaded(job, *arguments, **options)
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    ExportJob.loaded = killed  # type: ignore[method-assign]
    return run(Job("export-users", "users", audiences=(segment,), chunk_rows=1))


def sync_in_chunks(rows: int, destination: str, select: str) -> int:
    """A sync that loads a package for so many rows."""
    from pipelines.job import Job
    from pipelines.run import run

    return run(Job("sync", select, destination, chunk_rows=rows))
