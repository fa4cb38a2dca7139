"""`braze-elt verify`: the warehouse against the API, and against itself."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.job import Job
from pipelines.run import run
from pipelines.verify import run_verify
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.scripted import Query, Scripted, days_asked, page
from tests.warehouses import Warehouse

TODAY = date(2026, 11, 20)
KEY = "a-very-secret-key"
SMALL = {
    "campaigns": 8,
    "canvases": 3,
    "segments": 4,
    "cards": 2,
    "events": 3,
    "products": 2,
    "users": 0,
    "days": 40,
}
SERIES = "campaigns,campaign_series,canvases,canvas_series"


@pytest.fixture
def sandbox(workplace):
    with Sandbox(WorkspaceOptions(**SMALL, today=TODAY)) as served:
        yield served


class Connector:
    """The commands, at the clock of the sandbox."""

    def __init__(self, sandbox, destination="duckdb", **settings):
        self.sandbox = sandbox
        self.destination = destination
        self.settings = {"start_date": "2026-10-25", **settings}

    def job(self, command, select=None):
        overrides = {"api_key": KEY, "endpoint": self.sandbox.url, **self.settings}
        now = self.sandbox.workspace.now().astimezone(UTC)
        return Job(command, select, self.destination, now=now, overrides=overrides)

    def sync(self, select=None, **options):
        assert run(replace(self.job("sync", select), **options)) == 0
        self.sandbox.log.reset()

    def verify(self, capsys, select=None, sample=None):
        capsys.readouterr()
        code = run_verify(self.job("verify", select), sample, "json")
        captured = capsys.readouterr()
        assert KEY not in captured.out + captured.err
        return code, json.loads(captured.out)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A DuckDB file with everything that a sync loads from a sandbox of this module's options."""
    folder = tmp_path_factory.mktemp("loaded")
    with pytest.MonkeyPatch.context() as patch, Sandbox(WorkspaceOptions(**SMALL, today=TODAY)) as sandbox:
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.chdir(folder)
        Connector(sandbox).sync()
    return folder / "warehouse.duckdb"


@pytest.fixture
def connector(sandbox, loaded, workplace):
    """A connector whose warehouse is loaded already."""
    shutil.copy(loaded, workplace)
    return Connector(sandbox)


@pytest.fixture
def file(connector, workplace):
    return Warehouse("duckdb", str(workplace / "warehouse.duckdb"))


def places(report):
    return {
        (one["kind"], one["table"], one["entity"], one["day"], one["column"]): (one["warehouse"], one["api"])
        for one in report["differences"]
    }


def campaign(sandbox, number):
    return list(sandbox.workspace.campaigns)[number]


def canvas(sandbox, number):
    return list(sandbox.workspace.canvases)[number]


SPOILED = "2026-11-10"
"""A closed day that every entity of the sandbox has."""


def spoil(warehouse, statement, **values):
    warehouse.execute(statement.format(day=SPOILED, **values))


