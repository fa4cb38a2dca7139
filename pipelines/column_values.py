"""Values as their columns declare them: a destination without dates, instants or flags gives something else back."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from destinations.reading import as_instant
from sources.braze.model import Table, Type
from sources.braze.rows import Row


def _as_day(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date()
    return date.fromisoformat(value[:10]) if isinstance(value, str) else value


_READERS: Mapping[Type, Callable[[Any], Any]] = {
    Type.DATE: _as_day,
    Type.TIMESTAMP: as_instant,
    Type.BOOL: lambda value: bool(value) if isinstance(value, int) else value,
}


def as_declared(table: Table, name: str, value: Any) -> Any:
    """The value of a column of `table`, as Python's type for the declared one."""
    column = table.column(name)
    read = _READERS.get(column.type) if column else None
    return read(value) if read else value


def row_as_declared(table: Table, row: Row) -> Row:
    """`row` with every value as declared; those of discovered columns stay as they are."""
    return {name: as_declared(table, name, value) for name, value in row.items()}
