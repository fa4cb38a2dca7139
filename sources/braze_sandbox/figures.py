"""What the API says now of an entity and a day: the pure figures of `numbers`, at the workspace's clock, restated.

Used by the answers and by the totals alike, before anything is rendered. Money is in cents.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

from sources.braze_sandbox import numbers
from sources.braze_sandbox.entities import Campaign, Canvas, Card, Segment, Send, day_of
from sources.braze_sandbox.numbers import FINAL, Activity, Figures

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

SEND_RETENTION = 14
"""Days after a send for which its analytics are kept."""

_NOTHING: Mapping[int, Mapping[str, int]] = {}


def pulse(activity: Activity, day: int, as_of: int, restated: bool) -> tuple[int, int]:
    """The beat and age of a day, which together with the shape determine its figures."""
    beat = activity.beat(day)
    return beat, numbers.stage(day, as_of, restated) if beat else FINAL


def _pulse(workspace: "Workspace", activity: Activity, day: int) -> tuple[int, int]:
    return pulse(activity, day, workspace.as_of(), workspace.options.restated)


def campaign_day(workspace: "Workspace", campaign: Campaign, day: int) -> Figures:
    """A campaign's row."""
    figures = numbers.campaign_figures(campaign.shape, *_pulse(workspace, campaign.activity, day))
    return _restated(figures, workspace.deltas.get(campaign.id, _NOTHING).get(day))


def canvas_day(workspace: "Workspace", canvas: Canvas, day: int) -> Figures:
    """A Canvas's row; variants and steps by position."""
    figures = numbers.canvas_figures(canvas.shape, canvas.conversions, *_pulse(workspace, canvas.activity, day))
    return _restated(figures, workspace.deltas.get(canvas.id, _NOTHING).get(day))


def send_day(workspace: "Workspace", send: Send, day: int) -> Figures:
    """A send's row: figures on the day of the send and a few later ones, all zero once retention has passed."""
    as_of = workspace.as_of()
    beat = Activity(send.send_id, ((send.day, send.day),)).beat(day)
    if as_of - send.day > SEND_RETENTION:
        beat = 0
    age = numbers.stage(day, as_of, workspace.options.restated) if beat else FINAL
    return numbers.send_figures(beat, age)


def segment_day(workspace: "Workspace", segment: Segment, day: int) -> Figures:
    """A segment's `size`."""
    created = day_of(segment.created_at, workspace.zone)
    figures = {"size": numbers.segment_size(segment.id, created, segment.share, day)}
    return _restated(figures, workspace.deltas.get(segment.id, _NOTHING).get(day))


def card_day(workspace: "Workspace", card: Card, day: int) -> Figures:
    """A card's row."""
    created = day_of(card.created_at, workspace.zone)
    figures = numbers.card_figures(card.id, created, day, _age(workspace, day))
    return _restated(figures, workspace.deltas.get(card.id, _NOTHING).get(day))


def kpi_day(workspace: "Workspace", field: str, app: str | None, day: int) -> int:
    """`mau`, `dau`, `new_users` or `uninstalls` of the workspace or of one app."""
    return _scoped(workspace, field, field, "kpi", (app, None), day)


def session_day(workspace: "Workspace", app: str | None, segment: str | None, day: int) -> int:
    """Sessions, of everything or of an app, a segment or both."""
    return _scoped(workspace, "sessions", "sessions", "sessions", (app, segment), day)


def event_day(workspace: "Workspace", event: str, app: str | None, segment: str | None, day: int) -> int:
    """An event's count, of everything or of an app, a segment or both."""
    return _scoped(workspace, "count", f"event/{event}", event, (app, segment), day)


def _scoped(
    workspace: "Workspace",
    field: str,
    series: str,
    target: str,
    scope: tuple[str | None, str | None],
    day: int,
) -> int:
    if day < workspace.opened.toordinal():
        return 0
    share = 1000
    for part in scope:
        share = share * (230 + sum(part.encode()) % 400) // 1000 if part else share
    key = f"{workspace.options.seed}/{series}/{scope[0]}/{scope[1]}"
    figure = numbers.workspace_figure(field, key, share, day, _age(workspace, day))
    if scope == (None, None):
        figure += workspace.deltas.get(target, _NOTHING).get(day, {}).get(field, 0)
    return figure


def purchase_day(workspace: "Workspace", product: str | None, app: str | None, day: int) -> Figures:
    """`quantity` and `revenue` of everything or of a product, an app or both."""
    if day < workspace.opened.toordinal():
        return {"quantity": 0, "revenue": 0}
    share = 1000
    for part in (product, app):
        share = share * (230 + sum(part.encode()) % 400) // 1000 if part else share
    key = f"{workspace.options.seed}/purchases/{product}/{app}"
    figures = numbers.purchase_figures(key, share, day, _age(workspace, day))
    everything = product is None and app is None
    return _restated(figures, workspace.deltas.get("purchases", _NOTHING).get(day) if everything else None)


def _age(workspace: "Workspace", day: int) -> int:
    return numbers.stage(day, workspace.as_of(), workspace.options.restated)


def _restated(figures: Figures, deltas: Mapping[str, int] | None) -> Figures:
    if not deltas:
        return figures
    figures = deepcopy(figures)
    for path, delta in deltas.items():
        *parents, counter = path.split(".")
        place = figures
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        place[counter] += delta
    return figures
