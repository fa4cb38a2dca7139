"""Profiles end to end: the commands against a sandbox over HTTP, into DuckDB and Postgres."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import requests
import sqlalchemy
from click.testing import CliRunner, Result

from pipelines.cli import cli
from sources.braze import braze
from sources.braze import exports as exports_module
from sources.braze.pii import pii_rules
from sources.braze.user_query import UserQuery
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.children import (
    Child,
    command,
    command_killed_after_its_load,
    command_killed_before,
    export_killed_half_way,
)
from tests.loopback import Loopback, Received, Reply
from tests.profile_tables import EVERY_FIELD, Expected, figures, rounded
from tests.repository import REPOSITORY
from tests.warehouses import Warehouse
from tests.workspaces import files_with, rows_of, tables_with, without_key

TINY = {"campaigns": 3, "canvases": 2, "segments": 3, "cards": 0, "events": 1, "products": 1, "apps": 1, "days": 3}
PROFILES = 2300
KEY = "8a1f5c52-0c1d-4b6e-9d2b-5a2f6b7c8d90"
FOREVER = 1e9


@contextmanager
def workspace(monkeypatch: pytest.MonkeyPatch, users: int = PROFILES, **options: Any) -> Iterator[Sandbox]:
    """A running sandbox, to which the environment points; its first segment has everybody in it."""
    with Sandbox(WorkspaceOptions(**{**TINY, "users": users, **options})) as sandbox:
        setting(monkeypatch, api_key=KEY, endpoint=sandbox.url)
        yield sandbox


def setting(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"SOURCES__BRAZE__{name.upper()}", value if isinstance(value, str) else json.dumps(value))


def segments(sandbox: Sandbox) -> list[str]:
    """Ids of segments, the largest first."""
    return list(sandbox.workspace.segments)


def braze_elt(*arguments: str, input: str | None = None) -> Result:  # noqa: A002
    """The command in this process."""
    result = CliRunner().invoke(cli, arguments, prog_name="braze-elt", input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def export_segment(segment: str, warehouse: Warehouse | None = None, *more: str) -> Result:
    destination = warehouse.name if warehouse else "duckdb"
    return braze_elt("export-users", "--segment", segment, "--destination", destination, *more)


@contextmanager
def process(*arguments: str, program: str = "from pipelines.cli import main; main()") -> Iterator[Any]:
    """The command as a process of its own, ended with the block."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def asked(sandbox: Sandbox, path: str, status: int | None = None) -> list[Any]:
    """The requests to a path so far."""
    return [one for one in sandbox.log.requests if one.path == path and status in (None, one.status)]


def exported(sandbox: Sandbox) -> list[Any]:
    return asked(sandbox, "/users/export/segment", 201)


def release(sandbox: Sandbox) -> None:
    """Let every export that is waiting be ready."""
    for job in sandbox.exports.jobs:
        job.ready = True


