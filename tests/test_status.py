"""What a monitor asks: how the last runs went, how old everything is, who lacks days, what failed."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from destinations.reading import connected
from pipelines.job import PIPELINE, Job, make_pipeline
from pipelines.run import run
from pipelines.status import Standing, read_status, run_status
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import NOON, quick_client
from tests.workspaces import configure

TODAY = date(2026, 3, 20)
SELECT = "campaigns,campaign_series,kpis"
SIZES = {"campaigns": 3, "canvases": 0, "segments": 0, "cards": 0, "events": 0, "products": 0, "users": 0, "days": 40}


def at(day: date) -> datetime:
    return datetime.combine(day, NOON, UTC)


def night(sandbox: Sandbox, day: date, select: str = SELECT, only: Span | None = None) -> int:
    sandbox.set(today=day)
    return run(Job("backfill" if only else "sync", select, now=at(day), only=only, client=quick_client))


def status(now: datetime) -> Standing:
    with connected(make_pipeline(PIPELINE, "braze", "duckdb")) as dataset:
        return read_status(dataset, now)


def exit_code(now: datetime, hours: float) -> int:
    return run_status("duckdb", "braze", "json", hours, now)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, campaign_shapes=("email",), **SIZES)) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        yield sandbox


def test_the_age_of_everything(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of a part, a backfill or a failing endpoint must not make the rest look fresh."""
    assert night(sandbox, TODAY) == 0
    capsys.readouterr()
    assert exit_code(at(TODAY) + timedelta(hours=5), 6) == 0
    assert json.loads(capsys.readouterr().out)["late"] == {}
    assert exit_code(at(TODAY) + timedelta(hours=7), 6) == 3
    tomorrow = TODAY + timedelta(days=1)
    night(sandbox, tomorrow, only=Span(TODAY, tomorrow))
    assert exit_code(at(tomorrow) + timedelta(hours=1), 6) == 3, "a backfill is no sync"
    sandbox.fail("/kpi/dau/data_series", "500")
    assert night(sandbox, TODAY + timedelta(days=3)) == 3
    late = status(at(TODAY + timedelta(days=3))).late
    assert set(late) == {"kpi_daily"}
    assert exit_code(at(TODAY + timedelta(days=3)), 30) == 3


def test_who_lacks_days_and_what_failed(sandbox: Sandbox) -> None:
    """An entity that fails for longer than one may rest is behind; one that vanished is not."""
    assert night(sandbox, TODAY) == 0
    assert status(at(TODAY)).behind == {"campaign_series": 0}
    failing, vanished, _ = sandbox.workspace.campaigns
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": failing})
    sandbox.workspace.remove("campaign", vanished)
    now = TODAY + timedelta(days=9)
    assert night(sandbox, now) == 3
    found = status(at(now))
    assert found.behind == {"campaign_series": 1}
    assert [(row["resource"], row["entity_id"], row["status"]) for row in found.failures] == [
        ("campaign_series", failing, 500)
    ]
    assert [row["status"] for row in found.runs] == ["partial", "ok"]


def test_what_fails_every_night_is_one_open_failure(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    sandbox.set(denied=["kpi.uninstalls.data_series"])
    nights = [TODAY + timedelta(days=number) for number in range(3)]
    assert [night(sandbox, day, "kpis") for day in nights] == [3, 3, 3]
    found = status(at(nights[-1])).failures
    assert [(row["start_date"], row["end_date"]) for row in found] == [(day, day) for day in reversed(nights)]
    capsys.readouterr()
    assert run_status("duckdb", "braze", "text", None, at(nights[-1])) == 0
    shown = capsys.readouterr().out
    assert re.search(r"Open failures: 1\s", shown)
    assert shown.count("kpi.uninstalls.data_series") == 1
    assert f"{nights[0]} to {nights[-1]}" in shown


def test_where_no_table_has_days_no_empty_grid_is_shown(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert night(sandbox, TODAY, "campaigns") == 0
    assert run_status("duckdb", "braze", "text", None, at(TODAY)) == 0
    assert "Freshness: no table has days." in capsys.readouterr().out


def test_a_table_without_rows_has_no_age(
    monkeypatch: pytest.MonkeyPatch, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **SIZES)) as sandbox:  # it has no segment
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        assert night(sandbox, TODAY, "segments,segment_series,kpis") == 0
    capsys.readouterr()
    assert run_status("duckdb", "braze", "text", None, at(TODAY)) == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["segment_daily", "0", "–", "–"] in cells
    assert [row[3] for row in cells if row[:1] == ["kpi_daily"]] == ["0"]


def test_the_newest_hours_belong_to_a_day_of_the_workspace(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The evening of a day in Honolulu is the next day in UTC, in which DuckDB shows instants here."""
    configure(monkeypatch, sandbox, hourly=True, time_zone="Pacific/Honolulu")
    tomorrow = TODAY + timedelta(days=1)
    evening = datetime.combine(tomorrow, NOON, UTC) - timedelta(hours=6)
    sandbox.set(today=tomorrow)
    assert run(Job("sync", "sessions", now=evening, client=quick_client)) == 0
    capsys.readouterr()
    exit_code(evening, 6)
    freshness = json.loads(capsys.readouterr().out)["freshness"]
    assert {row["table"]: (row["newest"], row["days_old"]) for row in freshness} == dict.fromkeys(
        ("session_daily", "session_hourly"), (TODAY.isoformat(), 0)
    )


def test_a_segment_without_tracking_is_not_behind(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **{**SIZES, "segments": 3})) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        night(sandbox, TODAY, "segments,segment_series")
        stopped, _ = (segment.id for segment in sandbox.workspace.segments.values() if segment.tracked)
        sandbox.workspace.update("segment", stopped, tracked=False)
        now = TODAY + timedelta(days=1)
        assert night(sandbox, now, "segments,segment_series") == 0
        assert status(at(now)).behind == {"segment_series": 0}
