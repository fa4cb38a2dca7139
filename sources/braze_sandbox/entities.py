"""What a workspace holds: records of campaigns, Canvases, segments, cards, events and sends; and how to make them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from sources.braze_sandbox.numbers import Activity, draw
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES, CANVAS_SHAPES

_NAMESPACE = UUID("b4a2e5a1-0000-5000-8000-5a4db0000000")

Tags = tuple[str | None, ...]

_TAGS: tuple[Tags, ...] = (
    ("lifecycle", "düsseldorf"),
    (),
    ("transactional", None),
    ("survey",),
    ("promo", "lifecycle", "Q3 / retail"),
)
_TEAMS: tuple[tuple[str, ...], ...] = (("Growth", "EMEA"), (), ("Lifecycle",))
_CAMPAIGN_NAMES = (
    "Willkommen 👋 – Multichannel",
    "Abandoned basket",
    "IAM A/B – 夏のセール",
    "Price drop & restock",
    "Push test – São Paulo",
    "Receipt (API)",
    'Newsletter "Weekly"',
    "Untitled draft",
    "Delivery SMS",
    "Home cards",
    "CRM webhook",
    "WhatsApp – Olá!",
    "Banner + web",
)
_CANVAS_NAMES = ("Onboarding 🚀", "Winback – São Paulo", "Loyalty test", "Untitled journey")
_SEGMENT_NAMES = (
    "All Users (Demo – iOS)",
    "VIP – 東京",
    "Lapsed Users - 7 days",
    "Newsletter",
    "Käufer, 30 Tage",
)
_CARD_NAMES = ("Neu: Sommer ☀️", "Hello", "", "Cross promo")
CARD_TYPES = ("CaptionedImage", "NewsItem", "Banner", "DevPick")
_EVENT_NAMES = (
    "Abandoned Cart",
    "Loyalty Acknowledgement",
    "Überweisung getätigt",
    "購入完了",
    "A+B test & more/less",
    "legacy_ping",
)
_PRODUCT_NAMES = ("Feline Body Armor", "item_40834", "Größe-42 Schuhe", "商品A", "50% off + more")
_SHARES = (100, 60, 35, 20, 10, 5)
_NEW = 6


@dataclass(frozen=True)
class Campaign:
    """A campaign; `variation_ids` in the order of its shape's elements, all days as ordinals."""

    id: str
    name: str
    shape: str
    created_at: datetime
    last_edited: datetime
    activity: Activity
    variation_ids: tuple[str, ...]
    tags: Tags = ()
    teams: tuple[str, ...] = ()
    description: str | None = ""
    archived: bool = False
    enabled: bool = True


@dataclass(frozen=True)
class Canvas:
    """A Canvas; `variant_ids` and `step_ids` in the order of its shape, `deleted` the positions of deleted steps."""

    id: str
    name: str
    shape: str
    conversions: int
    created_at: datetime
    last_edited: datetime
    activity: Activity
    variant_ids: tuple[str, ...]
    step_ids: tuple[str, ...]
    deleted: frozenset[int]
    tags: Tags = ()
    teams: tuple[str, ...] = ()
    description: str | None = ""
    archived: bool = False
    enabled: bool = True


@dataclass(frozen=True)
class Segment:
    """A segment with its share of the users in percent."""

    id: str
    name: str
    created_at: datetime
    last_edited: datetime
    tracked: bool
    share: int
    tags: Tags = ()
    teams: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """A News Feed card."""

    id: str
    name: str
    type: str
    created_at: datetime
    last_edited: datetime
    tags: Tags = ()
    archived: bool = False
    draft: bool = False


@dataclass(frozen=True)
class Event:
    """A custom event."""

    name: str
    description: str | None
    included: bool
    status: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Send:
    """A send of an API campaign, on the day `day` (ordinal)."""

    campaign_id: str
    send_id: str
    day: int


