"""Tables that somebody dropped by hand come back, with all that they had."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.job import Job
from pipelines.outcome import ExitCode
from pipelines.run import run
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.children import Child, command_killed_at, command_killed_before
from tests.nights import SMALL, quick_client
from tests.warehouses import Warehouse
from tests.workspaces import configure, mistakes

SELECT = "campaigns,campaign_series,kpis,sessions"
LOADED = ("campaign_daily", "campaign_message_daily", "campaign_message_click_daily", "kpi_daily", "session_daily")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Iterator[Sandbox]:
    """A workspace that is older than what a second night reads."""
    with Sandbox(WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SMALL | {"days": 300})) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        yield sandbox


def sync(warehouse: Warehouse, select: str = SELECT, now: datetime | None = None) -> ExitCode:
    return run(Job("sync", select, warehouse.name, now=now or datetime.now(tz=UTC), client=quick_client))


def wrong(warehouse: Warehouse, sandbox: Sandbox) -> list[str]:
    return mistakes(warehouse, sandbox, LOADED)


def test_dropped_tables_and_columns_come_back_whole_and_nothing_else_is_asked_twice(
    warehouse: Warehouse, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(warehouse) is ExitCode.OK
    tags = warehouse.query("SELECT campaign_id, tag FROM braze.campaign_tags ORDER BY 1, 2")
    first = dict(sandbox.log.paths)
    warehouse.execute("DROP TABLE braze.campaign_tags")
    warehouse.execute("DROP TABLE braze.campaign_message_daily")
    warehouse.execute("DROP TABLE braze.sync_runs")
    warehouse.execute("ALTER TABLE braze.kpi_daily DROP COLUMN dau")
    sandbox.log.reset()
    capsys.readouterr()
    assert sync(warehouse) is ExitCode.OK
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "dropped" in line]
    assert "campaign_message_daily, campaign_tags, kpi_daily, sync_runs" in said
    assert "campaigns, campaign_series, kpis" in said
    assert "sessions" not in said
    assert wrong(warehouse, sandbox) == []
    assert warehouse.query("SELECT campaign_id, tag FROM braze.campaign_tags ORDER BY 1, 2") == tags != []
    assert warehouse.query("SELECT count(*) FROM braze.sync_runs") == [(1,)]
    assert sandbox.log.paths["/kpi/dau/data_series"] == first["/kpi/dau/data_series"] > 1
    assert sandbox.log.paths["/sessions/data_series"] == 1 < first["/sessions/data_series"]
    sandbox.log.reset()
    assert sync(warehouse) is ExitCode.OK
    assert sandbox.log.paths["/kpi/dau/data_series"] == 1


def test_what_is_not_selected_is_left_alone(duck: Warehouse, sandbox: Sandbox) -> None:
    assert sync(duck) is ExitCode.OK
    duck.execute("DROP TABLE braze.kpi_daily")
    assert sync(duck, "sessions") is ExitCode.OK
    assert duck.query("SELECT count(*) FROM information_schema.tables WHERE table_name = 'kpi_daily'") == [(0,)]
    assert sync(duck, "kpis") is ExitCode.OK
    assert wrong(duck, sandbox) == []


def test_figures_that_braze_no_longer_has_stay(
    duck: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SOURCES__BRAZE__SENDS", ",".join(f"{campaign}:{send}" for campaign, send in sandbox.workspace.sends)
    )
    assert sync(duck, "sends") is ExitCode.OK
    figures = "SELECT campaign_id, send_id, date, unique_recipients FROM braze.send_daily ORDER BY ALL"
    loaded = duck.query(figures)
    duck.execute("DROP TABLE braze.send_message_daily")
    later = datetime.now(tz=UTC) + timedelta(days=30)
    sandbox.set(today=later.date())
    assert sync(duck, "sends", later) is ExitCode.OK
    assert duck.query(figures) == loaded != []


def test_a_table_that_was_dropped_while_a_package_was_pending(warehouse: Warehouse, sandbox: Sandbox) -> None:
    assert sync(warehouse) is ExitCode.OK
    arguments = ("sync", "--select", SELECT, "--destination", warehouse.name)
    child = Child(command_killed_before, "os.rename", "started_jobs", *arguments)
    assert child.wait() == -signal.SIGKILL, child.log.read_text()
    warehouse.execute("DROP TABLE braze.campaign_daily")
    assert sync(warehouse) is ExitCode.OK
    assert wrong(warehouse, sandbox) == []


@pytest.mark.parametrize("step", ["load_package", "make_again"])
def test_killed_while_tables_come_back(step: str, warehouse: Warehouse, sandbox: Sandbox) -> None:
    assert sync(warehouse) is ExitCode.OK
    warehouse.execute("DROP TABLE braze.kpi_daily")
    arguments = ("sync", "--select", SELECT, "--destination", warehouse.name)
    child = Child(command_killed_at, "pipelines.lost_tables", step, *arguments)
    assert child.wait() == -signal.SIGKILL, child.log.read_text()
    assert sync(warehouse) is ExitCode.OK
    assert wrong(warehouse, sandbox) == []


def test_nothing_is_lost_where_there_is_no_warehouse(duck: Warehouse, sandbox: Sandbox) -> None:
    assert not Path(duck.credentials).exists()
    assert run(Job("sync", "kpis", duck.name, client=quick_client), plan=True) is ExitCode.OK
    assert not Path(duck.credentials).exists()


def test_hours_that_are_not_loaded_any_more_stay_dropped(
    duck: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__BRAZE__HOURLY", "true")
    assert sync(duck, "sessions") is ExitCode.OK
    monkeypatch.setenv("SOURCES__BRAZE__HOURLY", "false")
    duck.execute("DROP TABLE braze.session_hourly")
    sandbox.log.reset()
    assert sync(duck, "sessions") is ExitCode.OK
    assert sandbox.log.paths["/sessions/data_series"] == 1
