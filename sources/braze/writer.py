"""Parcels of one resource → Arrow items of its tables, and its cursors with them."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract.items import DataItemWithMeta

from sources.braze.arrow import conform, union
from sources.braze.chunks import Chunk
from sources.braze.cursors import Cursors
from sources.braze.disposition import ADDED, merges
from sources.braze.extraction import Extraction
from sources.braze.hints import stamped, with_table
from sources.braze.model import TOMBSTONE, Table
from sources.braze.parcels import PACKED_ROWS, Parcel
from sources.braze.resource_state import keep, keep_cursors, keep_exports
from sources.braze.tables import TABLES

BATCH_ROWS = 50_000
"""Rows per Arrow item: dlt charges about a millisecond for each."""


class Writer:
    """Gathers the parcels of one resource into items worth their cost, and moves its cursors with them.

    `unfinished` says whether the last parcel wants its next one in the same chunk.
    """

    def __init__(self, extraction: Extraction, chunk: Chunk, resource: str) -> None:
        self._extraction = extraction
        self._chunk = chunk
        self._resource = resource
        self._cursors = extraction.run.cursors.setdefault(resource, Cursors())
        self._moved = False
        self._groups: Counter[tuple[str, str]] = Counter()
        self.unfinished = False
        self._waiting: dict[str, list[pa.Table]] = defaultdict(list)
        self._shapes: dict[str, Table] = {}
        self._waiting_rows = 0
        self._plain = Parcel()
        self._hinted: dict[str, Table] = {}

    def add(self, parcel: Parcel) -> Iterator[DataItemWithMeta]:
        """Take a parcel, and yield items if there is enough for them."""
        self._moved |= parcel.move(self._cursors)
        self.unfinished = parcel.more
        if parcel.export:
            self._groups[parcel.export] += 1
        self._shapes |= parcel.shapes
        self._chunk.loads(parcel)
        for name, table in parcel.tables.items():
            self._waiting[name].append(table)
        self._plain.gather(parcel)
        if self._plain.rows >= PACKED_ROWS:
            self._pack()
        self._waiting_rows += parcel.rows
        self._chunk.rows += parcel.rows
        if self._waiting_rows >= BATCH_ROWS:
            yield from self._write()

    def flush(self) -> Iterator[DataItemWithMeta]:
        """Yield what waits, and note how far the resource is loaded; to be called at the end of a chunk."""
        yield from self._write()
        state = dlt.current.resource_state()
        if self._moved:
            keep_cursors(self._extraction, self._cursors, state)
        if self._groups:
            keep_exports(self._extraction, self._groups, state)
            self._groups.clear()
        keep(self._extraction, self._resource, state)

    def _write(self) -> Iterator[DataItemWithMeta]:
        known = self._extraction.run.known
        self._pack()
        for name, tables in self._waiting.items():
            table = self._shapes.get(name, TABLES[name])
            # Tables with a shape of their own come from DuckDB, cleaned and in one piece.
            united = tables[0] if name in self._shapes and len(tables) == 1 else union(tables)
            item = conform(table, united, known.types[name])
            self._chunk.tables[name] += item.num_rows - _tombstones_in(item)
            yield self._marked(table, self._beside_siblings(table, item))
        self._waiting.clear()
        self._waiting_rows = 0

    def _pack(self) -> None:
        self._plain.pack(self._extraction.run.known)
        for name, packed in self._plain.tables.items():
            self._waiting[name].append(packed)
        self._plain = Parcel()

    def _beside_siblings(self, table: Table, item: pa.Table) -> pa.Table:
        """Rows that replace nothing but themselves say so where only the rows themselves can."""
        if table.parent or not TABLES[table.name].parent or merges():
            return item
        return item.append_column(TOMBSTONE.name, pa.repeat(pa.scalar(ADDED), item.num_rows))

    def _marked(self, table: Table, item: pa.Table) -> DataItemWithMeta:
        if self._hinted.get(table.name) == table:
            return dlt.mark.with_table_name(stamped(item), table.name)
        self._hinted[table.name] = table
        return with_table(table, item)


def _tombstones_in(item: pa.Table) -> int:
    if TOMBSTONE.name not in item.column_names:
        return 0
    return pc.sum(item.column(TOMBSTONE.name)).as_py() or 0
