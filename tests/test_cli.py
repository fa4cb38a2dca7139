"""The command line: mistakes get a sentence and exit 2 with nothing written, and every command does what it says."""

import json
import re
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from pipelines.cli import cli
from sources.braze import endpoints
from sources.braze.answers import Question
from sources.braze.endpoints import Endpoint
from sources.braze.settings import resolve
from sources.braze.tables import TABLES
from sources.braze.user_query import UserQuery
from sources.braze_sandbox import RateLimit, Sandbox, Workspace, WorkspaceOptions
from tests.children import Child, command
from tests.commands import braze_elt, process, sentence, waited_for
from tests.warehouses import Warehouse
from tests.workspaces import API_KEY, START, TODAY, configure, differences, files_with, rows_of, sync, workspace

COMMANDS = ("backfill", "check", "demo", "export-users", "sandbox", "schedule", "schema", "status", "sync", "verify")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def written(folder: Path) -> list[str]:
    """What a run may have left in its current folder, dlt's own working directory aside."""
    return [path.name for path in folder.iterdir() if path.name != "dlt"]


@pytest.fixture
def configured(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and settings in which nothing is wrong but that nobody listens."""
    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", API_KEY)
    monkeypatch.setenv("SOURCES__BRAZE__ENDPOINT", f"http://127.0.0.1:{free_port()}")
    return workplace


@pytest.mark.parametrize("given", ["Our-Data", "our_data"])
def test_a_dataset_has_the_name_that_dlt_gives_it(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    where = ("--destination", warehouse.name, "--dataset", given)
    with Sandbox(WorkspaceOptions(campaigns=0, canvases=0, users=0, api_key=API_KEY)) as sandbox:
        configure(monkeypatch, sandbox, time_zone="UTC", start_date=sandbox.workspace.now().date() - timedelta(days=9))
        assert braze_elt("sync", "--select", "kpis", *where).exit_code == 0
        rows = warehouse.query("SELECT count(*) FROM our_data.kpi_daily")[0][0]
        shown = json.loads(braze_elt("status", "--format", "json", *where).stdout)["freshness"]
        assert [table["rows"] for table in shown if table["table"] == "kpi_daily"] == [rows]
        assert braze_elt("verify", "--select", "kpis", *where).exit_code == 0


def test_postgres_takes_a_dataset_whose_name_has_63_characters_and_no_longer_one(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    longest = "long_" * 12 + "lon"
    where = ("--destination", "postgres", "--dataset")
    with Sandbox(WorkspaceOptions(campaigns=0, canvases=0, users=0, api_key=API_KEY)) as sandbox:
        configure(monkeypatch, sandbox, time_zone="UTC", start_date=sandbox.workspace.now().date() - timedelta(days=9))
        assert braze_elt("sync", "--select", "kpis", *where, longest).exit_code == 0
        assert braze_elt("verify", "--select", "kpis", *where, longest).exit_code == 0
        for command in (
            ("sync", "--select", "kpis"),
            ("verify",),
            ("status",),
            ("backfill", "--start", "2026-01-01", "--end", "2026-01-02"),
        ):
            refused = braze_elt(*command, *where, f"{longest}g")
            assert refused.exit_code == 2, refused.output
            assert f"{longest}g is too long: names in Postgres have at most 63" in sentence(refused)
    schemas = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'long%' ORDER BY 1"
    assert Warehouse("postgres", postgres_url).query(schemas) == [(longest,)]


@pytest.mark.parametrize("name", ["", " "])
def test_a_dataset_needs_a_name(configured: Path, name: str) -> None:
    result = braze_elt("sync", "--dataset", name)
    assert result.exit_code == 2
    assert "The dataset has no name" in sentence(result)


# Mistakes

SETTINGS = [
    ("API_KEY", None, "`api_key` is not set", "SOURCES__BRAZE__API_KEY"),
    ("ENDPOINT", None, "`endpoint` is not set", "SOURCES__BRAZE__ENDPOINT"),
    ("ENDPOINT", "US-99", "`endpoint` is 'US-99'", "US-01, US-02"),
    ("ENDPOINT", "https://dashboard-02.braze.eu", "`endpoint` names dashboard-02.braze.eu", "rest.fra-02.braze.eu"),
    ("TIME_ZONE", "Europe/Berlln", "`time_zone` is 'Europe/Berlln'", "Did you mean Europe/Berlin?"),
    ("TIME_ZONE", "localtime", "`time_zone` is 'localtime'", "an IANA name such as Europe/Berlin"),
    ("LOOKBACK_DAYS", "-1", "`lookback_days` is", "from 0 to 365"),
    ("LOOKBACK_DAYS", "2.5", "`lookback_days` is", "a whole number"),
    ("LOOKBACK_DAYS", "many", "`lookback_days` is", "a whole number"),
    ("CONCURRENCY", "0", "`concurrency` is", "from 1 to 128"),
    ("CONCURRENCY", "1000", "`concurrency` is", "from 1 to 128"),
    ("RATE_RESERVE", "1", "`rate_reserve` is", "from 0 to 0.95"),
    ("RATE_RESERVE", "-0.1", "`rate_reserve` is", "from 0 to 0.95"),
    ("START_DATE", "yesterday", "`start_date` is 'yesterday'", "YYYY-MM-DD"),
    ("START_DATE", "2026-02-30", "`start_date` is '2026-02-30'", "YYYY-MM-DD"),
    ("HOURLY", "sometimes", "`hourly` is 'sometimes'", "true or false"),
    ("SENDS", "abc", "`sends` has the entry 'abc'", "campaign_id:send_id"),
    ("SENDS", "abc:", "`sends` has the entry 'abc:'", "campaign_id:send_id"),
    ("SENDS_QUERY", "SELECT 1", "`sends_query` is set without `sends_query_url`", "set both"),
    ("SENDS_QUERY_URL", "sqlite://", "`sends_query_url` is set without `sends_query`", "set both"),
    ("EXPORT_BUCKET", "s3://me:secret@exports", "`export_bucket` holds a password", "name the bucket alone"),
    ("PII", "{email: hash}", "`pii` ", "JSON"),
]


@pytest.mark.parametrize(("name", "value", "says", "cure"), SETTINGS, ids=lambda part: str(part)[:24])
def test_a_wrong_setting_is_named_with_its_cure(
    configured: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, says: str, cure: str
) -> None:
    monkeypatch.setenv(f"SOURCES__BRAZE__{name}", value or "")
    result = braze_elt("sync")
    assert result.exit_code == 2, result.output
    assert says in sentence(result)
    assert cure in sentence(result)
    assert list(configured.iterdir()) == []


def test_status_names_a_wrong_time_zone(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__BRAZE__TIME_ZONE", "Mars/Olympus")
    result = braze_elt("status")
    assert result.exit_code == 2, result.output
    assert "`time_zone` is 'Mars/Olympus'" in sentence(result)


def test_secrets_are_not_in_what_python_shows_of_settings() -> None:
    secrets = {name: f"hush-{name}" for name in ("api_key", "pii_key")}
    urls = {name: f"https://u:hush-{name}@host/x" for name in ("alert_webhook", "sends_query_url")}
    shown = repr(resolve(endpoint="US-01", pii={"email": "hash"}, sends_query="SELECT 1", **secrets, **urls))
    shown += repr(Question(endpoints.CAMPAIGNS_LIST, {}, "hush-key"))
    shown += repr(UserQuery("sqlite://u:hush-query@x", "SELECT 1", "`url`", "`query`"))
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sync", "--select", "campains"), "Did you mean campaigns?"),
        (("sync", "--select", "campaigns,kpi"), "Did you mean kpis?"),
        (("sync", "--select", ","), "--select is empty"),
        (("sync", "--select", "campaigns,sends"), "neither `sends` nor `sends_query` is set"),
        (("sync", "--destination", "duckdbb"), "Did you mean duckdb?"),
        (("backfill", "--start", "2026-03-01", "--end", "2026-02-01"), "--start 2026-03-01 is after --end 2026-02-01"),
        (("backfill", "--start", "1 March", "--end", "2026-02-01"), "'1 March' is not a date: write it as YYYY-MM-DD."),
        (("backfill", "--start", "2026-03-01"), "Missing option '--end'"),
        (("backfill", "--start", "2999-03-01", "--end", "2999-03-02"), "--start 2999-03-01 is in the future"),
        (("sync", "--log-format", "xml"), "'xml' is not one of"),
        (("schema", "--format", "xml"), "'xml' is not one of"),
        (("export-users", "--cancel", "--segment", "s", "--global-control-group"), "leave --global-control-group out"),
        (("snyc",), "No such command 'snyc'"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_with_its_cure(configured: Path, arguments: tuple[str, ...], says: str) -> None:
    result = braze_elt(*arguments)
    assert result.exit_code == 2, result.output
    assert says in sentence(result)
    assert written(configured) == []


def test_an_unreachable_host_is_named(configured: Path) -> None:
    result = braze_elt("sync")
    assert result.exit_code == 2
    assert "No connection to 127.0.0.1:" in sentence(result)
    assert "Check the setting `endpoint`" in sentence(result)
    assert written(configured) == []


def test_a_wrong_key_names_the_setting_and_the_region(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "00000000-dead-beef-0000-000000000000"
    with workspace() as sandbox:
        configure(monkeypatch, sandbox, api_key=wrong)
        result = braze_elt("sync", "--destination", warehouse.name)
    assert result.exit_code == 2, result.output
    assert "`api_key` (401)" in sentence(result)
    assert "`endpoint`" in sentence(result)
    assert wrong not in result.output
    assert files_with(Path.cwd(), wrong) == []
    if warehouse.name == "duckdb":
        assert written(Path.cwd()) == []
    else:
        schemas = {name for (name,) in warehouse.query("SELECT schema_name FROM information_schema.schemata")}
        assert not {name for name in schemas if name.startswith("braze")}


def test_a_duckdb_file_that_another_process_holds_is_named_with_its_holder(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configured / "warehouse.duckdb"
    hold = f"import duckdb, sys; held = duckdb.connect({str(file)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        result = braze_elt("sync")
        assert result.exit_code == 2, result.output
        assert "is held by another process" in sentence(result)
        assert str(holder.pid) in sentence(result)
        holder.communicate()
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SELECT table_name FROM information_schema.tables").fetchall() == []


def test_a_postgres_that_refuses_is_named_without_its_password(
    configured: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    setting = "DESTINATION__POSTGRES__CREDENTIALS"
    monkeypatch.setenv(setting, f"postgresql://loader:hush-hush@127.0.0.1:{free_port()}/db")
    closed = braze_elt("sync", "--destination", "postgres")
    monkeypatch.setenv(setting, re.sub("//postgres:.*@", "//postgres:hush-hush@", postgres_url))
    refused = braze_elt("sync", "--destination", "postgres")
    monkeypatch.delenv(setting)
    unset = braze_elt("sync", "--destination", "postgres")
    for result in (closed, refused, unset):
        assert result.exit_code == 2, result.output
        assert setting in sentence(result)
        assert "hush-hush" not in result.output
    assert "refuses the connection" in sentence(closed)
    assert "refuses the user postgres or the password" in sentence(refused)
    assert written(configured) == []


QUERIES = [
    ("not a url", "SELECT 1", "`sends_query_url` is not a database URL"),
    ("nosuchdb://host/x", "SELECT 1", "`sends_query_url` needs a driver that is not installed"),
    (
        "postgresql+psycopg2://me:hush-hush@127.0.0.1:{port}/x",
        "SELECT 1",
        "The database in `sends_query_url` cannot be reached",
    ),
    ("sqlite:///here.sqlite", "SELECT 1 FROM nowhere", "`sends_query` fails: no such table: nowhere"),
    ("sqlite:///here.sqlite", "SELECT 1 AS campaign_id", "`sends_query` must select campaign_id and send_id"),
    ("sqlite:///here.sqlite", "SELECT 1 AS campaign_id, NULL AS send_id", "`sends_query` selects a row without"),
]


@pytest.mark.parametrize(("url", "query", "says"), QUERIES, ids=[says[:40] for _, _, says in QUERIES])
def test_a_query_for_sends_that_cannot_work_is_named(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, url: str, query: str, says: str
) -> None:
    with workspace(campaigns=2, canvases=1) as sandbox:
        url = url.format(port=free_port())
        configure(monkeypatch, sandbox, sends_query=query, sends_query_url=url)
        result = braze_elt("sync", "--select", "campaigns,sends")
    assert result.exit_code == 2, result.output
    assert says in sentence(result)
    assert "hush-hush" not in result.output
    assert not (workplace / "warehouse.duckdb").exists()


# Permissions


@pytest.mark.parametrize(
    ("permission", "status", "resource"),
    [
        ("campaigns.data_series", 403, "campaign_series"),
        ("campaigns.details", 403, "campaigns"),
        ("kpi.mau.data_series", 403, "kpis"),
        ("kpi.mau.data_series", 401, "kpis"),
    ],
)
def test_a_denied_endpoint_is_recorded_with_its_permission_and_the_rest_is_exact(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, permission: str, status: int, resource: str
) -> None:
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    with workspace(campaigns=4, denied=frozenset([permission]), denied_status=status) as sandbox:
        configure(monkeypatch, sandbox)
        assert sync(select="campaigns,campaign_series,kpis,segment_series") == 3
        totals = sandbox.totals(START, TODAY)
    assert files_with(workplace, API_KEY) == []
    (failure,) = rows_of(warehouse, "sync_failures", "resource", "entity_id", "endpoint", "message", "resolved_at")
    assert failure[:3] == (resource, "*", permission.replace(".data_series", "/data_series").replace(".", "/"))
    assert permission in failure[3]
    assert failure[4] is None
    assert len(rows_of(warehouse, "campaigns", "id")) == 4
    expected = {"segment_daily": totals["segment_daily"], "kpi_daily": dict(totals["kpi_daily"])}
    if resource == "kpis":
        del expected["kpi_daily"]["mau"]
    assert differences(warehouse, expected) == {}


def test_details_that_are_denied_later_stay_in_the_warehouse(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    with workspace(campaigns=3) as sandbox:
        configure(monkeypatch, sandbox)
        assert sync(select="campaigns") == 0
        messages = rows_of(warehouse, "campaign_messages", "campaign_id", "message_variation_id")
        assert messages
        sandbox.set(denied=frozenset(["campaigns.details"]))
        assert sync(select="campaigns") == 3
    assert rows_of(warehouse, "campaign_messages", "campaign_id", "message_variation_id") == messages
    created = [moment for (moment,) in rows_of(warehouse, "campaigns", "created_at")]
    assert len(created) == 3
    assert all(created)


@pytest.mark.parametrize("permission", ["campaigns.list", "purchases.product_list", "segments.list"])
def test_a_denied_list_costs_its_resources_and_nothing_else(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, permission: str
) -> None:
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    with workspace(campaigns=2, canvases=1, denied=frozenset([permission])) as sandbox:
        configure(monkeypatch, sandbox)
        assert sync(select="campaigns,campaign_series,segments,purchases,kpis") == 3
        totals = sandbox.totals(START, TODAY)
    failed = {resource for (resource,) in rows_of(warehouse, "sync_failures", "resource")}
    owner = {"campaigns": {"campaigns", "campaign_series"}, "purchases": {"purchases"}, "segments": {"segments"}}
    assert failed == owner[permission.split(".", maxsplit=1)[0]]
    assert differences(warehouse, {"kpi_daily": totals["kpi_daily"]}) == {}


# Side by side


def test_a_second_run_at_once_ends_with_a_sentence(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with workspace(campaigns=3, canvases=1) as sandbox:
        configure(monkeypatch, sandbox)
        sandbox.set(latency=60.0)
        arguments = ("sync", "--destination", warehouse.name, "--select", "campaigns")
        with process(*arguments):
            assert waited_for(lambda: sandbox.log.paths["/campaigns/list"])
            same = braze_elt(*arguments)
            monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "elsewhere"))
            elsewhere = braze_elt(*arguments) if warehouse.name == "postgres" else None
    assert same.exit_code == 1, same.output
    assert "is under way: wait until it has ended" in sentence(same)
    if elsewhere:
        assert elsewhere.exit_code == 1, elsewhere.output
        assert "Another run is loading the dataset braze" in sentence(elsewhere)


# What the commands print


def test_help_lists_every_command() -> None:
    result = braze_elt("--help")
    assert result.exit_code == 0
    assert all(re.search(rf"^  {command} ", result.output, re.MULTILINE) for command in COMMANDS)
    assert set(COMMANDS) == set(cli.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = braze_elt(command, "--help")
    assert result.exit_code == 0
    assert "Usage: braze-elt" in result.output


def test_every_option_has_help() -> None:
    options = [(name, option) for name, command in cli.commands.items() for option in command.params]
    assert [(name, option.name) for name, option in options if not getattr(option, "help", None)] == []


@pytest.mark.parametrize("output", ["markdown", "dbml", "mermaid", "json"])
def test_the_schema_names_every_table_and_column(output: str) -> None:
    result = braze_elt("schema", "--format", output)
    assert result.exit_code == 0
    for table in TABLES.values():
        part = _part(result.stdout, output, table.name)
        missing = [column.name for column in table.columns if not re.search(rf"\b{column.name}\b", part)]
        assert missing == [], table.name
        if output != "mermaid":
            assert table.description.replace("'", "\\'" if output == "dbml" else "'") in part


def _part(text: str, output: str, table: str) -> str:
    """What is said of one table."""
    if output == "json":
        (found,) = (entry for entry in json.loads(text) if entry["name"] == table)
        return json.dumps(found, ensure_ascii=False)
    begin = {"markdown": f"## {table}\n", "dbml": f"Table {table} {{", "mermaid": f"  {table} {{"}[output]
    end = {"markdown": "\n## ", "dbml": "\n}", "mermaid": "\n  }"}[output]
    assert text.count(begin) == 1
    return text.split(begin)[1].split(end, maxsplit=1)[0]


def test_status_as_json_and_its_exit_code(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = braze_elt("status")
    assert nothing.exit_code == 2
    assert "run" in sentence(nothing)
    with workspace(campaigns=3, canvases=1) as sandbox:
        configure(monkeypatch, sandbox)
        identifier = next(iter(sandbox.workspace.campaigns))
        sandbox.fail("/campaigns/details", "400", {"campaign_id": identifier})
        assert sync(select="campaigns,campaign_series") == 3
    result = braze_elt("status", "--format", "json")
    assert result.exit_code == 0
    status = json.loads(result.stdout)
    assert [(row["command"], row["status"]) for row in status["runs"]] == [("sync", "partial")]
    assert [(row["resource"], row["entity_id"], row["status"]) for row in status["failures"]] == [
        ("campaigns", identifier, 400)
    ]
    assert {row["table"]: row["newest"] for row in status["freshness"]}["campaign_daily"] == TODAY.isoformat()
    text = braze_elt("status")
    assert text.exit_code == 0
    assert "Open failures: 1" in text.output
    assert "│ 2026-04-10 12:30 EDT │ sync " in text.output, "by the workspace's clocks"
    assert braze_elt("status", "--max-age-hours", "0").exit_code == 3


def test_what_looks_like_markup_is_printed_as_it_is(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from Braze, and a cure may have brackets."""
    with workspace(campaigns=1, canvases=1) as sandbox:
        configure(monkeypatch, sandbox, sends="sale[/b]:[red]:smile:")
        loaded = braze_elt("sync", "--select", "sends")
        status = braze_elt("status")
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "lake")
        monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "delta")
        monkeypatch.setitem(sys.modules, "deltalake", None)
        check = braze_elt("check", "--destination", "filesystem")
    assert loaded.exit_code == 3, loaded.exception
    assert "failed: sends sale[/b]:[red]:smile:" in loaded.stdout
    assert status.exit_code == 0, status.exception
    assert "sale[/b]:[red]:smile:" in status.stdout
    assert check.exit_code == 2
    assert "pip install 'braze-elt[delta]'" in " ".join(check.stdout.split())


