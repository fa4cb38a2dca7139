"""Progress where there is no terminal: a line for what has moved since the last one."""

import logging
import re
import time

import pytest

from pipelines import report
from pipelines.report import Reporter
from sources.braze.record import Progress


def test_what_has_moved_is_a_line_and_what_has_not_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report, "LINE_SECONDS", 0.01)
    kpis = Progress(known=400, done=100)
    with caplog.at_level(logging.INFO), Reporter({"kpis": kpis, "users": Progress(known=2, done=2)}, "json"):
        for lines in (1, 2):
            while len(caplog.messages) < lines:
                time.sleep(0.01)
            kpis.done += 100
    first, second, *_ = caplog.messages
    assert re.fullmatch(r"kpis: 100 of 400 requests, \d+/s, about \d+ s left", first)
    assert re.fullmatch(r"kpis: 200 of 400 requests, \d+/s, about \d+ s left", second)
    assert not any(line.startswith("users") for line in caplog.messages)
