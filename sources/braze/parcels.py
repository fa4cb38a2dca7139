"""What the extraction hands to the dlt resources."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from sources.braze.cursors import Cursors
from sources.braze.known import Known
from sources.braze.model import Table
from sources.braze.packing import pack
from sources.braze.rows import Rows, Sheet
from sources.braze.windows import Span

PACKED_ROWS = 5_000
"""So many plain rows are worth being packed: Arrow needs a tenth of the memory that Python's objects need."""


@dataclass
class Parcel:
    """What one entity, request or group of profiles brought for a resource, and what it says about cursors.

    Profiles come as Arrow `tables`; `shapes` holds the tables that are not as declared. Everything else comes as
    `plain` rows with their `parents` (see `packing.pack`): many answers are packed together, because making Arrow
    arrays of a few rows costs as much as of thousands. `export` is the audience and the job of the export that they
    are of. `on_commit` is to be called when the rows are in the warehouse; with `more` the next parcel must come in the
    same package.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    plain: Rows = field(default_factory=dict)
    parents: Sheet = field(default_factory=Sheet)
    shapes: dict[str, Table] = field(default_factory=dict)
    started: list[tuple[str, date, date]] = field(default_factory=list)
    reached: list[tuple[str, Span]] = field(default_factory=list)
    came: list[tuple[str, Span]] = field(default_factory=list)
    quiet: list[tuple[str, bool]] = field(default_factory=list)
    extended: list[tuple[str, date]] = field(default_factory=list)
    export: tuple[str, str] | None = None
    on_commit: Callable[[], None] | None = None
    more: bool = False

    def absorb(self, later: "Parcel") -> bool:
        """Take `later` in if both are plain; say whether that was so."""
        if not (self._is_plain and later._is_plain):
            return False
        self.gather(later)
        self.started += later.started
        self.reached += later.reached
        self.came += later.came
        self.quiet += later.quiet
        self.extended += later.extended
        return True

    def gather(self, later: "Parcel") -> None:
        """Take over the plain rows of `later` and their parents."""
        for name, rows in later.plain.items():
            self.plain.setdefault(name, Sheet()).extend(rows)
        self.parents.extend(later.parents)

    def move(self, cursors: Cursors) -> bool:
        """Move the cursors of the resource by what came back, and say whether it says anything of them."""
        for entity, first, since in self.started:
            cursors.start(entity, first, since)
        for entity, span in self.reached:
            cursors.advance(entity, span)
        for entity, days in self.came:
            cursors.came(entity, days)
        for entity, quiet in self.quiet:
            cursors.mark_quiet(entity, quiet)
        for entity, since in self.extended:
            cursors.extend(entity, since)
        return bool(self.reached or self.came or self.quiet or self.extended)

    def pack(self, known: Known) -> None:
        """Turn plain rows into Arrow tables."""
        self.tables |= pack(self.plain, self.parents, known)
        self.plain, self.parents = {}, Sheet()

    @property
    def _is_plain(self) -> bool:
        return not (self.tables or self.on_commit or self.more)

    @property
    def plain_rows(self) -> int:
        """Rows that are not packed."""
        return sum(map(len, self.plain.values()))

    @property
    def rows(self) -> int:
        """Rows in all tables."""
        packed: int = sum(table.num_rows for table in self.tables.values())
        return packed + self.plain_rows