def test_what_was_spoiled_by_hand_is_found_and_named_and_a_clean_load_passes(warehouse: Warehouse, sandbox, capsys):
    connector = Connector(sandbox, warehouse.name, hourly=True, start_date="2026-11-05")
    connector.sync()
    before = warehouse.query("SELECT count(*), max(load_id) FROM braze._dlt_loads")
    code, report = connector.verify(capsys)
    assert report["differences"] == []
    assert report["unanswered"] == []
    assert code == 0
    assert report["resources"]
    assert all(counts["rows"] for counts in report["resources"].values())
    assert not any(counts["behind"]["entities"] for counts in report["resources"].values())

    first, second = campaign(sandbox, 0), campaign(sandbox, 1)
    journey = canvas(sandbox, 0)
    segment = next(one.id for one in sandbox.workspace.segments.values() if one.tracked)
    card = next(iter(sandbox.workspace.cards))
    row = "campaign_id = '{id}' AND date = '{day}'"
    spoil(warehouse, f"UPDATE braze.campaign_daily SET conversions = conversions + 7 WHERE {row}", id=first)
    spoil(warehouse, f"UPDATE braze.campaign_daily SET revenue = revenue + 0.004 WHERE {row}", id=second)
    spoil(warehouse, "UPDATE braze.campaigns SET name = 'Spoiled' WHERE id = '{id}'", id=second)
    spoil(warehouse, "DELETE FROM braze.campaign_messages WHERE campaign_id = '{id}' AND channel = 'email'", id=first)
    spoil(warehouse, "DELETE FROM braze.segment_daily WHERE segment_id = '{id}' AND date = '{day}'", id=segment)
    spoil(warehouse, "INSERT INTO braze.kpi_daily SELECT * FROM braze.kpi_daily WHERE date = '{day}'")
    tag = "INSERT INTO braze.campaign_tags (campaign_id, tag, _dlt_load_id) VALUES ('{id}', 'lost', '1')"
    spoil(warehouse, tag, id="nobody")
    spoil(
        warehouse,
        "DELETE FROM braze.canvas_step_message_daily WHERE canvas_id = '{id}' AND date = '{day}' AND channel = 'email'",
        id=journey,
    )
    spoil(
        warehouse,
        "INSERT INTO braze.campaign_message_daily (campaign_id, date, channel, position, sent, _dlt_load_id)"
        " VALUES ('{id}', '{day}', 'email', 99, 3, '1')",
        id=second,
    )
    spoil(
        warehouse,
        "UPDATE braze.canvas_daily SET entries = entries + 5 WHERE canvas_id = '{id}' AND date = '{day}'",
        id=journey,
    )
    spoil(
        warehouse,
        "UPDATE braze.card_hourly SET clicks = 1000000 WHERE card_id = '{id}' AND hour = '{day} 13:00:00+00'",
        id=card,
    )

    code, report = connector.verify(capsys)
    found = places(report)
    assert code == 3
    ours, theirs = found.pop(("value", "campaign_daily", first, SPOILED, "conversions"))
    assert ours == theirs + 7
    ours, theirs = found.pop(("value", "canvas_daily", journey, SPOILED, "entries"))
    assert ours == theirs + 5
    ours, theirs = found.pop(("sum", "canvas_daily", journey, "2026-11-06 to 2026-11-19", "entries"))
    assert ours == theirs + 5
    assert found.pop(("value", "campaigns", second, None, "name"))[0] == "Spoiled"
    assert ("missing row", "campaign_messages", first, None, None) in found
    assert found.pop(("doubled row", "kpi_daily", "*", SPOILED, None)) == ("2 rows", "1 row")
    assert ("orphan", "campaign_tags", "nobody", None, None) in found
    assert ("missing row", "segment_daily", segment, SPOILED, None) in found
    assert ("gap", "segment_daily", segment, f"{SPOILED} to {SPOILED}", None) in found
    assert ("missing row", "canvas_step_message_daily", journey, SPOILED, None) in found
    assert ("extra row", "campaign_message_daily", second, SPOILED, None) in found
    (hour,) = [one for one in report["differences"] if one["table"] == "card_hourly"]
    assert (hour["entity"], hour["column"], hour["warehouse"]) == (card, "clicks", 1_000_000)
    assert len(found) == 7
    assert report["resources"]["campaign_series"]["differences"] == 2
    assert warehouse.query("SELECT count(*), max(load_id) FROM braze._dlt_loads") == before


def test_a_restated_figure_is_a_difference_until_the_next_sync(warehouse: Warehouse, sandbox, capsys):
    connector = Connector(sandbox, warehouse.name)
    connector.sync(SERIES)
    day = date(2026, 11, 2)
    target = canvas(sandbox, 0)
    sandbox.workspace.restate(target, day, **{"total_stats.entries": 11, "step_stats.0.messages.email.0.opens": 3})
    code, report = connector.verify(capsys, SERIES)
    assert code == 3
    found = {place: api - ours for place, (ours, api) in places(report).items()}
    assert found == {
        ("value", "canvas_daily", target, "2026-11-02", "entries"): 11,
        ("value", "canvas_step_message_daily", target, "2026-11-02", "opens"): 3,
    }
    connector.sync(SERIES)
    code, report = connector.verify(capsys, SERIES)
    assert (code, report["differences"]) == (0, [])


