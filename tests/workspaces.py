"""Sandbox → warehouse in one call, and what must hold of any warehouse afterwards, read from the declarations."""

import os
from collections.abc import Iterator
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
START = date(2026, 2, 24)
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


def differences(warehouse: Warehouse, totals: dict[str, dict[str, int | float]]) -> dict[str, Any]:
    """{table.column: (in the warehouse, stated)} wherever the sums differ."""
    wrong = {}
    present = columns(warehouse)
    for table, stated in totals.items():
        counters = [name for name in stated if name != "rows"]
        known = [name for name in counters if name in present.get(table, {})]
        sums = ", ".join(["count(*)", *(f'sum("{name}")' for name in known)])
        row = warehouse.query(f"SELECT {sums} FROM braze.{table}")[0] if table in present else (0,)
        found = dict(zip(("rows", *known), row, strict=False))
        for name, value in stated.items():
            if abs(float(found.get(name) or 0) - value) > 1e-6 * max(1, abs(value)):
                wrong[f"{table}.{name}"] = (found.get(name), value)
    return wrong


def columns(warehouse: Warehouse) -> dict[str, dict[str, str]]:
    """The type of every column by table."""
    found: dict[str, dict[str, str]] = {}
    sql = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'braze'"
    for table, column, kind in warehouse.query(sql):
        found.setdefault(table, {})[column] = kind
    return found


def rows_of(warehouse: Warehouse, table: str, *names: str) -> list[tuple[Any, ...]]:
    """All rows of a table, sorted."""
    selected = ", ".join(f'"{name}"' for name in names)
    return sorted(warehouse.query(f"SELECT {selected} FROM braze.{table}"), key=repr)


def loaded(warehouse: Warehouse) -> list[Table]:
    """The declared tables that are in the warehouse."""
    present = columns(warehouse)
    return [table for table in TABLES.values() if table.name in present]


def doubled(warehouse: Warehouse) -> list[str]:
    """Tables that hold two rows of one grain."""
    return [
        table.name
        for table in loaded(warehouse)
        if warehouse.query(f"SELECT 1 FROM braze.{table.name} GROUP BY {_names(table.key)} HAVING count(*) > 1 LIMIT 1")
    ]


def without_key(warehouse: Warehouse) -> list[str]:
    """Tables with a row whose key is null or empty."""
    bad = []
    for table in loaded(warehouse):
        tests = [f'"{name}" IS NULL' for name in table.key]
        tests += [f"\"{name}\" = ''" for name in table.key if _type(table, name) is Type.TEXT]
        if warehouse.query(f"SELECT 1 FROM braze.{table.name} WHERE {' OR '.join(tests)} LIMIT 1"):
            bad.append(table.name)
    return bad


IDENTIFIERS = {
    "campaign_id": ("campaigns", "id"),
    "canvas_id": ("canvases", "id"),
    "segment_id": ("segments", "id"),
    "card_id": ("cards", "id"),
    "event": ("events", "name"),
}


def orphans(warehouse: Warehouse) -> list[str]:
    """Child tables with a row whose parent is not there: by entity, and by the day, step or message they belong to."""
    present = {table.name: table for table in loaded(warehouse)}
    pairs = [
        (child.name, (name,), *IDENTIFIERS[name])
        for child in present.values()
        for name in child.key
        if name in IDENTIFIERS and IDENTIFIERS[name][0] in present
    ]
    found = [
        f"{child}.{names[0]}"
        for child, names, parent, key in pairs
        if warehouse.query(
            f"SELECT 1 FROM braze.{child} c WHERE c.\"{names[0]}\" <> '*' AND NOT EXISTS"
            f' (SELECT 1 FROM braze.{parent} p WHERE p."{key}" = c."{names[0]}") LIMIT 1'
        )
    ]
    for child in present.values():
        for parent in present.values():
            if set(parent.key) < set(child.key) and child.resource == parent.resource:
                same = " AND ".join(f'(p."{name}" = c."{name}")' for name in parent.key)
                total = " OR ".join(f"CAST(c.\"{name}\" AS VARCHAR) = '*'" for name in parent.key)
                sql = f"SELECT 1 FROM braze.{child.name} c WHERE NOT ({total}) AND NOT EXISTS"
                if warehouse.query(f"{sql} (SELECT 1 FROM braze.{parent.name} p WHERE {same}) LIMIT 1"):
                    found.append(f"{child.name} of {parent.name}")
    return found


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


def columns_with(warehouse: Warehouse, secret: str) -> list[str]:
    """Columns of the dataset that hold `secret`."""
    return [
        f"{table}.{column}"
        for table, kinds in columns(warehouse).items()
        for column in kinds
        if warehouse.query(f"SELECT 1 FROM braze.{table} WHERE CAST(\"{column}\" AS VARCHAR) LIKE '%{secret}%' LIMIT 1")
    ]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _type(table: Table, name: str) -> Type:
    column = table.column(name)
    assert column
    return column.type
