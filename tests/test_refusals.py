"""What a warehouse refuses is one sentence with a cure, without a traceback and without values of rows."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.commands import braze_elt, sentence
from tests.nights import SMALL
from tests.warehouses import Warehouse
from tests.workspaces import configure

SELECT = "campaigns,campaign_series,kpis"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SMALL | {"days": 20})) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "2")
        yield sandbox


@pytest.fixture
def loader(workplace: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Postgres, which the commands use as its superuser."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    return Warehouse("postgres", postgres_url)


@pytest.fixture
def reader(loader: Warehouse) -> Iterator[str]:
    """The name of a role that may do nothing yet; its password is its name."""
    role = f"reader_{secrets.token_hex(6)}"
    loader.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    yield role
    loader.execute(f"DROP OWNED BY {role}")
    loader.execute(f"DROP ROLE {role}")


def log_in(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, role: str) -> None:
    """Have the commands use the warehouse as `role`."""
    split = urlsplit(warehouse.credentials)
    url = split._replace(netloc=f"{role}:{role}@{split.hostname}:{split.port}").geturl()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)


def sync(warehouse: Warehouse, select: str = SELECT) -> None:
    loaded = braze_elt("sync", "--select", select, "--destination", warehouse.name)
    assert loaded.exit_code == 0, loaded.output


def refusal(*arguments: str, code: int) -> str:
    """The sentence with which the command ends; nothing else that it says has a traceback or a path of dlt's in it."""
    ended = braze_elt(*arguments)
    assert ended.exit_code == code, ended.output
    assert ".reference" not in ended.output
    assert "/normalized/" not in ended.output
    return sentence(ended)


# Reading


def test_a_reader_who_may_not_read_one_table_is_told_what_to_grant(
    loader: Warehouse, reader: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(loader)
    loader.execute(f"GRANT USAGE ON SCHEMA braze TO {reader}")
    loader.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA braze TO {reader}")
    log_in(monkeypatch, loader, reader)
    for table in ("campaigns", "campaign_daily"):
        # A right that is not to read keeps the table among those that a role gets to see.
        loader.execute(f"REVOKE SELECT ON braze.{table} FROM {reader}; GRANT INSERT ON braze.{table} TO {reader}")
        for command in (("verify", "--select", SELECT), ("status",)):
            said = refusal(*command, "--destination", "postgres", code=2)
            assert "permission denied for table campaign" in said
            assert "SELECT on all tables in the schema braze" in said
        loader.execute(f"GRANT SELECT ON braze.{table} TO {reader}")
    assert braze_elt("verify", "--select", SELECT, "--destination", "postgres").exit_code == 0


@pytest.mark.parametrize(
    ("table", "column"), [("campaign_daily", "date"), ("campaigns", "synced_at"), ("campaign_tags", "campaign_id")]
)
def test_verify_of_a_table_without_one_of_its_columns(
    warehouse: Warehouse, sandbox: Sandbox, table: str, column: str
) -> None:
    sync(warehouse)
    warehouse.execute(f"ALTER TABLE braze.{table} RENAME COLUMN {column} TO renamed")
    said = refusal("verify", "--select", SELECT, "--destination", warehouse.name, code=2)
    assert f"{column}" in said


def test_no_value_of_a_row_is_told_when_reading_is_refused(
    loader: Warehouse, reader: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(loader)
    (name,) = loader.query("SELECT name FROM braze.campaigns LIMIT 1")[0]
    loader.execute(
        f"GRANT USAGE ON SCHEMA braze TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA braze TO {reader};"
        "ALTER TABLE braze.campaigns ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY strange ON braze.campaigns USING (name::integer > 0)"
    )
    log_in(monkeypatch, loader, reader)
    for command in (("verify", "--select", SELECT), ("status",)):
        said = refusal(*command, "--destination", "postgres", code=2)
        assert "InvalidTextRepresentation" in said
        assert name not in said


# Loading


@pytest.mark.parametrize(
    ("obstacle", "cause", "cure"),
    [
        ("CREATE VIEW braze.campaigns AS SELECT 1 AS id", "", "nobody else's object has the name of one of the tables"),
        ("CREATE SEQUENCE braze.campaigns", "", "nobody else's object has the name of one of the tables"),
        (
            "CREATE TABLE braze.campaigns (id varchar NOT NULL, must int NOT NULL)",
            "campaigns refuses a value (",
            "somebody has added to the table",
        ),
    ],
)
def test_what_the_next_run_would_meet_again_is_said_with_its_cure(
    loader: Warehouse, sandbox: Sandbox, obstacle: str, cause: str, cure: str
) -> None:
    loader.execute("CREATE SCHEMA braze")
    loader.execute(obstacle)
    for _ in range(2):
        said = refusal("sync", "--select", SELECT, "--destination", "postgres", code=1)
        assert cause in said
        assert cure in said
        assert "the rest is kept and will be loaded first once it is mended." in said
        assert "by the next run" not in said
    loader.execute(f"DROP {obstacle.split()[1]} braze.campaigns")
    sync(loader)
    assert loader.query("SELECT count(*) FROM braze.campaigns") == [(SMALL["campaigns"],)]


def test_a_table_that_the_loader_may_not_write(
    loader: Warehouse, reader: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(loader)
    loader.execute(
        f"GRANT ALL ON SCHEMA braze TO {reader};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA braze TO {reader};"
        f"REVOKE DELETE ON braze.kpi_daily FROM {reader}"
    )
    log_in(monkeypatch, loader, reader)
    for table in ("kpi_daily", "_dlt_loads"):
        said = refusal("sync", "--select", SELECT, "--destination", "postgres", code=1)
        assert f"permission denied for table {table}" in said
        assert "Let the user of the load own the tables of the dataset, or read and write all of them." in said
        assert "once it is mended." in said
        loader.execute(f"REVOKE SELECT ON braze._dlt_loads FROM {reader}")


def test_a_table_that_somebody_keeps_open_is_one_line_and_a_sentence_with_the_cure(
    loader: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(loader)
    database = urlsplit(loader.credentials).path.strip("/")
    loader.execute(f"ALTER DATABASE {database} SET lock_timeout = '100ms'")
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "5")
    connection = loader.connect()
    connection.cursor().execute("LOCK TABLE braze.kpi_daily IN SHARE MODE")
    ended = braze_elt("sync", "--select", SELECT, "--destination", "postgres")
    connection.close()
    assert ended.exit_code == 1
    said = sentence(ended)
    assert "lock timeout" in said
    assert "End the session that keeps the table open" in said
    assert said.endswith("will be loaded first by the next run.")
    assert ended.stderr.count("kpi_daily") == 1, ended.stderr
    assert "kpi_daily is tried again: canceling statement due to lock timeout" in ended.stderr
    assert str(Path.cwd()) not in ended.stderr
    sync(loader)
