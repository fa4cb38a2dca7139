"""How commands end, and what a run did, as data: for the closing table, `sync_runs`, summaries, metrics, alerts."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import IntEnum, StrEnum

from sources.braze.failures import Failure
from sources.braze.traffic import Traffic


class ExitCode(IntEnum):
    """What a command returns to its caller: all well, the run failed, wrong usage or configuration, partly done."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3


class Status(StrEnum):
    """How a run is or has ended, as `sync_runs` has it."""

    RUNNING = "running"
    OK = "ok"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


LOADED = (Status.OK, Status.PARTIAL)
"""How a run ends that has brought its tables up to date, with or without failures."""
LOADED_IN_SQL = str(tuple(map(str, LOADED)))
_EXIT_CODES = {Status.OK: ExitCode.OK, Status.PARTIAL: ExitCode.PARTIAL}


@dataclass
class Outcome:
    """One run: filled in while it goes on, read once it has ended, however that was.

    `status` is as in `sync_runs`, `error` what ended the run, `rows` by table, `zone` the workspace's; `plan` is what
    `--plan` found, a row of text per endpoint.
    """

    command: str
    started_at: datetime
    status: Status = Status.RUNNING
    rows: Counter[str] = field(default_factory=Counter)
    finished_at: datetime | None = None
    traffic: Traffic | None = None
    failures: Sequence[Failure] = ()
    error: Exception | None = None
    zone: tzinfo = UTC
    plan: Sequence[Sequence[str]] | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)

    def end(self) -> None:
        """Note that the run ends now."""
        self.finished_at = self.started_at + timedelta(seconds=time.monotonic() - self._began)

    @property
    def exit_code(self) -> ExitCode:
        """What a command that ends like this returns, unless an error decides it."""
        return _EXIT_CODES.get(self.status, ExitCode.FAILED)

    @property
    def seconds(self) -> float:
        """How long the run took; 0 while it has not ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0
