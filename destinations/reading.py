"""Reading a pipeline's dataset."""

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from destinations.errors import DestinationUnavailable
from destinations.location import duckdb_file

_TABLES = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = '{dataset}' AND table_catalog = current_database() AND table_type = 'BASE TABLE'
    ORDER BY table_name
"""

_COUNT = "SELECT '{table}' AS name, count(*) AS rows FROM \"{table}\""


def query(pipeline: dlt.Pipeline, sql: str) -> list[dict[str, Any]]:
    """Return the rows that `sql` selects, a dict by column name each; table names need no schema.

    Raises DestinationUnavailable if what is asked for was never loaded: no DuckDB file, no such table.
    """
    if not exists(pipeline):
        raise DestinationUnavailable("Nothing has been loaded yet, the DuckDB file does not exist: run a sync.")
    try:
        with pipeline.sql_client() as client, client.execute_query(sql) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except DatabaseUndefinedRelation:
        raise DestinationUnavailable(
            f"The dataset {pipeline.dataset_name} has no table that is asked for yet: run a sync."
        ) from None


def table_names(pipeline: dlt.Pipeline) -> list[str]:
    """List the tables of the dataset, dlt's own left out, in alphabetical order; empty before the first load."""
    if not exists(pipeline):
        return []
    dataset = pipeline.dataset_name.replace("'", "''")
    names = [row["table_name"] for row in query(pipeline, _TABLES.format(dataset=dataset))]
    return [name for name in names if not name.startswith("_dlt_")]


def table_counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    """Count the rows of every table of the dataset, dlt's own left out, in alphabetical order.

    Empty before the first load.
    """
    counts = [_COUNT.format(table=table) for table in table_names(pipeline)]
    if not counts:
        return {}
    rows = query(pipeline, " UNION ALL ".join(counts) + " ORDER BY name")
    return {row["name"]: row["rows"] for row in rows}


def exists(pipeline: dlt.Pipeline) -> bool:
    """Say whether there is anything to open: opening a DuckDB file that does not exist would make it."""
    file = duckdb_file(pipeline.destination, pipeline.dataset_name)
    return file is None or file.exists()


def first_column(pipeline: dlt.Pipeline, sql: str) -> Iterator[str]:
    """Return the values of the first column that `sql` selects, as text, without the nulls; read in chunks.

    Raises DestinationUnavailable if what is asked for was never loaded.
    """
    if not exists(pipeline):
        raise DestinationUnavailable("Nothing has been loaded yet, the DuckDB file does not exist: run a sync.")
    try:
        with pipeline.sql_client() as client, client.execute_query(sql) as cursor:
            while rows := cursor.fetchmany(_ROWS_AT_A_TIME):
                yield from (str(row[0]) for row in rows if row[0] is not None)
    except DatabaseUndefinedRelation:
        raise DestinationUnavailable(
            f"The dataset {pipeline.dataset_name} has no table that is asked for yet: run a sync."
        ) from None


_ROWS_AT_A_TIME = 10_000
