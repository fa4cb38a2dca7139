"""Rows of campaign, send and Canvas series as JSON bytes.

Entities of one shape draw their days from the same bounded set of figures, so a row is rendered once with blanks for
what differs (the day, the ids) and filled in afterwards. That makes an answer of a hundred days some hundred string
operations, and the memory independent of the number of entities.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from sources.braze_sandbox import figures as now
from sources.braze_sandbox import numbers
from sources.braze_sandbox.entities import Campaign, Canvas, Send
from sources.braze_sandbox.numbers import Figures
from sources.braze_sandbox.shapes import (
    CAMPAIGN_SHAPES,
    CANVAS_SHAPES,
    SEND_SHAPE,
    CampaignShape,
    CanvasShape,
    Element,
)
from sources.braze_sandbox.windows import label

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

_BLANK = "@"

Parts = tuple[str, ...]


@lru_cache(maxsize=16_384)
def _day(day: int) -> bytes:
    return label(day).encode()


def _fillable(row: Any) -> bytes:
    """JSON with `%b` in place of each string that is a blank, in order."""
    text = orjson.dumps(row).replace(b"%", b"%%")
    return text.replace(b'"@"', b'"%b"')


def money(figures: Figures) -> Figures:
    """The figures with `revenue` in dollars, at every level."""
    return {key: value / 100 if key == "revenue" else _nested(value) for key, value in figures.items()}


def _nested(value: Any) -> Any:
    if isinstance(value, dict):
        return money(value)
    return [_nested(item) for item in value] if isinstance(value, list) else value


def campaign_rows(workspace: "Workspace", campaign: Campaign, days: range) -> bytes:
    """The rows of campaigns/data_series for these days, joined by commas."""
    elements = CAMPAIGN_SHAPES[campaign.shape].elements
    pairs = zip(elements, campaign.variation_ids, strict=True)
    ids = tuple(variation.encode() for element, variation in pairs if element.identified)
    restated = workspace.deltas.get(campaign.id, ())
    as_of, growing = workspace.as_of(), workspace.options.restated
    rows = []
    for day in days:
        if day in restated:
            template = _row(CAMPAIGN_SHAPES[campaign.shape], now.campaign_day(workspace, campaign, day))
        else:
            template = _campaign_row(campaign.shape, *now.pulse(campaign.activity, day, as_of, growing))
        rows.append(template % (_day(day), *ids))
    return b",".join(rows)


@lru_cache(maxsize=30_000)
def _campaign_row(shape: str, beat: int, age: int) -> bytes:
    return _row(CAMPAIGN_SHAPES[shape], numbers.campaign_figures(shape, beat, age))


def send_rows(workspace: "Workspace", send: Send, days: range) -> bytes:
    """The rows of sends/data_series for these days, joined by commas."""
    rows = [_row(SEND_SHAPE, now.send_day(workspace, send, day)) % (_day(day),) for day in days]
    return b",".join(rows)


def _row(shape: CampaignShape, figures: Figures) -> bytes:
    counters = money(figures)
    messages: dict[str, list[Any]] = {channel: [] for channel in shape.empty_channels}
    left = {channel: iter(elements) for channel, elements in counters.pop("messages").items()}
    for element in shape.elements:
        messages.setdefault(element.channel, []).append(_names(element) | next(left[element.channel]))
    if shape.elements[0].scored:  # documented in this order for tests with variants
        return _fillable({"time": _BLANK, "messages": messages, **counters})
    return _fillable({"time": _BLANK, **counters, "messages": messages})


def _names(element: Element) -> dict[str, str]:
    names = {"variation_name": element.name} if element.named else {}
    return names | {"variation_api_id": _BLANK} if element.identified else names


def canvas_rows(workspace: "Workspace", canvas: Canvas, days: range, parts: Parts) -> bytes:
    """The rows of canvas/data_series for these days, joined by commas.

    `parts` are the keys wanted beside `time`: "total_stats", "variant_stats", "step_stats", "deleted".
    """
    steps = step_positions(canvas, parts)
    ids = canvas_ids(canvas, parts)
    restated = workspace.deltas.get(canvas.id, ())
    as_of, growing = workspace.as_of(), workspace.options.restated
    rows = []
    for day in days:
        if day in restated:
            shape = CANVAS_SHAPES[canvas.shape]
            template = _canvas_body(shape, now.canvas_day(workspace, canvas, day), parts, steps)
        else:
            key = (canvas.shape, canvas.conversions, *now.pulse(canvas.activity, day, as_of, growing))
            template = _canvas_row(*key, parts, steps)
        rows.append(template % (_day(day), *ids))
    return b",".join(rows)


@lru_cache(maxsize=10_000)
def _canvas_row(shape: str, conversions: int, beat: int, age: int, parts: Parts, steps: tuple[int, ...]) -> bytes:
    figures = numbers.canvas_figures(shape, conversions, beat, age)
    return _canvas_body(CANVAS_SHAPES[shape], figures, parts, steps)


def _canvas_body(shape: CanvasShape, figures: Figures, parts: Parts, steps: tuple[int, ...]) -> bytes:
    blanks = {"time": _BLANK} | canvas_stats(shape, money(figures), parts, steps)
    text = orjson.dumps(blanks).replace(b"%", b"%%").replace(b'"@"', b'"%b"')
    for number in range(max(len(shape.variants), len(shape.steps))):
        text = text.replace(b'"@%d"' % number, b'"%b"')
    return text


def canvas_stats(shape: CanvasShape, figures: Figures, parts: Parts, steps: tuple[int, ...]) -> dict[str, Any]:
    """Stats by part, with blanks ("@" and the position) for the ids of variants and steps."""
    stats: dict[str, Any] = {"total_stats": figures["total_stats"]}
    if "variant_stats" in parts:
        stats["variant_stats"] = {
            f"@{number}": {"name": name} | figures["variant_stats"][number]
            for number, (name, _, _) in enumerate(shape.variants)
        }
    if "step_stats" in parts:
        stats["step_stats"] = {
            f"@{number}": {"name": shape.steps[number].name} | figures["step_stats"][number] for number in steps
        }
    return stats


def step_positions(canvas: Canvas, parts: Parts) -> tuple[int, ...]:
    """The positions of the steps that an answer shows."""
    steps = range(len(canvas.step_ids))
    return tuple(step for step in steps if "deleted" in parts or step not in canvas.deleted)


def canvas_ids(canvas: Canvas, parts: Parts) -> tuple[bytes, ...]:
    """The ids that fill the blanks of a row with these parts, in order."""
    variants = canvas.variant_ids if "variant_stats" in parts else ()
    steps = [canvas.step_ids[step] for step in step_positions(canvas, parts)] if "step_stats" in parts else []
    return tuple(entity_id.encode() for entity_id in (*variants, *steps))
