"""The SQL recipes of the documentation: the same file, the same result in DuckDB and Postgres, and the right one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from docs.generate.recipes import FOLDER, recipes
from sources.braze_sandbox import Sandbox
from tests import postgres
from tests.recipe_rows import Row, plain
from tests.warehouses import Warehouse
from tests.workspaces import START, TODAY, configure, sync, workspace

NAMES = sorted(path.name for path in FOLDER.glob("*.sql"))


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
    in_duckdb, in_postgres = (sorted(rows(one, name), key=labels) for one in (loaded.duckdb, loaded.postgres))
    assert in_duckdb
    assert [list(row) for row in in_duckdb] == [list(row) for row in in_postgres]
    assert in_duckdb == [pytest.approx(row, abs=1e-9) for row in in_postgres]


def labels(row: Row) -> list[str]:
    """What tells the rows of a recipe apart: texts sort differently in servers of different locales."""
    return [str(value) for value in row.values() if isinstance(value, str | date)] + [str(row.get("position"))]


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_come_in_an_order_that_nothing_leaves_to_chance(name: str) -> None:
    last = (FOLDER / name).read_text(encoding="utf-8").rstrip().splitlines()[-1]
    assert last.startswith("order by ")


# Against the totals that the sandbox states


def test_deliverability_counts_every_message_of_thirty_days(loaded: Loaded) -> None:
    stated = loaded.sandbox.totals(TODAY - timedelta(days=30), TODAY - timedelta(days=1))
    messages = [stated[table] for table in ("campaign_message_daily", "canvas_step_message_daily")]
    channels = rows(loaded.duckdb, "deliverability_by_channel.sql")
    assert total(channels, "sent") == sum(table["sent"] for table in messages)
    assert total(channels, "delivered") == sum(table["delivered"] for table in messages)


def test_message_pressure_counts_every_message_once(loaded: Loaded) -> None:
    stated = loaded.sandbox.totals(START, TODAY - timedelta(days=1))
    days = rows(loaded.duckdb, "message_pressure.sql")
    assert total(days, "by_campaigns") == stated["campaign_message_daily"]["sent"]
    assert total(days, "by_canvases") == stated["canvas_step_message_daily"]["sent"]
    assert total(days, "mau") == stated["kpi_daily"]["mau"]


def test_stickiness_is_the_ratio_of_the_stated_figures_day_by_day(loaded: Loaded) -> None:
    days = rows(loaded.duckdb, "stickiness.sql")
    assert [row["date"] for row in days] == [TODAY - timedelta(days=n) for n in range(1, len(days) + 1)]
    for row in days[::7]:
        stated = loaded.sandbox.totals(row["date"], row["date"])["kpi_daily"]
        assert row["stickiness_percent"] == pytest.approx(100 * stated["dau"] / stated["mau"], abs=0.005)
    week = [100 * row["dau"] / row["mau"] for row in days[:7]]
    assert days[0]["seven_day_percent"] == pytest.approx(sum(week) / 7, abs=0.005)


def test_key_figures_are_those_of_the_workspace_and_of_each_app(loaded: Loaded) -> None:
    apps = loaded.sandbox.workspace.apps
    months = rows(loaded.duckdb, "kpi_by_app.sql")
    for scope in ((), apps):
        stated = loaded.sandbox.totals(START, TODAY - timedelta(days=1), app_ids=scope)["kpi_daily"]
        counted = [row for row in months if row["app_id"] in ("*", *scope)]
        assert {name: total(counted, name) for name in ("new_users", "uninstalls")} == {
            name: stated[name] for name in ("new_users", "uninstalls")
        }
        assert sum(row["days"] for row in counted) == stated["rows"]


def test_weeks_of_events_and_purchases_are_those_that_are_stated(loaded: Loaded) -> None:
    events = rows(loaded.duckdb, "event_trends.sql")
    for column, end in (("last_week", 1), ("week_before", 8)):
        stated = loaded.sandbox.totals(TODAY - timedelta(days=end + 6), TODAY - timedelta(days=end))
        assert total(events, column) == stated["event_daily"]["count"]
    weeks = [week for week in rows(loaded.duckdb, "purchases_by_week.sql") if week["product"] == "*"]
    assert len(weeks) > 1
    for week in weeks:
        assert week["week"].weekday() == 0
        stated = loaded.sandbox.totals(week["week"], week["week"] + timedelta(days=6))
        assert week["quantity"] == stated["purchase_daily"]["quantity"]
        assert week["revenue"] == pytest.approx(stated["purchase_daily"]["revenue"], abs=0.005)


def test_revenue_is_told_once_per_campaign_and_adds_up(loaded: Loaded) -> None:
    stated = loaded.sandbox.totals(START, TODAY)["campaign_daily"]
    behaviors = rows(loaded.duckdb, "conversions_by_behavior.sql")
    assert {row["position"] for row in behaviors} == {0, 1, 2, 3}
    primary = [row for row in behaviors if row["position"] == 0]
    without = {"CRM webhook"}  # has no conversion event
    assert not without & {row["campaign"] for row in behaviors}
    webhook = loaded.duckdb.query("""
        SELECT sum(d.revenue), sum(d.conversions_by_send_time), sum(d.unique_recipients)
        FROM braze.campaign_daily d JOIN braze.campaigns c ON c.id = d.campaign_id WHERE c.name = 'CRM webhook'
    """)[0]
    assert total(primary, "campaign_revenue") + webhook[0] == pytest.approx(stated["revenue"], abs=0.1)
    assert total(primary, "conversions") + float(webhook[1]) == stated["conversions_by_send_time"]
    assert total(primary, "recipients") + float(webhook[2]) == stated["unique_recipients"]
