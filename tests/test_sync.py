"""The nightly sync, end to end: a sandbox over HTTP into DuckDB and Postgres."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlalchemy

from pipelines.job import Job
from pipelines.run import run
from sources.braze import braze
from sources.braze.model import Column, Type
from sources.braze.tables import TABLES, tables_of
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox
from tests import postgres
from tests.nights import Nights
from tests.repository import REPOSITORY
from tests.warehouses import Warehouse
from tests.workspaces import (
    API_KEY,
    NOW,
    START,
    TODAY,
    ZONE,
    columns,
    configure,
    differences,
    doubled,
    files_with,
    loaded,
    orphans,
    queried,
    row_counts,
    rows_of,
    sync,
    tables_with,
    uncommented,
    without_key,
    without_load,
    workspace,
)


@dataclass(frozen=True)
class Load:
    """A first sync of everything, and what it left behind."""

    warehouse: Warehouse
    sandbox: Sandbox
    folder: Path
    code: int
    output: str


def pairs(sandbox: Sandbox) -> str:
    return ",".join(f"{campaign}:{send}" for campaign, send in sandbox.workspace.sends)


@pytest.fixture(scope="module", params=["duckdb-exclusive", "postgres-inclusive"])
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Everything there is, in both warehouses and under both readings of `ending_at`."""
    name, reading = request.param.split("-")
    folder = tmp_path_factory.mktemp("sync")
    with pytest.MonkeyPatch.context() as monkeypatch, workspace(ending_at=reading) as sandbox:
        for variable in [known for known in os.environ if known.startswith(("DESTINATION__", "SOURCES__"))]:
            monkeypatch.delenv(variable)
        monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        monkeypatch.chdir(folder)
        configure(monkeypatch, sandbox, hourly=True, sends=pairs(sandbox), app_ids=sandbox.workspace.apps[0])
        if name == "duckdb":
            yield _loaded(Warehouse(name, str(folder / "warehouse.duckdb")), sandbox, folder)
            return
        with postgres.database(request.getfixturevalue("postgres_server")) as url:
            monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
            yield _loaded(Warehouse(name, url), sandbox, folder)


def _loaded(warehouse: Warehouse, sandbox: Sandbox, folder: Path) -> Load:
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        code = sync(warehouse.name)
    return Load(warehouse, sandbox, folder, code, output.getvalue())


class TestFirstSync:
    def test_it_succeeds(self, load: Load) -> None:
        assert load.code == 0, load.output

    def test_the_sums_of_every_counter_are_those_that_the_workspace_states(self, load: Load) -> None:
        totals = load.sandbox.totals(START, TODAY, app_ids=load.sandbox.workspace.apps[:1])
        purchases = load.sandbox.totals(START, TODAY)  # by app only sessions, KPIs and events are broken down
        totals |= {name: purchases[name] for name in ("purchase_daily", "purchase_hourly")}
        for name in ("send_daily", "send_message_daily"):
            del totals[name]["rows"]  # days before a send are zeros that it does not count
        assert {name for name in totals if name.endswith(("_daily", "_hourly"))} == set(totals)
        assert differences(load.warehouse, totals) == {}

    def test_every_analytics_table_has_rows(self, load: Load) -> None:
        filled = {name for name, count in row_counts(load.warehouse).items() if count}
        selected = {table.name for table in TABLES.values() if table.resource not in ("users", "canvas_summary")}
        without = {"sync_failures", "send_message_click_daily", "canvas_step_message_click_daily"}
        assert selected - filled == without

    def test_no_grain_is_doubled_and_no_key_is_empty(self, load: Load) -> None:
        assert doubled(load.warehouse) == []
        assert without_key(load.warehouse) == []

    def test_no_child_is_without_its_parent(self, load: Load) -> None:
        assert orphans(load.warehouse) == []

    def test_every_table_and_column_is_commented(self, load: Load) -> None:
        assert uncommented(load.warehouse) == []

    def test_every_row_names_its_load(self, load: Load) -> None:
        assert without_load(load.warehouse) == []

    def test_columns_have_their_declared_types(self, load: Load) -> None:
        families = {
            "text": {"VARCHAR", "character varying", "text"},
            "bigint": {"BIGINT", "bigint"},
            "double": {"DOUBLE", "double precision"},
            "bool": {"BOOLEAN", "boolean"},
            "date": {"DATE", "date"},
            "timestamp": {"TIMESTAMP WITH TIME ZONE", "timestamp with time zone"},
            "json": {"JSON", "jsonb", "json"},
        }
        present = columns(load.warehouse)
        wrong = {
            f"{table.name}.{column.name}": present[table.name].get(column.name)
            for table in loaded(load.warehouse)
            for column in table.columns
            if present[table.name].get(column.name) not in families[column.type.value]
        }
        assert wrong == {}

    def test_the_run_is_in_the_ledger(self, load: Load) -> None:
        requests = sum(load.sandbox.log.paths.values())
        (row,) = rows_of(load.warehouse, "sync_runs", "command", "status", "requests", "retries", "failures")
        assert row == ("sync", "ok", requests, 0, 0)
        (rows,) = rows_of(load.warehouse, "sync_runs", "rows")[0]
        counts = row_counts(load.warehouse)
        assert rows == sum(count for name, count in counts.items() if not name.startswith("sync_"))

    def test_the_key_is_nowhere(self, load: Load) -> None:
        assert files_with(load.folder, API_KEY) == []
        assert tables_with(load.warehouse, API_KEY) == []
        assert API_KEY not in load.output
        assert not [asked for asked in load.sandbox.log.requests if API_KEY in f"{asked.path}{asked.params}"]

    def test_the_closing_table_says_what_was_loaded(self, load: Load) -> None:
        counts = row_counts(load.warehouse)
        lines = [[cell.strip() for cell in line.split("│")] for line in load.output.splitlines() if "│" in line]
        stated = {cells[1]: int(cells[2].replace(",", "")) for cells in lines}
        total = stated.pop("all")
        assert stated == {name: count for name, count in counts.items() if count and not name.startswith("sync_")}
        assert total == sum(stated.values())
        assert f"ok: {sum(load.sandbox.log.paths.values()):,} requests, 0 retries" in load.output


