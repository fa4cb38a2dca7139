"""Rows of several tables → Arrow tables, with the tombstones that make a merge remove what is gone."""

import pyarrow as pa

from sources.braze.arrow import to_arrow, tombstones
from sources.braze.known import Known
from sources.braze.model import Table
from sources.braze.rows import Row, Rows, Sheet
from sources.braze.tables import TABLES


def pack(rows: Rows, parents: Sheet, known: Known) -> dict[str, pa.Table]:
    """Arrow tables of `rows`, with a tombstone for each of `parents` that has no row in a table it is parent of.

    A table that the warehouse has no rows of needs no tombstones.
    """
    packed = {name: to_arrow(TABLES[name], some, known.types[name]) for name, some in rows.items() if some}
    for name, some in rows.items():
        table = TABLES[name]
        childless = _childless(table, some, parents) if table.parent and name in known.filled else []
        if childless:
            dead = tombstones(table, childless)
            packed[name] = pa.concat_tables([packed[name], dead], promote_options="default") if some else dead
    return packed


def _childless(table: Table, rows: Sheet, parents: Sheet) -> list[Row]:
    assert table.parent
    having = set(rows.select(table.parent))
    return [dict(zip(table.parent, key, strict=True)) for key in parents.select(table.parent) if key not in having]
