"""Sandbox → warehouse in one call, and what must hold of any warehouse afterwards, read from the declarations."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.job import Job
from pipelines.run import run
from sources.braze.model import Table, Type
from sources.braze.tables import TABLES
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.warehouses import Warehouse

TODAY = date(2026, 4, 10)
NOW = datetime(2026, 4, 10, 16, 30, tzinfo=UTC)
"""The same moment as the sandbox's, whose clock says half past twelve in New York."""
START = date(2026, 3, 4)
ZONE = "America/New_York"
"""Its clocks go forward on 8 March 2026, inside the range."""
API_KEY = "8a1f5c52-0c1d-4b6e-9d2b-5a2f6b7c8d90"
SMALL = {
    "campaigns": 13, "canvases": 4, "segments": 4, "cards": 3, "events": 4, "products": 3, "users": 20, "days": 60,
    "today": TODAY, "time_zone": ZONE, "api_key": API_KEY,
}  # fmt: skip
"""A workspace with every kind of campaign and Canvas."""


@contextmanager
def workspace(**options: Any) -> Iterator[Sandbox]:
    """A running sandbox, small unless `options` say otherwise."""
    with Sandbox(WorkspaceOptions(**{**SMALL, **options})) as sandbox:
        yield sandbox


def configure(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, **settings: Any) -> None:
    """Put the settings for `sandbox` into the environment, as a user would; later calls add to it."""
    base = {"api_key": API_KEY, "endpoint": sandbox.url, "time_zone": ZONE, "start_date": START.isoformat()}
    for name, value in {**base, **settings}.items():
        monkeypatch.setenv(f"SOURCES__BRAZE__{name.upper()}", str(value))


def sync(destination: str = "duckdb", select: str | None = None, **options: Any) -> int:
    """`braze-elt sync` at the sandbox's present moment; the settings come from the environment."""
    return run(Job("sync", select, destination, **{"now": NOW, **options}))


def queried(warehouse: Warehouse, statements: list[str]) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement, over one connection."""
    connection = warehouse.connect()
    try:
        cursor = connection.cursor()
        return [_rows(cursor, statement) for statement in statements]
    finally:
        connection.close()


def _rows(cursor: Any, statement: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement)
    return list(cursor.fetchall())


def found(warehouse: Warehouse, tests: dict[str, str]) -> list[str]:
    """The names of those `tests` (name → SELECT) that find any row."""
    rows = queried(warehouse, [f"SELECT EXISTS ({sql})" for sql in tests.values()])
    return [name for name, ((exists,),) in zip(tests, rows, strict=True) if exists]


def columns(warehouse: Warehouse) -> dict[str, dict[str, str]]:
    """The type of every column by table."""
    present: dict[str, dict[str, str]] = {}
    sql = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'braze'"
    for table, column, kind in warehouse.query(sql):
        present.setdefault(table, {})[column] = kind
    return present


def loaded(warehouse: Warehouse) -> list[Table]:
    """The declared tables that are in the warehouse."""
    present = columns(warehouse)
    return [table for table in TABLES.values() if table.name in present]


def rows_of(warehouse: Warehouse, table: str, *names: str) -> list[tuple[Any, ...]]:
    """All rows of a table, sorted."""
    selected = ", ".join(f'"{name}"' for name in names)
    return sorted(warehouse.query(f"SELECT {selected} FROM braze.{table}"), key=repr)


def row_counts(warehouse: Warehouse) -> dict[str, int]:
    """The number of rows by declared table."""
    names = [table.name for table in loaded(warehouse)]
    rows = queried(warehouse, [f"SELECT count(*) FROM braze.{name}" for name in names])
    return {name: count for name, ((count,),) in zip(names, rows, strict=True)}


def differences(warehouse: Warehouse, totals: dict[str, dict[str, int | float]]) -> dict[str, Any]:
    """{table.column: (in the warehouse, stated)} wherever the sums differ."""
    present = columns(warehouse)
    known = {table: [name for name in stated if name in present.get(table, ())] for table, stated in totals.items()}
    sums = {
        table: ", ".join(["count(*)", *(f'sum("{name}")' for name in names)])
        for table, names in known.items()
        if table in present
    }
    rows = queried(warehouse, [f"SELECT {selected} FROM braze.{table}" for table, selected in sums.items()])
    held = {
        table: dict(zip(("rows", *known[table]), row, strict=True)) for table, (row,) in zip(sums, rows, strict=True)
    }
    return {
        f"{table}.{name}": (held.get(table, {}).get(name), value)
        for table, stated in totals.items()
        for name, value in stated.items()
        if abs(float(held.get(table, {}).get(name) or 0) - value) > 1e-6 * max(1, abs(value))
    }


def mistakes(warehouse: Warehouse, sandbox: Sandbox, tables: Iterable[str]) -> list[str]:
    """What differs in `tables` from the sandbox's statement, what is there twice, what has lost its parent."""
    totals = sandbox.totals(sandbox.workspace.opened, sandbox.workspace.now().date())
    stated = {table: totals[table] for table in tables}
    return [*map(str, differences(warehouse, stated).items()), *doubled(warehouse), *orphans(warehouse)]