# Pages

CATALOGS = "campaigns,canvases,segments,cards,events,purchases"


@pytest.mark.parametrize(
    ("sizes", "denied"),
    [
        ({"campaigns": 230, "canvases": 110, "segments": 105, "cards": 101, "events": 520}, frozenset()),
        ({"campaigns": 200, "canvases": 100, "segments": 100, "cards": 100, "events": 500}, frozenset(["events.get"])),
    ],
    ids=["pages with a rest", "full pages, events by name"],
)
def test_everything_listed_is_there_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, int], denied: frozenset[str]
) -> None:
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    with workspace(**sizes, denied=denied) as sandbox:
        configure(monkeypatch, sandbox, concurrency=32, start_date=TODAY)
        assert sync(select=CATALOGS) == 0
        content = sandbox.workspace
        assert rows_of(warehouse, "campaigns", "id") == sorted((name,) for name in content.campaigns)
        assert rows_of(warehouse, "canvases", "id") == sorted((name,) for name in content.canvases)
        assert rows_of(warehouse, "segments", "id") == sorted((name,) for name in content.segments)
        assert rows_of(warehouse, "cards", "id") == sorted((name,) for name in content.cards)
        assert Counter(rows_of(warehouse, "events", "name")) == Counter((name,) for name in content.events)
        assert rows_of(warehouse, "products", "product") == sorted((name,) for name in content.products)
        assert sandbox.log.paths["/campaigns/list"] == sizes["campaigns"] // 100 + 1


@pytest.mark.parametrize("wanted", [True, False])
def test_message_bodies_are_loaded_unless_the_setting_leaves_them_out(wanted: bool) -> None:
    with workspace(campaigns=4, canvases=2) as sandbox:
        nights = Nights(sandbox, api_key=API_KEY, message_bodies=wanted)
        nights.night(select="campaigns,canvases")
        for table in ("campaign_messages", "canvas_step_messages"):
            assert nights.rows(table), table
            assert any("body" in row for row in nights.rows(table)) is wanted, table


# A second night

SERIES = "campaigns,campaign_series,canvases,canvas_series,segments,segment_series,cards,card_series,events"


