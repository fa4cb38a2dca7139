"""`braze-elt demo`: what it prints is what is in the file that it leaves."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli import cli

REPOSITORY = Path(__file__).parent.parent


def test_the_demo_prints_rows_by_table_and_queries_with_their_results(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for the sandbox, which is a process of its own
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


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("│")[1:-1]]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value)
