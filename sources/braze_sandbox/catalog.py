"""The list and details endpoints."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sources.braze_sandbox.answers import Answer, success
from sources.braze_sandbox.entities import Campaign, Canvas, Segment, iso
from sources.braze_sandbox.errors import BadRequest, NotFound
from sources.braze_sandbox.messages import behaviors, draft_message, message
from sources.braze_sandbox.numbers import Activity
from sources.braze_sandbox.series import found
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES, CANVAS_SHAPES, CanvasShape
from sources.braze_sandbox.windows import Query

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

Item = TypeVar("Item")
Editable = TypeVar("Editable", Campaign, Canvas)

PAGE = 100
EVENT_PAGE = 250
CURSOR_PAGE = 50

_ATTRIBUTES = (
    ("loyalty_tier", "String (Automatically Detected)", None, "Loyalty tier", "Active"),
    ("favourite_cafés", "Array", 100, None, "Active"),
    ("pets", "Object Array", None, "", "Active"),
    ("loyaltyPointsNumber", "Number", None, "Points", "Active"),
    ("old_flag", "Boolean", None, None, "Blocklisted"),
)


def campaigns(workspace: "Workspace", query: Query) -> Answer:
    """GET /campaigns/list."""
    page = [
        {
            "id": entity.id,
            "last_edited": iso(entity.last_edited),
            "name": entity.name,
            "is_api_campaign": CAMPAIGN_SHAPES[entity.shape].is_api,
            "tags": entity.tags,
        }
        for entity in _page(query, _listed(workspace.campaigns.values(), query))
    ]
    return success({"campaigns": page})


def canvases(workspace: "Workspace", query: Query) -> Answer:
    """GET /canvas/list."""
    page = [
        {
            "id": entity.id,
            "last_edited": iso(entity.last_edited),
            "name": entity.name,
            "tags": entity.tags,
        }
        for entity in _page(query, _listed(workspace.canvases.values(), query))
    ]
    return success({"canvases": page})


def segments(workspace: "Workspace", query: Query) -> Answer:
    """GET /segments/list."""
    page = [
        {
            "id": entity.id,
            "name": entity.name,
            "analytics_tracking_enabled": entity.tracked,
            "tags": entity.tags,
        }
        for entity in _page(query, _sorted(workspace.segments.values(), query))
    ]
    return success({"segments": page})


def cards(workspace: "Workspace", query: Query) -> Answer:
    """GET /feed/list; 404 in workspaces that have no News Feed any more."""
    if not workspace.options.news_feed:
        raise NotFound
    archived = query.get("include_archived") == "true"
    shown = [card for card in workspace.cards.values() if archived or not card.archived]
    page = [
        {"id": card.id, "type": card.type, "title": card.name, "tags": card.tags}
        for card in _page(query, _sorted(shown, query))
    ]
    return success({"cards": page})


def _listed(entities: Iterable[Editable], query: Query) -> list[Editable]:
    archived = query.get("include_archived", "false")
    if archived not in ("true", "false"):
        raise BadRequest("include_archived must be true or false")
    shown = [entity for entity in entities if archived == "true" or not entity.archived]
    after = query.get("last_edit.time[gt]")
    if after is not None:
        try:
            edge = datetime.fromisoformat(after)
        except ValueError:
            raise BadRequest("last_edit.time must be in the format yyyy-MM-DDTHH:mm:ss") from None
        edge = edge if edge.tzinfo else edge.replace(tzinfo=UTC)
        shown = [entity for entity in shown if entity.last_edited > edge]
    return _sorted(shown, query)


def _sorted(entities: Iterable[Item], query: Query) -> list[Item]:
    direction = query.get("sort_direction", "asc")
    if direction not in ("asc", "desc"):
        raise BadRequest("sort_direction must be asc or desc")
    items = list(entities)
    return items if direction == "asc" else items[::-1]


def _page(query: Query, items: Sequence[Item], size: int = PAGE) -> Sequence[Item]:
    number = query.get("page", "0")
    if not number.isdecimal():
        raise BadRequest("page must be a number")
    return items[int(number) * size : (int(number) + 1) * size]


def campaign(workspace: "Workspace", query: Query) -> Answer:
    """GET /campaigns/details."""
    entity = found(workspace.campaigns, query, "campaign_id", "Campaign")
    shape = CAMPAIGN_SHAPES[entity.shape]
    translatable = query.get("include_has_translatable_content") == "true"
    pairs = zip(entity.variation_ids, shape.elements, strict=True)
    messages = {
        variation: draft_message() if shape.draft else message(element, translatable) for variation, element in pairs
    }
    return success(
        {
            **_common(entity),
            "draft": shape.draft,
            "schedule_type": shape.schedule,
            "channels": list(dict.fromkeys(element.channel for element in shape.elements)),
            "first_sent": _first(workspace, entity.activity),
            "last_sent": _last(workspace, entity.activity),
            "messages": messages,
            "conversion_behaviors": behaviors(len(shape.elements), shape.behaviors),
        }
    )


def canvas(workspace: "Workspace", query: Query) -> Answer:
    """GET /canvas/details."""
    entity = found(workspace.canvases, query, "canvas_id", "Canvas")
    shape = CANVAS_SHAPES[entity.shape]
    steps = [step for position, step in enumerate(shape.steps) if position not in entity.deleted]
    channels = dict.fromkeys(element.channel for step in steps for element in step.messages)
    translatable = query.get("include_has_translatable_content") == "true"
    return success(
        {
            **_common(entity),
            "draft": shape.draft,
            "schedule_type": "action_based",
            "first_entry": _first(workspace, entity.activity),
            "last_entry": _last(workspace, entity.activity),
            "channels": list(channels),
            "variants": [_variant(entity, shape, position) for position in range(len(shape.variants))],
            "steps": [
                _step(entity, shape, position, translatable)
                for position in range(len(shape.steps))
                if position not in entity.deleted
            ],
        }
    )


def _common(entity: Campaign | Canvas) -> dict[str, Any]:
    return {
        "created_at": iso(entity.created_at),
        "updated_at": iso(entity.last_edited),
        "name": entity.name,
        "description": entity.description,
        "archived": entity.archived,
        "enabled": entity.enabled,
        "has_post_launch_draft": entity.enabled and len(entity.name) % 5 == 0,
        "tags": entity.tags,
        "teams": entity.teams,
    }


def _first(workspace: "Workspace", activity: Activity) -> str | None:
    day = activity.first()
    if day is None or day > workspace.today():
        return None
    return _moment(workspace, day)


def _last(workspace: "Workspace", activity: Activity) -> str | None:
    day = activity.latest(workspace.today())
    return None if day is None else _moment(workspace, day)


def _moment(workspace: "Workspace", day: int) -> str:
    """A moment of a day up to now, to the hour as the API tells first and last sends."""
    moment = min(workspace.maker.moment(day, day), workspace.now().astimezone(UTC))
    return iso(moment.replace(minute=0, second=0))


def _variant(canvas: Canvas, shape: CanvasShape, position: int) -> dict[str, Any]:
    name, _, first = shape.variants[position]
    steps = [canvas.step_ids[step] for step in first if step not in canvas.deleted]
    variant = {"name": name, "id": canvas.variant_ids[position], "first_step_ids": steps}
    return variant | {"first_step_id": steps[0]} if len(steps) == 1 else variant


def _step(canvas: Canvas, shape: CanvasShape, position: int, translatable: bool) -> dict[str, Any]:
    step = shape.steps[position]
    paths = [(name, target) for name, target in step.paths if target not in canvas.deleted]
    targets = [None if target is None else canvas.step_ids[target] for _, target in paths]
    messages = {
        f"{canvas.step_ids[position][:-2]}{number:02x}": message(element, translatable)
        for number, element in enumerate(step.messages)
    }
    return {
        "name": step.name,
        "type": step.type,
        "id": canvas.step_ids[position],
        "next_step_ids": [target for target in targets if target] if step.type == "message" else [],
        "next_paths": [
            {"name": name, "next_step_id": target} for (name, _), target in zip(paths, targets, strict=True)
        ],
        "channels": list(dict.fromkeys(element.channel for element in step.messages)),
        "messages": messages,
    }


def segment(workspace: "Workspace", query: Query) -> Answer:
    """GET /segments/details."""
    entity: Segment = found(workspace.segments, query, "segment_id", "Segment")
    return success(
        {
            "created_at": iso(entity.created_at),
            "updated_at": iso(entity.last_edited),
            "name": entity.name,
            "description": f'Random bucket is below "{entity.share}" percent AND last used any app',
            "text_description": None if entity.share == 20 else "VIP Kunden in Tokio",
            "tags": entity.tags,
            "teams": entity.teams,
        }
    )


def card(workspace: "Workspace", query: Query) -> Answer:
    """GET /feed/details."""
    if not workspace.options.news_feed:
        raise NotFound
    entity = found(workspace.cards, query, "card_id", "Card")
    return success(
        {
            "created_at": iso(entity.created_at),
            "updated_at": iso(entity.last_edited),
            "name": entity.name or "Card A",
            "publish_at": iso(entity.created_at),
            "end_at": None,
            "tags": entity.tags,
            "title": entity.name,
            "image_url": "https://cdn.example.com/c.png",
            "extras": {"k": "v"},
            "description": "Beschreibung",
            "archived": entity.archived,
            "draft": entity.draft,
        }
    )


def event_names(workspace: "Workspace", query: Query) -> Answer:
    """GET /events/list: plain names, alphabetical."""
    return success({"events": _page(query, sorted(workspace.events), EVENT_PAGE)})


def events(workspace: "Workspace", query: Query) -> Answer:
    """GET /events: the names with what is known about them, by cursor."""
    items = [
        {
            "name": event.name,
            "description": event.description,
            "included_in_analytics_report": event.included,
            "status": event.status,
            "tag_names": event.tags,
        }
        for _, event in sorted(workspace.events.items())
    ]
    return _by_cursor("/events", "events", items, query)


def custom_attributes(workspace: "Workspace", query: Query) -> Answer:
    """GET /custom_attributes: by cursor."""
    items = []
    for number in range(workspace.options.custom_attributes):
        name, data_type, length, description, status = _ATTRIBUTES[number % len(_ATTRIBUTES)]
        repetition = number // len(_ATTRIBUTES)
        items.append(
            {
                "array_length": length,
                "data_type": data_type,
                "description": description,
                "name": f"{name}_{repetition}" if repetition else name,
                "status": status,
                "tag_names": ["Tag One", "Tag Two"] if number % 4 == 0 else [],
            }
        )
    return _by_cursor("/custom_attributes", "attributes", sorted(items, key=lambda item: str(item["name"])), query)


def _by_cursor(path: str, key: str, items: Sequence[Any], query: Query) -> Answer:
    start = _skipped(query.get("cursor"))
    links = []
    if start > 0:
        links.append(f'<{path}?cursor={_cursor(max(start - CURSOR_PAGE, 0))}>; rel="prev"')
    if start + CURSOR_PAGE < len(items):
        links.append(f'<{path}?cursor={_cursor(start + CURSOR_PAGE)}>; rel="next"')
    headers = {"Link": ",".join(links)} if links else {}
    return success({key: items[start : start + CURSOR_PAGE]}, 200, **headers)


def _cursor(skip: int) -> str:
    return b64encode(f"skip:{skip}".encode()).decode()


def _skipped(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        word, _, number = b64decode(cursor, validate=True).decode().partition(":")
        if word == "skip":
            return int(number)
    except ValueError:
        pass
    raise BadRequest("'cursor' is not valid")


def products(workspace: "Workspace", query: Query) -> Answer:
    """GET /purchases/product_list: plain names."""
    return success({"products": _page(query, workspace.products)})