def raw_files(folder: Path) -> list[str]:
    """What is left of exports on disk."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and ".exports" in str(path)]


def members(sandbox: Sandbox, segment: str | None) -> list[str]:
    return sorted(profile["braze_id"] for profile in sandbox.workspace.profiles(segment, ["braze_id"]))


def in_warehouse(warehouse: Warehouse, segment: str) -> list[str]:
    rows = warehouse.query(f"SELECT braze_id FROM braze.segment_members WHERE segment_id = '{segment}'")
    return sorted(row[0] for row in rows)


# Every way to deliver


def into_s3(monkeypatch: pytest.MonkeyPatch, **more: Any) -> dict[str, Any]:
    setting(monkeypatch, export_bucket="s3://exports/of/braze", export_quiet_seconds=1)
    return {"delivery": "bucket", "bucket": "s3://exports/of/braze", "export_interval": 0.3, **more}


DELIVERIES: dict[str, Callable[[pytest.MonkeyPatch], dict[str, Any]]] = {
    "cut": lambda _: {"cut_download_at": 150_000},
    "gzip": lambda _: {"output_format": "gzip"},
    "s3": into_s3,
    "s3-gzip": lambda monkeypatch: into_s3(monkeypatch, output_format="gzip", export_interval=0.05),
}
ROUTES = [("duckdb", "cut"), ("duckdb", "gzip"), ("duckdb", "s3"), ("postgres", "cut"), ("postgres", "s3-gzip")]


@pytest.mark.parametrize(("warehouse", "delivery"), ROUTES, indirect=["warehouse"])
def test_counts_and_sums_are_those_of_the_workspace(
    warehouse: Warehouse, delivery: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    options = DELIVERIES[delivery](monkeypatch)
    setting(monkeypatch, fields=EVERY_FIELD)
    with workspace(monkeypatch, users_per_file=500, **options) as sandbox:
        everybody = segments(sandbox)[0]
        result = export_segment(everybody, warehouse)
        assert result.exit_code == 0, result.output
        expected = Expected().load(sandbox.workspace.profiles(everybody))
        assert len(expected.users) == PROFILES
        assert figures(warehouse) == rounded(expected.figures())
        assert in_warehouse(warehouse, everybody) == members(sandbox, everybody)
        assert without_key(warehouse) == []
        assert len(exported(sandbox)) == 1
        ranges = [one.params["range"] for one in asked(sandbox, "/_storage") if one.params["range"]]
        assert len(ranges) == (delivery == "cut"), "the download did not go on behind the cut"
        kept = [path for path in raw_files(workplace) if not path.endswith("job.json")]
        assert kept == []


def test_a_run_with_a_bucket_ends_without_notices_of_libraries(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's thread lives to the end of the process."""
    setting(monkeypatch, export_bucket="https://bucket.invalid/of/braze")
    with (
        workspace(monkeypatch, users=5) as sandbox,
        process("export-users", "--segment", segments(sandbox)[0]) as running,
    ):
        assert running.wait(60) == 0
        assert "leaked" not in running.stdout.read()


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"], indirect=True)
def test_external_ids(warehouse: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, fields=EVERY_FIELD)
    with workspace(monkeypatch) as sandbox:
        known = [profile for profile in sandbox.workspace.profiles(segments(sandbox)[0]) if profile.get("external_id")]
        ids = [profile["external_id"] for profile in known]
        ids[100:100] = ["nobody-1", "", "nobody-2"]
        (workplace / "ids.txt").write_text("\n".join(ids), encoding="utf-8-sig")
        result = braze_elt("export-users", "--external-ids", "ids.txt", "--destination", warehouse.name)
        assert result.exit_code == 0, result.output
        assert "2 ids are not known to Braze: lines 101, 103 of the input." in result.stdout
        assert "nobody" not in result.output
        requests_ = asked(sandbox, "/users/export/ids")
        assert {len(request.params["external_ids"]) for request in requests_} == {50, (len(known) + 2) % 50}
        assert figures(warehouse) == rounded(Expected().load(known).figures())
        assert raw_files(workplace) == []
        assert stat.S_IMODE((workplace / "dlt/pipelines/braze").stat().st_mode) == 0o700

        sandbox.log.reset()
        query = "SELECT external_id FROM braze.users WHERE country = 'JP' ORDER BY 1"
        again = braze_elt("export-users", "--external-ids-query", query, "--destination", warehouse.name)
        assert again.exit_code == 0, again.output
        looked_up = [name for one in asked(sandbox, "/users/export/ids") for name in one.params["external_ids"]]
        assert sorted(looked_up) == sorted(p["external_id"] for p in known if p.get("country") == "JP")
        assert figures(warehouse) == rounded(Expected().load(known).figures())

        deleting = "DELETE FROM braze.user_devices RETURNING braze_id"
        refused = braze_elt("export-users", "--external-ids-query", deleting, "--destination", warehouse.name)
        assert refused.exit_code == 2, refused.output
        assert "--external-ids-query fails:" in refused.output
        assert figures(warehouse) == rounded(Expected().load(known).figures())


