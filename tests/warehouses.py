"""The warehouses under test, read back without the code under test."""

from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg2


@dataclass(frozen=True)
class Warehouse:
    """One of the destinations under test: its dlt name, and the credentials that the environment holds."""

    name: str
    credentials: str

    def connect(self) -> Any:
        """A DB-API connection, read-only in DuckDB."""
        if self.name == "duckdb":
            return duckdb.connect(self.credentials, read_only=True)
        return psycopg2.connect(self.credentials)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that `sql` selects; tables need their schema."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchall()
        finally:
            connection.close()

    def execute(self, sql: str) -> None:
        """Change the warehouse behind the back of the code under test."""
        connection = duckdb.connect(self.credentials) if self.name == "duckdb" else self.connect()
        try:
            connection.cursor().execute(sql)
            connection.commit()
        finally:
            connection.close()
