"""Merging from files leaves what dlt's own merge through staging tables leaves."""

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from urllib.parse import urlsplit

import dlt
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destinations.factory import destination
from destinations.settings import apply_loader_defaults
from tests.children import Child
from tests.repository import REPOSITORY
from tests.warehouses import Warehouse

SCHEMA = pa.schema(
    [
        pa.field("parent", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        ("value", pa.string()),
        ("_deleted", pa.bool_()),
    ]
)
MERGE = {"disposition": "merge", "strategy": "delete-insert"}


def load(folder, target, *packages, dataset="d", **hints):
    """Load each package, a list of Arrow tables, by parent unless `hints` say otherwise."""
    apply_loader_defaults()
    pipeline = dlt.pipeline("merging", destination=target, dataset_name=dataset, pipelines_dir=str(folder / "dlt"))
    by_parent = {
        "primary_key": ("parent", "position"),
        "merge_key": "parent",
        "write_disposition": MERGE,
        "columns": {"_deleted": {"data_type": "bool", "hard_delete": True}},
    }
    for items in packages:
        pipeline.run(dlt.resource(items, name="children", **(by_parent | hints)))
    return pipeline


def table(*rows):
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


def stored(warehouse, columns="parent, position, value"):
    return sorted(warehouse.query(f"SELECT {columns} FROM d.children"))


def test_rows_are_replaced_by_parent_and_tombstones_are_never_stored(warehouse, workplace):
    first = table(("a", 1, "x", None), ("a", 2, "y", None), ("b", 1, "z", None), ("c", 1, "w", None))
    second = table(("a", 1, "new", None), ("b", 0, None, True))
    load(workplace, destination(warehouse.name), [first], [second])
    assert stored(warehouse) == [("a", 1, "new"), ("c", 1, "w")]
    assert stored(warehouse, "DISTINCT _deleted") == [(None,)]


def test_without_a_parent_rows_are_replaced_by_their_own_key(warehouse, workplace):
    first, second = table(("a", 1, "x", None), ("a", 2, "y", None)), table(("a", 2, "new", None))
    load(workplace, destination(warehouse.name), [first], [second], merge_key=())
    assert stored(warehouse) == [("a", 1, "x"), ("a", 2, "new")]


def test_a_key_that_comes_twice_in_a_package_is_one_row(warehouse, workplace):
    twice = [table(("a", 1, "x", None), ("b", 1, "y", None)), table(("a", 1, "x", None))]
    load(workplace, destination(warehouse.name), twice)
    assert stored(warehouse) == [("a", 1, "x"), ("b", 1, "y")]


def test_columns_that_come_and_go(warehouse, workplace):
    wider = table(("b", 1, "y", None)).append_column("more", pa.array([7], pa.int64()))
    narrow = table(("c", 1, "z", None)).drop_columns(["value"])
    load(workplace, destination(warehouse.name), [table(("a", 1, "x", None))], [wider], [narrow])
    assert stored(warehouse, "parent, value, more") == [("a", "x", None), ("b", "y", 7), ("c", None, None)]


AWKWARD = [
    '"quoted"',
    "a,b",
    "line\nbreak",
    "\r\n",
    "\\N",
    "\\.",
    "NULL",
    "null",
    " ",
    "\t",
    "Zoë 𝄞",
    "'",
    "%s",
    "{}",
    "$1",
]


def test_any_text_arrives_as_it_is(warehouse, workplace):
    load(workplace, destination(warehouse.name), [table(*((text, 1, text, None) for text in AWKWARD))])
    assert stored(warehouse) == sorted((text, 1, text) for text in AWKWARD)


def test_texts_arrive_as_they_are_whatever_encoding_clients_are_told(workplace, postgres_url, monkeypatch):
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    warehouse, text = Warehouse("postgres", postgres_url), "Größe – 20 €"
    database = urlsplit(postgres_url).path[1:]
    warehouse.execute(f"ALTER DATABASE \"{database}\" SET client_encoding = 'WIN1252'")
    load(workplace, destination("postgres"), [table(("a", 1, text, None))], [table(("b", 1, text, None))])
    assert warehouse.query("SELECT DISTINCT encode(convert_to(value, 'UTF8'), 'hex') FROM d.children") == [
        (text.encode().hex(),)
    ]


def test_every_type_arrives_as_it_is(warehouse, workplace):
    if warehouse.name == "postgres":
        database = warehouse.query("SELECT current_database()")[0][0]
        warehouse.execute(f"ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")
    instant = datetime(2026, 6, 1, 23, 59, 59, 123456, tzinfo=UTC)
    values = {
        "number": (pa.int64(), 2**63 - 1),
        "money": (pa.float64(), 0.1 + 0.2),
        "flag": (pa.bool_(), True),
        "day": (pa.date32(), date(1066, 10, 14)),
        "instant": (pa.timestamp("us", tz="UTC"), instant),
    }
    rows = table(("a", 1, None, None), ("b", 1, None, None))
    for name, (kind, value) in values.items():
        rows = rows.append_column(name, pa.array([value, None], kind))
    load(workplace, destination(warehouse.name), [rows])
    present, missing = warehouse.query(f"SELECT {', '.join(values)} FROM d.children ORDER BY parent")
    assert present == tuple(value for _, value in values.values())
    assert missing == (None,) * len(values)


def test_nothing_is_staged_in_the_warehouse(warehouse, workplace):
    load(workplace, destination(warehouse.name), [table(("a", 1, "x", None))])
    schemas = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name IN ('children', 'replaced')"
    assert warehouse.query(schemas) == [("d",)]
    made = "SELECT DISTINCT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'd%'"
    assert warehouse.query(made) == [("d",)]


def test_files_of_another_format_are_refused(warehouse, workplace):
    apply_loader_defaults()
    target = destination(warehouse.name)
    pipeline = dlt.pipeline("merging", destination=target, dataset_name="d", pipelines_dir=str(workplace / "dlt"))
    with pytest.raises(PipelineStepFailed, match="leave loader_file_format unset"):
        pipeline.run(
            [{"id": 1}], table_name="t", primary_key="id", write_disposition="merge", loader_file_format="insert_values"
        )


KILLED_BEFORE_THE_COMMIT = """
import os, signal, sys
from pathlib import Path
from destinations.factory import destination
from destinations.merging import MergeJob
from tests.test_merging import load, table

run = MergeJob.run

def run_and_die(job):
    merge = job.merge
    def merge_and_die(*given):
        merge(*given)
        os.kill(os.getpid(), signal.SIGKILL)
    job.merge = merge_and_die
    run(job)

MergeJob.run = run_and_die
load(Path(sys.argv[2]), destination(sys.argv[1]), [table(("a", 1, "y", None), ("b", 1, "z", None))])
"""


def test_a_load_killed_before_its_merge_is_committed_is_completed_from_its_files(warehouse, workplace):
    pipeline = load(workplace, destination(warehouse.name), [table(("a", 1, "x", None))])
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", KILLED_BEFORE_THE_COMMIT, warehouse.name, str(workplace)]
    killed = subprocess.run(command, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert stored(warehouse) == [("a", 1, "x")]
    pipeline.load()
    assert stored(warehouse) == [("a", 1, "y"), ("b", 1, "z")]


MANY_ROWS = """
import sys
from pathlib import Path
from destinations.factory import destination
from tests.test_merging import load, table

load(Path(sys.argv[1]), destination("postgres"), [table(*(("a", number, "y", None) for number in range(30_000)))])
"""
LOSE_THE_FIRST_CONNECTION = """
CREATE SEQUENCE d.attempts;
CREATE FUNCTION d.lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('d.attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lose AFTER INSERT ON d.children EXECUTE FUNCTION d.lose();
"""


def test_a_connection_that_is_lost_while_rows_are_copied_is_made_again(workplace, postgres_url, monkeypatch):
    """In a process of its own: a load that waits for ever cannot be stopped otherwise."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    load(workplace, destination("postgres"), [table(("a", 1, "x", None))])
    warehouse = Warehouse("postgres", postgres_url)
    warehouse.execute(LOSE_THE_FIRST_CONNECTION)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", MANY_ROWS, str(workplace)], check=True, env=environment, timeout=60)
    assert warehouse.query("SELECT count(*), min(value) FROM d.children") == [(30_000, "y")]
    assert warehouse.query("SELECT last_value > 1 FROM d.attempts") == [(True,)]


WAIT_BEFORE_DELETING = """
CREATE FUNCTION d.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    RETURN OLD;
END $$;
CREATE TRIGGER wait BEFORE DELETE ON d.children FOR EACH ROW EXECUTE FUNCTION d.wait();
"""


def load_another(folder, value):
    load(folder, destination("postgres"), [table(("a", 1, value, None))])


def test_two_merges_into_a_table_at_the_same_time_double_no_row(workplace, postgres_url, monkeypatch):
    """A run keeps loading when its lock on the dataset is gone, and another one may have begun."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    load(workplace, destination("postgres"), [table(("a", 1, "x", None))])
    warehouse = Warehouse("postgres", postgres_url)
    warehouse.execute(WAIT_BEFORE_DELETING)
    gate = warehouse.connect()
    gate.autocommit = True
    gate.cursor().execute("SELECT pg_advisory_lock(1)")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with Child(load_another, workplace / "one", "y") as one, Child(load_another, workplace / "other", "y") as other:
        one.when(lambda: warehouse.query(waiting) == [(2,)])
        gate.close()
        assert [one.wait(), other.wait()] == [0, 0], one.log.read_text() + other.log.read_text()
    assert stored(warehouse) == [("a", 1, "y")]


def test_tables_that_dlt_nests_itself_are_merged_as_ever(warehouse, workplace):
    apply_loader_defaults()
    target = destination(warehouse.name)
    pipeline = dlt.pipeline("nesting", destination=target, dataset_name="d", pipelines_dir=str(workplace / "dlt"))
    for tags in ([1, 2], [3]):
        rows = [{"id": 1, "tags": tags}]
        pipeline.run(rows, table_name="children", primary_key="id", write_disposition="merge")
    assert warehouse.query("SELECT value FROM d.children__tags") == [(3,)]


@pytest.mark.parametrize("name", ["duckdb", "postgres"])
def test_to_dlt_it_is_the_destination_of_that_name(name):
    target = destination(name)
    assert (target.destination_type, target.destination_name) == (f"dlt.destinations.{name}", name)


PACKAGE = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3)), st.none() | st.sampled_from("xyz"), min_size=1, max_size=5
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packages=st.lists(st.tuples(PACKAGE, st.sets(st.sampled_from("abc"))), min_size=1, max_size=3))
def test_any_packages_leave_what_dlt_leaves(warehouse, tmp_path_factory, packages):
    items = []
    for rows, gone in packages:
        kept = [(parent, position, value, None) for (parent, position), value in rows.items() if parent not in gone]
        items.append([table(*kept, *((parent, 0, None, True) for parent in gone))])
    plain = {
        "duckdb": lambda: dlt.destinations.duckdb(warehouse.credentials, preferred_loader_file_format="parquet"),
        "postgres": lambda: dlt.destinations.postgres(warehouse.credentials, preferred_loader_file_format="csv"),
    }
    results = []
    for dataset, target in (("ours", destination(warehouse.name)), ("dlts", plain[warehouse.name]())):
        load(tmp_path_factory.mktemp("merged"), target, *items, dataset=dataset)
        results.append(sorted(warehouse.query(f"SELECT parent, position, coalesce(value, '') FROM {dataset}.children")))
        warehouse.execute(f"DROP SCHEMA {dataset} CASCADE")
    assert results[0] == results[1]