def test_a_spoiled_message_row_is_named_down_to_the_variation_in_text(connector, file, capsys):
    target = campaign(connector.sandbox, 0)
    file.execute(
        "UPDATE braze.campaign_message_daily SET sent = -1"
        f" WHERE campaign_id = '{target}' AND date = '{SPOILED}' AND channel = 'whats_app' AND position = 1"
    )
    capsys.readouterr()
    assert run_verify(connector.job("verify", "campaign_series"), None, "text") == 3
    printed = capsys.readouterr().out
    place = f"value: campaign_message_daily {target} {SPOILED} (channel=whats_app, position=1) sent: warehouse -1, API "
    assert place in printed
    assert "braze-elt sync" in printed


def test_days_beyond_what_is_loaded_are_behind_and_the_unfinished_day_is_not_compared(sandbox, capsys):
    sandbox.set(restated=False)
    connector = Connector(sandbox)
    connector.sync("canvases,canvas_series")
    sandbox.set(today=TODAY + timedelta(days=3))
    code, report = connector.verify(capsys, "canvas_series")
    assert (code, report["differences"]) == (0, [])
    counts = report["resources"]["canvas_series"]
    assert counts["entities"]
    assert counts["behind"] == {"entities": counts["entities"], "days": 3 * counts["entities"]}
    connector.sync("canvases,canvas_series")
    code, report = connector.verify(capsys, "canvas_series")
    assert (code, report["resources"]["canvas_series"]["behind"]["days"]) == (0, 0)


def test_rows_of_every_package_count_as_asked_for_by_their_own_run(sandbox, capsys):
    """The unfinished day of a run of many packages stays one, although a later run has loaded something else."""
    sandbox.set(restated=False)
    connector = Connector(sandbox)
    connector.sync(chunk_rows=200)
    sandbox.set(today=TODAY + timedelta(days=1))
    connector.sync("kpis")
    code, report = connector.verify(capsys, "campaign_series,canvas_series,sessions,event_series")
    assert (code, report["differences"]) == (0, [])


def test_a_sample_limits_requests_and_the_plan_names_each(connector, capsys):
    requests = {}
    for sample in (2, 3, None):
        assert run_verify(connector.job("verify"), sample, "text", plan=True) == 0
        plan = capsys.readouterr().out
        planned = connector.sandbox.log.paths
        assert not any(path.endswith(("details", "data_series", "data_summary")) for path in planned)
        connector.sandbox.log.reset()
        code, report = connector.verify(capsys, sample=sample)
        assert code == 0
        sent = connector.sandbox.log.paths
        for path, count in sent.items():
            assert [line for line in plan.splitlines() if f"│ {path[1:]} " in line and f"│ {count} " in line], path
        requests[sample] = sum(sent.values())
        assert sent["/campaigns/details"] == (sample or SMALL["campaigns"])
        assert report["requests"] == requests[sample]
        connector.sandbox.log.reset()
    assert requests[2] < requests[3] < requests[None]


def test_a_hole_between_two_backfills_is_a_gap(connector, file, capsys):
    file.execute("DELETE FROM braze.kpi_daily WHERE date BETWEEN '2026-11-01' AND '2026-11-04'")
    capsys.readouterr()
    assert run_verify(connector.job("verify", "kpis"), None, "text") == 3
    assert "gap: kpi_daily * 2026-11-01 to 2026-11-04" in capsys.readouterr().out


