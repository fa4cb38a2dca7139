"""Merging from files leaves what dlt's own merge through staging tables leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dlt
import duckdb
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destinations.factory import destination
from destinations.settings import apply_loader_defaults

SCHEMA = pa.schema(
    [
        pa.field("parent", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        ("value", pa.string()),
        ("_deleted", pa.bool_()),
    ]
)


def load(folder, target, *packages):
    """Load each package, a list of Arrow tables, by parent."""
    apply_loader_defaults()
    pipeline = dlt.pipeline("merging", destination=target, dataset_name="d", pipelines_dir=str(folder / "dlt"))
    for items in packages:
        rows = dlt.resource(
            items,
            name="children",
            primary_key=("parent", "position"),
            merge_key="parent",
            write_disposition={"disposition": "merge", "strategy": "delete-insert"},
            columns={"_deleted": {"data_type": "bool", "hard_delete": True}},
        )
        pipeline.run(rows)
    return pipeline


def table(*rows):
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


def stored(folder, columns="parent, position, value"):
    with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
        return connection.sql(f"SELECT {columns} FROM d.children ORDER BY ALL").fetchall()


def test_rows_are_replaced_by_parent_and_tombstones_are_never_stored(workplace):
    first = table(("a", 1, "x", None), ("a", 2, "y", None), ("b", 1, "z", None), ("c", 1, "w", None))
    second = table(("a", 1, "new", None), ("b", 0, None, True))
    load(workplace, destination("duckdb", workplace / "w.duckdb"), [first], [second])
    assert stored(workplace) == [("a", 1, "new"), ("c", 1, "w")]
    assert stored(workplace, "DISTINCT _deleted") == [(None,)]


def test_a_key_that_comes_twice_in_a_package_is_one_row(workplace):
    twice = [table(("a", 1, "x", None), ("b", 1, "y", None)), table(("a", 1, "x", None))]
    load(workplace, destination("duckdb", workplace / "w.duckdb"), twice)
    assert stored(workplace) == [("a", 1, "x"), ("b", 1, "y")]


def test_columns_that_come_and_go(workplace):
    wider = table(("b", 1, "y", None)).append_column("more", pa.array([7], pa.int64()))
    narrow = table(("c", 1, "z", None)).drop_columns(["value"])
    packages = [table(("a", 1, "x", None))], [wider], [narrow]
    load(workplace, destination("duckdb", workplace / "w.duckdb"), *packages)
    assert stored(workplace, "parent, value, more") == [("a", "x", None), ("b", "y", 7), ("c", None, None)]


def test_nothing_is_staged_in_the_warehouse(workplace):
    load(workplace, destination("duckdb", workplace / "w.duckdb"), [table(("a", 1, "x", None))])
    with duckdb.connect(str(workplace / "w.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT DISTINCT schema_name FROM duckdb_tables()").fetchall() == [("d",)]


def test_files_of_another_format_are_refused(workplace):
    apply_loader_defaults()
    target = destination("duckdb", workplace / "w.duckdb")
    pipeline = dlt.pipeline("merging", destination=target, dataset_name="d", pipelines_dir=str(workplace / "dlt"))
    with pytest.raises(PipelineStepFailed, match="leave loader_file_format unset"):
        pipeline.run(
            [{"id": 1}], table_name="t", primary_key="id", write_disposition="merge", loader_file_format="jsonl"
        )


KILLED_BEFORE_THE_MERGE = """
import os, signal, sys
from pathlib import Path
from dlt.destinations.job_client_impl import SqlLoadJob
from destinations.factory import destination
from tests.test_parquet_merge import load, table

SqlLoadJob.run = lambda job: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
load(folder, destination("duckdb", folder / "w.duckdb"), [table(("a", 1, "y", None), ("b", 1, "z", None))])
"""


def test_a_load_killed_before_its_merge_is_completed_from_its_files(workplace):
    pipeline = load(workplace, destination("duckdb", workplace / "w.duckdb"), [table(("a", 1, "x", None))])
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", KILLED_BEFORE_THE_MERGE, str(workplace)]
    killed = subprocess.run(command, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert stored(workplace) == [("a", 1, "x")]
    pipeline.load()
    assert stored(workplace) == [("a", 1, "y"), ("b", 1, "z")]


def test_tables_that_dlt_nests_itself_are_merged_as_ever(workplace):
    apply_loader_defaults()
    target = destination("duckdb", workplace / "w.duckdb")
    pipeline = dlt.pipeline("nesting", destination=target, dataset_name="d", pipelines_dir=str(workplace / "dlt"))
    for tags in ([1, 2], [3]):
        rows = [{"id": 1, "tags": tags}]
        pipeline.run(rows, table_name="children", primary_key="id", write_disposition="merge")
    with duckdb.connect(str(workplace / "w.duckdb"), read_only=True) as connection:
        assert connection.sql("SELECT value FROM d.children__tags").fetchall() == [(3,)]


def test_to_dlt_it_is_the_duckdb_destination():
    target = destination("duckdb")
    assert (target.destination_type, target.destination_name) == ("dlt.destinations.duckdb", "duckdb")


PACKAGE = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3)), st.none() | st.sampled_from("xyz"), min_size=1, max_size=5
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packages=st.lists(st.tuples(PACKAGE, st.sets(st.sampled_from("abc"))), min_size=1, max_size=3))
def test_any_packages_leave_what_dlt_leaves(workplace, tmp_path_factory, packages):
    items = []
    for rows, gone in packages:
        kept = [(parent, position, value, None) for (parent, position), value in rows.items() if parent not in gone]
        items.append([table(*kept, *((parent, 0, None, True) for parent in gone))])
    results = []
    for plain in (False, True):
        folder = tmp_path_factory.mktemp("merged")
        file = folder / "w.duckdb"
        ordinary = dlt.destinations.duckdb(str(file), preferred_loader_file_format="parquet")
        load(folder, ordinary if plain else destination("duckdb", file), *items)
        results.append(stored(folder))
    assert results[0] == results[1]
