"""What the parts of one run share."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sources.braze.client import Client
from sources.braze.cursors import Cursors
from sources.braze.ending_at import EndingDay
from sources.braze.endpoints import Endpoint
from sources.braze.outbox import Outbox
from sources.braze.packing import Known
from sources.braze.parcels import Parcel
from sources.braze.planning import Calendar
from sources.braze.record import Record
from sources.braze.settings import Settings


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
    ending_day: EndingDay = field(init=False)
    planned: Counter[str] = field(default_factory=Counter)
    planned_days: Counter[str] = field(default_factory=Counter)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.known)
        self.ending_day = EndingDay(self.get, self.settings.zone, self.calendar.today)

    async def get(self, endpoint: Endpoint, parameters: Mapping[str, Any], **options: Any) -> Any:
        """`Client.get`, counted."""
        self.planned[endpoint.path] += 1
        return await self.client.get(endpoint, parameters, **options)

    async def get_page(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        """`Client.get_page`, counted."""
        self.planned[endpoint.path] += 1
        return await self.client.get_page(endpoint, parameters)

    def post(self, resource: str, parcel: Parcel) -> None:
        """Leave a parcel for the warehouse."""
        if not self.dry:
            self.outbox.post(resource, parcel)
