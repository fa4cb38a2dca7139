"""What one load package takes, and what is to be done once it is in the warehouse."""

import time
from collections import Counter
from collections.abc import Callable

from sources.braze.extraction import Extraction
from sources.braze.parcels import Parcel


class Chunk:
    """What one load package takes: about `rows` rows or `seconds` of work, unless it is unlimited (None)."""

    def __init__(self, rows: int | None = None, seconds: float | None = None) -> None:
        self._limit = rows
        self._ends = time.monotonic() + seconds if seconds else None
        self.rows = 0
        self.tables: Counter[str] = Counter()
        self.open: set[str] = set()
        self.keeps_failures = False
        self.settled = False
        self._on_commit: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether what comes next belongs to the next chunk."""
        if self._limit is not None and self.rows >= self._limit:
            return True
        return self._ends is not None and self.rows > 0 and time.monotonic() >= self._ends

    @property
    def is_all(self) -> bool:
        """Whether this is the only chunk of its run."""
        return self._limit is None and self._ends is None

    def loads(self, parcel: Parcel) -> None:
        """Register `parcel.on_commit`, to be called when it is in the warehouse."""
        if parcel.on_commit:
            self._on_commit.append(parcel.on_commit)

    def committed(self, extraction: Extraction) -> None:
        """To be called when the package is in the warehouse: what was loaded from files can go now."""
        for done in self._on_commit:
            done()
        count = len(self._on_commit)
        self._on_commit.clear()
        extraction.run.outbox.committed(count)
