"""The ledger of runs, brought up to date in place: a load package for one row costs more than a quiet night."""

from collections.abc import Mapping
from typing import Any

import dlt

from destinations.location import is_sql, sql_client

_CLOSE = "UPDATE {table} SET {values} WHERE {key} = %s"
_BURY = "UPDATE {table} SET {status} = 'failed' WHERE {status} = 'running' AND {key} <> %s"


def can_close(pipeline: dlt.Pipeline) -> bool:
    """Say whether the destination changes a row in place; those without transactions do not, or at a great cost."""
    destination = pipeline.destination
    # dlt says None of those that it never had to ask, DuckDB among them.
    return is_sql(destination) and destination.capabilities().supports_transactions is not False


def close(pipeline: dlt.Pipeline, table: str, row: Mapping[str, Any]) -> None:
    """Write the columns of `row` into the row of `table` with its `run_id`; other runs still "running" have failed.

    Only one run at a time loads into a dataset, so that those others were killed. Only where `can_close`. As where a
    row is loaded anew to be closed, its load is then the run's last one: rows of a run are of no later load.
    """
    row = {**row, "_dlt_load_id": max(pipeline.list_completed_load_packages())}
    with sql_client(pipeline) as client, client.begin_transaction():
        name = client.make_qualified_table_name(table)
        key, status = map(client.escape_column_name, ("run_id", "status"))
        values = ", ".join(f"{client.escape_column_name(column)} = %s" for column in row)
        client.execute_sql(_CLOSE.format(table=name, values=values, key=key), *row.values(), row["run_id"])
        client.execute_sql(_BURY.format(table=name, status=status, key=key), row["run_id"])