def doubled(warehouse: Warehouse) -> list[str]:
    """Tables that hold two rows of one grain."""
    tests = {
        table.name: f"SELECT 1 FROM braze.{table.name} GROUP BY {_names(table.key)} HAVING count(*) > 1"
        for table in loaded(warehouse)
    }
    return found(warehouse, tests)


def without_key(warehouse: Warehouse) -> list[str]:
    """Tables with a row whose key is null or empty."""
    tests = {}
    for table in loaded(warehouse):
        bad = [f'"{name}" IS NULL' for name in table.key]
        bad += [f"\"{name}\" = ''" for name in table.key if _type(table, name) is Type.TEXT]
        tests[table.name] = f"SELECT 1 FROM braze.{table.name} WHERE {' OR '.join(bad)}"
    return found(warehouse, tests)


def without_load(warehouse: Warehouse) -> list[str]:
    """Tables with a row that names no completed load."""
    known = "(SELECT load_id FROM braze._dlt_loads)"
    return found(
        warehouse,
        {
            table.name: f"SELECT 1 FROM braze.{table.name} WHERE _dlt_load_id IS NULL OR _dlt_load_id NOT IN {known}"
            for table in loaded(warehouse)
        },
    )


IDENTIFIERS = {
    "campaign_id": ("campaigns", "id"),
    "canvas_id": ("canvases", "id"),
    "segment_id": ("segments", "id"),
    "card_id": ("cards", "id"),
    "event": ("events", "name"),
}


def orphans(warehouse: Warehouse) -> list[str]:
    """Child tables with a row whose parent is not there: by entity, and by the day, step or message they belong to.

    A key that says `*` means all together and has no parent.
    """
    present = {table.name: table for table in loaded(warehouse)}
    tests = {}
    for child in present.values():
        for name in child.key:
            parent, key = IDENTIFIERS.get(name, ("", ""))
            if parent in present:
                tests[f"{child.name}.{name}"] = _orphan(child.name, parent, {name: key})
        for other in present.values():
            if set(other.key) < set(child.key) and child.resource == other.resource:
                tests[f"{child.name} of {other.name}"] = _orphan(child.name, other.name, {n: n for n in other.key})
    return found(warehouse, tests)


def _orphan(child: str, parent: str, keys: dict[str, str]) -> str:
    same = " AND ".join(f'p."{key}" = c."{name}"' for name, key in keys.items())
    total = " OR ".join(f"CAST(c.\"{name}\" AS VARCHAR) = '*'" for name in keys)
    missing = f"NOT EXISTS (SELECT 1 FROM braze.{parent} p WHERE {same})"
    return f"SELECT 1 FROM braze.{child} c WHERE NOT ({total}) AND {missing}"


def uncommented(warehouse: Warehouse) -> list[str]:
    """Tables and columns of the dataset without a comment."""
    if warehouse.name == "duckdb":
        sql = """
            SELECT table_name, '' FROM duckdb_tables() WHERE schema_name = 'braze' AND coalesce(comment, '') = ''
            UNION ALL SELECT table_name, column_name FROM duckdb_columns()
            WHERE schema_name = 'braze' AND coalesce(comment, '') = ''
        """
    else:
        sql = """
            SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
            WHERE n.nspname = 'braze' AND c.relkind = 'r' AND coalesce(col_description(c.oid, a.attnum), '') = ''
            UNION ALL SELECT c.relname, '' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'braze' AND c.relkind = 'r' AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''
        """
    return [".".join(row) for row in warehouse.query(sql)]


def files_with(folder: Path, secret: str) -> list[str]:
    """Files below `folder` that hold `secret`, its name in them included."""
    found = []
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path, name)
            if secret in name or secret.encode() in file.read_bytes():
                found.append(str(file))
    return found


def tables_with(warehouse: Warehouse, secret: str) -> list[str]:
    """Tables of the dataset that hold `secret` in any column."""
    tests = {}
    for table, kinds in columns(warehouse).items():
        cells = " OR ".join(f"CAST(\"{column}\" AS VARCHAR) LIKE '%{secret}%'" for column in kinds)
        tests[table] = f"SELECT 1 FROM braze.{table} WHERE {cells}"
    return found(warehouse, tests)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _type(table: Table, name: str) -> Type:
    column = table.column(name)
    assert column
    return column.type
