"""The warehouses under test, read back without the code under test."""

import atexit
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import duckdb
import psycopg2

_numbers = count()


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, for all files that are read back: to open each by itself costs ten times as much."""
    atexit.register(_engine.cache_clear)
    return duckdb.connect()


class AttachedFile:
    """A DuckDB file as a DB-API connection; nobody else can open it for writing until it is closed."""

    def __init__(self, file: str, read_only: bool) -> None:
        self._cursor = _engine().cursor()
        self._name = f"file_{next(_numbers)}"
        self._cursor.execute(f"ATTACH '{file}' AS {self._name} {'(READ_ONLY)' if read_only else ''}")
        self._cursor.execute(f"USE {self._name}")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Where to execute statements, each of which is committed by itself."""
        return self._cursor

    def commit(self) -> None:
        """Nothing is left to commit."""

    def close(self) -> None:
        """Let go of the file; what was written is in it."""
        self._cursor.execute("USE memory")
        self._cursor.execute(f"DETACH {self._name}")
        self._cursor.close()


@dataclass(frozen=True)
class Warehouse:
    """One of the destinations under test: its dlt name, and the credentials that the environment holds."""

    name: str
    credentials: str

    def connect(self) -> Any:
        """A DB-API connection, read-only in DuckDB."""
        if self.name == "duckdb":
            return AttachedFile(self.credentials, read_only=True)
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
        connection = AttachedFile(self.credentials, read_only=False) if self.name == "duckdb" else self.connect()
        try:
            connection.cursor().execute(sql)
            connection.commit()
        finally:
            connection.close()