def test_logs_are_json_lines_on_stderr_and_results_stay_on_stdout(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(campaigns=3, canvases=1) as sandbox:
        configure(monkeypatch, sandbox)
        identifier = next(iter(sandbox.workspace.campaigns))
        sandbox.fail("/campaigns/details", "400", {"campaign_id": identifier})
        with process("sync", "--select", "campaigns", "--log-format", "json") as running:
            stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 3
    for line in stderr.splitlines():
        assert set(json.loads(line)) >= {"time", "level", "logger", "message"}
    assert "campaign_tags" in stdout
    assert API_KEY not in stdout + stderr


def test_what_ends_a_command_is_json_too(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__BRAZE__API_KEY")
    with process("sync", "--log-format", "json") as running:
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == 2
    (line,) = map(json.loads, stderr.splitlines())
    assert (line["level"], line["message"][:24]) == ("error", "`api_key` is not set: pu")


def test_check_tries_the_bucket_of_exports_and_the_query_of_sends(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    query = "SELECT 'c' AS campaign_id, 's' AS send_id"
    with workspace(campaigns=2) as sandbox:
        configure(monkeypatch, sandbox, export_bucket="s3://exports/a", sends_query=query, sends_query_url="sqlite://")
        fine = braze_elt("check")
        configure(monkeypatch, sandbox, export_bucket="s3://no-such-bucket", sends_query="SELECT 1")
        wrong = braze_elt("check")
    assert (fine.exit_code, wrong.exit_code) == (0, 2)
    assert re.search("✓ │ export_bucket s3://exports/a", fine.output)
    assert re.search("✓ │ sends_query", fine.output)
    assert re.search("✗ │ export_bucket s3://no-such-bucket .* does not", wrong.output)
    assert re.search("✗ │ sends_query .* must select", wrong.output)


def test_check_names_what_is_wrong_and_its_cure(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(denied=frozenset(["kpi.dau.data_series"])) as sandbox:
        configure(monkeypatch, sandbox)
        denied = braze_elt("check")
        sandbox.set(denied=frozenset())
        fine = braze_elt("check")
        monkeypatch.setenv("SOURCES__BRAZE__API_KEY", "wrong")
        wrong = braze_elt("check")
    assert (denied.exit_code, fine.exit_code, wrong.exit_code) == (2, 0, 2)
    assert re.search(r"✗.*kpi/dau/data_series.*403", denied.output)
    assert "✗" not in fine.output
    assert "✗" in wrong.output
    assert written(workplace) == []


def test_check_says_what_it_waits_for(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(limits={"catalogue": RateLimit(1, 86_400)}) as sandbox:
        configure(monkeypatch, sandbox)
        with Child(command, "check") as child:
            child.when(lambda: "used up" in child.log.read_text(), 30)
            assert "The rate limit pool catalogue is used up" in child.log.read_text()


def checked(output: str) -> dict[str, str]:
    """The mark of each endpoint that `check` asked."""
    return {path: mark for mark, path in re.findall(r"│ (✓|✗|–) │ (\S+/\S+|events) \(", output)}


@pytest.mark.parametrize(
    ("segments", "denied", "code", "marks"),
    [
        (True, ["users.export.segment"], 2, {"users/export/segment": "✗", "users/export/ids": "✓"}),
        (True, ["users.export.ids"], 0, {"users/export/segment": "✓", "users/export/ids": "–"}),
        (False, ["users.export.segment"], 0, {"users/export/segment": "–"}),
        (False, ["events.get"], 0, {"events": "–", "events/list": "✓"}),
        (False, ["events.list"], 0, {"events": "✓", "events/list": "–"}),
        (False, ["events.get", "events.list"], 2, {"events": "✗", "events/list": "✗"}),
        (False, ["feed.details"], 0, {"feed/list": "✓", "feed/details": "–", "feed/data_series": "✓"}),
        (False, ["canvas.data_series"], 2, {"canvas/data_series": "✗", "canvas/details": "✓"}),
    ],
)  # fmt: skip
def test_check_knows_what_a_sync_needs(
    workplace: Path, monkeypatch: pytest.MonkeyPatch,
    segments: bool, denied: list[str], code: int, marks: dict[str, str],
) -> None:  # fmt: skip
    with workspace(denied=frozenset(denied)) as sandbox:
        configure(monkeypatch, sandbox, **{"segments": next(iter(sandbox.workspace.segments))} if segments else {})
        result = braze_elt("check")
        assert sandbox.exports.jobs == [], "an export was started"
    assert result.exit_code == code, result.output
    assert marks.items() <= checked(result.output).items()


def test_check_asks_every_endpoint_whose_request_does_nothing_and_names_an_entity(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(news_feed=False) as sandbox:
        configure(monkeypatch, sandbox)
        result = braze_elt("check")
        asked = {request.path.removeprefix("/"): request.params for request in sandbox.log.requests}
    assert result.exit_code == 0, result.output
    known = {endpoint.path: endpoint for endpoint in vars(endpoints).values() if isinstance(endpoint, Endpoint)}
    assert set(known) - set(asked) == {"users/export/global_control_group", "export/segment/cancel"}
    assert all(set(known[path].identifiers) <= set(params) for path, params in asked.items())
    assert {checked(result.output)[f"feed/{name}"] for name in ("list", "details", "data_series")} == {"–"}


def test_check_takes_an_unknown_entity_for_a_granted_permission_whatever_its_status(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace() as sandbox:
        configure(monkeypatch, sandbox)
        sandbox.fail("/campaigns/details", "404")
        result = braze_elt("check")
    assert result.exit_code == 0, result.output
    assert checked(result.output)["campaigns/details"] == "✓"


def test_a_start_date_in_the_future_is_pointed_out(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace() as sandbox:
        configure(monkeypatch, sandbox, start_date="2999-01-01")
        result = braze_elt("sync", "--select", "kpis", "--plan")
    assert result.exit_code == 0, result.output
    assert "`start_date` is 2999-01-01, which is in the future" in result.stderr


# The sandbox command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_serves_until_it_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with process("sandbox", "--port", "0", "--campaigns", "3", "--api-key", "k") as running:
        assert running.stdout
        url = re.search(r"http://\S+", running.stdout.readline())
        assert url
        asked = {"url": f"{url[0]}/campaigns/list", "timeout": 10}
        campaigns = requests.get(**asked, headers={"Authorization": "Bearer k"}).json()["campaigns"]
        assert [campaign["id"] for campaign in campaigns] == list(Workspace(WorkspaceOptions(campaigns=3)).campaigns)
        assert requests.get(**asked, headers={"Authorization": "Bearer x"}).status_code == 401
        assert len(list(tmp_path.glob("braze-sandbox-*"))) == 1
        running.send_signal(number)
        assert running.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = braze_elt("sandbox", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "address already in use): name another." in sentence(result)


BROKEN_DOWN_BY_HOUR = ("card", "session", "event", "purchase")
STATED = {f"{name}_hourly" for name in BROKEN_DOWN_BY_HOUR} | {
    f"{name}_daily"
    for name in (
        *BROKEN_DOWN_BY_HOUR,
        "campaign", "campaign_message", "campaign_message_click", "send", "send_message",
        "canvas", "canvas_variant", "canvas_step", "canvas_step_message", "segment", "kpi",
    )
}  # fmt: skip


def test_the_sandbox_states_its_totals_and_stops() -> None:
    expected = Workspace(WorkspaceOptions(campaigns=13))
    end = expected.now().date() - timedelta(days=1)
    start = end - timedelta(days=2)
    result = braze_elt("sandbox", "--campaigns", "13", "--totals", start.isoformat(), end.isoformat())
    assert result.exit_code == 0
    totals = json.loads(result.stdout)
    assert set(totals) == STATED
    assert [name for name, sums in totals.items() if not any(sums[column] for column in sums if column != "rows")] == []
    assert {totals[name]["rows"] for name in ("kpi_daily", "session_daily", "purchase_daily")} == {3}
    assert totals == expected.totals(start, end)


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        *(
            ("--limit", limit, "POOL=REQUESTS/SECONDS")
            for limit in ("shared=many", "shared=500/0", "shared=0/60", "5/60")
        ),
        ("--limit", "shard=5/60", "Pools are shared, campaign_series, catalogue, export_ids."),
        ("--time-zone", "Nowhere", "an IANA name, such as Europe/Berlin"),
        ("--time-zone", "../etc/passwd", "an IANA name, such as Europe/Berlin"),
    ],
)
def test_a_wrong_option_of_the_sandbox_is_named(option: str, value: str, cure: str) -> None:
    result = braze_elt("sandbox", option, value, "--totals", "2026-01-01", "2026-01-02")
    assert result.exit_code == 2
    assert f"{option} {value!r}: " in sentence(result)
    assert cure in sentence(result)


def test_the_module_and_the_console_script_are_the_same_command() -> None:
    with process("--help") as running:
        stdout, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert stdout.startswith("Usage: braze-elt [OPTIONS] COMMAND")


def ends_with(sandbox: Sandbox, code: int, *arguments: str) -> None:
    with process(*arguments) as running:
        _, stderr = running.communicate(timeout=120)
    assert running.returncode == code, stderr
    assert "Traceback" not in stderr
    assert not [asked for asked in sandbox.log.requests if API_KEY in str(asked.params)]


def test_the_process_ends_with_the_exit_code_of_the_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(campaigns=2, canvases=1) as sandbox:
        configure(monkeypatch, sandbox)
        ends_with(sandbox, 0, "sync", "--select", "campaigns")
        sandbox.set(denied=frozenset(["campaigns.details"]))
        ends_with(sandbox, 3, "sync", "--select", "campaigns")
        ends_with(sandbox, 2, "sync", "--select", "nothing")