def test_external_ids_from_stdin_and_from_another_database(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{workplace / 'crm.db'}"
    with sqlalchemy.create_engine(url).begin() as crm:
        crm.execute(sqlalchemy.text("CREATE TABLE people (id)"))
        crm.execute(sqlalchemy.text("INSERT INTO people VALUES ('user-2'), (NULL), ('user-3'), ('me?')"))
    with workspace(monkeypatch, users=20):
        query = ("--external-ids-query", "SELECT id FROM people", "--external-ids-url", url)
        result = braze_elt("export-users", "--external-ids", "-", *query, input="user-0\nuser-1\nwho?\n")
        assert result.exit_code == 0, result.output
        assert "2 ids are not known to Braze: lines 3, 7 of the input." in result.stdout
        assert "who?" not in result.output
        assert rows_of(duck, "users", "external_id") == [(f"user-{n}",) for n in range(4)]
        result = braze_elt("export-users", "--external-ids-query", "VALUES (NULL), ('me?')")
        assert "1 id is not known to Braze: line 2 of the input." in result.stdout
        result = braze_elt("export-users", "--external-ids-query", "VALUES ('user-9' || chr(10) || 'user-8'), ('me?')")
        assert "2 ids are not known to Braze: lines 1, 2 of the input." in result.stdout, "a row is an id"


def test_a_postgres_url_needs_no_driver_in_it(postgres_url: str) -> None:
    assert postgres_url.startswith("postgresql://")
    with UserQuery(postgres_url, "SELECT 'user-1'", "--external-ids-url", "--external-ids-query").result() as result:
        assert result.all() == [("user-1",)]


def test_a_request_for_ids_that_fails_costs_its_ids(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=200, profile_mix="full") as sandbox:
        sandbox.fail("/users/export/ids", "400", times=1)
        ids = "\n".join(f"user-{n}" for n in range(200))
        result = braze_elt("export-users", "--external-ids", "-", "--segment", segments(sandbox)[2], input=ids)
        assert result.exit_code == 3, result.output
        ((entity, message),) = rows_of(duck, "sync_failures", "entity_id", "message")
        assert entity == "ids"
        assert "lines" in message
        assert len(rows_of(duck, "users", "braze_id")) >= 150
        assert in_warehouse(duck, segments(sandbox)[2]) == members(sandbox, segments(sandbox)[2])
        sandbox.mend()
        assert braze_elt("export-users", "--external-ids", "-", input=ids).exit_code == 0
        assert [row[0] for row in rows_of(duck, "sync_failures", "resolved_at")] != [None]
        assert len(rows_of(duck, "users", "braze_id")) == 200


# Meaning over time


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"], indirect=True)
def test_nights_replace_profiles_keep_events_and_know_the_members(
    warehouse: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, fields=EVERY_FIELD, export_parallel=2)
    with workspace(monkeypatch, users=600, users_per_file=100) as sandbox:
        _, most, some = segments(sandbox)
        setting(monkeypatch, segments=[most, some])
        command = ("sync", "--destination", warehouse.name)
        assert braze_elt(*command).exit_code == 0
        assert len(exported(sandbox)) == 2
        assert warehouse.query("SELECT count(*) FROM braze._dlt_loads") == [(1,)], "a package costs a second"
        first = [profile for segment in (most, some) for profile in sandbox.workspace.profiles(segment)]
        expected = Expected().load(first)
        assert len(expected.users) < len(first), "nobody is in both segments"
        assert figures(warehouse) == rounded(expected.figures())
        assert in_warehouse(warehouse, some) == members(sandbox, some)

        # The next version has other members, and its profiles fewer devices, tokens, apps and attributes.
        sandbox.set(profile_version=1)
        mine = next(number for number in range(600) if _is_in(sandbox, most, number) and number % 10 < 5)
        gone = dict.fromkeys(("devices", "user_aliases", "custom_attributes", "custom_events", "email"))
        sandbox.workspace.edit_profile(mine, **gone)
        assert braze_elt(*command, "--select", "users").exit_code == 0
        for segment in (most, some):
            expected.load(sandbox.workspace.profiles(segment))
        assert figures(warehouse) == rounded(expected.figures())
        for segment in (most, some):
            assert in_warehouse(warehouse, segment) == members(sandbox, segment)
        whom = _braze_id(sandbox, mine)
        for table in ("user_devices", "user_aliases", "user_custom_attributes"):
            assert warehouse.query(f"SELECT 1 FROM braze.{table} WHERE braze_id = '{whom}'") == []
        assert warehouse.query(f"SELECT 1 FROM braze.user_custom_events WHERE braze_id = '{whom}'")
        assert warehouse.query(f"SELECT email FROM braze.users WHERE braze_id = '{whom}'") == [(None,)]

        sandbox.workspace.update("segment", some, share=0)
        assert export_segment(some, warehouse).exit_code == 0
        assert in_warehouse(warehouse, some) == []
        assert in_warehouse(warehouse, most) == members(sandbox, most)
        assert figures(warehouse) == rounded(expected.figures())


def _braze_id(sandbox: Sandbox, number: int) -> str:
    return str(members(sandbox, segments(sandbox)[0])[number])


def _is_in(sandbox: Sandbox, segment: str, number: int) -> bool:
    return _braze_id(sandbox, number) in members(sandbox, segment)


def test_the_global_control_group_takes_nothing_from_the_segments(
    duck: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=600, profile_mix="full") as sandbox:
        some = segments(sandbox)[2]
        control = set(members(sandbox, None))
        while not control.intersection(members(sandbox, some)):
            sandbox.workspace.update("segment", some, share=sandbox.workspace.segments[some].share + 1)
        result = export_segment(some, None, "--global-control-group", "--segment", some)
        assert result.exit_code == 0, result.output
        assert len(asked(sandbox, "/users/export/global_control_group", 201)) == 1
        assert len(asked(sandbox, "/users/export/segment")) == 1, "what is named twice is exported once"
        group, segment = set(members(sandbox, None)), set(members(sandbox, some))
        assert group & segment
        assert group - segment
        assert {row[0] for row in rows_of(duck, "users", "braze_id")} == group | segment
        assert {row[0] for row in rows_of(duck, "global_control_group_members", "braze_id")} == group
        assert {row[0] for row in rows_of(duck, "segment_members", "braze_id")} == segment
        states = {row[0]: row[1] for row in rows_of(duck, "users", "braze_id", "push_subscribe")}
        assert {braze_id for braze_id, state in states.items() if state} == segment


def test_single_attributes_are_missed_aloud_where_braze_sends_all_or_none(
    duck: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, fields=["custom_attributes.loyaltyId", "custom_attributes.phone"])
    says = (
        "users/export/{} sends all custom attributes or none, so it is not asked for the 2 that `fields` names one by"
        " one: name `custom_attributes` there to load all of them."
    )
    with workspace(monkeypatch, users=20) as sandbox:
        everybody = segments(sandbox)[0]
        result = braze_elt("export-users", "--external-ids", "-", "--global-control-group", input="user-0\n")
        assert result.exit_code == 0, result.output
        assert [line for line in result.stderr.splitlines() if "all custom attributes" in line] == [
            says.format("ids"),
            says.format("global_control_group"),
        ]
        assert duck.query("SELECT 1 FROM braze.user_custom_attributes") == []
        assert "all custom attributes" not in export_segment(everybody).stderr
        assert duck.query("SELECT 1 FROM braze.user_custom_attributes") != []


def test_fields_that_nobody_knows_yet_arrive(duck: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(monkeypatch, users=30) as sandbox:
        sandbox.workspace.edit_profile(1, subscription_groups=[{"id": "g1"}], loyal=True, email_subscribe="opted_in")
        setting(monkeypatch, fields="braze_id,email_subscribe")
        monkeypatch.setattr(
            "sources.braze_sandbox.profiles._COME_ALONG", {"braze_id": ("subscription_groups", "loyal")}
        )
        assert export_segment(segments(sandbox)[0]).exit_code == 0
        rows = [row for row in rows_of(duck, "users", "loyal", "subscription_groups") if row[0]]
        assert rows == [("true", '[{"id":"g1"}]')]


def test_users_may_be_selected_and_nothing_else(duck: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with workspace(monkeypatch, users=30) as sandbox:
        everybody = segments(sandbox)[0]
        assert export_segment(everybody, None, "--select", "users").exit_code == 0
        other = export_segment(everybody, None, "--select", "campaigns")
        assert other.exit_code == 2
        assert "'campaigns' is not 'users'" in other.output
    assert len(rows_of(duck, "users", "braze_id")) == 30


# Interruptions


def test_one_export_is_requested_although_it_was_killed_while_waiting(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=300, export_delay=FOREVER, export_lifetime=FOREVER) as sandbox:
        everybody = segments(sandbox)[0]
        for number in (signal.SIGKILL, signal.SIGTERM):
            refused = len(asked(sandbox, "/_storage", 403))
            with Child(command, "export-users", "--segment", everybody) as running:
                wait_for(lambda before=refused: len(asked(sandbox, "/_storage", 403)) > before)
                began = time.monotonic()
                running.signal(number)
                code = running.wait(30)
            assert code == (-9 if number is signal.SIGKILL else 1), running.log.read_text()
            assert time.monotonic() - began < 15
            ((state,),) = {(oct(stat.S_IMODE(os.stat(path).st_mode)),) for path in raw_files(workplace)}
            assert state == "0o600"
        assert ("interrupted",) in rows_of(duck, "sync_runs", "status")
        release(sandbox)
        assert export_segment(everybody).exit_code == 0
        assert sandbox.log.paths["/users/export/segment"] == 1
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        assert raw_files(workplace) == []


def test_killed_between_the_load_and_its_bookkeeping_nothing_is_doubled(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, fields=EVERY_FIELD)
    with workspace(monkeypatch, users=300, users_per_file=100) as sandbox:
        everybody = segments(sandbox)[0]
        with Child(command_killed_after_its_load, "export-users", "--segment", everybody) as running:
            assert running.wait(60) == -9
        assert len(rows_of(duck, "users", "braze_id")) == 300
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        assert raw_files(workplace) != []
        assert export_segment(everybody).exit_code == 0
        assert figures(duck) == rounded(Expected().load(sandbox.workspace.profiles(everybody)).figures())
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        assert sandbox.log.paths["/users/export/segment"] == 1
        assert raw_files(workplace) == []


def test_what_was_pending_without_a_rule_is_not_loaded_once_there_is_one(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, fields=["external_id", "email"])
    with workspace(monkeypatch, users=30) as sandbox:
        everybody = segments(sandbox)[0]
        child = Child(command_killed_before, "os.rename", "started_jobs", "export-users", "--segment", everybody)
        assert child.wait() == -signal.SIGKILL, child.log.read_text()
        assert files_with(workplace, "@example")
        setting(monkeypatch, pii={"braze_id": "hash", "email": "drop"}, pii_key="a long random secret")
        result = export_segment(everybody)
        assert result.exit_code == 0, result.output
        rules = pii_rules({"braze_id": "hash"}, "a long random secret")
        expected = sorted(map(rules.hashed, members(sandbox, everybody)))
        assert sorted(rows_of(duck, "users", "braze_id", "email")) == [(hashed, None) for hashed in expected]
        assert in_warehouse(duck, everybody) == expected
        assert sandbox.log.paths["/users/export/segment"] == 1
        assert files_with(workplace, "@example") == []


def delete_warehouse(folder: Path) -> str:
    (folder / "warehouse.duckdb").unlink()
    return "braze"


@pytest.mark.parametrize(
    "change", [lambda _: "braze", lambda _: "other", delete_warehouse], ids=["nothing", "dataset", "deleted"]
)
def test_an_export_begun_in_one_warehouse_is_loaded_whole_into_another(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], str]
) -> None:
    with workspace(monkeypatch, users=300, users_per_file=50) as sandbox:
        everybody = segments(sandbox)[0]
        with Child(export_killed_half_way, everybody) as running:
            assert running.wait(60) == -9
        assert len(rows_of(duck, "users", "braze_id")) == 150
        dataset = change(workplace)
        result = export_segment(everybody, None, "--dataset", dataset)
        assert result.exit_code == 0, result.output
        assert sandbox.log.paths["/users/export/segment"] == 1
        everyone = members(sandbox, everybody)
        for table in ("users", "segment_members"):
            assert sorted(row[0] for row in duck.query(f"SELECT braze_id FROM {dataset}.{table}")) == everyone
        assert raw_files(workplace) == []


def test_what_another_warehouse_has_of_later_exports_is_not_left_out(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=100, export_delay=FOREVER, export_lifetime=FOREVER) as sandbox:
        first, second, *_ = segments(sandbox)
        with Child(command, "export-users", "--segment", first) as running:
            wait_for(lambda: asked(sandbox, "/_storage", 403))
            running.signal(signal.SIGKILL)
            running.wait(30)
        release(sandbox)
        sandbox.set(export_delay=0.0)
        assert export_segment(second, None, "--dataset", "other").exit_code == 0
        assert export_segment(first).exit_code == 0
        assert len(exported(sandbox)) == 2
        assert set(members(sandbox, first)) & set(members(sandbox, second))
        for table in ("users", "segment_members"):
            assert sorted(row[0] for row in rows_of(duck, table, "braze_id")) == members(sandbox, first)


def test_an_export_of_one_workspace_is_not_loaded_for_another(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=30, export_delay=FOREVER, export_lifetime=FOREVER) as first:
        with Child(command, "export-users", "--global-control-group") as running:
            wait_for(lambda: asked(first, "/_storage", 403))
            running.signal(signal.SIGKILL)
            running.wait(30)
        release(first)
        with workspace(monkeypatch, users=60, seed=2) as second:
            assert braze_elt("export-users", "--global-control-group", "--dataset", "other").exit_code == 0
            loaded = [row[0] for row in duck.query("SELECT braze_id FROM other.users")]
            assert sorted(loaded) == members(second, None) != members(first, None)


def test_an_export_that_runs_already_is_waited_for_or_cancelled(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=50, export_delay=FOREVER, export_lifetime=FOREVER) as sandbox:
        everybody = segments(sandbox)[0]
        cancel = ("export-users", "--cancel", "--segment", everybody)
        body = {"segment_id": everybody, "fields_to_export": ["braze_id"]}
        requests.post(
            f"{sandbox.url}/users/export/segment", json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=10
        ).raise_for_status()
        with Child(command, "export-users", "--segment", everybody) as running:
            wait_for(lambda: asked(sandbox, "/users/export/segment", 429))
            refused = time.monotonic()
            wait_for(lambda: len(asked(sandbox, "/users/export/segment", 429)) > 5)
            waited = time.monotonic() - refused
            sandbox.set(export_delay=0.0)
            result = braze_elt(*cancel)
            assert result.exit_code == 0, result.output
            assert running.wait(30) == 0
            assert f"`braze-elt {' '.join(cancel)}` ends it" in running.log.read_text()
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        ((took,),) = duck.query("SELECT epoch(finished_at) - epoch(started_at) FROM braze.sync_runs")
        assert took > waited > 3, "waiting is a part of the run"

        # One's own, from another terminal.
        sandbox.set(export_delay=FOREVER)
        sandbox.log.reset()
        with Child(command, "export-users", "--segment", everybody) as running:
            wait_for(lambda: asked(sandbox, "/_storage", 403))
            assert braze_elt(*cancel).exit_code == 0
            assert running.wait(60) == 3
            assert f"The export of {everybody} was cancelled" in running.log.read_text()
        assert raw_files(workplace) == []
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)


