"""Rows on their way to the warehouse: tuples, those with the same fields together.

A channel has a few of its table's many counters, and most rows have the fields of thousands of others. So they are
kept without their names, which takes a third of the memory of dicts, and become columns without a look-up by name.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

Row = dict[str, Any]
Fields = tuple[str, ...]
Values = tuple[Any, ...]
Columns = dict[str, Sequence[Any]]

ROWS_WORTH_A_GROUP = 100
"""So many rows with the same fields are worth columns of their own."""


class Sheet(Collection[Row]):
    """The rows of one table, which need not have the same fields; iterating gives dicts."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._groups: dict[Fields, list[Values]] = defaultdict(list)
        for row in rows:
            self._groups[tuple(row)].append(tuple(row.values()))

    def add(self, fields: Fields, values: Values) -> None:
        """Add the row that has `values` in `fields`."""
        self._groups[fields].append(values)

    def extend(self, other: "Sheet") -> None:
        """Add the rows of `other`."""
        for fields, rows in other._groups.items():
            self._groups[fields] += rows

    def without(self, names: Collection[str]) -> "Sheet":
        """The same rows without the fields `names`."""
        return Sheet({name: value for name, value in row.items() if name not in names} for row in self)

    def select(self, names: Fields) -> Iterator[Values]:
        """The values of the columns `names`, which all rows have."""
        for fields, rows in self._groups.items():
            yield from zip(*(map(itemgetter(fields.index(name)), rows) for name in names), strict=True)

    def columns(self) -> list[Columns]:
        """The rows by column, those with the same fields together; all together if there are too many kinds."""
        groups: list[Columns] = [
            dict(zip(fields, zip(*rows, strict=True), strict=True)) for fields, rows in self._groups.items()
        ]
        if len(groups) * ROWS_WORTH_A_GROUP <= len(self):
            return groups
        lengths = list(map(len, self._groups.values()))
        names = dict.fromkeys(chain(*groups))
        return [{name: list(chain(*map(_values_of, groups, lengths, repeat(name)))) for name in names}]

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[Row]:
        for fields, rows in self._groups.items():
            for values in rows:
                yield dict(zip(fields, values, strict=True))

    def __contains__(self, row: object) -> bool:
        return any(row == own for own in self)


def _values_of(group: Columns, rows: int, name: str) -> Iterable[Any]:
    return group.get(name) or repeat(None, rows)


Rows = dict[str, Sheet]
"""Rows by table."""