@dataclass(frozen=True)
class Maker:
    """Makes the n-th entity of each kind, the same for the same seed, history and zone."""

    seed: int
    opened: date
    days: int
    zone: ZoneInfo
    shapes: tuple[str, ...] = tuple(CAMPAIGN_SHAPES)

    def id(self, path: str) -> str:
        """The id of something named by a path, stable across runs."""
        return str(uuid5(_NAMESPACE, f"{self.seed}/{path}"))

    def campaign(self, number: int) -> Campaign:
        """The n-th campaign."""
        shape = self.shapes[number % len(self.shapes)]
        key = self.id(f"campaign/{number}")
        start = self._start(number)
        name = _CAMPAIGN_NAMES[list(CAMPAIGN_SHAPES).index(shape)]
        activity = self._activity(key, number, start, CAMPAIGN_SHAPES[shape].draft)
        return Campaign(
            id=key,
            name=_nth(name, number // len(self.shapes)),
            shape=shape,
            created_at=self.moment(start - 2, number),
            last_edited=self.moment(start + 3, number),
            activity=activity,
            variation_ids=tuple(self.id(f"campaign/{number}/{n}") for n in range(len(CAMPAIGN_SHAPES[shape].elements))),
            tags=_TAGS[number % len(_TAGS)],
            teams=_TEAMS[number % len(_TEAMS)],
            description=(None, "", "Welcome series for new sign-ups (Zürich/São Paulo)")[number % 3],
            archived=number % 8 == 3,
            enabled=number % 8 != 3 and not CAMPAIGN_SHAPES[shape].draft,
        )

    def canvas(self, number: int) -> Canvas:
        """The n-th Canvas."""
        kind = list(CANVAS_SHAPES)[number % len(CANVAS_SHAPES)]
        shape = CANVAS_SHAPES[kind]
        key, start = self.id(f"canvas/{number}"), self._start(number)
        return Canvas(
            id=key,
            name=_nth(_CANVAS_NAMES[number % len(_CANVAS_NAMES)], number // len(_CANVAS_NAMES)),
            shape=kind,
            conversions=1 + number % 6,
            created_at=self.moment(start - 1, number),
            last_edited=self.moment(start + 5, number),
            activity=self._activity(key, number, start, shape.draft),
            variant_ids=tuple(self.id(f"canvas/{number}/variant/{n}") for n in range(len(shape.variants))),
            step_ids=tuple(self.id(f"canvas/{number}/step/{n}") for n in range(len(shape.steps))),
            deleted=frozenset(n for n, step in enumerate(shape.steps) if step.deleted),
            tags=_TAGS[number % len(_TAGS)],
            teams=_TEAMS[number % len(_TEAMS)],
            description=("New-user journey", None)[number % 2],
            archived=number % 6 == 5,
            enabled=number % 6 != 5 and not shape.draft,
        )

    def segment(self, number: int) -> Segment:
        """The n-th segment; every third is not tracked."""
        start = self._start(number)
        return Segment(
            id=self.id(f"segment/{number}"),
            name=_nth(_SEGMENT_NAMES[number % len(_SEGMENT_NAMES)], number // len(_SEGMENT_NAMES)),
            created_at=self.moment(start, number),
            last_edited=self.moment(start + 1, number),
            tracked=number % 3 != 1,
            share=_SHARES[number % len(_SHARES)],
            tags=_TAGS[number % len(_TAGS)],
            teams=_TEAMS[number % len(_TEAMS)],
        )

    def card(self, number: int) -> Card:
        """The n-th card."""
        start = self._start(number)
        return Card(
            id=self.id(f"card/{number}"),
            name=_nth(_CARD_NAMES[number % len(_CARD_NAMES)], number // len(_CARD_NAMES)),
            type=CARD_TYPES[number % len(CARD_TYPES)],
            created_at=self.moment(start, number),
            last_edited=self.moment(start + 1, number),
            tags=_TAGS[number % len(_TAGS)],
            archived=number % 5 == 4,
            draft=number % 7 == 6,
        )

    def event(self, number: int) -> Event:
        """The n-th custom event."""
        name = _EVENT_NAMES[number % len(_EVENT_NAMES)]
        return Event(
            name=_nth(name, number // len(_EVENT_NAMES)),
            description=("Cart left for 30 min", None, "")[number % 3],
            included=number % 5 != 2,
            status="Blocklisted" if name == "legacy_ping" else "Active",
            tags=("Tag One", "Tag Two") if number % 4 == 0 else (),
        )

    def product(self, number: int) -> str:
        """The name of the n-th product."""
        return _nth(_PRODUCT_NAMES[number % len(_PRODUCT_NAMES)], number // len(_PRODUCT_NAMES))

    def sends(self, campaign: Campaign, last: int) -> list[Send]:
        """The sends of an API campaign: one every nine days up to the day `last`, the newest two days ago."""
        first = campaign.activity.first()
        days = range(last - 2, (last if first is None else first) - 1, -9)
        return [Send(campaign.id, f"send-{day}-{campaign.id[:8]}", day) for day in days]

    def moment(self, day: int, number: int) -> datetime:
        """A moment on a workspace day; the hour varies, so that the UTC date is sometimes another one."""
        wall = datetime.combine(date.fromordinal(day), time(number * 7 % 24, 14, 2), self.zone)
        return wall.astimezone(ZoneInfo("UTC"))

    def _start(self, number: int) -> int:
        """The first day of the n-th entity: in the older half of the history, or, every twelfth, five days ago."""
        if number % 12 == _NEW:
            return self.opened.toordinal() + max(self.days - 5, 0)
        return self.opened.toordinal() + draw(f"{self.seed}/start", number) * self.days // 512

    def _activity(self, key: str, number: int, start: int, draft: bool) -> Activity:
        """Drafts never lived; every fourth entity but the new ones went dormant after a third of its time."""
        if draft:
            return Activity(key, ())
        dormant = number % 4 == 2 and number % 12 != _NEW
        last = start + (self.opened.toordinal() + self.days - start) // 3
        return Activity(key, ((start, last if dormant else None),))


def _nth(name: str, repetition: int) -> str:
    return f"{name} {repetition + 1}" if repetition else name


def iso(moment: datetime) -> str:
    """A moment as the API writes it: seconds, `+00:00`."""
    return moment.replace(microsecond=0).isoformat()


def day_of(moment: datetime, zone: ZoneInfo) -> int:
    """The workspace day (ordinal) of a moment."""
    return moment.astimezone(zone).date().toordinal()


@lru_cache(maxsize=4_096)
def hours_of(day: int, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The starts of a workspace day's hours in UTC: 24, or 23 or 25 when the clocks change."""
    utc = ZoneInfo("UTC")
    start, end = (datetime.combine(date.fromordinal(day + after), time(), zone).astimezone(utc) for after in (0, 1))
    hours = -(-(end - start) // timedelta(hours=1))
    return tuple(start + timedelta(hours=hour) for hour in range(hours))


MAKERS: dict[str, Callable[[Maker, int], Campaign | Canvas | Segment | Card]] = {
    "campaign": Maker.campaign,
    "canvas": Maker.canvas,
    "segment": Maker.segment,
    "card": Maker.card,
}
