"""Destinations beside DuckDB and Postgres: what stands in the way of one, and two nights in SQLite by SQLAlchemy."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from destinations import DestinationError
from destinations.access import check
from destinations.factory import destination
from destinations.location import fingerprint, location
from pipelines.cli import cli
from pipelines.history import last_start
from pipelines.job import Job
from sources.braze.disposition import can_merge
from tests.lakes import Engine
from tests.loopback import Loopback, Reply
from tests.test_lakes import CAMPAIGNS, URL, two_nights
from tests.workspaces import NOW, configure, sync, workspace

SQLITE = "DESTINATION__SQLALCHEMY__CREDENTIALS"
FILESYSTEM = "DESTINATION__FILESYSTEM"


def test_two_nights_in_sqlite(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SQLITE, f"sqlite:///{workplace}/loads.db")
    warehouse = Engine("sqlalchemy", f"sqlite:///{workplace}/loads__braze.db")
    two_nights(warehouse, monkeypatch, workplace, CAMPAIGNS, canvases=1)


def test_what_sqlite_remembers_of_runs_is_of_use(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite gives moments back as text."""
    monkeypatch.setenv(SQLITE, f"sqlite:///{workplace}/loads.db")
    with workspace(campaigns=1, canvases=0) as sandbox, Loopback(lambda _: Reply(body=b"ok")) as chat:
        configure(monkeypatch, sandbox, alert_webhook=f"{chat.url}/hook")
        sandbox.fail("/campaigns/details", "400")
        assert sync("sqlalchemy", "campaigns") == 3
        assert sync("sqlalchemy", "campaigns", now=NOW + timedelta(days=1)) == 3
    assert "since 2026-04-10 12:30 EDT" in json.loads(chat.received[-1].body)["text"]
    assert last_start(Job("sync", destination="sqlalchemy"), ["campaigns"]) == NOW + timedelta(days=1)


# What stands in the way