def content(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but the ledger, without what says when they were loaded, as both warehouses tell them."""
    tables = [table for table in loaded(warehouse) if not table.name.startswith("sync_")]
    named = {table.name: [column for column in table.columns if column.name != "synced_at"] for table in tables}
    selects = {name: ", ".join(f'"{column.name}"' for column in wanted) for name, wanted in named.items()}
    answers = queried(warehouse, [f"SELECT {selected} FROM braze.{name}" for name, selected in selects.items()])
    return {
        name: sorted((tuple(map(_plain, row, wanted)) for row in rows), key=repr)
        for (name, wanted), rows in zip(named.items(), answers, strict=True)
    }


def _plain(cell: Any, column: Column) -> Any:
    if column.type is Type.JSON and isinstance(cell, str):
        return json.loads(cell)
    return cell.astimezone(UTC) if isinstance(cell, datetime) else cell


def test_what_vanished_from_the_workspace_vanishes_from_the_warehouse(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, workplace: Path
) -> None:
    """Tags, teams, messages, steps, a day's variants: fewer of them, and none at all. The second night must leave
    what a first load of the changed workspace brings."""
    with workspace() as sandbox:
        configure(monkeypatch, sandbox, start_date=TODAY - timedelta(days=20))
        assert sync(warehouse.name, SERIES) == 0
        before = content(warehouse)
        change = sandbox.workspace.update
        shapes = {campaign.shape: campaign for campaign in sandbox.workspace.campaigns.values()}
        everywhere = shapes["multichannel"]
        change("campaign", everywhere.id, tags=(), teams=(), shape="sms", variation_ids=everywhere.variation_ids[:1])
        clicks = shapes["push_clicks"]
        change("campaign", clicks.id, tags=("one",), shape="email", variation_ids=clicks.variation_ids[:1])
        linear = next(c for c in sandbox.workspace.canvases.values() if c.shape == "journey")
        change(
            "canvas", linear.id, shape="linear", tags=(), teams=(), variant_ids=linear.variant_ids[:1],
            step_ids=linear.step_ids[:2], deleted=frozenset(),
        )  # fmt: skip
        tested = next(c for c in sandbox.workspace.canvases.values() if c.shape == "test")
        sandbox.workspace.delete_step(tested.id, 0)
        for segment in sandbox.workspace.segments.values():
            change("segment", segment.id, tags=(), teams=())
        for card in sandbox.workspace.cards.values():
            change("card", card.id, tags=())
        assert sync(warehouse.name, SERIES) == 0
        after = content(warehouse)

        fresh = Warehouse("duckdb", str(workplace / "fresh.duckdb"))
        monkeypatch.delenv("DESTINATION__DUCKDB__CREDENTIALS", raising=False)
        assert sync("duckdb", SERIES, pipeline="fresh", file=Path(fresh.credentials)) == 0
        expected = content(fresh)
    assert before["segment_tags"]
    assert after["segment_tags"] == after["card_tags"] == []
    for table in sorted(after):
        assert after[table] == expected.get(table, []), table


WITHOUT_FIELDS = ("_tags", "_channels", "_teams", "_first_steps", "_paths", "_click_daily", "products", "sync_runs")
"""Tables whose rows are not made of the fields of an object."""


def test_new_fields_arrive_as_columns_and_new_channels_as_rows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(campaigns=3, canvases=2) as sandbox:
        configure(monkeypatch, sandbox)
        assert sync(warehouse.name, SERIES) == 0
        known = columns(warehouse)
        sandbox.fail("*", "unknown_keys")
        assert sync(warehouse.name, SERIES) == 0
        found, counts = columns(warehouse), row_counts(warehouse)
        for table in loaded(warehouse):
            new = set(found[table.name]) - set(known.get(table.name, ()))
            assert new <= {"new_counter", "new_object", "new_list", "beams"}, table.name
            if table.name in known and counts[table.name] and not table.name.endswith(WITHOUT_FIELDS):
                assert "new_counter" in new, table.name
        channels = {row[0] for row in rows_of(warehouse, "campaign_message_daily", "channel")}
        assert "hologram" in channels
        beams = warehouse.query("SELECT sum(beams), sum(new_counter) FROM braze.campaign_message_daily")
        assert all(total > 0 for total in beams[0])
        assert uncommented(warehouse) == []
        assert differences(warehouse, _without(sandbox.totals(START, TODAY), "campaign_message_daily.rows")) == {}


def _without(totals: dict[str, dict[str, int | float]], column: str) -> dict[str, dict[str, int | float]]:
    table, _, name = column.partition(".")
    wanted = [table for resource in SERIES.split(",") for table in (t.name for t in tables_of(resource))]
    daily = {name: dict(sums) for name, sums in totals.items() if name in wanted and name.endswith("_daily")}
    del daily[table][name]
    for sums in daily.values():
        sums.pop("rows", None)
    return daily


# Sends


def test_sends_come_from_a_query_and_from_the_setting(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse
) -> None:
    url = f"sqlite:///{workplace / 'sends.sqlite'}"
    if warehouse.name == "postgres":
        url = warehouse.credentials.replace("postgresql://", "postgresql+psycopg2://")
    with workspace() as sandbox:
        sends = list(sandbox.workspace.sends)
        assert len(sends) > 2
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE messages (campaign TEXT, send TEXT)"))
            for campaign_id, send_id in (*sends[1:], sends[-1]):
                row = {"campaign": campaign_id, "send": send_id}
                connection.execute(sqlalchemy.text("INSERT INTO messages VALUES (:campaign, :send)"), row)
        engine.dispose()
        query = "SELECT campaign AS campaign_id, send AS send_id FROM messages"
        configure(monkeypatch, sandbox, sends=":".join(sends[0]), sends_query=query, sends_query_url=url)
        assert sync(warehouse.name, "sends") == 0
        totals = sandbox.totals(START, TODAY)
        found = {(campaign, send) for campaign, send in rows_of(warehouse, "send_daily", "campaign_id", "send_id")}
    expected = {name: dict(totals[name]) for name in ("send_daily", "send_message_daily")}
    for sums in expected.values():
        del sums["rows"]
    assert found == set(sends)
    assert differences(warehouse, expected) == {}


# From someone's own script


def dlt_project(folder: Path, sandbox: Sandbox) -> dict[str, str]:
    """A folder with `.dlt` as in this repository, and the environment of a process without any other settings."""
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").write_text(f'[sources.braze]\napi_key = "{API_KEY}"\n')
    own = f'endpoint = "{sandbox.url}"\ntime_zone = "{ZONE}"\nstart_date = {START}\nlookback_days = 3\n'
    config = (REPOSITORY / ".dlt" / "config.toml").read_text()
    (folder / ".dlt" / "config.toml").write_text(config.replace("[sources.braze]\n", f"[sources.braze]\n{own}"))
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SOURCES__", "DESTINATION__"))}
    return {**outside, "PYTHONPATH": str(REPOSITORY), "DLT_DATA_DIR": str(folder / "dlt")}


SCRIPT = """
import dlt
from datetime import UTC, datetime
from sources.braze import braze

pipeline = dlt.pipeline("braze", destination=dlt.destinations.duckdb("own.duckdb"), dataset_name="braze")
source = braze(now=datetime(2026, 4, 10, 16, 30, tzinfo=UTC))
pipeline.run(source.with_resources("campaigns", "campaign_series", "sync_failures"))
"""


def test_the_source_runs_in_a_script_with_settings_from_dlts_files(workplace: Path) -> None:
    with workspace(campaigns=4) as sandbox:
        environment = dlt_project(workplace, sandbox)
        for _ in range(2):
            script = [sys.executable, "-c", SCRIPT]
            done = subprocess.run(script, cwd=workplace, env=environment, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
        own = Warehouse("duckdb", str(workplace / "own.duckdb"))
        totals = sandbox.totals(START, TODAY)
        assert {path.split("/")[1] for path in sandbox.log.paths} == {"campaigns"}
        assert {Path(file).name for file in files_with(workplace, API_KEY)} == {"secrets.toml"}
        daily = {name: totals[name] for name in ("campaign_daily", "campaign_message_daily")}
        assert differences(own, daily) == {}
        assert doubled(own) == orphans(own) == without_load(own) == []


def test_a_script_that_selects_no_failures_keeps_them_all_the_same(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Warehouse("duckdb", str(workplace / "own.duckdb"))
    with workspace(campaigns=2) as sandbox:
        configure(monkeypatch, sandbox)
        campaign = next(iter(sandbox.workspace.campaigns))
        sandbox.fail("/campaigns/data_series", "400", {"campaign_id": campaign})
        for resolved in (False, True):
            pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb(own.credentials), dataset_name="braze")
            pipeline.run(braze(now=NOW).with_resources("campaigns", "campaign_series"))
            failures = own.query("SELECT entity_id, resolved_at IS NOT NULL FROM braze.sync_failures")
            assert failures == [(campaign, resolved)]
            pipeline.run(braze(now=NOW).with_resources("sync_failures"))
            sandbox.mend()


def test_dlts_own_command_line_knows_the_pipeline(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(campaigns=2) as sandbox:
        configure(monkeypatch, sandbox)
        assert sync(select="campaigns") == 0
    command = [str(Path(sys.executable).parent / "dlt"), "pipeline", "braze", "info"]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "braze" in done.stdout


# The plan

PLANNED = [
    ({}, None),
    ({"hourly": True, "products": "*"}, "card_series,sessions,event_series,purchases,kpis"),
    ({"start_date": "2025-01-01"}, "campaign_series,canvas_series,canvas_summary,segment_series"),
]


@pytest.mark.parametrize(("settings", "select"), PLANNED)
def test_a_plan_names_the_requests_that_are_then_sent_and_writes_nothing(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    select: str | None,
) -> None:
    with workspace(campaigns=3, canvases=2) as sandbox:
        configure(monkeypatch, sandbox, **settings)
        job = Job("sync", select, now=NOW)
        assert run(job, plan=True) == 0
        planned = planned_requests(capsys.readouterr().out)
        assert not list(workplace.glob("*.duckdb"))
        sandbox.log.reset()
        assert run(job) == 0
        capsys.readouterr()
        assert planned == {path.lstrip("/"): count for path, count in sandbox.log.paths.items()}


def test_a_plan_for_the_second_night_goes_by_what_the_first_one_loaded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with workspace(campaigns=3, days=300) as sandbox:
        configure(monkeypatch, sandbox, start_date="2025-07-01")
        job = Job("sync", "campaigns,campaign_series,kpis", now=NOW)
        assert run(job) == 0
        first = sum(sandbox.log.paths.values())
        capsys.readouterr()
        assert run(job, plan=True) == 0
        planned = planned_requests(capsys.readouterr().out)
        sandbox.log.reset()
        assert run(job) == 0
        assert planned == {path.lstrip("/"): count for path, count in sandbox.log.paths.items()}
        assert sum(planned.values()) < first


def test_a_plan_says_what_it_could_not_read(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with workspace(campaigns=3, canvases=2) as sandbox:
        configure(monkeypatch, sandbox)
        sandbox.fail("/campaigns/list", "500")
        summary = workplace / "summary.md"
        assert run(Job("sync", "campaigns,campaign_series,kpis", now=NOW, summary=summary), plan=True) == 0
        printed = capsys.readouterr().out
        assert "The plan is incomplete, because not everything could be read" in printed
        assert "failed: campaigns" in printed
        assert "campaigns/list" in summary.read_text()


def test_a_plan_that_is_interrupted_says_so_and_fails(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with workspace(campaigns=3, canvases=2) as sandbox:
        configure(monkeypatch, sandbox, concurrency=1)
        sandbox.set(latency=0.2)
        stopping = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGTERM))
        stopping.start()
        assert run(Job("sync", "campaigns,campaign_series,kpis", now=NOW), plan=True) == 1
        assert "The plan is incomplete, because it was interrupted" in capsys.readouterr().out


def test_a_backfill_repeated_after_a_failure_reads_its_days_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(campaigns=3, canvases=0) as sandbox:
        configure(monkeypatch, sandbox)
        sandbox.fail("/campaigns/data_series", "400", {"campaign_id": next(iter(sandbox.workspace.campaigns))})
        days = Span(TODAY - timedelta(days=20), TODAY - timedelta(days=10))
        dau = []
        for night in range(2):
            now = NOW + timedelta(days=night)
            job = Job("backfill", "campaigns,campaign_series,kpis", warehouse.name, only=days, now=now)
            assert run(job) == 3
            dau += queried(warehouse, [f"SELECT dau FROM braze.kpi_daily WHERE date = '{days.first}'"])[0][0]
            sandbox.workspace.restate("kpi", days.first, dau=1000)
        assert dau[1] == dau[0] + 1000


def planned_requests(output: str) -> dict[str, int]:
    """Requests by endpoint as the plan prints them; the last line is their sum."""
    lines = [[cell.strip() for cell in line.split("│")] for line in output.splitlines() if line.startswith("│")]
    counts = {cells[1]: int(cells[2].replace(",", "")) for cells in lines}
    assert counts.pop("all") == sum(counts.values())
    return counts
