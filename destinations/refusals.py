"""What a warehouse says when it refuses something, without the values of rows, which may be people's."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase

from destinations.errors import DestinationUnavailable

_PLAIN_IN_DUCKDB = (
    *(duckdb.IOException, duckdb.OutOfMemoryException, duckdb.ConnectionException, duckdb.PermissionException),
    *(duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException, duckdb.DependencyException),
    *(duckdb.InterruptException, duckdb.ResourceInUseException),
)
"""Kinds of errors that speak of files, memory, statements and names."""
_MOSTLY_PLAIN_IN_DUCKDB = (duckdb.TransactionException, duckdb.FatalException)
"""Those of a commit: they repeat what hindered it, which may be a key."""
_NAMED_BY_DUCKDB = re.compile(r'key "(\w+): |source column (\w+)|constraint failed: [\w".]*\.(\w+)')
_PLAIN_IN_POSTGRES = frozenset(
    ("08", "0A", "25", "26", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX")
)
"""Classes of SQLSTATE that are not about values: connections, rights, names, resources. Triggers say what they like."""
_ABOUT_ROWS_IN_POSTGRES = ("22", "23")
_COPIED = re.compile(r"^COPY [^:]*", re.MULTILINE)
_INSUFFICIENT_PRIVILEGE = "42501"
_TOO_MANY_CONNECTIONS = "53300"
_NOT_LET_IN = re.compile("too many (?:clients|connections)|connection slots are reserved")
_ABOUT_VALUES = frozenset({"DataError", "IntegrityError"})
"""What any driver calls errors about values."""


class ValueRefused(Exception):
    """A warehouse does not take a value; the words say which kind of error it was, and where."""


def without_values(error: Exception, table: str = "", columns: Collection[str] = ()) -> Exception:
    """What is wrong according to `error`, which `table` with `columns` gave, in words that quote no value of a row.

    It is `error` itself if its words cannot, and otherwise as lasting as that: what dlt would try again, it still does.
    """
    if isinstance(error, DatabaseException):
        told = without_values(error.dbapi_exception, table, columns)
        return error if told is error.dbapi_exception else type(error)(told)
    known = _known_details(error, columns)
    if known is None:
        return error
    kind = ", ".join([type(error).__name__, *known])
    return ValueRefused(f"{table or 'a table'} refuses a value ({kind})")


def first_line(error: BaseException) -> str:
    """The first line of what `error` says, no values of rows and no full stop in it; its kind if it says nothing."""
    words = str(without_values(error) if isinstance(error, Exception) else error).strip()
    return words.splitlines()[0].rstrip(".!") if words else type(error).__name__


@contextmanager
def asking(client: SqlClientBase[Any]) -> Iterator[None]:
    """Turn what the warehouse of `client` says in the block instead of an answer into `DestinationUnavailable`."""
    try:
        yield
    except DatabaseException as error:
        raise DestinationUnavailable(
            f"The warehouse cannot be read: {first_line(error)}. {_reading_cure(error, client.dataset_name)}"
        ) from None


def sqlstate(error: BaseException) -> str:
    """The code that Postgres gave `error`, also within an exception of dlt's; empty if there is none."""
    while isinstance(error, DatabaseException):
        error = error.dbapi_exception
    if code := getattr(error, "pgcode", None):
        return str(code)
    # The driver leaves out the code of what hindered a connection.
    return _TOO_MANY_CONNECTIONS if _NOT_LET_IN.search(str(error)) else ""


def refuses_rows(error: BaseException) -> bool:
    """Whether `error` is about rows that a table does not take as they are, told without their values or not."""
    while isinstance(error, DatabaseException):
        error = error.dbapi_exception
    return isinstance(error, ValueRefused) or sqlstate(error)[:2] in _ABOUT_ROWS_IN_POSTGRES


def _reading_cure(error: DatabaseException, dataset: str) -> str:
    if sqlstate(error) == _INSUFFICIENT_PRIVILEGE:
        return f"Grant this user USAGE on the schema {dataset} and SELECT on all tables in the schema {dataset}."
    if isinstance(error, DatabaseUndefinedRelation):
        return "Run a sync, which makes it."
    return "Mend that, and run again."


def _known_details(error: Any, columns: Collection[str]) -> list[str] | None:
    """What may be told of an error about values; None of one that is about something else."""
    if isinstance(error, duckdb.Error):
        return None if _is_plain_in_duckdb(error) else _details_of_duckdb(error, columns)
    if getattr(error, "pgcode", None):
        return None if error.pgcode[:2] in _PLAIN_IN_POSTGRES else _details_of_postgres(error)
    return [] if _ABOUT_VALUES & {kind.__name__ for kind in type(error).__mro__} else None


def _is_plain_in_duckdb(error: duckdb.Error) -> bool:
    if isinstance(error, _MOSTLY_PLAIN_IN_DUCKDB):
        return not re.search("key|constraint", str(error), re.IGNORECASE)
    return isinstance(error, _PLAIN_IN_DUCKDB)


def _details_of_duckdb(error: duckdb.Error, columns: Collection[str]) -> list[str]:
    # What looks like a column's name may be a part of a value.
    found = _NAMED_BY_DUCKDB.search(str(error))
    return [f"column {name}" for name in (found.groups() if found else ()) if name in columns]


def _details_of_postgres(error: Any) -> list[str]:
    place = _COPIED.search(error.diag.context or "")
    constraint = error.diag.constraint_name
    return [*([f"constraint {constraint}"] if constraint else []), *([place[0]] if place else [])]