def test_what_cannot_be_cancelled_leaves_the_other_segments_to_be(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Received) -> Reply:
        unknown = json.loads(request.body)["segment_id"].startswith("no")
        return Reply(400, {"message": "segment_id is unknown"}) if unknown else Reply(204, b"")

    asked_for = ("no-1", "seg-2", "no-3")
    with Loopback(answer) as braze:
        setting(monkeypatch, api_key=KEY, endpoint=braze.url)
        result = braze_elt("export-users", "--cancel", *(word for name in asked_for for word in ("--segment", name)))
    assert [json.loads(request.body)["segment_id"] for request in braze.received] == list(asked_for)
    assert result.exit_code == 1
    assert result.stdout == "Cancelled the exports of seg-2.\n"
    assert all(f"segment_id {name} (400" in result.stderr for name in ("no-1", "no-3"))


def test_an_expired_export_is_requested_anew(duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports_module, "URL_LIFETIME", 0.3)
    with workspace(monkeypatch, users=50, export_lifetime=0.0) as sandbox:
        everybody = segments(sandbox)[0]

        def mend() -> None:
            wait_for(lambda: len(exported(sandbox)) > 1)
            sandbox.set(export_lifetime=FOREVER)

        threading.Thread(target=mend).start()
        result = export_segment(everybody)
        assert result.exit_code == 0, result.output
        assert "has expired or failed" in result.stderr
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        assert raw_files(workplace) == []


