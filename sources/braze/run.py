"""What the parts of one run share."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sources.braze import flatten
from sources.braze.client import Client
from sources.braze.cursors import Cursors
from sources.braze.endpoints import CANVAS_DATA_SERIES, Endpoint
from sources.braze.errors import InvalidKey, PermissionDenied
from sources.braze.outbox import Outbox
from sources.braze.packing import Known
from sources.braze.parcels import Parcel
from sources.braze.planning import Calendar
from sources.braze.record import Record
from sources.braze.settings import Settings
from sources.braze.windows import Span, midnight


@dataclass
class Run:
    """One run: its settings, clock and client, where rows go, and what happened.

    With `dry` nothing is posted, and series are counted in `planned` (requests by path) and `planned_days` instead of
    asked for. `stopping` says that nothing more is to be asked.
    """

    settings: Settings
    client: Client
    calendar: Calendar
    record: Record
    dry: bool = False
    cursors: dict[str, Cursors] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    outbox: Outbox = field(init=False)
    planned: Counter[str] = field(default_factory=Counter)
    planned_days: Counter[str] = field(default_factory=Counter)
    stopping: bool = False
    _reading: "asyncio.Task[bool] | None" = None
    _reading_planned: bool = False

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.known)

    async def get(self, endpoint: Endpoint, parameters: Mapping[str, Any], **options: Any) -> Any:
        """`Client.get`, counted."""
        self.planned[endpoint.path] += 1
        return await self.client.get(endpoint, parameters, **options)

    async def get_page(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        """`Client.get_page`, counted."""
        self.planned[endpoint.path] += 1
        return await self.client.get_page(endpoint, parameters)

    async def ending_day_counts(self, canvas_id: str) -> bool:
        """Whether Braze counts the day of `ending_at`, asked once a run with a day of a Canvas.

        A summary does not say which days it sums. A key that may not read the series gets the recorded behaviour: no.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_ending_day(canvas_id))
        return await asyncio.shield(self._reading)

    async def _read_ending_day(self, canvas_id: str) -> bool:
        today = self.calendar.today
        parameters = {
            "canvas_id": canvas_id,
            "length": 1,
            "ending_at": midnight(today, self.settings.zone).isoformat(),
        }
        try:
            answer = await self.get(CANVAS_DATA_SERIES, parameters)
        except (PermissionDenied, InvalidKey):
            return False
        read = flatten.canvas_series(answer, {"canvas_id": canvas_id}, Span(today, today))
        return today in read.days

    def plan_reading(self) -> None:
        """Count the request of `ending_day_counts`."""
        if not self._reading_planned:
            self._reading_planned = True
            self.planned[CANVAS_DATA_SERIES.path] += 1

    def post(self, resource: str, parcel: Parcel) -> None:
        """Leave a parcel for the warehouse."""
        if not self.dry:
            self.outbox.post(resource, parcel)
