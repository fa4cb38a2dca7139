"""Progress where there is no terminal: a line for what has moved since the last one."""

import logging
import re
import time
from collections.abc import ItemsView
from pathlib import Path

import pytest

from pipelines import report
from pipelines.report import Reporter
from sources.braze.record import Progress
from tests.workspaces import configure, sync, workspace


class Watched(dict[str, Progress]):
    """Counts how often it was looked at."""

    looks = 0

    def items(self) -> ItemsView[str, Progress]:
        self.looks += 1
        return super().items()


def test_what_has_moved_is_a_line_and_what_has_not_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report, "LINE_SECONDS", 0.01)
    kpis = Progress(known=400)
    progress = Watched({"kpis": kpis, "users": Progress(known=2, done=2)})
    with caplog.at_level(logging.INFO), Reporter(progress, "json"):
        for done in (100, 200):
            kpis.done = done
            seen = progress.looks
            while progress.looks < seen + 4:
                time.sleep(0.01)
    lines = [line for line in caplog.messages if not line.startswith("kpis: 0 of")]
    assert len(lines) == 2
    for done, line in zip((100, 200), lines, strict=True):
        assert re.fullmatch(rf"kpis: {done} of 400 requests, \d+/s, about \d+ s left", line)


def test_no_end_is_foretold_while_there_is_more_to_list(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "LINE_SECONDS", 0.01)
    with workspace(campaigns=150) as sandbox:
        configure(monkeypatch, sandbox, concurrency=2)
        sandbox.set(latency=0.02)
        assert sync(select="campaigns") == 0
    lines = re.findall(r"campaigns: (\d+) of (at least )?(\d+) requests, (.+)", capsys.readouterr().err)
    while_listing = [pace for _, open_end, _, pace in lines if open_end]
    listed = [(known, pace) for done, open_end, known, pace in lines if not open_end and int(done)]
    assert while_listing
    assert not any("left" in pace for pace in while_listing)
    assert listed
    assert all("left" in pace for _, pace in listed)
    assert listed[-1][0] == "150"
