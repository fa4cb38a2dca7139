"""What a workspace holds: the kinds of entities that have a list and details, and the entities series are asked for."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sources.braze import endpoints, flatten
from sources.braze.endpoints import Endpoint, Json
from sources.braze.model import ALL
from sources.braze.rows import Row, Rows
from sources.braze.windows import local_day

BRAZE_BEGAN = 2011
"""What claims to be from an earlier year is a placeholder for no date at all."""
_WITH_TOTALS = frozenset({"app_id", "segment_id", "product"})
"""Key columns in which `*` is the total of all; elsewhere it is a name like any other."""
_PLAIN = re.compile(r'[^\s"]+')


@dataclass(frozen=True)
class Entity:
    """Something a series is asked for.

    `id` names it in cursors and failures, as words, in quotes those with a blank; `parameters` name it in requests,
    `key` in rows. `begins` is the day of its first own activity (None: not known), `last_active` that of the latest,
    `edited` when it was last changed. `never_active` says that Braze knows of no activity: then `begins` is when it was
    made. The details of a `silent` one do not speak of activity; `withheld` are those whose details the key may not
    read any more. `asked_from` is the day to ask from, where that is another one.
    """

    id: str
    key: Row
    parameters: Mapping[str, str]
    begins: date | None = None
    last_active: date | None = None
    edited: datetime | None = None
    never_active: bool = False
    silent: bool = False
    withheld: bool = False
    asked_from: date | None = None


def entity_named(key: Mapping[str, str]) -> Entity:
    """The entity that its key columns name; those that say `*` for everything are left out of requests."""
    named = {name: value for name, value in key.items() if value != ALL or name not in _WITH_TOTALS}
    return Entity(" ".join(map(_word, named.values())) or ALL, dict(key), named)


def _word(name: str) -> str:
    """`name` as a word of an entity's id, in quotes where it would read as several, as none, or as the total."""
    plain = _PLAIN.fullmatch(name) and name != ALL
    return name if plain else json.dumps(name, ensure_ascii=False)


@dataclass(frozen=True)
class Catalog:
    """A kind of entity: how it is listed, detailed, flattened, and when its figures begin.

    `page_size` is the documented one: a shorter page is the last. `first_active`, `last_active` and `made` name fields
    of the details; of `made` the first that is set counts. `skip` says which entities have no figures at all.
    """

    resource: str
    listing: Endpoint
    items: str
    page_size: int
    details: Endpoint
    parameter: str
    flatten: Callable[[Json, Json], Rows]
    made: tuple[str, ...]
    first_active: str | None = None
    last_active: str | None = None
    list_parameters: Mapping[str, bool] = field(default_factory=dict)
    skip: Callable[[Json, Json], bool] = lambda listed, details: False

    def entity(self, listed: Json, details: Json, zone: ZoneInfo) -> Entity | None:
        """The entity to ask figures for, or None if it can have none."""
        if self.skip(listed, details):
            return None

        def day(name: str | None) -> date | None:
            return _day(details.get(name), zone) if name else None

        made = next(filter(None, map(day, self.made)), None)
        first_active, last_active = day(self.first_active), day(self.last_active)
        spoken_of = {self.first_active, self.last_active} & details.keys()
        return Entity(
            id=listed["id"],
            key={self.parameter: listed["id"]},
            parameters={self.parameter: listed["id"]},
            begins=first_active or made,
            last_active=last_active,
            edited=_moment(details.get("updated_at"), zone),
            never_active=bool(spoken_of and made and not (first_active or last_active)),
            silent=bool(details and not spoken_of),
        )

    def describes(self, details: Json) -> bool:
        """Whether `details` say anything of an entity: an answer may be 200 and hold nothing but an apology."""
        return not {"name", *self.made}.isdisjoint(details)


def _day(value: Any, zone: ZoneInfo) -> date | None:
    moment = _moment(value, zone)
    return local_day(moment, zone) if moment and moment.year >= BRAZE_BEGAN else None


def _moment(value: Any, zone: ZoneInfo) -> datetime | None:
    """The instant that is written, or None where none can be read: that costs no entity its figures."""
    try:
        return flatten.parse_instant(value, zone) if value else None
    except (AttributeError, TypeError, ValueError):
        return None


ARCHIVED_TOO = {"include_archived": True}
CAMPAIGNS = Catalog(
    resource="campaigns",
    listing=endpoints.CAMPAIGNS_LIST,
    items="campaigns",
    page_size=100,
    details=endpoints.CAMPAIGNS_DETAILS,
    parameter="campaign_id",
    flatten=flatten.campaign,
    made=("created_at",),
    first_active="first_sent",
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
    made=("created_at",),
    first_active="first_entry",
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
    made=("created_at",),
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
    made=("created_at", "publish_at"),
    list_parameters=ARCHIVED_TOO,
    skip=lambda listed, details: bool(details.get("draft")) and not details.get("publish_at"),
)
CATALOGS = (CAMPAIGNS, CANVASES, SEGMENTS, CARDS)