@pytest.mark.parametrize("command", [("sync", "--select", "kpis"), ("export-users", "--external-ids", "-")], ids=str)
def test_what_a_killed_export_left_goes_though_nobody_exports_a_segment_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    with workspace(monkeypatch, users=5, export_delay=FOREVER) as sandbox:
        forgotten, nightly, loaded = segments(sandbox)
        setting(monkeypatch, export_timeout_minutes=0.01)
        assert export_segment(forgotten, None, "--segment", nightly, "--segment", loaded).exit_code == 3
        exports = workplace / "dlt/pipelines/braze.exports"
        (exports / forgotten / "files/1").write_text("personal data")
        half_removed = exports / f"{forgotten}.removed-0123"
        half_removed.mkdir()
        (half_removed / "1").write_text("personal data, of which a killed process had begun to get rid")
        state = exports / loaded / "job.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"complete": True}))
        setting(monkeypatch, segments=[nightly])
        for days, left in ((0.9, {forgotten, nightly, loaded}), (1.1, {nightly, loaded}), (31, {nightly})):
            then = time.time() - days * 86400
            for folder in exports.iterdir():
                os.utime(folder, (then, then))
            assert braze_elt(*command, input="user-0").exit_code == 0
            assert {folder.name for folder in exports.iterdir()} == left


