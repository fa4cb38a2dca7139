"""The SQL recipes of the documentation: the same file, the same result in DuckDB and Postgres, and the right one."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import psycopg2
import pytest

from docs.generate.recipes import FOLDER, recipes
from sources.braze.tables import TABLES
from sources.braze_sandbox import Sandbox
from tests import postgres
from tests.warehouses import Warehouse
from tests.workspaces import START, TODAY, configure, sync, workspace

NAMES = sorted(path.name for path in FOLDER.glob("*.sql"))
NEWEST = TODAY
"""The current day of the sandbox, which every table holds unfinished."""
Row = dict[str, Any]


class Loaded(NamedTuple):
    """Both warehouses, loaded from one sandbox at one moment."""

    duckdb: Warehouse
    postgres: Warehouse
    sandbox: Sandbox


@contextmanager
def configured(folder: Path, postgres_url: str) -> Iterator[pytest.MonkeyPatch]:
    """An environment without settings from outside, dlt's folder in `folder`, both destinations set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DESTINATION__", "SOURCES__"))]:
            patch.delenv(name)
        patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
        patch.chdir(folder)
        yield patch


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Loaded]:
    folder = tmp_path_factory.mktemp("recipes")
    with (
        postgres.database(postgres_server) as url,
        configured(folder, url) as patch,
        workspace() as sandbox,
    ):
        apps, products = sandbox.workspace.apps, sandbox.workspace.products
        configure(patch, sandbox, app_ids=",".join(apps), products=products[0])
        for name in ("duckdb", "postgres"):
            patch.setenv("DLT_DATA_DIR", str(folder / name))
            assert sync(name) == 0
        yield Loaded(Warehouse("duckdb", str(folder / "warehouse.duckdb")), Warehouse("postgres", url), sandbox)


def selected(connection: Any, name: str) -> list[Row]:
    """The result of a recipe over an open connection: numbers as floats, dates and texts as they are."""
    cursor = connection.cursor()
    cursor.execute((FOLDER / name).read_text(encoding="utf-8"))
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, map(plain, row), strict=True)) for row in cursor.fetchall()]


def plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | Decimal) else value


def rows(warehouse: Warehouse, name: str) -> list[Row]:
    connection = warehouse.connect()
    try:
        return selected(connection, name)
    finally:
        connection.close()


def total(values: list[Row], column: str) -> float:
    return sum(row[column] or 0 for row in values)


# All of them


def test_there_are_recipes() -> None:
    assert len(recipes()) == len(NAMES) >= 12


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_says_what_it_answers_and_how_to_read_it(recipe: Any) -> None:
    assert "?" in recipe.title + recipe.text
    assert "a row per" in recipe.text.lower()
    assert recipe.text.endswith(".")
    assert recipe.sql.endswith(";\n")
    assert recipe.sql.startswith(("select\n", "with "))


@pytest.mark.parametrize("name", NAMES)
def test_both_engines_find_the_same_rows(loaded: Loaded, name: str) -> None:
    in_duckdb, in_postgres = rows(loaded.duckdb, name), rows(loaded.postgres, name)
    assert in_duckdb
    assert [list(row) for row in in_duckdb] == [list(row) for row in in_postgres]
    assert in_duckdb == [pytest.approx(row, abs=1e-9) for row in in_postgres]
