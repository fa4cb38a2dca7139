"""The fewest requests that the promises allow: counted by the sandbox, stated as a formula."""

from collections import Counter
from datetime import date, datetime, timedelta
from math import ceil

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES, CANVAS_SHAPES
from tests.nights import Nights

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
LOOKBACK = 30
CANVAS_DAYS = 13
"""Of the 14 days that a request may have, one is the overlap."""


def list_pages(entries: int) -> int:
    """A page of a list holds 100; only a shorter one is known to be the last."""
    return entries // 100 + 1


def formula(nights: Nights, today: date) -> Counter[str]:
    """Requests per path: pages, details, and one series request per 99 days (13 of a Canvas) that are not final."""
    workspace = nights.sandbox.workspace
    due = LOOKBACK + 1  # the closed days that are not final, and the current one
    campaigns = [c for c in workspace.campaigns.values() if not CAMPAIGN_SHAPES[c.shape].draft]
    canvases = [c for c in workspace.canvases.values() if not CANVAS_SHAPES[c.shape].draft]
    dormant = [e.id for e in (*campaigns, *canvases) if at_rest(e, today)]

    def canvas_requests(canvas_id: str) -> int:
        first = date.fromordinal(workspace.canvases[canvas_id].activity.first() or 0)
        return ceil(min(due, (today - first).days + 1) / CANVAS_DAYS)

    return Counter(
        {
            "/campaigns/list": list_pages(len(workspace.campaigns)),
            "/campaigns/details": len(workspace.campaigns),
            "/campaigns/data_series": sum(c.id not in dormant for c in campaigns),
            "/canvas/list": list_pages(len(workspace.canvases)),
            "/canvas/details": len(workspace.canvases),
            "/canvas/data_series": sum(canvas_requests(c.id) for c in canvases if c.id not in dormant),
            "/segments/list": list_pages(len(workspace.segments)),
            "/segments/details": len(workspace.segments),
            "/segments/data_series": sum(segment.tracked for segment in workspace.segments.values()),
            "/feed/list": list_pages(len(workspace.cards)),
            "/feed/details": len(workspace.cards),
            "/feed/data_series": len(workspace.cards),
            "/events": ceil(len(workspace.events) / 50),
            "/events/data_series": len(workspace.events),
            "/purchases/product_list": 2,  # its page size is not documented: only an empty page is the last
            "/purchases/revenue_series": 1,
            "/purchases/quantity_series": 1,
            "/sessions/data_series": 1,
            **{f"/kpi/{kpi}/data_series": 1 for kpi in ("mau", "dau", "new_users", "uninstalls")},
        }
    )


def at_rest(entity: object, today: date) -> bool:
    """Whether it has sent nothing for longer than the lookback and the days on which late figures come."""
    last = entity.activity.spans[-1][1]  # type: ignore[attr-defined]
    return last is not None and date.fromordinal(last) < today - timedelta(days=LOOKBACK + 6)


@pytest.fixture(scope="module")
def loaded() -> tuple[Nights, list[Counter[str]]]:
    """A workspace with a list of several pages, loaded once; and the requests of the seven nights after."""
    options = WorkspaceOptions(
        today=TODAY, campaigns=32, canvases=5, segments=4, cards=7, events=51, products=3, users=1, days=150
    )
    with Sandbox(options) as sandbox:
        for kind in ("campaign", "canvas"):  # edited long ago: an edit wakes an entity for a night
            for entity in list(getattr(sandbox.workspace, {"campaign": "campaigns", "canvas": "canvases"}[kind])):
                sandbox.workspace.update(kind, entity, last_edited=datetime(2025, 10, 1).astimezone())
        nights = Nights(sandbox, lookback_days=LOOKBACK)
        nights.night()
        asked = []
        for night in range(1, 8):
            requests = nights.night(TODAY + night * ONE_DAY).requests
            asked.append(Counter(request.path for request in requests))
        assert nights.differences() == {}
        return nights, asked


def test_every_night_asks_for_nothing_but_what_can_have_changed(loaded: tuple[Nights, list[Counter[str]]]) -> None:
    nights, asked = loaded
    rechecked = ("/campaigns/data_series", "/canvas/data_series")
    for number, night in enumerate(asked, start=1):
        due = formula(nights, TODAY + number * ONE_DAY)
        assert {path: count for path, count in night.items() if path not in rechecked} == {
            path: count for path, count in due.items() if path not in rechecked
        }
        for path in rechecked:
            assert night[path] >= due[path]


def test_within_a_week_every_resting_entity_is_asked_once(loaded: tuple[Nights, list[Counter[str]]]) -> None:
    nights, asked = loaded
    week = [TODAY + number * ONE_DAY for number in range(1, 8)]
    due = sum(formula(nights, day)["/campaigns/data_series"] for day in week)
    resting = sum(
        all(at_rest(campaign, day) for day in week)
        for campaign in nights.sandbox.workspace.campaigns.values()
        if campaign.activity.spans
    )
    assert resting > 3
    extra = sum(night["/campaigns/data_series"] for night in asked) - due
    assert resting <= extra <= resting + 2