# Failures


def test_flaws_are_reported_and_cost_what_is_spoilt(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=600, users_per_file=100) as sandbox:
        everybody = segments(sandbox)[0]
        assert export_segment(everybody).exit_code == 0
        sandbox.set(export_flaws={"bad_line", "no_braze_id", "corrupt_member"})
        sandbox.workspace.edit_profile(0, external_id="edited")
        result = export_segment(everybody)
        assert result.exit_code == 3, result.output
        ((whose, message),) = rows_of(duck, "sync_failures", "entity_id", "message")
        assert whose == everybody
        assert "are no profiles and were left out: 1, 2." in message
        assert "Cut off or damaged: archive/" in message
        assert ("edited",) in rows_of(duck, "users", "external_id")
        assert in_warehouse(duck, everybody) == members(sandbox, everybody), "a damaged export removed members"
        (quarantine,) = raw_files(workplace)
        assert quarantine in message
        assert stat.S_IMODE(os.stat(quarantine).st_mode) == 0o600
        assert Path(quarantine).read_text().splitlines()[1].startswith('2\t{"external_id":"lost-1"')

        sandbox.set(export_flaws=frozenset())
        assert export_segment(everybody).exit_code == 0
        ((resolved_at,),) = rows_of(duck, "sync_failures", "resolved_at")
        assert resolved_at
        assert raw_files(workplace) == []


def test_a_permission_that_is_lacking_is_named(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=20, denied=frozenset({"users.export.segment", "users.export.ids"})) as sandbox:
        arguments = ("--external-ids", "-", "--global-control-group")
        result = braze_elt("export-users", "--segment", segments(sandbox)[0], *arguments, input="user-1")
        assert result.exit_code == 3, result.output
        found = dict(rows_of(duck, "sync_failures", "entity_id", "message"))
        assert "the permission users.export.segment" in found[segments(sandbox)[0]]
        assert "the permission users.export.ids" in found["ids"]
        assert len(rows_of(duck, "global_control_group_members", "braze_id")) == len(members(sandbox, None))
        assert raw_files(workplace) == []


