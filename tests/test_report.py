"""Progress where there is no terminal: a line for what has moved since the last one."""

import logging
import re
import time
from collections.abc import ItemsView

import pytest

from pipelines import report
from pipelines.report import Reporter
from sources.braze.record import Progress


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
