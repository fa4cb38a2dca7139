"""Destinations by name, what stands in the way of using one, and who may use it."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dlt
import duckdb
import psycopg2
import pyarrow as pa
import pytest
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from destinations import DestinationBusy, DestinationError, DestinationUnavailable, postgres_server
from destinations.access import check
from destinations.factory import destination
from destinations.location import fingerprint, location
from destinations.locks import lock
from destinations.reading import connected
from destinations.settings import apply_loader_defaults
from sources.braze.arrow import to_arrow
from sources.braze.hints import with_table
from sources.braze.rows import Sheet
from sources.braze.tables import TABLES
from tests.commands import braze_elt, sentence
from tests.postgres import PASSWORD, database

DUCKDB = "DESTINATION__DUCKDB__CREDENTIALS"
POSTGRES = "DESTINATION__POSTGRES__CREDENTIALS"


def refusal(name: str, dataset: str = "braze") -> str:
    with pytest.raises(DestinationError) as caught:
        check(destination(name), dataset)
    return str(caught.value)


def at(url: str, **parts: str) -> str:
    """The URL with another user, password, host or path."""
    split = urlsplit(url)
    user = parts.get("user", split.username)
    password = parts.get("password", split.password)
    host = parts.get("host", f"{split.hostname}:{split.port}")
    return split._replace(netloc=f"{user}:{password}@{host}", path=parts.get("path", split.path)).geturl()


@contextlib.contextmanager
def reader(url: str) -> Iterator["psycopg2.extensions.cursor"]:
    """A cursor of the superuser of `url`, while there is a role `reader` whose password is the same."""
    owner = psycopg2.connect(url)
    owner.autocommit = True
    with owner.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS reader")
        cursor.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        try:
            yield cursor
        finally:
            cursor.execute("DROP OWNED BY reader; DROP ROLE reader")
    owner.close()


@contextlib.contextmanager
def process_holding(file: Path):
    """Another process that has the DuckDB file open; yields its process id."""
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        try:
            yield holder.pid
        finally:
            holder.communicate(b"\n")


# Names and places


def test_duckdb_writes_warehouse_duckdb_in_the_current_folder(workplace):
    assert location(destination("duckdb"), "braze") == str(workplace / "warehouse.duckdb")


@pytest.mark.parametrize("value", ["other/a.duckdb", "duckdb:///other/a.duckdb"])
def test_the_setting_names_another_file_relative_to_the_current_folder(workplace, monkeypatch, value):
    monkeypatch.setenv(DUCKDB, value)
    assert location(destination("duckdb"), "braze") == str(workplace / "other/a.duckdb")


def test_a_file_given_comes_before_the_setting(workplace, monkeypatch):
    monkeypatch.setenv(DUCKDB, "other.duckdb")
    given = destination("duckdb", Path("braze_demo.duckdb"))
    assert location(given, "braze") == str(workplace / "braze_demo.duckdb")


def test_a_file_goes_with_duckdb_only(workplace):
    with pytest.raises(DestinationError, match="duckdb"):
        destination("postgres", Path("a.duckdb"))


def test_the_place_of_postgres_is_named_without_user_and_password(workplace, monkeypatch):
    monkeypatch.setenv(POSTGRES, "postgresql://loader:secret@db.example:6432/marts")
    assert location(destination("postgres"), "braze") == "db.example:6432/marts"


@pytest.mark.parametrize(
    ("name", "nearest"), [("postgresql", "postgres"), ("duckbd", "duckdb"), ("big-query", "bigquery")]
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_known(workplace, name, nearest):
    with pytest.raises(DestinationError, match=f"Did you mean {nearest}") as caught:
        destination(name)
    assert "duckdb" in str(caught.value)
    assert "snowflake" in str(caught.value)


@pytest.mark.parametrize("value", [":memory:", ":pipeline:", "md:braze"])
def test_a_duckdb_database_that_is_no_lasting_file_is_refused(workplace, monkeypatch, value):
    monkeypatch.setenv(DUCKDB, value)
    with pytest.raises(DestinationError, match=DUCKDB):
        destination("duckdb")


def test_the_fingerprint_tells_places_apart_and_users_not(workplace, monkeypatch):
    def print_of(name: str, credentials: str, dataset: str = "braze") -> str:
        monkeypatch.setenv(f"DESTINATION__{name.upper()}__CREDENTIALS", credentials)
        return fingerprint(destination(name), dataset)

    one = print_of("postgres", "postgresql://a:b@db.example/marts")
    assert one == print_of("postgres", "postgresql://c:d@db.example:5432/marts")
    assert one == print_of("postgres", "postgresql://c:d@db.example:5432/marts")
    others = {
        one,
        print_of("postgres", "postgresql://a:b@db.example/marts", "other"),
        print_of("postgres", "postgresql://a:b@db.example/other"),
        print_of("postgres", "postgresql://a:b@db.example:5433/marts"),
        print_of("duckdb", "a.duckdb"),
        print_of("duckdb", "b.duckdb"),
    }
    assert len(others) == 6


def memory_limit(pipeline: dlt.Pipeline) -> str:
    with connected(pipeline) as dataset:
        limit: str = dataset.query("SELECT current_setting('memory_limit') AS m")[0]["m"]
        return limit


def test_duckdb_keeps_to_its_memory_limit_unless_told_otherwise(workplace, monkeypatch):
    pipeline = dlt.pipeline("limits", destination=destination("duckdb"), dataset_name="braze")
    pipeline.run(pa.table({"x": [1]}), table_name="t")
    assert memory_limit(pipeline) == "244.1 MiB"
    monkeypatch.setenv(f"{DUCKDB}__GLOBAL_CONFIG", '{"memory_limit": "1GiB"}')
    pipeline = dlt.pipeline("limits", destination=destination("duckdb"), dataset_name="braze")
    assert memory_limit(pipeline) == "1.0 GiB"


# What stands in the way


def test_a_usable_warehouse_passes_and_is_left_as_it_was(warehouse):
    check(destination(warehouse.name), "braze")
    if warehouse.name == "duckdb":
        assert list(Path.cwd().iterdir()) == []
        duckdb.connect(warehouse.credentials).close()
        check(destination("duckdb"), "braze")
    schemas = "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'braze%'"
    assert warehouse.query(schemas) == [(0,)]


def test_a_loaded_warehouse_passes(warehouse):
    pipeline = dlt.pipeline("loaded", destination=destination(warehouse.name), dataset_name="braze")
    pipeline.run(pa.table({"x": [1]}), table_name="t")
    check(destination(warehouse.name), "braze")
    assert warehouse.query("SELECT x FROM braze.t") == [(1,)]


def test_a_duckdb_file_held_by_another_process_is_named_with_the_process(workplace):
    with process_holding(workplace / "warehouse.duckdb") as pid:
        sentence = refusal("duckdb")
    assert str(workplace / "warehouse.duckdb") in sentence
    assert f"PID {pid}" in sentence
    check(destination("duckdb"), "braze")


@pytest.mark.parametrize("content", [b"id,name\n1,a\n" * 999, b"x"])
def test_a_file_that_is_no_duckdb_file_is_refused_and_kept(workplace, content):
    file = workplace / "warehouse.duckdb"
    file.write_bytes(content)
    assert str(file) in refusal("duckdb")
    assert file.read_bytes() == content


def test_a_missing_folder_is_named(workplace, monkeypatch):
    monkeypatch.setenv(DUCKDB, "absent/warehouse.duckdb")
    assert f"{workplace / 'absent'} for the DuckDB file warehouse.duckdb does not exist" in refusal("duckdb")


def test_a_folder_in_place_of_the_file_is_refused(workplace):
    (workplace / "warehouse.duckdb").mkdir()
    assert "is a folder" in refusal("duckdb")


def test_a_folder_that_cannot_be_written_is_named(workplace, monkeypatch):
    monkeypatch.setenv(DUCKDB, "/proc/warehouse.duckdb")
    assert "/proc for the DuckDB file warehouse.duckdb cannot be written" in refusal("duckdb")


def test_duckdb_file_and_dataset_of_one_name_are_refused(workplace, monkeypatch):
    monkeypatch.setenv(DUCKDB, "Braze.duckdb")
    assert "another dataset" in refusal("duckdb")
    check(destination("duckdb"), "marketing")


@pytest.mark.parametrize("name", ["temp", "system", "information_schema", "pg_catalog"])
def test_names_of_duckdb_itself_are_no_datasets(workplace, name):
    assert f"must not be called {name}" in refusal("duckdb", name)


def test_missing_postgres_credentials_are_asked_for(workplace):
    assert POSTGRES in refusal("postgres")


def test_a_password_that_is_not_encoded_is_not_shown_as_host_or_database(workplace, monkeypatch):
    monkeypatch.setenv(POSTGRES, "postgresql://loader:p@ss/word@localhost/marts")
    sentence = refusal("postgres")
    assert "must be percent-encoded" in sentence
    assert not {"ss", "word"} & set(re.findall(r"\w+", sentence))


def test_a_postgres_url_without_a_password_is_completed_by_the_message(workplace, monkeypatch):
    monkeypatch.setenv(POSTGRES, "postgresql://loader@localhost/marts")
    sentence = refusal("postgres")
    assert "lacks password" in sentence
    assert POSTGRES in sentence


@pytest.mark.parametrize("value", ["hunter2", "postgresql://loader:hunter2@localhost:port/marts"])
def test_unreadable_credentials_are_not_repeated(workplace, monkeypatch, value):
    monkeypatch.setenv(POSTGRES, value)
    sentence = refusal("postgres")
    assert POSTGRES in sentence
    assert "hunter2" not in sentence


def test_postgres_that_does_not_listen_is_described(workplace, monkeypatch, postgres_url):
    with socket.socket() as bound_but_silent:
        bound_but_silent.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{bound_but_silent.getsockname()[1]}"
        monkeypatch.setenv(POSTGRES, at(postgres_url, host=host))
        sentence = refusal("postgres")
    assert f"refuses the connection: nothing listens at {host}" in sentence
    assert POSTGRES in sentence


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host": "db.invalid:5432"}, "the host name db.invalid is unknown"),
        ({"password": "hunter2"}, "refuses the user postgres or the password"),
        ({"user": "nobody"}, "refuses the user nobody or the password"),
        ({"path": "/absent"}, "has no database absent"),
    ],
)
def test_postgres_that_cannot_be_reached_is_described(workplace, monkeypatch, postgres_url, changes, expected):
    monkeypatch.setenv(POSTGRES, at(postgres_url, **changes))
    sentence = refusal("postgres")
    assert expected in sentence
    assert POSTGRES in sentence
    assert "hunter2" not in sentence
    assert PASSWORD not in sentence


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_text_is_refused(workplace, monkeypatch, postgres_server, encoding):
    made = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with database(postgres_server, made) as url:
        monkeypatch.setenv(POSTGRES, url)
        assert f"keeps text as {encoding}" in refusal("postgres")


def test_a_user_who_may_not_create_is_told_what_to_grant(workplace, monkeypatch, postgres_url):
    monkeypatch.setenv(POSTGRES, at(postgres_url, user="reader", password="reader"))
    with reader(postgres_url) as cursor:
        assert "grant it CREATE and TEMPORARY on the database" in refusal("postgres")
        cursor.execute("CREATE SCHEMA braze")
        assert "on the schema braze if it exists" in refusal("postgres")
        cursor.execute("GRANT USAGE, CREATE ON SCHEMA braze TO reader")
        check(destination("postgres"), "braze")
        cursor.execute(f'REVOKE TEMPORARY ON DATABASE "{urlsplit(postgres_url).path[1:]}" FROM PUBLIC')
        assert "TEMPORARY on the database" in refusal("postgres")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER ROLE reader NOLOGIN", "does not let the user reader log in"),
        ("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC", "does not let the user reader connect to the database"),
        ("ALTER ROLE reader CONNECTION LIMIT 0", "has no connection left"),
        ("ALTER DATABASE {database} CONNECTION LIMIT 0", "has no connection left"),
    ],
)
def test_a_user_who_may_not_connect_is_told_why(workplace, monkeypatch, postgres_url, statement, expected):
    monkeypatch.setenv(POSTGRES, at(postgres_url, user="reader", password="reader"))
    with reader(postgres_url) as cursor:
        cursor.execute(statement.format(database=f'"{urlsplit(postgres_url).path[1:]}"'))
        assert expected in refusal("postgres")


def test_a_run_that_gets_no_further_connection_ends_with_a_sentence(workplace, monkeypatch, postgres_url):
    """The lock has a connection of its own."""
    monkeypatch.setenv(POSTGRES, at(postgres_url, user="reader", password="reader"))
    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", "key")
    monkeypatch.setenv("SOURCES__BRAZE__ENDPOINT", "http://127.0.0.1:9")
    with reader(postgres_url) as cursor:
        cursor.execute("CREATE SCHEMA braze AUTHORIZATION reader; ALTER ROLE reader CONNECTION LIMIT 1")
        result = braze_elt("sync", "--destination", "postgres")
    assert result.exit_code == 1, result.output
    assert "too many connections for role" in sentence(result)
    assert "LOAD__WORKERS=1" in sentence(result)


def test_a_destination_whose_packages_are_missing_says_what_to_install(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__MSSQL__CREDENTIALS", "mssql://loader:hunter2@localhost/marts")
    monkeypatch.setitem(sys.modules, "dlt.destinations.impl.mssql.mssql", None)
    assert "pip install 'braze-elt[mssql]'" in refusal("mssql")


def test_a_missing_setting_beside_the_credentials_is_named(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__DREMIO__CREDENTIALS", "grpc://loader:hunter2@localhost:32010/marts")
    assert "DESTINATION__DREMIO__STAGING_DATA_SOURCE" in refusal("dremio")


def test_another_sql_destination_is_opened(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{workplace}/a.sqlite")
    check(destination("sqlalchemy"), "braze")
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:////absent/a.sqlite")
    with pytest.raises(DestinationUnavailable, match="DESTINATION__SQLALCHEMY__CREDENTIALS"):
        check(destination("sqlalchemy"), "braze")


@pytest.mark.parametrize("passed", [(), ("pipelines.job.check",)], ids=["while it is checked", "while it is locked"])
def test_postgres_that_goes_away_at_the_beginning_is_no_fault_of_the_settings(
    workplace, monkeypatch, postgres_url, passed
):
    monkeypatch.setenv(POSTGRES, postgres_url)
    connect = postgres_server.connect

    def connect_and_lose(credentials: Any, setting: str) -> Any:
        connection = connect(credentials, setting)
        other = psycopg2.connect(postgres_url)
        other.cursor().execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        other.close()
        return connection

    monkeypatch.setattr(postgres_server, "connect", connect_and_lose)
    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", "key")
    monkeypatch.setenv("SOURCES__BRAZE__ENDPOINT", "http://127.0.0.1:9")
    for step in passed:
        monkeypatch.setattr(step, lambda *_: None)
    result = braze_elt("sync", "--destination", "postgres")
    assert result.exit_code == 1, result.output
    assert "has gone away" in sentence(result)


# Who may use it


def test_a_dataset_takes_one_run_at_a_time(warehouse):
    place = destination(warehouse.name)
    with lock(place, "braze"), lock(place, "other"):
        if warehouse.name == "postgres":
            with (
                pytest.raises(DestinationBusy, match="loading the dataset braze") as caught,
                lock(place, "braze"),
            ):
                pass
            assert PASSWORD not in str(caught.value)
    with lock(place, "braze"):
        pass


def test_the_lock_ends_with_the_process_that_held_it(workplace, monkeypatch, postgres_url):
    monkeypatch.setenv(POSTGRES, postgres_url)
    code = (
        "from destinations.factory import destination; from destinations.locks import lock\n"
        "with lock(destination('postgres'), 'braze'): print('held', flush=True); input()"
    )
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=None, cwd=root
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DestinationBusy), lock(destination("postgres"), "braze"):
            pass
        holder.kill()
        holder.wait()
    waiting = threading.Event()
    for _ in range(100):  # the server notices the dead client by itself
        try:
            with lock(destination("postgres"), "braze"):
                return
        except DestinationBusy:
            waiting.wait(0.05)
    pytest.fail("the lock outlived its process")


def test_firewalls_see_connections_that_wait(postgres_url):
    credentials = PostgresCredentials(postgres_url)
    connection = postgres_server.connect(credentials, POSTGRES)
    with socket.socket(fileno=os.dup(connection.fileno())) as its:
        assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert its.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 120
    connection.close()


# Reading


def test_tables_are_counted_and_queried_by_bare_names(warehouse):
    pipeline = dlt.pipeline("reading", destination=destination(warehouse.name), dataset_name="braze")
    if warehouse.name == "postgres":
        with connected(pipeline) as dataset:
            assert dataset.table_counts() == {}
            with pytest.raises(DestinationUnavailable, match="run a sync"):
                dataset.query("SELECT * FROM campaigns")
    pipeline.run(pa.table({"id": ["b", "a"]}), table_name="campaigns")
    pipeline.run(pa.table({"id": [1]}), table_name="canvases")
    with connected(pipeline) as dataset:
        assert dataset.table_counts() == {"campaigns": 2, "canvases": 1}
        assert dataset.query("SELECT id, 1 AS one FROM campaigns WHERE id LIKE 'a%' ORDER BY id") == [
            {"id": "a", "one": 1}
        ]


def test_reading_makes_no_duckdb_file(workplace):
    pipeline = dlt.pipeline("reading", destination=destination("duckdb"), dataset_name="braze")
    with pytest.raises(DestinationUnavailable, match="does not exist: run a sync"), connected(pipeline):
        pass
    assert not (workplace / "warehouse.duckdb").exists()


# dlt's settings


def settings_in(folder: Path, **environment: str) -> str:
    """What a fresh process in that folder takes for the loader settings, and whether telemetry is on."""
    code = (
        "from destinations.settings import apply_loader_defaults; apply_loader_defaults()\n"
        "apply_loader_defaults()\n"
        "import dlt; from dlt.common.runtime import anon_tracker\n"
        "print(dlt.config['load.truncate_staging_dataset'], dlt.config['load.delete_completed_jobs'],"
        " dlt.config['data_writer.disable_compression'], anon_tracker._ANON_TRACKER_ENDPOINT is not None)"
    )
    root = Path(__file__).parent.parent
    env = {"PATH": "/usr/bin", "HOME": str(folder), "PYTHONPATH": str(root), **environment}
    run = [sys.executable, "-c", code]
    return subprocess.run(run, cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def test_the_loader_defaults_hold_without_any_settings_file(tmp_path):
    assert settings_in(tmp_path) == "True True True False"


def test_what_the_user_sets_comes_before_the_loader_defaults(tmp_path):
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt/config.toml").write_text(
        "[load]\ntruncate_staging_dataset = false\n[runtime]\ndlthub_telemetry = true\n"
    )
    assert settings_in(tmp_path, DATA_WRITER__DISABLE_COMPRESSION="false") == "False True False True"


def events(*rows: dict[str, Any]) -> DltResource:
    """The resource of events, as the source hands it to dlt."""
    table = TABLES["events"]

    def items() -> Iterator[DataItemWithMeta]:
        yield with_table(table, to_arrow(table, Sheet(rows), {}))

    return DltResource.from_data(items(), "events")


def files(folder: str, suffixes: tuple[str, ...] = (".parquet", ".csv", ".gz")) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.suffix in suffixes]


def test_every_row_names_its_load_and_no_row_stays_outside_the_dataset(warehouse):
    apply_loader_defaults()
    pipeline = dlt.pipeline("rows", destination=destination(warehouse.name), dataset_name="braze")
    pipeline.run(events({"name": "a"}, {"name": "b"}))
    loads = "SELECT count(*) FROM braze.events e JOIN braze._dlt_loads l ON l.load_id = e._dlt_load_id"
    assert warehouse.query(loads) == [(2,)]
    schemas = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = 'events'"
    assert warehouse.query(schemas) == [("braze",)]
    assert files(pipeline.working_dir) == []


def test_what_duckdb_loads_is_written_once_also_when_braze_has_added_fields(workplace):
    apply_loader_defaults()
    pipeline = dlt.pipeline("rows", destination=destination("duckdb"), dataset_name="braze")
    pipeline.run(events({"name": "a"}))
    pipeline.run(events({"name": "a", "found_later": 1}))
    pipeline.extract(events({"name": "b", "found_later": 2}))
    extracted = {file.stat().st_ino for file in files(pipeline.working_dir) if file.name.startswith("events.")}
    pipeline.normalize()
    normalized = {file.stat().st_ino for file in files(pipeline.working_dir) if file.name.startswith("events.")}
    assert extracted == normalized != set()