def test_a_bucket_that_is_not_set_is_a_failure_with_its_cure_and_the_export_goes_on_once_it_is(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "bucket").mkdir()
    with workspace(monkeypatch, users=50, delivery="bucket", bucket=f"file://{workplace}/bucket") as sandbox:
        everybody = segments(sandbox)[0]
        setting(monkeypatch, segments=everybody)
        result = braze_elt("sync", "--select", "users,kpis")
        assert result.exit_code == 3, result.output
        (message,) = (row[0] for row in rows_of(duck, "sync_failures", "message"))
        assert "set `export_bucket`" in message
        assert rows_of(duck, "kpi_daily", "date")
        setting(monkeypatch, export_bucket=f"file://{workplace}/bucket", export_quiet_seconds=0.2)
        assert braze_elt("sync", "--select", "users").exit_code == 0
        assert in_warehouse(duck, everybody) == members(sandbox, everybody)
        assert len(exported(sandbox)) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pii": {"email": "hash"}}, "`pii_key` is not set: set it to"),
        ({"pii": {"emial": "drop"}}, "did you mean `email`?"),
        ({"pii": {"email": "mask"}}, "neither `hash` nor `drop`"),
        ({"pii": {"braze_id": "drop"}}, "`hash` it instead"),
        ({"fields": "emial"}, "did you mean `email`?"),
        ({"export_bucket": "my-bucket"}, "s3://bucket"),
        ({"export_bucket": "gs://my-bucket"}, "pip install 'braze-elt[gcs]'"),
        ({"export_parallel": 0}, "from 1 to 100"),
    ],
    ids=str,
)
def test_wrong_settings_get_a_sentence_before_anything_is_written(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], says: str
) -> None:
    setting(monkeypatch, api_key=KEY, endpoint="http://127.0.0.1:1", **settings)
    result = braze_elt("export-users", "--segment", "a")
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert [path.name for path in workplace.iterdir() if path.name != "dlt"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Nothing to export"),
        (("--cancel",), "--cancel needs the segments"),
        (("--external-ids-url", "sqlite://"), "--external-ids-url needs --external-ids-query"),
        (("--external-ids-query", "SELECT 1"), "the DuckDB file does not exist"),
        (("--external-ids-query", "SELECT nope", "--external-ids-url", "sqlite://"),
         "--external-ids-query fails: no such column: nope. Correct the query, or check --external-ids-url."),
        (("--external-ids-query", "UPDATE x", "--external-ids-url", "sqlite://"), "--external-ids-query fails:"),
        (("--external-ids-query", "SELECT 1", "--external-ids-url", "nosuch://"),
         "--external-ids-url needs a driver that is not installed"),
        (("--segment", ""), "--segment is empty: give it a segment's id."),
        (("--cancel", "--segment", " "), "--segment is empty: give it a segment's id."),
        (("--external-ids", "latin-1.txt"), "latin-1.txt is not text in UTF-8: save it as such."),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_usage_gets_a_sentence_before_anything_is_written(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    setting(monkeypatch, api_key=KEY, endpoint="http://127.0.0.1:1")
    (workplace / "latin-1.txt").write_bytes("zoë\n".encode("latin-1"))
    result = braze_elt("export-users", *arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert {path.name for path in workplace.iterdir()} <= {"dlt", "latin-1.txt"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nope FROM users", "--external-ids-query fails: Binder Error:"),
        ("SELEC 1", "--external-ids-query fails: Parser Error:"),
        ("SELECT 'SECRET'::INTEGER", "--external-ids-query fails: a table refuses a value (ConversionException)"),
    ],
)
def test_a_query_in_the_warehouse_that_fails_is_named(
    duck: Warehouse, monkeypatch: pytest.MonkeyPatch, query: str, says: str
) -> None:
    with duckdb.connect(duck.credentials) as connection:
        connection.execute("CREATE SCHEMA braze; CREATE TABLE braze.users (id VARCHAR)")
    setting(monkeypatch, api_key=KEY, endpoint="http://127.0.0.1:1")
    result = braze_elt("export-users", "--external-ids-query", query)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "SECRET" not in result.output


def test_a_value_that_another_database_quotes_is_not_told(
    workplace: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, api_key=KEY, endpoint="http://127.0.0.1:1")
    url = postgres_url.replace("postgresql:", "postgresql+psycopg2:")
    query = ("--external-ids-query", "SELECT upper('secret')::INTEGER", "--external-ids-url", url)
    result = braze_elt("export-users", *query)
    assert result.exit_code == 2, result.output
    assert "--external-ids-query fails: a value is not as it has to be (InvalidTextRepresentation)" in result.stderr
    assert "SECRET" not in result.output


@pytest.mark.parametrize("command", [("sync",), ("schedule", "--cron", "0 3 * * *")], ids=str)
def test_users_of_nobody_are_no_selection(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    setting(monkeypatch, api_key=KEY, endpoint="http://127.0.0.1:1")
    result = braze_elt(*command, "--select", "users")
    assert result.exit_code == 2, result.output
    assert "--select names users, but `segments` is empty" in result.stderr


# Privacy

RULES = {
    "email": "hash",
    "phone": "hash",
    "last_name": "drop",
    "user_aliases": "drop",
    "devices.idfa": "hash",
    "devices.idfv": "drop",
    "push_tokens.token": "hash",
    "custom_attributes.phone": "hash",
    "custom_attributes.loyaltyId": "drop",
}


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"], indirect=True)
def test_no_file_and_no_column_holds_a_hashed_or_dropped_value(
    warehouse: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pii_key = "a long random secret"
    setting(monkeypatch, fields=EVERY_FIELD, pii=RULES, pii_key=pii_key)
    with workspace(monkeypatch, users=300, users_per_file=100, export_flaws=frozenset({"bad_line"})) as sandbox:
        everybody = segments(sandbox)[0]
        result = export_segment(
            everybody, warehouse, "--external-ids", "-", "--log-format", "json", "--global-control-group"
        )
        (workplace / "output.txt").write_text(result.output)
        assert result.exit_code == 3, result.output
        profiles = list(sandbox.workspace.profiles(everybody))
        secrets = [
            *("@example.com", "+1555", "Smith-", "crm-", "idfa-0", "idfv-0", "token-0-", "token-1-"),
            *("37c98b9d-9a7f-4b2f-a125-d873c5152856", KEY, pii_key, *(job.token for job in sandbox.exports.jobs)),
        ]
        whole = json.dumps(profiles)
        assert all(secret in whole for secret in secrets[:9]), "the test looks for what is not there"
        for secret in secrets:
            assert files_with(workplace, secret) == []
            assert tables_with(warehouse, secret) == []
        assert raw_files(workplace) == []

        rules = pii_rules(RULES, pii_key)
        found = dict(warehouse.query("SELECT braze_id, email FROM braze.users"))
        for profile in profiles:
            email = profile.get("email")
            assert found[profile["braze_id"]] == (rules.hashed(email) if email else None)
        phones = warehouse.query("SELECT phone FROM braze.users")
        values = warehouse.query("SELECT value FROM braze.user_custom_attributes WHERE name = 'phone'")
        texts = {value if value[0] != '"' else json.loads(value) for (value,) in values}
        assert texts
        assert texts <= {phone for (phone,) in phones}
        assert warehouse.query("SELECT 1 FROM braze.user_aliases") == []


def test_what_an_endpoint_cannot_give_is_said_and_comes_from_the_segment(
    duck: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace(monkeypatch, users=60) as sandbox:
        everybody = segments(sandbox)[0]
        alone = braze_elt("export-users", "--global-control-group")
        together = export_segment(everybody, None, "--global-control-group")
        assert "export/global_control_group does not give push_subscribe, email_subscribe: null for" in alone.output
        states = dict(rows_of(duck, "users", "braze_id", "email_subscribe"))
        given = {
            profile["braze_id"]: profile.get("email_subscribe") for profile in sandbox.workspace.profiles(everybody)
        }
        assert together.exit_code == 0
        assert {braze_id: states[braze_id] for braze_id in given} == given
        assert export_segment(everybody).output.count("does not give") == 0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_output_file_or_alert_has_a_value_that_the_warehouse_refuses(
    warehouse: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    chat = Loopback(lambda _: Reply())
    with workspace(monkeypatch, users=20) as sandbox, chat:
        setting(monkeypatch, fields=["external_id", "email"], alert_webhook=f"{chat.url}/alerts")
        arguments = ("export-users", "--external-ids", "-", "--destination", warehouse.name)
        assert braze_elt(*arguments, input="user-0\n").exit_code == 0
        warehouse.execute("UPDATE braze.users SET email = NULL")
        warehouse.execute("ALTER TABLE braze.users ALTER email TYPE INTEGER USING NULL")
        result = export_segment(segments(sandbox)[0], warehouse, "--log-format", log_format)
        assert result.exit_code == 1, result.output
        (alert,) = chat.received
        for said in (result.output, alert.body.decode()):
            assert "The warehouse did not take the load: users refuses a value" in said
            assert "@example.com" not in said
        assert {Path(file).suffix for file in files_with(workplace / "dlt", "@example.com")} == {".parquet"}


NO_TEXTS = (
    *("dob", "total_revenue", "created_at", "random_bucket", "last_coordinates"),
    *("devices.ad_tracking_enabled", "apps.sessions", "custom_events.last"),
)


@pytest.mark.parametrize("hashed_first", [True, False])
def test_hashes_of_what_is_no_text_are_in_a_column_of_their_own(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, hashed_first: bool
) -> None:
    setting(monkeypatch, fields=EVERY_FIELD, pii_key="key")
    hashed = dict.fromkeys(NO_TEXTS, "hash")
    with workspace(monkeypatch, users=40) as sandbox:
        everybody = segments(sandbox)[0]
        for rules in (hashed, {}) if hashed_first else ({}, hashed):
            setting(monkeypatch, pii=rules)
            result = export_segment(everybody, warehouse)
            assert result.exit_code == 0, result.output
            profiles = {profile["braze_id"]: profile for profile in sandbox.workspace.profiles(everybody)}
            born = {braze_id: profile.get("dob") for braze_id, profile in profiles.items()}
            plain = {row[0]: str(row[1]) if row[1] else None for row in rows_of(warehouse, "users", "braze_id", "dob")}
            if rules:
                hashes = pii_rules(hashed, "key")
                assert set(plain.values()) == {None}
                assert dict(rows_of(warehouse, "users", "braze_id", "dob__v_text")) == {
                    braze_id: hashes.hashed(dob) if dob else None for braze_id, dob in born.items()
                }
            else:
                assert plain == born
    assert any(born.values())


# From someone's own script


def test_a_script_loads_segments_and_keeps_its_exports_beside_its_working_directory(
    duck: Warehouse, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, fields=EVERY_FIELD)
    with workspace(monkeypatch, users=300, users_per_file=100) as sandbox:
        chosen = segments(sandbox)[1:]
        source = braze(segments=chosen).with_resources("users")
        pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb(duck.credentials), dataset_name="braze")
        pipeline.run(source)
        expected = Expected()
        for segment in chosen:
            expected.load(sandbox.workspace.profiles(segment))
            assert in_warehouse(duck, segment) == members(sandbox, segment)
        assert figures(duck) == rounded(expected.figures())
        folders = [workplace / "dlt/pipelines" / name for name in ("mine", "mine.exports")]
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
        assert raw_files(workplace) == []


SCRIPT = """
import sys, dlt
from sources.braze import braze
pipeline = dlt.pipeline("mine", destination=dlt.destinations.duckdb("own.duckdb"), dataset_name="braze")
pipeline.run(braze(segments=sys.argv[1:]).with_resources("users"))
"""


@pytest.mark.parametrize("wanted", [None, "false"])
def test_a_script_leaves_no_profile_behind_unless_dlt_is_told_to(
    wanted: str | None, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wanted:
        monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", wanted)
        monkeypatch.setenv("LOAD__TRUNCATE_STAGING_DATASET", wanted)
    own = Warehouse("duckdb", str(workplace / "own.duckdb"))
    with workspace(monkeypatch) as sandbox:
        segment = segments(sandbox)[0]
        with process(segment, program=SCRIPT) as script:
            output = script.communicate(timeout=120)[0]
        assert script.returncode == 0, output
        assert in_warehouse(own, segment) == members(sandbox, segment)
    files = [path.name for path in workplace.rglob("users.*")]
    staged = own.query("SELECT count(*) FROM braze_staging.users")
    assert (files != [], staged != [(0,)]) == (bool(wanted), bool(wanted))
