"""What a run did, as data: for the closing table, `sync_runs`, summaries, metrics and alerts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from sources.braze.client import Traffic
from sources.braze.failures import Failure

RUNNING = "running"
FAILED = "failed"
_EXIT_CODES = {"ok": 0, "partial": 3}


@dataclass
class Outcome:
    """One run: filled in while it goes on, read once it has ended, however that was.

    `status` is as in `sync_runs`, `error` what ended the run, `rows` by table, `zone` the workspace's; `plan` is what
    `--plan` found, a row of text per endpoint.
    """

    command: str
    started_at: datetime
    status: str = RUNNING
    rows: Counter[str] = field(default_factory=Counter)
    finished_at: datetime | None = None
    traffic: Traffic | None = None
    failures: Sequence[Failure] = ()
    error: Exception | None = None
    zone: tzinfo = UTC
    plan: Sequence[Sequence[str]] | None = None

    @property
    def exit_code(self) -> int:
        """What a command that ends like this returns, unless an error decides it."""
        return _EXIT_CODES.get(self.status, 1)

    @property
    def seconds(self) -> float:
        """How long the run took; 0 while it has not ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0
