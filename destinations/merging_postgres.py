"""Postgres gets each row once: what it replaces is deleted by key, and then it is copied to its place.

dlt's own way is a CSV file, a table of the staging dataset, and a sort of all rows in it by key.
"""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pyarrow as pa
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations import postgres
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_client import SqlClientBase
from duckdb import DuckDBPyConnection, DuckDBPyRelation
from pyarrow import csv

from destinations.location import POSTGRES, quoted
from destinations.merging import CopyJob, MergeJob, MergingClient, MergingDestination
from destinations.parquet import parquet
from destinations.postgres_server import lock_key

_READER_MEMORY = "256MB"
_SENT_BYTES = 1 << 16
BATCH_ROWS = 10_000
"""Rows that are sent at once: they are in memory twice, as Arrow and as CSV."""


class MergingPostgres(MergingDestination, postgres):
    """dlt's Postgres destination, loading from Parquet files; to all others it is the `postgres` destination."""

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        # dlt's own rules Parquet out where ADBC is not installed.
        capabilities.loader_file_format_selector = lambda preferred, supported, **_: (preferred, supported)
        return capabilities

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Resolve the settings; texts go as UTF-8, whatever server, role or environment say of clients."""
        resolved = super().configuration(initial_config, accept_partial)
        if resolved.credentials:
            resolved.credentials.client_encoding = "UTF8"
        return resolved

    @property
    def destination_type(self) -> str:
        """Return the type by which dlt's state and settings know it."""
        return POSTGRES

    @property
    def client_class(self) -> type[PostgresClient]:
        """Return the client that loads."""
        return _Client


class _Job(MergeJob):
    def merge(self, client: SqlClientBase[Any], files: Sequence[str]) -> None:
        assert isinstance(client, Psycopg2SqlClient)
        table = client.make_qualified_table_name(self.load_table_name)
        columns = list(map(client.escape_column_name, self.columns("merge_key") or self.columns("primary_key")))
        keys = ", ".join(columns)
        same = " AND ".join(f"{table}.{key} = replaced.{key}" for key in columns)
        with _reading(files) as source:
            # A merge that began before another has ended would not see, and so not replace, the rows of that.
            client.execute_sql("SELECT pg_advisory_xact_lock(%s)", lock_key(table))
            client.execute_sql(f"CREATE TEMPORARY TABLE replaced ON COMMIT DROP AS SELECT {keys} FROM {table} LIMIT 0")  # noqa: S608
            _copy(client, "replaced", source.sql(f"SELECT DISTINCT {keys} FROM rows"))  # noqa: S608
            client.execute_sql("ANALYZE replaced")  # nobody else tells the planner about a temporary table
            client.execute_sql(f"DELETE FROM {table} USING replaced WHERE {same}")  # noqa: S608
            _copy(client, table, source.sql(self._kept(source)))

    def _kept(self, source: DuckDBPyConnection) -> str:
        """The query of what is to be inserted: no tombstones, and each key once."""
        query = "FROM rows"
        for removal in self.columns("hard_delete"):
            query += f" WHERE {quoted(removal)} IS NOT TRUE"
        if self.has_twice(source, "rows"):
            key = ", ".join(map(quoted, self.columns("primary_key")))
            query += f" QUALIFY row_number() OVER (PARTITION BY {key}) = 1"
        return query


class _CopyJob(CopyJob):
    def load(self) -> None:
        assert isinstance(self._job_client, PostgresClient)
        client = self._job_client.sql_client
        with client.begin_transaction(), _reading([self._file_path]) as source:
            _copy(client, client.make_qualified_table_name(self.load_table_name), source.table("rows"))


class _SqlClient(Psycopg2SqlClient):
    def open_connection(self) -> Any:
        """Connect. Raises as dlt does for statements, and a server without a free connection has one later."""
        try:
            return super().open_connection()
        except psycopg2.OperationalError as error:
            raise DatabaseTransientException(error) from None


class _Client(MergingClient, PostgresClient):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        made = self.sql_client
        self.sql_client = _SqlClient(made.dataset_name, made.staging_dataset_name, made.credentials, made.capabilities)

    def merge_job(self, file_path: str) -> MergeJob:
        return _Job(file_path)

    def copy_job(self, file_path: str) -> CopyJob:
        return _CopyJob(file_path)


@contextmanager
def _reading(files: Sequence[str]) -> Iterator[DuckDBPyConnection]:
    """A connection to a DuckDB whose view `rows` has all rows of `files`, which belong to one load package."""
    package = Path(files[0]).parents[1]
    settings: dict[str, Any] = {"memory_limit": _READER_MEMORY, "temp_directory": str(package / "read")}
    # The name has the jobs of a load share one DuckDB, which takes as long to start as a small job does in all.
    with duckdb.connect(f":memory:{package.name}", config=settings | {"preserve_insertion_order": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TEMPORARY VIEW rows AS FROM {parquet(files)}")
        yield connection


def _copy(client: Psycopg2SqlClient, table: str, rows: DuckDBPyRelation) -> None:
    """Copy rows into a table that has their columns; while a batch is sent, the next one is made."""
    columns = ", ".join(map(client.escape_column_name, rows.columns))
    statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
    client.execute_sql("SET LOCAL TIME ZONE 'UTC'")
    with (
        # Closed: one that the traceback of an error keeps has the next job wait for its DuckDB for ever.
        rows.to_arrow_reader(BATCH_ROWS) as batches,
        client.native_connection.cursor() as cursor,
        ThreadPoolExecutor(1, thread_name_prefix="copy") as ahead,
    ):
        schema = pa.schema(_without_zone(field) for field in batches.schema)
        made = ahead.submit(_next_lines, batches, schema)
        while lines := made.result():
            made = ahead.submit(_next_lines, batches, schema)
            cursor.copy_expert(statement, lines, size=_SENT_BYTES)


def _without_zone(field: pa.Field) -> pa.Field:
    """An instant as date and time in UTC: to write the zone as well takes Arrow twenty times as long."""
    return field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field


def _next_lines(batches: pa.RecordBatchReader, schema: pa.Schema) -> io.BytesIO | None:
    batch = next(batches, None)
    if batch is None:
        return None
    lines = io.BytesIO()
    csv.write_csv(batch.cast(schema), lines, csv.WriteOptions(include_header=False))
    lines.seek(0)
    return lines