def test_no_value_that_a_constraint_refuses_is_in_any_word_or_file(warehouse, workplace, caplog):
    load(workplace, destination(warehouse.name), [table(("a", 1, "x", None))])
    warehouse.execute("CREATE UNIQUE INDEX unique_value ON d.children (value)")
    with pytest.raises(PipelineStepFailed) as caught:
        load(workplace, destination(warehouse.name), [table(("b", 1, "SECRET", None), ("c", 1, "SECRET", None))])
    said, error = [caplog.text], caught.value
    while error:
        said.append(str(error))
        error = error.__cause__ or error.__context__
    assert any("children refuses a value" in words for words in said)
    assert not [words for words in said if "SECRET" in words]
    kept = [path for path in (workplace / "dlt").rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert {path.suffix for path in kept} == {".parquet"}, "the package itself is loaded by the next run"


def test_no_value_that_postgres_refuses_is_in_any_word_or_file(workplace, postgres_url, monkeypatch, caplog):
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    refused = (
        table(("a", 1, '["SECRET", 1e200000]', None)),
        table(("a", 1, "[" * 20_000 + '"SECRET"' + "]" * 20_000, None)),
    )
    columns = {"_deleted": {"data_type": "bool", "hard_delete": True}, "value": {"data_type": "json"}}
    for number, rows in enumerate(refused):
        with pytest.raises(PipelineStepFailed) as caught:
            load(workplace / str(number), destination("postgres"), [rows], dataset=f"d{number}", columns=columns)
        notes = [str(caught.value), repr(caught.value.__context__), caplog.text]
        notes += [path.read_text() for path in workplace.rglob("*.exception")]
        assert any("children, line 1, column value" in note for note in notes)
        assert not [note for note in notes if "SECRET" in note or "1e200000" in note]


@pytest.mark.parametrize("folder", ["value=folder", "a'b"])
@pytest.mark.parametrize("disposition", ["merge", "append"])
def test_rows_are_those_of_the_files_whatever_the_folder_is_called(warehouse, workplace, folder, disposition):
    """DuckDB would take a folder `value=folder` for a column of every file below it."""
    how = {"write_disposition": "append"} if disposition == "append" else {}
    load(workplace / folder, destination(warehouse.name), [table(("a", 1, "x", None))], **how)
    assert stored(warehouse) == [("a", 1, "x")]