@pytest.fixture
def places(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace to check against, and settings that place files and SQLite in the current folder."""
    monkeypatch.setenv(URL, str(workplace / "lake"))
    monkeypatch.setenv(SQLITE, f"sqlite:///{workplace}/loads.db")
    with workspace(campaigns=1, canvases=1, users=1) as sandbox:
        configure(monkeypatch, sandbox)
        yield workplace


@pytest.mark.parametrize("name", ["filesystem", "sqlalchemy"])
def test_check_proves_that_it_can_be_written_and_leaves_no_table(places: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["check", "--destination", name])
    assert result.exit_code == 0, result.output
    assert ("is appended" in result.output) == (name == "filesystem")
    assert not (places / "lake").exists()
    check(destination(name), "braze")


def test_a_folder_of_other_files_is_no_dataset(places: Path) -> None:
    (places / "lake" / "braze").mkdir(parents=True)
    check(destination("filesystem"), "braze")  # an empty one may be there
    (places / "lake" / "braze").mkdir()
    (places / "lake" / "braze" / "notes.txt").write_text("mine")
    with pytest.raises(DestinationError, match="lake/braze has other files in it"):
        check(destination("filesystem"), "braze")
    assert [path.name for path in (places / "lake").rglob("*")] == ["braze", "notes.txt"]


def test_a_folder_that_cannot_be_written_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "/proc/lake")
    result = CliRunner().invoke(cli, ["status", "--destination", "filesystem"])
    assert result.exit_code == 2
    with pytest.raises(
        DestinationError, match=r"/proc/lake cannot be used .* check DESTINATION__FILESYSTEM__BUCKET_URL"
    ):
        check(destination("filesystem"), "braze")


def test_sqlite_that_cannot_be_written_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SQLITE, "sqlite:////proc/loads.db")
    with pytest.raises(DestinationError, match=SQLITE):
        check(destination("sqlalchemy"), "braze")


def test_a_bucket_is_asked_for(workplace: Path) -> None:
    with pytest.raises(DestinationError, match=f"{FILESYSTEM}__BUCKET_URL"):
        check(destination("filesystem"), "braze")


def test_an_unknown_table_format_is_answered_with_those_that_there_are(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{FILESYSTEM}__TABLE_FORMAT", "hudi")
    with pytest.raises(DestinationError, match="'hudi': set one of parquet, delta, iceberg"):
        destination("filesystem")


MISSING = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from pipelines.cli import cli
from pipelines.history import last_start
from pipelines.job import Job
cli(sys.argv[2:], prog_name="braze-elt")
"""


def _opening(extra: str) -> str:
    """A command that opens the destination: to write, or to read."""
    return "status" if extra in ("mssql", "iceberg", "gcs") else "sync"


@pytest.mark.parametrize(
    ("packages", "extra", "name", "settings"),
    [
        ("snowflake,snowflake.connector", "snowflake", "snowflake",
         {"CREDENTIALS": "snowflake://u:hunter2@account/db?warehouse=w&role=r"}),
        ("pyodbc", "mssql", "mssql", {"CREDENTIALS": "mssql://u:hunter2@localhost/db"}),
        ("deltalake", "delta", "filesystem", {"BUCKET_URL": "lake", "TABLE_FORMAT": "delta"}),
        ("pyiceberg", "iceberg", "filesystem", {"BUCKET_URL": "lake", "TABLE_FORMAT": "iceberg"}),
        ("s3fs", "s3", "filesystem", {"BUCKET_URL": "s3://lake", "CREDENTIALS__AWS_ACCESS_KEY_ID": "k",
                                      "CREDENTIALS__AWS_SECRET_ACCESS_KEY": "hunter2"}),
        ("gcsfs", "gcs", "filesystem", {"BUCKET_URL": "gs://lake", "CREDENTIALS__PROJECT_ID": "p",
                                        "CREDENTIALS__PRIVATE_KEY": "hunter2", "CREDENTIALS__CLIENT_EMAIL": "e"}),
    ],
)  # fmt: skip
def test_a_missing_extra_is_a_sentence(
    places: Path, monkeypatch: pytest.MonkeyPatch,
    packages: str, extra: str, name: str, settings: dict[str, str],
) -> None:  # fmt: skip
    for setting, value in settings.items():
        monkeypatch.setenv(f"DESTINATION__{name.upper()}__{setting}", value)
    arguments = [sys.executable, "-c", MISSING, packages, _opening(extra), "--destination", name]
    root = str(Path(__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", root)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'braze-elt[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_places_are_told_apart_by_folder(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = set()
    for url in ("s3://lake/a", "s3://lake/b", "lake", f"file://{workplace}/other"):
        monkeypatch.setenv(URL, url)
        monkeypatch.setenv(f"{FILESYSTEM}__CREDENTIALS__AWS_ACCESS_KEY_ID", "k")
        monkeypatch.setenv(f"{FILESYSTEM}__CREDENTIALS__AWS_SECRET_ACCESS_KEY", "s")
        prints.add(fingerprint(destination("filesystem"), "braze"))
    assert len(prints) == 4
    monkeypatch.setenv(URL, "lake")
    assert location(destination("filesystem"), "braze") == str(workplace / "lake")


def test_what_merges_is_read_from_the_capabilities() -> None:
    import dlt.destinations as known

    merging = (
        "duckdb",
        "postgres",
        "snowflake",
        "bigquery",
        "redshift",
        "databricks",
        "clickhouse",
        "mssql",
        "synapse",
    )
    assert all(can_merge(getattr(known, name)().capabilities()) for name in merging)
    assert not any(can_merge(getattr(known, name)().capabilities()) for name in ("filesystem", "qdrant", "weaviate"))
    assert not can_merge(known.filesystem(preferred_table_format="delta").capabilities())
    assert not can_merge(known.athena().capabilities())
    assert can_merge(known.athena(preferred_table_format="iceberg").capabilities())
