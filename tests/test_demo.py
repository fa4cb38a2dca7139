"""`braze-elt demo`: what it prints is what is in the file that it leaves."""

import inspect
import re
from inspect import cleandoc
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.demo import QUERIES, demo_settings
from sources.braze.settings import configured
from sources.braze_sandbox import Workspace
from tests.repository import REPOSITORY

OF_ANOTHER_WORKSPACE = {
    "endpoint": "US-01",
    "export_bucket": "gs://theirs",
    "sends_query": "SELECT 1, 2",
    "sends_query_url": "sqlite:////nowhere/at.all",
    "alert_webhook": "not a URL",
    "products": "wrong, ones",
    "rate_reserve": "0.95",
}


def test_the_demo_prints_rows_by_table_and_queries_with_their_results(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for the sandbox, which is a process of its own
    for name, value in OF_ANOTHER_WORKSPACE.items():
        monkeypatch.setenv(f"SOURCES__BRAZE__{name.upper()}", value)
    result = CliRunner().invoke(cli, ["demo"], prog_name="braze-elt")
    assert result.exit_code == 0, result.output
    printed = [_cells(line) for line in result.stdout.splitlines()]
    queries = re.findall(r"^(?:select|with) .+?;$", result.stdout, re.MULTILINE | re.DOTALL)
    assert len(queries) == 3
    with duckdb.connect("braze_demo.duckdb", read_only=True) as connection:
        loaded = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'braze'").fetchall()
        assert {"campaigns", "campaign_daily", "kpi_daily"} <= {table for (table,) in loaded}
        for (table,) in loaded:
            count = connection.execute(f"SELECT count(*) FROM braze.{table}").fetchall()[0][0]
            assert table.startswith(("_dlt", "sync_")) or not count or [table, f"{count:,}"] in printed
        for query in queries:
            rows = connection.execute(query).fetchall()
            assert rows
            for row in rows:
                assert list(map(_shown, row)) in printed


@pytest.mark.parametrize(
    ("file", "cure"),
    [
        ("braze.duckdb", "name another file in --file"),
        ("nowhere/x.duckdb", "create it, or correct --file"),
    ],
)
def test_a_file_that_cannot_be_is_an_option_to_correct(
    file: str, cure: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    result = CliRunner().invoke(cli, ["demo", "--file", file], prog_name="braze-elt")
    assert result.exit_code == 2
    assert cure in result.stderr


def test_the_demo_sets_every_setting() -> None:
    assert demo_settings("http://127.0.0.1", Workspace()).keys() == inspect.signature(configured).parameters.keys()


def test_the_query_that_the_readme_shows_is_one_of_the_demo() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```text\n")[2].partition(";\n")[0]
    assert shown in map(cleandoc, QUERIES.values())


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")[1:-1]]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value)