def test_names_with_characters_that_no_warehouse_takes_are_found(warehouse: Warehouse, workplace, capsys):
    def answer(path: str, query: Query) -> object:
        if path == "events":
            return {"events": [{"name": "sign\x00up", "status": "Active"}]}
        return page("products", ["shoe\x00s"], query) if path == "purchases/product_list" else counted(query)

    def counted(query: Query) -> dict[str, object]:
        return {"data": [{"time": day.isoformat(), "revenue": 1, "purchase_quantity": 1} for day in days_asked(query)]}

    with Scripted(answer, TODAY) as braze:
        overrides = {"api_key": KEY, "endpoint": braze.url, "start_date": "2026-11-18"}
        now = datetime(2026, 11, 20, 12, tzinfo=UTC)
        job = Job("sync", "events,purchases", warehouse.name, now=now, overrides=overrides)
        assert run(job) == 0
        capsys.readouterr()
        assert run_verify(replace(job, command="verify"), None, "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["differences"] == []
    assert [one["behind"]["entities"] for one in report["resources"].values()] == [0, 0]


def test_what_left_braze_and_what_is_new_is_no_difference(connector, capsys):
    sandbox = connector.sandbox
    sandbox.workspace.remove("campaign", campaign(sandbox, 1))
    sandbox.workspace.remove("canvas", canvas(sandbox, 1))
    segment = next(one.id for one in sandbox.workspace.segments.values() if one.tracked)
    sandbox.workspace.update(
        "segment", segment, tracked=False, last_edited=sandbox.workspace.segments[segment].last_edited
    )
    sandbox.set(today=TODAY + timedelta(days=1))
    sandbox.workspace.add("campaign")
    sandbox.set(today=TODAY)
    code, report = connector.verify(capsys, "campaign_series,canvas_series,segment_series")
    assert (code, report["differences"]) == (0, [])
    gone = {name: counts["gone"] for name, counts in report["resources"].items()}
    assert gone == {"campaign_series": 1, "canvas_series": 1, "segment_series": 1}


def test_an_entity_without_any_row_is_missing(connector, file, capsys):
    target = campaign(connector.sandbox, 0)
    for table in ("campaign_daily", "campaign_message_daily", "campaign_message_click_daily"):
        file.execute(f"DELETE FROM braze.{table} WHERE campaign_id = '{target}'")
    file.execute(f"DELETE FROM braze.campaigns WHERE id = '{target}'")
    code, report = connector.verify(capsys, "campaigns,campaign_series")
    kinds = Counter((one["kind"], one["table"]) for one in report["differences"] if one["entity"] == target)
    assert code == 3
    assert kinds[("missing row", "campaigns")] == 1
    assert kinds[("missing row", "campaign_daily")] == 1
    assert kinds[("orphan", "campaign_messages")] == 1


def test_what_was_never_sent_may_have_no_row(sandbox, capsys):
    """A backfill of earlier days leaves it out."""
    never = next(one for one in sandbox.workspace.canvases.values() if one.activity.spans)
    sandbox.workspace.update("canvas", never.id, activity=replace(never.activity, spans=()))
    connector = Connector(sandbox)
    connector.sync("canvas_series", only=Span(date(2026, 10, 25), date(2026, 11, 5)))
    code, report = connector.verify(capsys, "canvas_series")
    assert (code, report["differences"]) == (0, [])


def test_what_braze_does_not_answer_is_not_called_the_same(connector, capsys):
    target = campaign(connector.sandbox, 0)
    connector.sandbox.fail("/campaigns/data_series", "400", {"campaign_id": target})
    connector.sandbox.set(denied=frozenset({"canvas.data_series"}))
    code, report = connector.verify(capsys, SERIES)
    assert (code, report["differences"]) == (3, [])
    unanswered = {(one["resource"], one["entity"]) for one in report["unanswered"]}
    assert ("campaign_series", target) in unanswered
    assert {resource for resource, _ in unanswered} == {"campaign_series", "canvas_series"}


def test_summaries_hold_what_braze_says_of_the_same_window(connector, file, capsys):
    connector.sync("canvases,canvas_summary")
    code, report = connector.verify(capsys, "canvas_summary")
    assert (code, report["differences"]) == (0, [])
    assert report["resources"]["canvas_summary"]["rows"]
    oldest = "(SELECT min(start_date) FROM braze.canvas_variant_summary)"
    file.execute(f"UPDATE braze.canvas_variant_summary SET entries = entries + 1 WHERE start_date = {oldest}")
    code, report = connector.verify(capsys, "canvas_summary")
    assert code == 3
    assert {(one["table"], one["column"]) for one in report["differences"]} == {("canvas_variant_summary", "entries")}


@pytest.mark.parametrize(("ending_at", "zone"), [("inclusive", "UTC"), ("exclusive", "America/Sao_Paulo")])
def test_days_are_the_workspaces_under_both_readings_of_the_window(workplace, capsys, ending_at, zone):
    options = WorkspaceOptions(**SMALL, today=TODAY, time_zone=zone, ending_at=ending_at)
    with Sandbox(options) as sandbox:
        connector = Connector(sandbox, time_zone=zone, hourly=True, start_date="2026-11-01")
        select = "canvases,canvas_series,canvas_summary,sessions,kpis"
        connector.sync(select)
        code, report = connector.verify(capsys, select)
        assert (code, report["differences"], report["unanswered"]) == (0, [], [])
        assert report["resources"]["canvas_summary"]["rows"]


def test_sends_are_compared_while_braze_keeps_their_figures(sandbox, capsys):
    pairs = [f"{campaign_id}:{send_id}" for campaign_id, send_id in sandbox.workspace.sends]
    assert pairs
    connector = Connector(sandbox, sends=pairs)
    connector.sync("sends")
    code, report = connector.verify(capsys, "sends")
    assert (code, report["differences"]) == (0, [])
    assert report["resources"]["sends"]["days"]
    sandbox.set(today=TODAY + timedelta(days=60))
    code, report = connector.verify(capsys, "sends")
    assert (code, report["differences"]) == (0, [])


def test_nothing_is_written_beside_the_report(connector, workplace, capsys):

    def files():
        found = (path for path in workplace.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = files()
    connector.verify(capsys, SERIES)
    assert files() == before


@pytest.fixture
def command(sandbox, monkeypatch):
    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", KEY)
    monkeypatch.setenv("SOURCES__BRAZE__ENDPOINT", sandbox.url)

    def invoke(*arguments):
        result = CliRunner().invoke(cli, ["verify", *arguments])
        assert KEY not in result.output
        return result

    return invoke


def test_bad_usage_is_a_sentence_and_exit_2(command, workplace, monkeypatch):
    nothing_there = command()
    assert nothing_there.exit_code == 2
    assert "does not exist: run a sync" in nothing_there.output
    assert not (workplace / "warehouse.duckdb").exists()
    assert "Did you mean campaigns?" in command("--select", "campagns").output
    assert command("--destination", "duckbd").exit_code == 2
    assert command("--sample", "0").exit_code == 2
    monkeypatch.delenv("SOURCES__BRAZE__API_KEY")
    assert command().exit_code == 2


def test_what_makes_verifying_impossible_is_a_sentence_and_exit_2(connector, command, monkeypatch):
    assert "run braze-elt sync" in command("--select", "canvas_summary").output
    connector.sandbox.set(api_key="another")
    wrong_key = command()
    assert wrong_key.exit_code == 2
    assert "api_key" in wrong_key.output
    monkeypatch.setenv("SOURCES__BRAZE__ENDPOINT", "http://127.0.0.1:9")
    assert command().exit_code == 2


def test_private_content_is_named_but_not_printed(connector, file, capsys):
    headers = json.dumps({"Authorization": "hush"})
    file.execute(f"UPDATE braze.campaign_messages SET headers = '{headers}', body = repeat('hush', 40)")
    file.execute("UPDATE braze.campaign_messages SET url = 'https://u:hush@x.example/?token=hush'")
    code, report = connector.verify(capsys, "campaigns")
    assert code == 3
    assert {"headers", "body", "url"} <= {one["column"] for one in report["differences"]}
    assert "hush" not in json.dumps(report)


@pytest.mark.parametrize("kind", ["403", "404"])
def test_a_feed_that_a_workspace_does_not_have_is_no_gap(sandbox, capsys, kind):
    connector = Connector(sandbox)
    connector.sync("cards,card_series,kpis")
    sandbox.fail("/feed/list", kind)
    code, report = connector.verify(capsys, "cards,card_series,kpis")
    assert code == 0, report
