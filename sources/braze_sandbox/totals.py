"""What the sums of every counter in every table ought to be after a load: computed from the figures, not the answers.

Each entity counts from its own first activity on: campaigns and Canvases from their first send or entry, tracked
segments and cards from their creation, sends from their day; the workspace's own series over the whole range.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sources.braze_sandbox import figures as now
from sources.braze_sandbox import numbers
from sources.braze_sandbox.entities import Campaign, Canvas, day_of
from sources.braze_sandbox.numbers import Figures
from sources.braze_sandbox.windows import hours_so_far

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

Totals = dict[str, dict[str, int | float]]
"""Table → column → sum over all rows; `rows` is their number. Columns are named as in the API, revenue in dollars."""

KPIS = ("mau", "dau", "new_users", "uninstalls")


@dataclass(frozen=True)
class Scope:
    """What beside the workspace's own totals a load breaks down, by id and name ("*": every product).

    KPIs, sessions and events are broken down by app, purchases by product.
    """

    app_ids: tuple[str, ...] = ()
    products: tuple[str, ...] = ()


class _Sums:
    """Counters summed per table; money stays in cents until the end."""

    def __init__(self) -> None:
        self._tables: dict[str, Counter[str]] = {}

    def add(self, table: str, figures: Figures, times: int = 1, rows: int = 1) -> None:
        """Add these counters so many times, each in so many rows; nested values belong to other tables."""
        sums = self._tables.setdefault(table, Counter())
        sums["rows"] += times * rows
        for key, value in figures.items():
            if isinstance(value, int):
                sums[key] += value * times

    def messages(self, table: str, figures: Figures, times: int) -> None:
        """Add the stats objects of `messages`, keys with free text in a table of clicks."""
        for elements in figures["messages"].values():
            for element in elements:
                clicks = [key for key in element if key.endswith("_click")]
                self.add(table, {key: element[key] for key in element if key not in clicks}, times)
                for key in clicks:
                    self.add(table.replace("_daily", "_click_daily"), {"clicks": element[key]}, times)

    def totals(self) -> Totals:
        """The sums, revenue in dollars."""
        return {
            table: {key: value / 100 if key == "revenue" else value for key, value in sums.items()}
            for table, sums in self._tables.items()
        }


def totals(workspace: "Workspace", start: int, end: int, scope: Scope) -> Totals:
    """The sums over the days (ordinals) from start to end, both included, as of now."""
    sums, days = _Sums(), range(start, min(end, workspace.as_of()) + 1)
    _campaigns(workspace, days, sums)
    _sends(workspace, days, sums)
    _canvases(workspace, days, sums)
    _dated(workspace, days, sums)
    _workspace_wide(workspace, days, scope, sums)
    return sums.totals()


Alike = Counter[tuple[str, int, int, int]]
"""Days by what determines their figures: shape, conversion events, beat, age."""


def _alike(
    workspace: "Workspace", entities: Iterable[Campaign | Canvas], days: range
) -> tuple[Alike, list[tuple[Campaign | Canvas, int]]]:
    """The days of all entities since their first activity, counted by what makes them alike; and the restated ones.

    A thousand days of thousands of entities draw on a few thousand different rows.
    """
    alike: Alike = Counter()
    restated = []
    as_of, growing = workspace.as_of(), workspace.options.restated
    for entity in entities:
        deltas = workspace.deltas.get(entity.id, {})
        kind = (entity.shape, entity.conversions if isinstance(entity, Canvas) else 0)
        first = entity.activity.first()
        for day in range(days.stop if first is None else max(days.start, first), days.stop):
            if day in deltas:
                restated.append((entity, day))
            else:
                alike[*kind, *now.pulse(entity.activity, day, as_of, growing)] += 1
    return alike, restated


def _campaigns(workspace: "Workspace", days: range, sums: _Sums) -> None:
    alike, restated = _alike(workspace, workspace.campaigns.values(), days)
    for (shape, _, beat, age), times in alike.items():
        _campaign_row(sums, numbers.campaign_figures(shape, beat, age), times)
    for campaign, day in restated:
        assert isinstance(campaign, Campaign)
        _campaign_row(sums, now.campaign_day(workspace, campaign, day), 1)


def _campaign_row(sums: _Sums, figures: Figures, times: int) -> None:
    sums.add("campaign_daily", figures, times)
    sums.messages("campaign_message_daily", figures, times)


def _sends(workspace: "Workspace", days: range, sums: _Sums) -> None:
    for send in workspace.sends.values():
        if send.campaign_id not in workspace.campaigns:
            continue
        since = range(max(days.start, send.day), days.stop)
        lively = since[: max(send.day + numbers.TAIL + 1 - since.start, 0)]
        for day in lively:
            _send_row(sums, now.send_day(workspace, send, day), 1)
        _send_row(sums, numbers.send_figures(0, numbers.FINAL), len(since) - len(lively))


def _send_row(sums: _Sums, figures: Figures, times: int) -> None:
    sums.add("send_daily", figures, times)
    sums.messages("send_message_daily", figures, times)


def _canvases(workspace: "Workspace", days: range, sums: _Sums) -> None:
    alike, restated = _alike(workspace, workspace.canvases.values(), days)
    for kind, times in alike.items():
        _canvas_row(sums, numbers.canvas_figures(*kind), times)
    for canvas, day in restated:
        assert isinstance(canvas, Canvas)
        _canvas_row(sums, now.canvas_day(workspace, canvas, day), 1)


def _canvas_row(sums: _Sums, figures: Figures, times: int) -> None:
    sums.add("canvas_daily", figures["total_stats"], times)
    for variant in figures["variant_stats"]:
        sums.add("canvas_variant_daily", variant, times)
    for step in figures["step_stats"]:
        sums.add("canvas_step_daily", step, times)
        sums.messages("canvas_step_message_daily", step, times)


def _dated(workspace: "Workspace", days: range, sums: _Sums) -> None:
    for segment in workspace.segments.values():
        for day in range(max(days.start, day_of(segment.created_at, workspace.zone)), days.stop):
            if segment.tracked:
                sums.add("segment_daily", now.segment_day(workspace, segment, day))
    for card in workspace.cards.values():
        for day in range(max(days.start, day_of(card.created_at, workspace.zone)), days.stop):
            _by_day_and_hour(workspace, "card", day, now.card_day(workspace, card, day), sums)


def _workspace_wide(workspace: "Workspace", days: range, scope: Scope, sums: _Sums) -> None:
    apps: tuple[str | None, ...] = (None, *scope.app_ids)
    for day in days:
        for app in apps:
            sums.add("kpi_daily", {field: now.kpi_day(workspace, field, app, day) for field in KPIS})
            sessions = {"sessions": now.session_day(workspace, app, None, day)}
            _by_day_and_hour(workspace, "session", day, sessions, sums)
            for event in workspace.events:
                figures = {"count": now.event_day(workspace, event, app, None, day)}
                _by_day_and_hour(workspace, "event", day, figures, sums)
        for product in _products(workspace, scope):
            figures = now.purchase_day(workspace, product, None, day)
            _by_day_and_hour(workspace, "purchase", day, figures, sums)


def _products(workspace: "Workspace", scope: Scope) -> Iterable[str | None]:
    return (None, *(workspace.products if scope.products == ("*",) else scope.products))


def _by_day_and_hour(workspace: "Workspace", name: str, day: int, figures: Figures, sums: _Sums) -> None:
    """The hours of a day add up to the day; of the current day there are those that have begun."""
    sums.add(f"{name}_daily", figures)
    sums.add(f"{name}_hourly", figures, rows=hours_so_far(workspace, day))
