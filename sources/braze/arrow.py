"""Rows → Arrow tables with the declared types, and their union.

Declared columns get their declared type, whatever number or string Braze sent for it. Fields that no declaration names
get the type of their values. A value that its column's type cannot hold goes to a variant column (`sent__v_text`),
as dlt does it: nothing is lost and nothing fails. Texts lose NUL characters, and an empty text is null: a Postgres
COPY cannot tell the two apart, and no key is ever empty.
"""

import json
import re
from array import array as c_array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import chain
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sources.braze.flatten import parse_instant
from sources.braze.model import TOMBSTONE, Table, Type
from sources.braze.rows import Columns, Sheet

ARROW_TYPES: dict[Type, pa.DataType] = {
    Type.TEXT: pa.string(),
    Type.JSON: pa.string(),
    Type.BIGINT: pa.int64(),
    Type.DOUBLE: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.DATE: pa.date32(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
_TYPES_OF_ARROW = {arrow: kind for kind, arrow in ARROW_TYPES.items() if kind is not Type.JSON}
_FILLERS: dict[Type, Any] = {
    Type.TEXT: "-",
    Type.BIGINT: -1,
    Type.DATE: date(1970, 1, 1),
    Type.TIMESTAMP: datetime(1970, 1, 1, tzinfo=UTC),
}
"""Key columns of a tombstone below its parent's grain: the row is never stored, but no key may be null.

The text also stands for names in keys that are nothing but NUL characters."""
_NUMBERS = {pa.int64(), pa.float64()}
_DATES = frozenset({date, type(None)})
"""Types of the values that are written as dates without being read first."""
_NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""The escape of a NUL character, not the text of it: a backslash that is escaped itself begins none."""


def to_arrow(table: Table, rows: Sheet, known: Mapping[str, Type]) -> pa.Table:
    """`rows` of `table` as an Arrow table; columns that no row has are left out, key columns are not nullable.

    `known` gives the types of discovered columns that the warehouse has already, so that a counter that was an
    integer yesterday is not guessed anew today.
    """
    groups = rows.columns()
    types = _types(table, groups, known)
    return pa.concat_tables([_uniform(table, group, types) for group in groups], promote_options="default")


def _types(table: Table, groups: Sequence[Columns], known: Mapping[str, Type]) -> dict[str, Type]:
    """The type of each column; those without any value have none."""
    types = {}
    for name in dict.fromkeys(chain(*groups)):
        declared = table.column(name)
        found = declared.type if declared else known.get(name)
        wanted = found or infer(chain(*(group.get(name, ()) for group in groups)))
        if wanted is not None:
            types[name] = wanted
    return types


def _uniform(table: Table, group: Columns, types: Mapping[str, Type]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, values in group.items():
        if name in types:
            columns.update(_convert(name, values, types[name]))
    return pa.table(columns, schema=pa.schema([_field(table, name, array) for name, array in columns.items()]))


def arrow_schema(table: Table) -> pa.Schema:
    """The declared columns of `table` with their types; those of its key are not nullable."""
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.type], nullable=c.name not in table.key) for c in table.columns])


def empty(table: Table) -> pa.Table:
    """`table` without rows, with the column of tombstones where a table has them."""
    schema = arrow_schema(table)
    if table.parent and not table.column(TOMBSTONE.name):
        schema = schema.append(pa.field(TOMBSTONE.name, pa.bool_()))
    return schema.empty_table()


def tombstones(table: Table, parents: Iterable[Mapping[str, Any]]) -> pa.Table:
    """One row per parent that has no rows in `table`, so that a merge removes those the warehouse still has."""
    assert table.parent
    rows = list(parents)
    arrays: dict[str, pa.Array] = {}
    for name in table.key:
        column = table.column(name)
        assert column
        values = [row.get(name, _FILLERS[column.type]) for row in rows]
        arrays[name] = pa.array(values, ARROW_TYPES[column.type])
    arrays[TOMBSTONE.name] = pa.array([True] * len(rows), pa.bool_())
    return pa.table(arrays, schema=pa.schema([_field(table, name, array) for name, array in arrays.items()]))


def union(tables: Sequence[pa.Table]) -> pa.Table:
    """Arrow tables of one warehouse table → one; columns that some lack are null there, numbers widen.

    A discovered column that is of one kind here and of another there becomes text, as within one table (`infer`).
    Texts are cleaned here, once for many rows: NUL characters go, empty texts become null, in keys a dash.
    """
    mixed = _mixed(tables)
    uniform = [_with_text(table, mixed) for table in tables] if mixed else tables
    table = pa.concat_tables(uniform, promote_options="permissive").combine_chunks()
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            empty_is = None if column.nullable else _FILLERS[Type.TEXT]
            table = table.set_column(place, column, _clean(table.column(place), empty_is))
    return table


def _mixed(tables: Sequence[pa.Table]) -> set[str]:
    kinds: dict[str, set[pa.DataType]] = defaultdict(set)
    for table in tables:
        for column in table.schema:
            kinds[column.name].add(column.type)
    return {name for name, types in kinds.items() if len(types) > 1 and not types <= _NUMBERS}


def _with_text(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names.intersection(table.column_names):
        texts = [None if value is None else _to_text(value) for value in table.column(name).to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
    return table


def infer(values: Iterable[Any]) -> Type | None:
    """The type that holds all `values` of an undeclared field; None if all of them are null."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return None
    if kinds & {list, dict} and str not in kinds:
        return Type.JSON
    if kinds == {bool}:
        return Type.BOOL
    if kinds <= {int, float}:
        return Type.BIGINT if kinds == {int} else Type.DOUBLE
    return Type.TEXT


def _field(table: Table, name: str, array: pa.Array) -> pa.Field:
    return pa.field(name, array.type, nullable=name not in table.key)


def _convert(name: str, values: Sequence[Any], wanted: Type) -> dict[str, pa.Array]:
    """`values` as `{name: array}`, and as `{name__v_…: array}` for those that `wanted` cannot hold."""
    try:
        return {name: _array(values, wanted)}
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        fitting = [_coerce(value, wanted) for value in values]
    strays = [value if fit is None and value != "" else None for value, fit in zip(values, fitting, strict=True)]
    columns = {name: _array(fitting, wanted)}
    stray_type = infer(strays)
    if stray_type in (Type.TEXT, Type.JSON) or wanted is stray_type:
        strays = [value if value is None or isinstance(value, str) else _json(value) for value in strays]
        stray_type = Type.TEXT
    if stray_type is not None:
        columns[f"{name}__v_{stray_type}"] = _array(strays, stray_type)
    return columns


def _array(values: Sequence[Any], wanted: Type) -> pa.Array:
    if wanted is Type.JSON:
        return pa.array([None if value is None else _json(value) for value in values], pa.string())
    if wanted is Type.TIMESTAMP:
        return pa.array([_instant(value) for value in values], ARROW_TYPES[wanted])
    if wanted is Type.DATE:
        return _dates(values)
    if wanted is Type.BIGINT:
        return _integers(values)
    return pa.array(values, ARROW_TYPES[wanted])


def _dates(values: Sequence[Any]) -> pa.Array:
    if not _DATES.issuperset(map(type, values)):
        values = [_date(value) for value in values]
    return pa.array(values, pa.date32())


def _integers(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(c_array("q", values))])
    except TypeError:  # nulls, decimals, texts
        found = pa.array(values)  # told the type at once, pyarrow cuts off decimals
        return found if found.type == pa.int64() else found.cast(pa.int64())


def _clean(array: pa.ChunkedArray, empty_is: str | None) -> pa.ChunkedArray:
    if any(map(_has_zero_byte, array.chunks)):
        array = pc.replace_substring(array, "\x00", "")
    if pc.any(pc.equal(array, "")).as_py():
        array = pc.if_else(pc.equal(array, ""), empty_is, array)
    return array


def _has_zero_byte(texts: pa.Array) -> bool:
    """Whether a byte of the texts is zero: their least byte is found twenty times as fast as a text among them."""
    _, _, data = texts.buffers()
    return data is not None and pc.min(pa.Array.from_buffers(pa.uint8(), data.size, [None, data])).as_py() == 0


def json_text(value: Any) -> str:
    """`value`, read from JSON, as JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # it reads what is nested deeper than it writes
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> str:
    return _NUL_IN_JSON.sub(r"\1", json_text(value))


def _instant(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not the text of a timestamp")
    return parse_instant(value, UTC).astimezone(UTC)


def _date(value: Any) -> date | None:
    return value if value is None or isinstance(value, date) else date.fromisoformat(str(value)[:10])


def _coerce(value: Any, wanted: Type) -> Any:
    """`value` as `wanted` holds it, or None if it cannot without loss."""
    if value is None:
        return None
    try:
        return _COERCIONS[wanted](value)
    except (TypeError, ValueError, OverflowError):
        return None


def _to_bigint(value: Any) -> int | None:
    given = _number(value) if isinstance(value, str) else value
    number = int(given)
    return number if number == given and -(2**63) <= number < 2**63 else None


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _to_double(value: Any) -> float | None:
    number = float(value)
    return number if isfinite(number) else None


def _to_bool(value: Any) -> bool | None:
    return {True: True, False: False, "true": True, "false": False}.get(value)


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


_COERCIONS: dict[Type, Callable[[Any], Any]] = {
    Type.BIGINT: _to_bigint,
    Type.DOUBLE: _to_double,
    Type.BOOL: _to_bool,
    Type.TEXT: _to_text,
    Type.DATE: _date,
    Type.TIMESTAMP: _instant,
    Type.JSON: lambda value: value,
}


def conform(table: Table, item: pa.Table, known: dict[str, Type]) -> pa.Table:
    """`item` with its discovered columns in the types they have in the warehouse (`known`, which learns new ones)."""
    for name in item.column_names:
        found = _TYPES_OF_ARROW[item.schema.field(name).type]
        if table.column(name) or name == TOMBSTONE.name or known.setdefault(name, found) is found:
            continue
        values = item.column(name).to_pylist()
        place = item.column_names.index(name)
        item = item.remove_column(place)
        for variant, array in _convert(name, values, known[name]).items():
            if variant in item.column_names:
                both = pc.coalesce(item.column(variant), array)
                item = item.set_column(item.column_names.index(variant), variant, both)
            else:
                item = item.append_column(variant, array)
            known.setdefault(variant, _TYPES_OF_ARROW[array.type])
    return item
