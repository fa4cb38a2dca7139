"""A dataset looked at from the inside: the rows of some keys, what days there are, doubled rows, orphans.

Everything is asked in plain SELECTs that every SQL destination understands, and given back in bounded pieces. The
functions know tables and columns by the names they are called with, and nothing of what these mean. They work on an
open client of `reading.connected`: opening DuckDB takes longer than most of what is asked here. Raises
DestinationUnavailable if the warehouse refuses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlt.destinations.sql_client import SqlClientBase

from destinations.refusals import asking

PIECE_ROWS = 5_000
"""Rows fetched at a time."""

Key = Mapping[str, Any]
Client = SqlClientBase[Any]

_ROWS = "SELECT * FROM {table} WHERE ({condition})"
_DURING = " AND {moment} >= %s AND {moment} < %s"
_EXTENTS = "SELECT {key}, MIN({moment}), MAX({moment}), COUNT(DISTINCT {moment}) FROM {table} GROUP BY {key}"
_MOMENTS = "SELECT DISTINCT {moment} FROM {table} WHERE {condition}"
_NEWEST = "SELECT MAX({column}) FROM {table}"
_DOUBLED = "SELECT {key}, COUNT(*) FROM {table} GROUP BY {key} HAVING COUNT(*) > 1"
_ORPHANS = """
    SELECT DISTINCT {columns} FROM {child} c
    WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same})
"""
_EXEMPT = " AND {column} <> %s"


@dataclass(frozen=True)
class Extent:
    """What there is of one key: its first and last moment, and how many distinct ones."""

    key: dict[str, Any]
    first: Any
    last: Any
    count: int


def rows(
    client: Client,
    table: str,
    keys: Sequence[Key],
    moment: str | None = None,
    between: tuple[Any, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of `table` that have one of `keys`, all of the same columns, as dicts without NULLs.

    With `moment` and `between`, those whose column `moment` is at or after the first value and before the second.
    """
    condition, values = _one_of(client, keys)
    sql = _ROWS.format(table=client.make_qualified_table_name(table), condition=condition)
    if moment and between:
        sql += _DURING.format(moment=client.escape_column_name(moment))
        values += between
    with asking(client), client.execute_query(sql, *values) as cursor:
        names = list(cursor.columns_schema)
        for row in _pieces(cursor):
            yield {name: value for name, value in zip(names, row, strict=True) if value is not None}


def extents(client: Client, table: str, key: Sequence[str], moment: str) -> Iterator[Extent]:
    """For every value of the columns `key`, which values of the column `moment` the table has."""
    sql = _EXTENTS.format(
        table=client.make_qualified_table_name(table),
        key=", ".join(map(client.escape_column_name, key)),
        moment=client.escape_column_name(moment),
    )
    with asking(client), client.execute_query(sql) as cursor:
        for row in _pieces(cursor):
            yield Extent(dict(zip(key, row, strict=False)), *row[len(key) :])


def moments(client: Client, table: str, key: Key, moment: str) -> list[Any]:
    """The values of the column `moment` that the rows of one key have."""
    condition, values = _one_of(client, [key])
    sql = _MOMENTS.format(
        table=client.make_qualified_table_name(table),
        moment=client.escape_column_name(moment),
        condition=condition,
    )
    with asking(client), client.execute_query(sql, *values) as cursor:
        return [row[0] for row in cursor.fetchall()]


def newest(client: Client, table: str, column: str) -> Any:
    """The largest value of a column, None if the table is empty."""
    sql = _NEWEST.format(table=client.make_qualified_table_name(table), column=client.escape_column_name(column))
    with asking(client), client.execute_query(sql) as cursor:
        return cursor.fetchall()[0][0]


def doubled(client: Client, table: str, key: Sequence[str], most: int) -> list[tuple[dict[str, Any], int]]:
    """Up to `most` values of the columns `key` that more than one row has, and how many rows."""
    columns = ", ".join(map(client.escape_column_name, key))
    sql = _DOUBLED.format(table=client.make_qualified_table_name(table), key=columns)
    with asking(client), client.execute_query(sql) as cursor:
        return [(dict(zip(key, row, strict=False)), row[-1]) for row in cursor.fetchmany(most)]


def orphans(
    client: Client,
    child: tuple[str, Sequence[str]],
    parent: tuple[str, Sequence[str]],
    most: int,
    exempt: str | None = None,
) -> list[dict[str, Any]]:
    """Up to `most` values of the child's columns that no row of the parent's columns has.

    `child` and `parent` are a table and its columns, in the same order. Children whose only column says `exempt`
    refer to nothing.
    """
    columns = [f"c.{client.escape_column_name(name)}" for name in child[1]]
    owners = [f"p.{client.escape_column_name(name)}" for name in parent[1]]
    sql = _ORPHANS.format(
        columns=", ".join(columns),
        child=client.make_qualified_table_name(child[0]),
        parent=client.make_qualified_table_name(parent[0]),
        same=" AND ".join(f"{owner} = {column}" for owner, column in zip(owners, columns, strict=True)),
    )
    if exempt is not None:
        sql += _EXEMPT.format(column=columns[0])
    with asking(client), client.execute_query(sql, *([] if exempt is None else [exempt])) as cursor:
        return [dict(zip(child[1], row, strict=True)) for row in cursor.fetchmany(most)]


def _pieces(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while piece := cursor.fetchmany(PIECE_ROWS):
        yield from piece


def _one_of(client: Client, keys: Sequence[Key]) -> tuple[str, list[Any]]:
    """The condition that a row has one of `keys`, and its values."""
    names = [client.escape_column_name(name) for name in keys[0]]
    values = [value for key in keys for value in key.values()]
    if len(names) == 1:
        return f"{names[0]} IN ({', '.join(['%s'] * len(keys))})", values
    one = "(" + " AND ".join(f"{name} = %s" for name in names) + ")"
    return " OR ".join([one] * len(keys)), values
