"""What a warehouse table is: a name, a grain, typed and described columns.

A `Table` is declared once (`tables.py`, `profile_tables.py`) and drives the Arrow types, the dlt hints, the
warehouse comments, `braze-elt schema` and the tests. This module is pure: it knows neither HTTP nor dlt.
"""

from dataclasses import dataclass
from enum import StrEnum

ALL = "*"
"""Stands in key columns for "all of them together": the workspace's own total, which is not the sum."""


MOMENTS = ("date", "hour", "start_date", "end_date")
"""Key columns that say when."""


class Type(StrEnum):
    """Column types, by dlt's names; `TIMESTAMP` is always with time zone, `JSON` is JSON text."""

    TEXT = "text"
    BIGINT = "bigint"
    DOUBLE = "double"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """A column: its name in the warehouse, its type, and what it means to an analyst."""

    name: str
    type: Type
    description: str


TOMBSTONE = Column(
    "_deleted", Type.BOOL, "Internal deletion marker; never true in stored rows, except in append-only files."
)
"""A column of the tables that have a `parent`. True marks a row that only says that the parent has no rows left."""


@dataclass(frozen=True)
class Table:
    """A table and its grain.

    `key` names the columns that identify a row: none of them is ever null or empty. `parent` names the subset of
    the key that is replaced as a whole when any row of it arrives (a merge removes what vanished); None means that a
    row only ever replaces the row of the same key. `history` marks tables whose rows outlive their absence in the
    API (Braze lists only 90 days of them). Scalar fields of the API that are not declared become further columns.
    """

    name: str
    resource: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    parent: tuple[str, ...] | None = None
    history: bool = False

    def column(self, name: str) -> Column | None:
        """The declared column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def entity(self) -> tuple[str, ...]:
        """The columns that name what a row is about: those of the key before its moment, or just the first."""
        times = [place for place, name in enumerate(self.key) if name in MOMENTS]
        return self.key[: times[0]] if times else self.key[:1]
