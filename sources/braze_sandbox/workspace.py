"""The stand-in workspace: its content, its clock, and the changes made to it while it runs.

Readers and writers may be on different threads: collections are replaced, never changed in place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sources.braze_sandbox import profiles
from sources.braze_sandbox.entities import (
    MAKERS,
    Campaign,
    Canvas,
    Card,
    Event,
    Maker,
    Segment,
    Send,
)
from sources.braze_sandbox.numbers import Activity
from sources.braze_sandbox.options import CONTENT, NAMES, WorkspaceOptions
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES
from sources.braze_sandbox.totals import Scope, Totals, totals

Deltas = Mapping[str, Mapping[int, Mapping[str, int]]]

_COLLECTIONS = {"campaign": "campaigns", "canvas": "canvases", "segment": "segments", "card": "cards"}
_MOMENTS = frozenset({"created_at", "last_edited"})


class Workspace:
    """Everything a workspace holds, deterministic from its options.

    `campaigns`, `canvases`, `segments` and `cards` are dictionaries by id in order of creation, `events` by name;
    `products` and `apps` (ids) are tuples; `sends` lists the sends of the API campaigns, which no endpoint does.
    """

    def __init__(self, options: WorkspaceOptions | None = None) -> None:
        self.options = options or WorkspaceOptions()
        self.zone = ZoneInfo(self.options.time_zone)
        today = self.options.today or datetime.now(self.zone).date()
        self.opened = self.options.opened or today - timedelta(days=self.options.days)
        self.maker = self._maker()
        self.deltas: Deltas = {}
        self.profile_edits: Mapping[int, Mapping[str, Any]] = {}
        self._fill()

    def _maker(self) -> Maker:
        shapes = self.options.campaign_shapes or tuple(CAMPAIGN_SHAPES)
        return Maker(self.options.seed, self.opened, self.options.days, self.zone, shapes)

    def _fill(self) -> None:
        options, maker = self.options, self.maker
        self.campaigns: dict[str, Campaign] = {
            campaign.id: campaign for campaign in map(maker.campaign, range(options.campaigns))
        }
        self.canvases: dict[str, Canvas] = {canvas.id: canvas for canvas in map(maker.canvas, range(options.canvases))}
        self.segments: dict[str, Segment] = {
            segment.id: segment for segment in map(maker.segment, range(options.segments))
        }
        self.cards: dict[str, Card] = {card.id: card for card in map(maker.card, range(options.cards))}
        self.events: dict[str, Event] = {event.name: event for event in map(maker.event, range(options.events))}
        self.products: tuple[str, ...] = tuple(map(maker.product, range(options.products)))
        self.apps: tuple[str, ...] = tuple(maker.id(f"app/{number}") for number in range(options.apps))
        anchor = self.opened.toordinal() + options.days
        self.sends: dict[tuple[str, str], Send] = {
            (send.campaign_id, send.send_id): send
            for campaign in self.campaigns.values()
            if CAMPAIGN_SHAPES[campaign.shape].is_api
            for send in maker.sends(campaign, anchor)
        }
        self._made = {
            "campaign": options.campaigns,
            "canvas": options.canvases,
            "segment": options.segments,
            "card": options.cards,
        }

    # the clock

    def now(self) -> datetime:
        """The present moment of the workspace, in its zone."""
        if self.options.today is None:
            return datetime.now(self.zone)
        return datetime.combine(self.options.today, self.options.time_of_day, self.zone)

    def today(self) -> int:
        """The current workspace day (ordinal)."""
        return self.now().date().toordinal()

    def as_of(self) -> int:
        """The last day that analytics have reached: today, or earlier when they stand still."""
        frozen = self.options.frozen_on
        return min(self.today(), frozen.toordinal()) if frozen else self.today()

    # changes

    def set_options(self, **changes: Any) -> None:
        """Change options while running.

        Raises ValueError for an option that is unknown or has shaped the content already.
        """
        for name in changes:
            if name not in NAMES or name in CONTENT:
                raise ValueError(f"{name} is not an option that can change while the sandbox runs")
        self.options = replace(self.options, **changes)

    def add(self, kind: str, **attributes: Any) -> str:
        """Add the next entity of a kind ("campaign", "canvas", "segment", "card"), live from today on; returns its id.

        `attributes` replace those of the record (see `entities`), `live_from` (a date) the first day.
        """
        number = self._made[kind]
        self._made[kind] = number + 1
        since: date = attributes.pop("live_from", self.now().date())
        entity = MAKERS[kind](replace(self.maker, opened=since, days=0), number)
        if isinstance(entity, Campaign | Canvas) and entity.activity.spans:
            attributes.setdefault("activity", Activity(entity.id, ((since.toordinal(), None),)))
        listed = {} if isinstance(entity, Segment) else {"archived": False}
        self._put(kind, replace(entity, **listed | _parsed(attributes)))
        return entity.id

    def remove(self, kind: str, entity_id: str) -> None:
        """Delete an entity: it vanishes from lists, and its id is answered with 400."""
        collection = self._collection(kind)
        del collection[entity_id]
        setattr(self, _COLLECTIONS[kind], collection)

    def update(self, kind: str, entity_id: str, **attributes: Any) -> None:
        """Change attributes of an entity's record (`name`, `archived`, `tags`, `tracked`…); it counts as edited now."""
        entity = self._collection(kind)[entity_id]
        attributes.setdefault("last_edited", self.now().astimezone(UTC))
        self._put(kind, replace(entity, **_parsed(attributes)))

    def stop(self, kind: str, entity_id: str, on: date) -> None:
        """Let a campaign or Canvas send for the last time on a day."""
        activity = self._collection(kind)[entity_id].activity
        spans = (*activity.spans[:-1], (activity.spans[-1][0], on.toordinal()))
        self._put(kind, replace(self._collection(kind)[entity_id], activity=replace(activity, spans=spans)))

    def wake(self, kind: str, entity_id: str, on: date) -> None:
        """Let a dormant campaign or Canvas send again from a day on, without any edit."""
        activity = self._collection(kind)[entity_id].activity
        spans = (*activity.spans, (on.toordinal(), None))
        self._put(kind, replace(self._collection(kind)[entity_id], activity=replace(activity, spans=spans)))

    def delete_step(self, canvas_id: str, step: int) -> None:
        """Delete a Canvas step by its position: it leaves the details and needs `include_deleted_step_data`."""
        self.update("canvas", canvas_id, deleted=self.canvases[canvas_id].deleted | {step})

    def restate(self, target: str, day: date, **deltas: int) -> None:
        """Change figures of one day by deltas, for good.

        `target` is the id of a campaign, Canvas, segment or card, the name of an event, or "kpi", "sessions" or
        "purchases" (the workspace's totals). Keys are counters of the row; deeper ones by a dotted path, as
        `messages.email.0.opens` or, on a Canvas, `total_stats.entries`, `variant_stats.0.entries`,
        `step_stats.1.messages.ios_push.0.sent` (variants and steps by position). Revenue is in cents.
        """
        days = dict(self.deltas.get(target, {}))
        before = dict(days.get(day.toordinal(), {}))
        for path, delta in deltas.items():
            before[path] = before.get(path, 0) + delta
        days[day.toordinal()] = before
        self.deltas = {**self.deltas, target: days}

    def edit_profile(self, number: int, **fields: Any) -> None:
        """Give profile `number` other values for some fields; None leaves a field out."""
        edits = {**self.profile_edits.get(number, {}), **fields}
        self.profile_edits = {**self.profile_edits, number: edits}

    def _collection(self, kind: str) -> dict[str, Any]:
        return dict(getattr(self, _COLLECTIONS[kind]))

    def _put(self, kind: str, entity: Any) -> None:
        setattr(self, _COLLECTIONS[kind], self._collection(kind) | {entity.id: entity})

    # what is right

    def totals(self, start: date, end: date, scope: Scope | None = None) -> Totals:
        """The sums of every counter per daily and hourly table over a closed range of days, as of now; see `totals`."""
        return totals(self, start.toordinal(), end.toordinal(), scope or Scope())

    def profiles(self, segment_id: str | None = None, fields: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The members of a segment (None: the global control group), each once, with these fields (None: all)."""
        return profiles.members(self, segment_id, fields)


def _parsed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as the records want them, also when they came as JSON."""
    parsed: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in _MOMENTS and isinstance(value, str):
            parsed[name] = datetime.fromisoformat(value)
        else:
            parsed[name] = tuple(value) if isinstance(value, list) else value
    return parsed
