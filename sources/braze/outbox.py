"""Between the event loop that asks and the thread that loads: parcels by resource, bounded, and what was committed."""

import asyncio
import contextlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable

from sources.braze.known import Known
from sources.braze.parcels import PACKED_ROWS, Parcel

BACKLOG_ROWS = 30_000
"""From so many rows on the loader is at work elsewhere: what it would pack is packed here, at the cost of requests."""
WAITING_ROWS = 150_000
"""Rows that may wait for the warehouse before requests pause."""


class Outbox:
    """Parcels that wait for the warehouse. `post`, `room` and `commit` belong to the loop, the rest to the loader."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._parcels: dict[str, deque[Parcel]] = defaultdict(deque)
        self._rows = 0
        self._uncommitted = 0
        self._committed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Event | None = None

    def open(self) -> None:
        """Begin, in the loop."""
        self._loop, self._room = asyncio.get_running_loop(), asyncio.Event()
        self._room.set()

    def post(self, resource: str, parcel: Parcel) -> None:
        """Leave a parcel for `resource`."""
        with self._lock:
            self._uncommitted += parcel.on_commit is not None
            self._rows += parcel.rows
            waiting = self._parcels[resource]
            if not (waiting and waiting[-1].absorb(parcel)):
                waiting.append(parcel)
            if self._rows >= BACKLOG_ROWS and waiting[-1].plain_rows >= PACKED_ROWS:
                self._rows -= waiting[-1].rows
                waiting[-1].pack(self._known)
                self._rows += waiting[-1].rows  # which may be more: tombstones
            if self._room and self._rows >= WAITING_ROWS:
                self._room.clear()

    async def room(self) -> None:
        """Wait until fewer rows than `WAITING_ROWS` wait."""
        assert self._room
        await self._room.wait()

    async def commit(self) -> None:
        """Wait until every parcel posted so far with `on_commit` is in the warehouse."""
        if self._uncommitted:
            self._committed = asyncio.Event()
            await self._committed.wait()
            self._committed = None

    def take(self, resource: str) -> Parcel | None:
        """The next parcel of `resource`, or None if none is waiting."""
        with self._lock:
            if not self._parcels[resource]:
                return None
            parcel = self._parcels[resource].popleft()
            self._rows -= parcel.rows
        if self._rows < WAITING_ROWS:
            self.tell(self._reopen)
        return parcel

    def _reopen(self) -> None:
        if self._room and self._rows < WAITING_ROWS:  # others may have been posted since
            self._room.set()

    @property
    def empty(self) -> bool:
        """Whether no parcel waits."""
        return not any(self._parcels.values())

    def waits_for_commit(self, resource: str) -> bool:
        """Whether nothing more comes for `resource` before what was taken is in the warehouse."""
        return self._committed is not None and not self._parcels[resource]

    def committed(self, parcels: int) -> None:
        """Say that the rows of so many parcels with `on_commit` are in the warehouse."""
        with self._lock:
            self._uncommitted -= parcels
        if not self._uncommitted and self._committed:
            self.tell(self._committed.set)

    def let_go(self) -> None:
        """Let those who wait for room go on."""
        if self._room:
            self.tell(self._room.set)

    def tell(self, what: Callable[[], object]) -> None:
        """Call `what` in the loop; it may have ended just now."""
        if self._loop:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(what)
