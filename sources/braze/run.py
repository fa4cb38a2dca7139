"""What the parts of one run share."""

from dataclasses import dataclass, field

from sources.braze.client import Client
from sources.braze.counted_client import CountedClient
from sources.braze.cursors import Cursors
from sources.braze.known import Known
from sources.braze.outbox import Outbox
from sources.braze.parcels import Parcel
from sources.braze.planning import Calendar
from sources.braze.record import Record
from sources.braze.series_client import SeriesClient
from sources.braze.settings import Settings


@dataclass
class Run:
    """One run: its settings, clock and client, where rows go, and what happened.

    `api` and `series` ask through the client. With `dry` nothing is posted, and series are counted in `api` instead of
    asked for. `stopping` says that nothing more is to be asked.
    """

    settings: Settings
    client: Client
    calendar: Calendar
    record: Record
    dry: bool = False
    cursors: dict[str, Cursors] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    api: CountedClient = field(init=False)
    series: SeriesClient = field(init=False)
    outbox: Outbox = field(init=False)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.api = CountedClient(self.client)
        self.series = SeriesClient(self.api, self.settings.zone)
        self.outbox = Outbox(self.known)

    def post(self, resource: str, parcel: Parcel) -> None:
        """Leave a parcel for the warehouse."""
        if not self.dry:
            self.outbox.post(resource, parcel)
