"""Reading a dataset by SQL, whatever stores it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import sqlglot
import sqlglot.expressions
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from destinations.access import check_readable
from destinations.errors import DestinationUnavailable
from destinations.factory import destination
from destinations.location import DUCKDB, POSTGRES, exists, is_lake, sql_client
from destinations.refusals import asking
from destinations.schemas import stored_schema
from destinations.settings import apply_loader_defaults

_TABLES = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = '{dataset}' AND table_catalog = current_database() AND table_type = 'BASE TABLE'
    ORDER BY table_name
"""

_COUNT = "SELECT '{table}' AS name, count(*) AS rows FROM \"{table}\""

_ROWS_AT_A_TIME = 10_000


class Dataset:
    """A dataset, open for reading; its `client` sees what is current, however the destination stores it."""

    def __init__(self, pipeline: dlt.Pipeline, client: SqlClientBase[Any]) -> None:
        self.client = client
        self._pipeline = pipeline

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows that `sql` selects, a dict by column name each; table names need no schema.

        Raises DestinationUnavailable if a table that is asked for was never loaded, or if the warehouse refuses.
        """
        with asking(self.client), self._result(sql) as cursor:
            names = list(cursor.columns_schema)
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def first_column(self, sql: str) -> Iterator[str | None]:
        """Return the values of the first column that `sql` selects, as text; read in chunks.

        `sql` may be anybody's: Postgres refuses one that changes something, as a DuckDB file does that is open for
        reading. Raises DestinationUnavailable if a table that is asked for was never loaded, and what dlt raises for
        what else the database says of it.
        """
        with self._read_only(), self._result(sql) as cursor:
            while rows := cursor.fetchmany(_ROWS_AT_A_TIME):
                yield from (None if row[0] is None else str(row[0]) for row in rows)

    def table_names(self) -> list[str]:
        """List the tables of the dataset, dlt's own left out, in alphabetical order; empty before the first load."""
        if is_lake(self._pipeline.destination):
            from destinations import lake

            assert isinstance(self.client, lake.CurrentRows)
            return lake.table_names(self.client.remote_client)
        if self._pipeline.destination.destination_type not in (DUCKDB, POSTGRES):
            return _declared_tables(self._pipeline)
        dataset = self._pipeline.dataset_name.replace("'", "''")
        names = [row["table_name"] for row in self.query(_TABLES.format(dataset=dataset))]
        return [name for name in names if not name.startswith("_dlt_")]

    def table_counts(self) -> dict[str, int]:
        """Count the rows of every table of the dataset, dlt's own left out, in alphabetical order.

        Empty before the first load.
        """
        counts = [_COUNT.format(table=table) for table in self.table_names()]
        if not counts:
            return {}
        rows = self.query(" UNION ALL ".join(counts) + " ORDER BY name")
        return {row["name"]: row["rows"] for row in rows}

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        if self._pipeline.destination.destination_type != POSTGRES:
            yield
            return
        with self.client.begin_transaction():
            self.client.execute_sql("SET TRANSACTION READ ONLY")
            yield

    @contextmanager
    def _result(self, sql: str) -> Iterator[Any]:
        try:
            with self.client.execute_query(_in_its_words(self.client, sql)) as cursor:
                yield cursor
        except DatabaseUndefinedRelation:
            raise DestinationUnavailable(
                f"A table in this query does not exist yet in the dataset {self._pipeline.dataset_name}: run a sync."
            ) from None


@contextmanager
def reading(destination_name: str, dataset: str) -> Iterator[Dataset]:
    """Open a dataset for readers that have no part in its loads: dlt's working directory is a passing one.

    Raises `DestinationError` for a warehouse that cannot be read.
    """
    apply_loader_defaults()
    source = destination(destination_name, read_only=True)
    check_readable(source, dataset)
    with TemporaryDirectory(prefix="braze-elt-") as folder:
        pipeline = dlt.pipeline("braze_reading", pipelines_dir=folder, destination=source, dataset_name=dataset)
        with connected(pipeline) as opened:
            yield opened


@contextmanager
def connected(pipeline: dlt.Pipeline) -> Iterator[Dataset]:
    """Open the pipeline's dataset. Raises DestinationUnavailable if its DuckDB file does not exist."""
    client: SqlClientBase[Any]
    if not exists(pipeline.destination, pipeline.dataset_name):
        raise DestinationUnavailable("Nothing has been loaded yet, the DuckDB file does not exist: run a sync.")
    if is_lake(pipeline.destination):
        from destinations import lake

        client = lake.CurrentRows(lake.client_of(pipeline))
    else:
        client = sql_client(pipeline)
    with client:
        yield Dataset(pipeline, client)


def _declared_tables(pipeline: dlt.Pipeline) -> list[str]:
    """The tables of the schema that is stored in the dataset, those that exist."""
    with pipeline.destination_client() as client:
        schema = stored_schema(client)
        if schema is None or not isinstance(client, SqlJobClientBase):
            return []
        client.schema = schema
        return sorted(name for name, columns in client.get_storage_tables(schema.data_table_names()) if columns)


def as_instant(value: Any) -> Any:
    """A moment as an aware `datetime`; some destinations give it as text or without its zone, which is UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _in_its_words(client: SqlClientBase[Any], sql: str) -> str:
    """`sql`, which is DuckDB's and Postgres's, in the dialect of the destination, with its tables in their schema."""
    dialect = client.capabilities.sqlglot_dialect
    if dialect in ("duckdb", "postgres"):
        return sql
    statement = sqlglot.parse_one(sql, read="duckdb")
    named = {expression.alias for expression in statement.find_all(sqlglot.exp.CTE)}
    for table in list(statement.find_all(sqlglot.exp.Table)):
        if not table.db and table.name not in named:
            qualified = client.make_qualified_table_name_path(table.name, quote=False)
            parts = [sqlglot.exp.to_identifier(part, quoted=True) for part in qualified]
            alias = table.args.get("alias") or sqlglot.exp.TableAlias(this=sqlglot.exp.to_identifier(table.name))
            table.replace(
                sqlglot.exp.Table(**dict(zip(("this", "db", "catalog"), reversed(parts), strict=False)), alias=alias)
            )
    for column in statement.find_all(sqlglot.exp.Column):
        if column.this.args.get("quoted"):
            column.this.set("this", client.capabilities.casefold_identifier(column.name))
    return statement.sql(dialect=dialect)
