"""The analytics endpoints: data_series and data_summary of everything."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sources.braze_sandbox import figures as now
from sources.braze_sandbox import rows, windows
from sources.braze_sandbox.answers import Answer, success
from sources.braze_sandbox.entities import iso
from sources.braze_sandbox.errors import BadRequest, NotFound
from sources.braze_sandbox.numbers import Figures, hourly
from sources.braze_sandbox.shapes import CANVAS_SHAPES
from sources.braze_sandbox.windows import Query

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

Entity = TypeVar("Entity")

_PUSH_SUMMARY = {"direct_opens": "opens", "total_opens": "influenced_opens"}


def found(collection: dict[str, Entity], query: Query, name: str, what: str) -> Entity:
    """The entity that a parameter names; raises `BadRequest` (400, as the API does) when there is none."""
    entity = collection.get(query.get(name, ""))
    if entity is None:
        raise BadRequest(f"{name} must be a string of the {what} api identifier")
    return entity


def campaign(workspace: "Workspace", query: Query) -> Answer:
    """GET /campaigns/data_series."""
    entity = found(workspace.campaigns, query, "campaign_id", "Campaign")
    data = rows.campaign_rows(workspace, entity, windows.days(workspace, query))
    return Answer(b'{"message":"success","data":[%b]}' % data)


def send(workspace: "Workspace", query: Query) -> Answer:
    """GET /sends/data_series."""
    entity = found(workspace.campaigns, query, "campaign_id", "Campaign")
    known = workspace.sends.get((entity.id, query.get("send_id", "")))
    if known is None:
        raise BadRequest("send_id must be a send of this campaign")
    data = rows.send_rows(workspace, known, windows.days(workspace, query))
    return Answer(b'{"data":[%b],"message":"success"}' % data)


def _parts(query: Query) -> rows.Parts:
    flags = {
        "variant_stats": "include_variant_breakdown",
        "step_stats": "include_step_breakdown",
        "deleted": "include_deleted_step_data",
    }
    return tuple(part for part, flag in flags.items() if query.get(flag) == "true")


def canvas(workspace: "Workspace", query: Query) -> Answer:
    """GET /canvas/data_series."""
    entity = found(workspace.canvases, query, "canvas_id", "Canvas")
    stats = rows.canvas_rows(workspace, entity, windows.canvas_days(workspace, query), _parts(query))
    name = success({"name": entity.name}).body[len(b'{"message":"success",') : -1]
    return Answer(b'{"data":{%b,"stats":[%b]},"message":"success"}' % (name, stats))


def canvas_summary(workspace: "Workspace", query: Query) -> Answer:
    """GET /canvas/data_summary: the sums of the daily rows of the same window."""
    entity = found(workspace.canvases, query, "canvas_id", "Canvas")
    parts, shape = _parts(query), CANVAS_SHAPES[entity.shape]
    window = windows.canvas_days(workspace, query)
    total: Figures = {}
    for day in window:
        total = _added(total, now.canvas_day(workspace, entity, day))
    if not window:
        return success({"data": {"name": entity.name, "total_stats": {}}})
    stats = rows.canvas_stats(shape, rows.money(total), parts, rows.step_positions(entity, parts))
    for part, ids in (("variant_stats", entity.variant_ids), ("step_stats", entity.step_ids)):
        if part in stats:
            stats[part] = {ids[int(blank[1:])]: figures for blank, figures in stats[part].items()}
    for step in stats.get("step_stats", {}).values():
        del step["unique_recipients"]  # recipients of several days are not a sum
        step["messages"] = {
            channel: [_summarized(figures) if channel.endswith("_push") else figures for figures in elements]
            for channel, elements in step["messages"].items()
        }
    return success({"data": {"name": entity.name} | stats})


def _added(left: Any, right: Any) -> Any:
    if isinstance(right, dict):
        return {key: _added(left.get(key, type(value)()), value) for key, value in right.items()}
    if isinstance(right, list):
        return [_added(before, value) for before, value in zip(left or [{}] * len(right), right, strict=True)]
    return left + right


def _summarized(figures: Figures) -> Figures:
    return {_PUSH_SUMMARY.get(key, key): value for key, value in figures.items()}


def segment(workspace: "Workspace", query: Query) -> Answer:
    """GET /segments/data_series."""
    entity = found(workspace.segments, query, "segment_id", "Segment")
    if not entity.tracked:
        raise BadRequest("Analytics tracking is not enabled for this segment")
    days = windows.days(workspace, query)
    return _daily({day: now.segment_day(workspace, entity, day) for day in days})


def kpi(field: str) -> Callable[["Workspace", Query], Answer]:
    """GET /kpi/<field>/data_series."""

    def answer(workspace: "Workspace", query: Query) -> Answer:
        app = _app(workspace, query)
        days = windows.days(workspace, query)
        return _daily({day: {field: now.kpi_day(workspace, field, app, day)} for day in days})

    return answer


def session(workspace: "Workspace", query: Query) -> Answer:
    """GET /sessions/data_series."""
    app, part = _app(workspace, query), _segment(workspace, query)
    return _by_unit(workspace, query, lambda day: {"sessions": now.session_day(workspace, app, part, day)})


def event(workspace: "Workspace", query: Query) -> Answer:
    """GET /events/data_series."""
    name = query.get("event", "")
    if name not in workspace.events:
        raise BadRequest("event must be the name of a custom event")
    app, part = _app(workspace, query), _segment(workspace, query)
    return _by_unit(workspace, query, lambda day: {"count": now.event_day(workspace, name, app, part, day)})


def quantity(workspace: "Workspace", query: Query) -> Answer:
    """GET /purchases/quantity_series."""
    product, app = _product(workspace, query), _app(workspace, query)

    def figure(day: int) -> Figures:
        return {"purchase_quantity": now.purchase_day(workspace, product, app, day)["quantity"]}

    return _by_unit(workspace, query, figure)


def revenue(workspace: "Workspace", query: Query) -> Answer:
    """GET /purchases/revenue_series: whole dollars come as integers."""
    product, app = _product(workspace, query), _app(workspace, query)

    def figure(day: int) -> Figures:
        return {"revenue": now.purchase_day(workspace, product, app, day)["revenue"]}

    return _by_unit(workspace, query, figure)


def card(workspace: "Workspace", query: Query) -> Answer:
    """GET /feed/data_series."""
    if not workspace.options.news_feed:
        raise NotFound
    entity = found(workspace.cards, query, "card_id", "Card")
    return _by_unit(workspace, query, lambda day: now.card_day(workspace, entity, day))


def _app(workspace: "Workspace", query: Query) -> str | None:
    app = query.get("app_id")
    if app is not None and app not in workspace.apps:
        raise BadRequest("app_id must be a string of the App api identifier")
    return app


def _segment(workspace: "Workspace", query: Query) -> str | None:
    if "segment_id" not in query:
        return None
    entity = found(workspace.segments, query, "segment_id", "Segment")
    if not entity.tracked:
        raise BadRequest("Analytics tracking is not enabled for this segment")
    return entity.id


def _product(workspace: "Workspace", query: Query) -> str | None:
    product = query.get("product")
    if product is not None and product not in workspace.products:
        raise BadRequest("product must be the name of a product")
    return product


def _by_unit(workspace: "Workspace", query: Query, figure: Callable[[int], Figures]) -> Answer:
    unit = query.get("unit", "day")
    if unit == "day":
        return _daily({day: figure(day) for day in windows.days(workspace, query)})
    if unit != "hour":
        raise BadRequest("unit must be day or hour")
    slots = windows.hours(workspace, query)
    spread = {day: spread_day(workspace, figure(day), day) for day in {slot[0] for slot in slots}}
    return success({"data": [{"time": iso(start)} | _plain(spread[day][hour]) for day, hour, start in slots]})


def spread_day(workspace: "Workspace", figures: Figures, day: int) -> list[Figures]:
    """A day's figures by the hour; on the current day by the hours that have begun."""
    hours = windows.hours_so_far(workspace, day)
    by_counter = {key: hourly(figure, key, day, hours) for key, figure in figures.items()}
    return [{key: parts[hour] for key, parts in by_counter.items()} for hour in range(hours)]


def _daily(figures: dict[int, Figures]) -> Answer:
    return success({"data": [{"time": windows.label(day)} | _plain(row) for day, row in figures.items()]})


def _plain(figures: Figures) -> dict[str, int | float]:
    return {key: _dollars(value) if key == "revenue" else value for key, value in figures.items()}


def _dollars(cents: int) -> int | float:
    return cents // 100 if cents % 100 == 0 else cents / 100
