"""What the extraction hands to the dlt resources."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from sources.braze.flatten import Row, Rows
from sources.braze.model import Table
from sources.braze.windows import Span


@dataclass
class Parcel:
    """What one entity, request or group of profiles brought for a resource, and what it says about cursors.

    Series and profiles come as Arrow `tables`, made where they were parsed; `shapes` holds the tables that are not
    as declared. Catalog entries, of which each is a handful, come as `plain` rows, with their `parents` (see
    `packing.pack`). `on_commit` is to be called when the rows are in the warehouse; with `more` the next parcel
    must come in the same package.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    plain: Rows = field(default_factory=dict)
    parents: list[Row] = field(default_factory=list)
    shapes: dict[str, Table] = field(default_factory=dict)
    started: list[tuple[str, date]] = field(default_factory=list)
    reached: list[tuple[str, Span]] = field(default_factory=list)
    quiet: list[tuple[str, bool]] = field(default_factory=list)
    on_commit: Callable[[], None] | None = None
    more: bool = False

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        packed: int = sum(table.num_rows for table in self.tables.values())
        return packed + sum(map(len, self.plain.values()))
