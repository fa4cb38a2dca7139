"""What the warehouse holds against what the API says: pure functions over rows, without HTTP or SQL.

Rows are dicts by column name. Both sides are brought into one form first (`comparable`): NULL and absent are the
same, the connector's own columns are left out, and what was too odd for its column is back in its place.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import isnan
from typing import Any, TypeVar

import orjson

from sources.braze.arrow import to_arrow, union
from sources.braze.model import Table, Type
from sources.braze.rows import Row, Sheet

MONEY_TOLERANCE = 0.005
"""Half a cent: figures of money are floats on their way."""
_OWN = re.compile(r"^(_dlt_.*|_deleted|synced_at)$")
_VARIANT = re.compile(r"^(.+)__v_[a-z]+$")
_ADDITIVE = re.compile(r"^(entries|revenue|conversions\d*(_by_(send|entry)_time)?)$")
T = TypeVar("T")
Moment = TypeVar("Moment", date, datetime)


class Kind(StrEnum):
    """In which way warehouse and API differ, or the warehouse contradicts itself."""

    VALUE = "value"
    MISSING = "missing row"
    EXTRA = "extra row"
    SUM = "sum"
    STEP = "step total"
    GAP = "gap"
    ORPHAN = "orphan"
    DOUBLED = "doubled row"


@dataclass(frozen=True)
class Difference:
    """A figure, or a whole row (`column` None), that is not the same on both sides; `key` is the row's."""

    kind: Kind
    table: str
    key: Row
    column: str | None = None
    warehouse: Any = None
    api: Any = None


def comparable(row: Row) -> Row:
    """`row` without NULLs and the connector's own columns; values from variant columns are back in their column."""
    plain = {}
    for name, value in row.items():
        if value is not None and (column := _column(name)):
            plain[column] = value
    return plain


@lru_cache(maxsize=10_000)
def _column(name: str) -> str | None:
    """The column that `name` stands for, None if it is the connector's own."""
    variant = _VARIANT.match(name)
    return None if _OWN.match(name) else variant[1] if variant else name


def typed(table: Table, rows: Sheet) -> list[Row]:
    """Flattened rows as the warehouse returns them once they were loaded: with the declared types, comparable."""
    return [comparable(row) for row in union([to_arrow(table, rows, {})]).to_pylist()] if rows else []


def compare(
    table: Table, warehouse: Iterable[Row], api: Iterable[Row], ignored: frozenset[str] = frozenset()
) -> Iterator[Difference]:
    """What differs between the comparable rows of both sides for the same entities and days.

    `ignored` columns are not looked at. Of a doubled row every copy is compared.
    """
    expected = {_key(table, row): row for row in api}
    found = set()
    for row in warehouse:
        key = _key(table, row)
        found.add(key)
        if key not in expected:
            yield Difference(Kind.EXTRA, table.name, _named(table, key))
            continue
        yield from _values(table, key, row, expected[key], ignored)
    for key in expected:
        if key not in found:
            yield Difference(Kind.MISSING, table.name, _named(table, key))


def compare_sums(table: Table, key: Row, rows: Sequence[Row], total: Row) -> list[Difference]:
    """What differs between the API's own `total` and the sums of daily rows, in the counters that add up over days."""
    columns = [name for name in total if _ADDITIVE.match(name) and _are_numbers(name, total, *rows)]
    tolerance = MONEY_TOLERANCE * max(1, len(rows))
    sums = {name: sum(row.get(name) or 0 for row in rows) for name in columns}
    return [
        Difference(Kind.SUM, table.name, key, name, sums[name], total[name])
        for name in columns
        if not _adds_up(table, name, sums[name], total[name], tolerance)
    ]


def compare_steps(messages: Table, steps: Iterable[Row], parts: Iterable[Row]) -> Iterator[Difference]:
    """Step rows of a day against their message rows: what every message of a step reports must add up to the step.

    Only the counters that add up are compared; most messages have none of them. The sum of the messages is given as
    the warehouse's value, the step's own figure as the API's.
    """
    step_key = ("canvas_id", "date", "step_id")
    by_step: dict[tuple[Any, ...], list[Row]] = {}
    for part in parts:
        by_step.setdefault(tuple(part[name] for name in step_key), []).append(part)
    for step in steps:
        own = by_step.get(tuple(step[name] for name in step_key), [])
        additive = [name for name in step if _ADDITIVE.match(name) and _are_numbers(name, step, *own)]
        reported = [name for name in additive if own and all(name in part for part in own)]
        for name in reported:
            total = sum(part[name] for part in own)
            if not _adds_up(messages, name, total, step[name], MONEY_TOLERANCE * len(own)):
                key = {column: step[column] for column in step_key}
                yield Difference(Kind.STEP, messages.name, key, name, total, step[name])


def gaps(moments: Iterable[Moment], step: timedelta) -> Iterator[tuple[Moment, Moment]]:
    """The first and last moment of each hole in a series that should have a row at every `step`."""
    ordered = sorted(moments)
    for before, after in pairwise(ordered):
        if after - before > step:
            yield before + step, after - step


def sampled(items: Iterable[T], name: Callable[[T], str], count: int | None, day: date) -> list[T]:
    """`count` of `items` (None: all), the same for everybody on the same `day` and others on the next."""
    if count is None:
        return list(items)
    return sorted(items, key=lambda item: blake2b(f"{day} {name(item)}".encode(), digest_size=8).digest())[:count]


def _key(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in table.key)


def _named(table: Table, key: tuple[Any, ...]) -> Row:
    return dict(zip(table.key, key, strict=True))


def _values(
    table: Table, key: tuple[Any, ...], ours: Row, theirs: Row, ignored: frozenset[str]
) -> Iterator[Difference]:
    for name in dict.fromkeys((*theirs, *ours)):
        if name not in table.key and name not in ignored and not _same(table, name, ours.get(name), theirs.get(name)):
            yield Difference(Kind.VALUE, table.name, _named(table, key), name, ours.get(name), theirs.get(name))


def _same(table: Table, name: str, ours: Any, theirs: Any) -> bool:
    column = table.column(name)
    if ours is None or theirs is None:
        return ours is theirs
    if column and column.type is Type.JSON:
        return _parsed(theirs) in (ours, _parsed(ours))
    if isinstance(ours, str) is not isinstance(theirs, str):
        return _text(ours) == _text(theirs)  # a variant column of text takes what others were too odd for as well
    if column and column.type is Type.DOUBLE:
        return _adds_up(table, name, ours, theirs, MONEY_TOLERANCE)
    return bool(ours == theirs) or (column is None and _text(ours) == _text(theirs))


def _are_numbers(name: str, *rows: Row) -> bool:
    """Whether no row has a text, too odd for its column, under `name`."""
    return all(isinstance(row.get(name, 0), int | float) for row in rows)


def _adds_up(table: Table, name: str, ours: Any, theirs: Any, tolerance: float) -> bool:
    """Equality of figures: within `tolerance` where the column holds money, exact otherwise."""
    column = table.column(name)
    numbers = all(isinstance(value, int | float) for value in (ours, theirs))
    if numbers and column and column.type is Type.DOUBLE:
        return bool(abs(ours - theirs) <= tolerance) or (isnan(ours) and isnan(theirs))
    return bool(ours == theirs)


def _parsed(value: Any) -> Any:
    """A JSON column's value: DuckDB returns its text, Postgres what it means."""
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return value


def _text(value: Any) -> str:
    """How a value looks in a column of text, where it goes if its own does not hold it."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
