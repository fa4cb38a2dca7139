"""Folders and buckets as destination: appended to, and read as if every load had replaced what it is about."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.config
import pyarrow.parquet as pq
import pytest
import requests
import s3fs
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.history import read_history
from pipelines.job import Job
from pipelines.verify import run_verify
from sources.braze.model import Type
from sources.braze_sandbox import Sandbox
from tests.commands import braze_elt, sentence
from tests.lakes import Lake, copied, lake
from tests.warehouses import Warehouse
from tests.workspaces import (
    NOW,
    TODAY,
    configure,
    differences,
    doubled,
    loaded,
    orphans,
    queried,
    sync,
    without_key,
    without_load,
    workspace,
)

CAMPAIGNS = "campaigns,campaign_series"
EVERYTHING = f"{CAMPAIGNS},canvases,canvas_series,segments,segment_series,events,event_series,kpis"
CREDENTIALS = "DESTINATION__FILESYSTEM__CREDENTIALS"
URL, FORMAT = "DESTINATION__FILESYSTEM__BUCKET_URL", "DESTINATION__FILESYSTEM__TABLE_FORMAT"

RECENTLY = TODAY - timedelta(days=12)
LATER = NOW + timedelta(minutes=5)
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
REGION = "us-east-1"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the file that its server writes a line to for each request."""

    url: str
    log: Path

    def looks(self) -> int:
        """How often it was asked for what it knows of one file."""
        return self.log.read_text().count('"HEAD ')


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of an S3 in a process of its own: deltalake blocks all of Python while it waits."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as lines, subprocess.Popen(command, stdout=lines, stderr=lines) as server:
        endpoint = f"http://127.0.0.1:{port}"
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()  # they remember the server of another module
            retries = botocore.config.Config(retries={"max_attempts": 10, "mode": "standard"})
            boto3.client("s3", config=retries).create_bucket(Bucket="lakes")
            yield Bucket("s3://lakes", log)
        server.terminate()


def key_of(user: str, actions: list[str]) -> dict[str, str]:
    """The key of a new user who may do nothing but these actions."""
    iam = boto3.client("iam")
    iam.create_user(UserName=user)
    allowed = {"Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}], "Version": "2012-10-17"}
    iam.put_user_policy(UserName=user, PolicyName="allowed", PolicyDocument=json.dumps(allowed))
    key: dict[str, str] = iam.create_access_key(UserName=user)["AccessKey"]
    return key


@contextmanager
def refusing() -> Iterator[None]:
    """The server of the bucket looks at keys, and what their users may do."""
    switch = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    requests.post(switch, data="0", timeout=10)
    yield
    requests.post(switch, data="inf", timeout=10)


@pytest.fixture
def at(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lake]:
    """Make a place the destination, in a table format."""

    def configured(url: str | Path, table_format: str) -> Lake:
        if table_format != "parquet":
            pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[table_format])
        monkeypatch.setenv(URL, str(url))
        monkeypatch.setenv(FORMAT, table_format)
        return lake(url)

    return configured


