"""What a workspace holds: the lists and details that everything else is asked by.

A `Catalog` declares one kind of entity; `entities` pages through its list. Lists are paged from 0, archived entities
included; entries may shift between pages while the workspace changes, so each id counts once.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sources.braze import endpoints, flatten
from sources.braze.endpoints import Endpoint
from sources.braze.errors import BadAnswer, BrazeError, InvalidKey, NotAvailable, PermissionDenied
from sources.braze.flatten import Answer, Row, Rows
from sources.braze.model import ALL
from sources.braze.settings import Settings
from sources.braze.windows import local_day

Get = Callable[..., Any]


@dataclass(frozen=True)
class Entity:
    """Something a series is asked for.

    `id` names it in cursors and failures, `parameters` in requests, `key` in rows. `begins` is the day of its first
    own activity (None: not known), `last_active` that of the latest, `edited` when it was last changed.
    """

    id: str
    key: Row
    parameters: Mapping[str, str]
    begins: date | None = None
    last_active: date | None = None
    edited: datetime | None = None


def entity_named(key: Mapping[str, str]) -> Entity:
    """The entity that its key columns name; those that say `*` are left out of requests."""
    named = {name: value for name, value in key.items() if value != ALL}
    return Entity(" ".join(named.values()) or ALL, dict(key), named)


@dataclass(frozen=True)
class Catalog:
    """A kind of entity: how it is listed, detailed, flattened, and when its figures begin.

    `page_size` is the documented one: a shorter page is the last. `begins` and `last_active` name fields of the
    details, the first that is set counts. `skip` says which entities have no figures at all.
    """

    resource: str
    listing: Endpoint
    items: str
    page_size: int
    details: Endpoint
    parameter: str
    flatten: Callable[[Answer, Answer], Rows]
    begins: tuple[str, ...]
    last_active: str | None = None
    list_parameters: Mapping[str, bool] = field(default_factory=dict)
    skip: Callable[[Answer, Answer], bool] = lambda listed, details: False

    def entity(self, listed: Answer, details: Answer, settings: Settings) -> Entity | None:
        """The entity to ask figures for, or None if it can have none."""
        if self.skip(listed, details):
            return None
        begins = next(filter(None, (_day(details.get(name), settings) for name in self.begins)), None)
        last_active = details.get(self.last_active) if self.last_active else None
        edited = details.get("updated_at")
        return Entity(
            id=listed["id"],
            key={self.parameter: listed["id"]},
            parameters={self.parameter: listed["id"]},
            begins=begins,
            last_active=_day(last_active, settings),
            edited=flatten.instant(edited, settings.zone) if edited else None,
        )


BRAZE_BEGAN = 2011
"""What claims to be from an earlier year is a placeholder for no date at all."""


def _day(value: Any, settings: Settings) -> date | None:
    moment = flatten.instant(value, settings.zone) if value else None
    return local_day(moment, settings.zone) if moment and moment.year >= BRAZE_BEGAN else None


ARCHIVED_TOO = {"include_archived": True}
CAMPAIGNS = Catalog(
    resource="campaigns",
    listing=endpoints.CAMPAIGNS_LIST,
    items="campaigns",
    page_size=100,
    details=endpoints.CAMPAIGNS_DETAILS,
    parameter="campaign_id",
    flatten=flatten.campaign,
    begins=("first_sent", "created_at"),
    last_active="last_sent",
    list_parameters=ARCHIVED_TOO,
    skip=lambda listed, details: bool(details.get("draft")) and not details.get("first_sent"),
)
CANVASES = Catalog(
    resource="canvases",
    listing=endpoints.CANVAS_LIST,
    items="canvases",
    page_size=100,
    details=endpoints.CANVAS_DETAILS,
    parameter="canvas_id",
    flatten=flatten.canvas,
    begins=("first_entry", "created_at"),
    last_active="last_entry",
    list_parameters=ARCHIVED_TOO,
    skip=lambda listed, details: bool(details.get("draft")) and not details.get("first_entry"),
)
SEGMENTS = Catalog(
    resource="segments",
    listing=endpoints.SEGMENTS_LIST,
    items="segments",
    page_size=100,
    details=endpoints.SEGMENTS_DETAILS,
    parameter="segment_id",
    flatten=flatten.segment,
    begins=("created_at",),
    skip=lambda listed, details: not listed.get("analytics_tracking_enabled"),
)
CARDS = Catalog(
    resource="cards",
    listing=endpoints.FEED_LIST,
    items="cards",
    page_size=100,
    details=endpoints.FEED_DETAILS,
    parameter="card_id",
    flatten=flatten.card,
    begins=("created_at", "publish_at"),
    list_parameters=ARCHIVED_TOO,
    skip=lambda listed, details: bool(details.get("draft")) and not details.get("publish_at"),
)
CATALOGS = (CAMPAIGNS, CANVASES, SEGMENTS, CARDS)


def entries(answer: Answer, items: str, endpoint: Endpoint) -> list[Any]:
    """What `answer` lists under `items`. Raises `BadAnswer` if it has no list: that is no empty workspace."""
    found = answer.get(items)
    if not isinstance(found, list):
        raise BadAnswer(endpoint, "", 200, f"it holds no list of {items}")
    return found


def named(found: Iterable[Any], name: str) -> list[Answer]:
    """The objects among `found` that have a `name`, as text, the last one of each."""
    objects = [{**entry, name: str(entry[name])} for entry in found if isinstance(entry, Mapping) and entry.get(name)]
    return list({entry[name]: entry for entry in objects}.values())


async def listed(get: Get, catalog: Catalog) -> AsyncIterator[list[Answer]]:
    """The entries of a list endpoint, page by page, each id once."""
    seen: set[str] = set()
    page = 0
    while True:
        answer = await get(catalog.listing, {"page": page, **catalog.list_parameters})
        found = entries(answer, catalog.items, catalog.listing)
        fresh = [entry for entry in named(found, "id") if entry["id"] not in seen]
        seen.update(entry["id"] for entry in fresh)
        if fresh:
            yield fresh
        if len(found) < catalog.page_size or not fresh:
            return
        page += 1


async def names(get: Get, endpoint: Endpoint, items: str, page_size: int | None) -> AsyncIterator[list[str]]:
    """The bare names that `events/list` and `purchases/product_list` give, page by page, each once.

    With `page_size` None (undocumented) only a page without anything new is the last.
    """
    seen: set[str] = set()
    page = 0
    while True:
        answer = await get(endpoint, {"page": page})
        found = entries(answer, items, endpoint)
        fresh = [name for name in flatten.words(found) if name not in seen]
        seen.update(fresh)
        if fresh:
            yield fresh
        if not fresh or (page_size and len(found) < page_size):
            return
        page += 1


@dataclass(frozen=True)
class EventPage:
    """Some custom events; bare names, without anything else known of them, if `denial` is set."""

    entries: list[Answer]
    denial: BrazeError | None = None


async def event_pages(get: Get, get_page: Get) -> AsyncIterator[EventPage]:
    """Pages of `GET /events`, each event once: pages shift while events are added.

    Keys made before that endpoint existed fall back to the names of `events/list`.
    """
    seen: set[str] = set()
    cursors: set[str | None] = {None}
    cursor: str | None = None
    try:
        while True:
            answer, cursor = await get_page(endpoints.EVENTS, {"cursor": cursor})
            found = named(entries(answer, "events", endpoints.EVENTS), "name")
            fresh = [entry for entry in found if entry["name"] not in seen]
            seen.update(entry["name"] for entry in fresh)
            if fresh:
                yield EventPage(fresh)
            if cursor in cursors:
                return
            cursors.add(cursor)
    except (PermissionDenied, NotAvailable, InvalidKey) as error:
        async for bare in names(get, endpoints.EVENTS_LIST, "events", 250):
            yield EventPage([{"name": name} for name in bare if name not in seen], error)
