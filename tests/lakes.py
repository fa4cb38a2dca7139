"""Warehouses that are files or other SQL engines, read back by readers that are not the code under test."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import sqlalchemy

from tests.warehouses import Warehouse

_SCAN = re.compile(r"(delta|iceberg)_scan\('([^']*)'\)")


@dataclass(frozen=True)
class Lake(Warehouse):
    """A folder or bucket: `credentials` is its URL. It is read by running its `views.sql` in DuckDB.

    Where `views.sql` asks for a DuckDB extension, the library of the table format stands in for it.
    """

    def connect(self) -> Any:
        """A DuckDB connection in whose schema `braze` the views are."""
        connection = duckdb.connect()
        files, folder = fsspec.core.url_to_fs(f"{self.credentials}/braze")
        if not isinstance(files, fsspec.implementations.local.LocalFileSystem):
            files.invalidate_cache()
            files.find(folder)  # keeps DuckDB from asking for every file
            connection.register_filesystem(files)
        scans: dict[str, str] = {}

        def stand_in(found: re.Match[str]) -> str:
            name = scans.setdefault(found[2], f"scan_{len(scans)}")
            connection.register("scanned", _table(found[1], found[2]))
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM scanned")
            return name

        for statement in _SCAN.sub(stand_in, files.read_text(f"{folder}/views.sql")).split(";\n"):
            connection.execute(statement)
        return connection

    def raw_rows(self, table: str) -> int:
        """How many rows were ever appended to a Parquet table."""
        rows = duckdb.sql(f"SELECT count(*) FROM read_parquet('{self.credentials}/braze/{table}/*.parquet')").fetchone()
        assert rows
        return int(rows[0])


def copied(warehouse: Warehouse, file: Path) -> Warehouse:
    """A DuckDB file with what a lake or engine holds at the moment: each query would read all of it anew."""
    connection = warehouse.connect()
    connection.execute(f"ATTACH '{file}' AS copy; CREATE SCHEMA copy.braze")
    found = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'braze' AND table_catalog <> 'copy'"
    for (name,) in connection.execute(found).fetchall():
        connection.execute(f'CREATE TABLE copy.braze."{name}" AS FROM braze."{name}"')
    connection.close()
    return Warehouse("duckdb", str(file))


def _table(table_format: str, place: str) -> Any:
    if table_format == "delta":
        from deltalake import DeltaTable

        return DeltaTable(place, storage_options={"aws_allow_http": "true"}).to_pyarrow_dataset()
    from pyiceberg.table import StaticTable

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return StaticTable.from_metadata(place, {"s3.endpoint": endpoint} if endpoint else {}).scan().to_arrow()


@dataclass(frozen=True)
class Engine(Warehouse):
    """An SQL engine that SQLAlchemy knows: `credentials` is the URL of the dataset. It is read by copying it."""

    def connect(self) -> Any:
        """A DuckDB connection with a copy of every table in the schema `braze`."""
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA braze")
        engine = sqlalchemy.create_engine(self.credentials)
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine)
        with engine.connect() as source:
            for name, table in metadata.tables.items():
                columns = [column.name for column in table.columns]
                rows = source.execute(sqlalchemy.select(table)).all()
                kinds = pa.schema(
                    [(column.name, _KINDS.get(type(column.type), pa.string())) for column in table.columns]
                )
                data = [dict(zip(columns, map(_as_text, row), strict=True)) for row in rows]
                connection.register("copied", pa.Table.from_pylist(data, kinds))
                connection.execute(f'CREATE TABLE braze."{name}" AS SELECT * FROM copied')
        engine.dispose()
        return connection


def _as_text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


_KINDS = {
    sqlalchemy.BIGINT: pa.int64(),
    sqlalchemy.INTEGER: pa.int64(),
    sqlalchemy.FLOAT: pa.float64(),
    sqlalchemy.DOUBLE: pa.float64(),
    sqlalchemy.BOOLEAN: pa.bool_(),
    sqlalchemy.DATE: pa.date32(),
    sqlalchemy.DATETIME: pa.timestamp("us", "UTC"),
    sqlalchemy.TIMESTAMP: pa.timestamp("us", "UTC"),
}


def lake(url: str | Path) -> Lake:
    """The lake at a URL or in a folder."""
    return Lake("filesystem", str(url))