def content(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but the ledger, without what says when they were loaded."""
    tables = [table for table in loaded(warehouse) if not table.name.startswith("sync_")]
    columns = {table.name: [column for column in table.columns if column.name != "synced_at"] for table in tables}
    selects = [f"SELECT {', '.join(map(_quoted, wanted))} FROM braze.{name}" for name, wanted in columns.items()]
    return {
        name: sorted((tuple(map(_plain, row, wanted)) for row in rows), key=repr)
        for (name, wanted), rows in zip(columns.items(), queried(warehouse, selects), strict=True)
    }


def _plain(cell: Any, column: Any) -> Any:
    if column.type is Type.JSON and isinstance(cell, str):
        return json.loads(cell)
    return cell.astimezone(UTC) if isinstance(cell, datetime) else cell


def change(sandbox: Sandbox) -> None:
    """Let Braze restate a day, and let tags, messages and a day's variants vanish."""
    shapes = {campaign.shape: campaign for campaign in sandbox.workspace.campaigns.values()}
    everywhere, clicks = shapes["multichannel"], shapes["push_clicks"]
    update = sandbox.workspace.update
    update("campaign", everywhere.id, tags=(), teams=(), shape="sms", variation_ids=everywhere.variation_ids[:1])
    update("campaign", clicks.id, tags=("one",), shape="email", variation_ids=clicks.variation_ids[:1])
    steady = next(c for c in sandbox.workspace.campaigns.values() if c.shape == "email" and c.activity.spans)
    sandbox.workspace.restate(steady.id, TODAY - timedelta(days=9), unique_recipients=11)
    for canvas in sandbox.workspace.canvases.values():
        if canvas.shape == "journey":
            update("canvas", canvas.id, shape="linear", tags=(), variant_ids=canvas.variant_ids[:1],
                   step_ids=canvas.step_ids[:2], deleted=frozenset())  # fmt: skip


def totals(sandbox: Sandbox, warehouse: Warehouse) -> dict[str, Any]:
    """What the workspace states about the tables that are loaded."""
    present = {table.name for table in loaded(warehouse)}
    return {name: sums for name, sums in sandbox.totals(RECENTLY, TODAY).items() if name in present}


def assert_right(warehouse: Warehouse, sandbox: Sandbox) -> None:
    """Sums, grains, keys, parents and loads."""
    assert differences(warehouse, totals(sandbox, warehouse)) == {}
    assert doubled(warehouse) == without_key(warehouse) == without_load(warehouse) == orphans(warehouse) == []


def two_nights(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, workplace: Path, select: str, **options: Any
) -> None:
    """A night, a change of the past, the local state lost, another night: as a first load of the changed workspace."""
    with workspace(**options) as sandbox:
        configure(monkeypatch, sandbox, start_date=RECENTLY)
        assert sync(warehouse.name, select) == 0
        first = copied(warehouse, workplace / "first.duckdb")
        assert_right(first, sandbox)
        before, asked = content(first), len(sandbox.log.requests)
        change(sandbox)
        shutil.rmtree(workplace / "dlt")
        sandbox.log.reset()
        assert sync(warehouse.name, select, now=LATER) == 0
        assert len(sandbox.log.requests) <= asked
        second = copied(warehouse, workplace / "second.duckdb")
        assert_right(second, sandbox)
        after = content(second)
        fresh = Warehouse("duckdb", str(workplace / "fresh.duckdb"))
        assert sync("duckdb", select, pipeline="fresh", file=Path(fresh.credentials), now=LATER) == 0
        expected = content(fresh)
        assert {name: rows for name, rows in after.items() if rows} == {k: rows for k, rows in expected.items() if rows}
        assert len(before["campaign_tags"]) > len(after["campaign_tags"])
        assert shown(warehouse)["runs"] == [["sync", "ok"]] * 2
        assert run_verify(Job("verify", select, warehouse.name, now=LATER), None, "json") == 0


def shown(warehouse: Warehouse) -> dict[str, Any]:
    """What `braze-elt status` says of the runs, in short."""
    result = CliRunner().invoke(cli, ["status", "--destination", warehouse.name, "--format", "json"])
    assert result.exit_code == 0, result.output
    status = json.loads(result.stdout)
    return status | {"runs": [[run["command"], run["status"]] for run in status["runs"]]}


@pytest.mark.parametrize(("table_format", "select"), [("parquet", EVERYTHING), ("iceberg", CAMPAIGNS)])
def test_two_nights_on_disk(
    at: Callable[..., Lake], workplace: Path, monkeypatch: pytest.MonkeyPatch, table_format: str, select: str
) -> None:
    two_nights(at(workplace / "lake", table_format), monkeypatch, workplace, select)
    if table_format == "parquet":
        files = list((workplace / "lake/braze/campaign_daily").glob("*.parquet"))
        columns = [pq.read_metadata(file).row_group(0).column(0) for file in files]
        assert {(column.is_stats_set, column.compression) for column in columns} == {(True, "SNAPPY")}


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
def test_two_nights_in_a_bucket(
    bucket: Bucket,
    at: Callable[..., Lake],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str,
) -> None:
    place = at(f"{bucket.url}/{table_format}", table_format)
    settings = {**KEYS, "REGION_NAME": REGION, "ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    for name, value in settings.items():
        monkeypatch.setenv(f"{CREDENTIALS}__{name}", value)
    two_nights(place, monkeypatch, workplace, "campaigns,kpis", canvases=1)
    monkeypatch.setattr("fsspec.dircache.time", SimpleNamespace(time=count(0, 3600).__next__))  # reading takes hours
    looks = bucket.looks()
    shown(place)
    assert read_history(Job("sync", destination=place.name)).loaded
    assert bucket.looks() - looks < 5, "files are listed, not asked for one by one"


def test_a_bucket_that_does_not_exist_is_named(
    bucket: Bucket, at: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    at("s3://absent/lake", "parquet")
    with workspace() as sandbox:
        configure(monkeypatch, sandbox)
        for command in (["sync", "--select", "kpis"], ["status"], ["verify", "--select", "kpis"]):
            result = braze_elt(*command, "--destination", "filesystem")
            assert result.exit_code == 2
            assert f"There is no bucket for s3://absent/lake: make it, or correct {URL}" in sentence(result)
        at(f"{bucket.url}/nothing/yet", "parquet")
        assert "Nothing has been loaded here yet" in sentence(braze_elt("status", "--destination", "filesystem"))


def test_a_bucket_that_refuses_names_the_credentials(
    bucket: Bucket, at: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(f"{bucket.url}/refused", "parquet")
    reader = key_of("reader", ["s3:Get*", "s3:List*"])
    wrong = {"AccessKeyId": reader["AccessKeyId"], "SecretAccessKey": "not-the-secret"}
    with workspace() as sandbox, refusing():
        configure(monkeypatch, sandbox)
        for key, command in product([reader, wrong], (["sync", "--select", "kpis"], ["status"])):
            monkeypatch.setenv(f"{CREDENTIALS}__AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            monkeypatch.setenv(f"{CREDENTIALS}__AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            result = braze_elt(*command, "--destination", "filesystem")
            assert result.exit_code == 2
            assert key["SecretAccessKey"] not in result.output
            if (key, command) == (reader, ["status"]):
                assert "Nothing has been loaded here yet" in sentence(result)
            else:
                assert f"check {CREDENTIALS}, and that their user may list, read, write and delete" in sentence(result)
        assert sandbox.log.requests == []


@pytest.mark.parametrize("table_format", ["parquet", "delta"])
def test_a_folder_may_have_nearly_any_name(
    at: Callable[..., Lake], workplace: Path, monkeypatch: pytest.MonkeyPatch, table_format: str
) -> None:
    place = at(workplace / "our lake #1/date=2026-03-01/küche", table_format)
    with workspace() as sandbox:
        configure(monkeypatch, sandbox, start_date=RECENTLY)
        assert sync(place.name, "kpis") == 0
        assert shown(place)["runs"] == [["sync", "ok"]]
        assert_right(copied(place, workplace / "copy.duckdb"), sandbox)
        assert run_verify(Job("verify", "kpis", place.name, now=LATER), None, "json") == 0


@pytest.mark.parametrize(
    ("name", "table_format"),
    [
        *product(["it's", "a[1]", "a*", "why?"], ["parquet", "delta", "iceberg"]),
        ("100%20", "delta"),
        *product(["our lake", "küche", "a#b", "a+b", "100%"], ["iceberg"]),
    ],
)
def test_a_path_that_could_not_be_read_again_is_refused(
    at: Callable[..., Lake], workplace: Path, monkeypatch: pytest.MonkeyPatch, name: str, table_format: str
) -> None:
    at(workplace / name, table_format)
    with workspace() as sandbox:
        configure(monkeypatch, sandbox)
        result = CliRunner().invoke(cli, ["sync", "--select", "kpis", "--destination", "filesystem"])
        assert result.exit_code == 2, result.output
        assert f"name another one in {URL}" in result.output
        assert sandbox.log.requests == []
    assert not (workplace / name).exists()


@pytest.mark.parametrize(("held", "other"), [("parquet", "delta"), ("delta", "parquet"), ("iceberg", "parquet")])
def test_a_dataset_keeps_its_table_format(
    at: Callable[..., Lake], workplace: Path, monkeypatch: pytest.MonkeyPatch, held: str, other: str
) -> None:
    at(workplace / "lake", held)

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (workplace / "lake").rglob("*") if path.is_file()}

    with workspace() as sandbox:
        configure(monkeypatch, sandbox)
        assert sync("filesystem", "kpis") == 0
        before = files()
        monkeypatch.setenv(FORMAT, other)
        for command in (["sync", "--select", "kpis"], ["status"]):
            result = CliRunner().invoke(cli, [*command, "--destination", "filesystem"])
            assert result.exit_code == 2
            sentence = f"The tables of the dataset braze are {held}, but {FORMAT} says {other}: set it to {held}, or"
            assert sentence in result.output
        assert files() == before
        monkeypatch.setenv(FORMAT, held)
        assert sync("filesystem", "kpis", now=LATER) == 0


def _quoted(column: Any) -> str:
    return f'"{column.name}"'
