"""An earlier `start_date`: the days before the old one are loaded, of every entity, and none of them twice."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.loopback import Reply
from tests.nights import NONE_OPEN, SMALL, Nights
from tests.scripted import Query, Scripted, days_asked, page

TODAY = date(2026, 3, 20)
A_DAY = timedelta(days=1)
LONG = SMALL | {"days": 200, "campaigns": 5, "canvases": 2}
"""More days than the request of an ordinary night covers."""
SELECT = "campaigns,campaign_series,canvas_series,segments,segment_series,kpis"


def oldest(entities: Mapping[str, Any]) -> str:
    """The one that sent first of all."""
    began = {one.activity.first(): one.id for one in entities.values() if one.activity.spans}
    return began[min(began)]


@contextmanager
def fails(sandbox: Sandbox, path: str, fault: str, **params: str) -> Iterator[None]:
    sandbox.fail(path, fault, params)
    yield
    sandbox.mend()


@contextmanager
def unlisted(sandbox: Sandbox, campaign: str) -> Iterator[None]:
    everybody = sandbox.workspace.campaigns
    sandbox.workspace.remove("campaign", campaign)
    yield
    sandbox.workspace.campaigns = everybody


@contextmanager
def untracked(sandbox: Sandbox, segment: str) -> Iterator[None]:
    sandbox.workspace.update("segment", segment, tracked=False)
    yield
    sandbox.workspace.update("segment", segment, tracked=True)


TROUBLES: dict[str, Callable[[Sandbox], AbstractContextManager[None]]] = {
    "details 500": lambda box: fails(box, "/campaigns/details", "500", campaign_id=oldest(box.workspace.campaigns)),
    "details 400": lambda box: fails(box, "/campaigns/details", "400", campaign_id=oldest(box.workspace.campaigns)),
    "series 400": lambda box: fails(box, "/campaigns/data_series", "400", campaign_id=oldest(box.workspace.campaigns)),
    "canvas 500": lambda box: fails(box, "/canvas/data_series", "500", canvas_id=oldest(box.workspace.canvases)),
    "list 500": lambda box: fails(box, "/campaigns/list", "500"),
    "kpi 500": lambda box: fails(box, "/kpi/dau/data_series", "500"),
    "not listed": lambda box: unlisted(box, oldest(box.workspace.campaigns)),
    "not tracked": lambda box: untracked(box, next(one.id for one in box.workspace.segments.values() if one.tracked)),
}
"""Why something is not loaded on one night."""


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """What is asked three days later where everything had been loaded the night before."""
    with Sandbox(WorkspaceOptions(today=TODAY, **LONG)) as sandbox:
        nights = Nights(sandbox)
        nights.night(TODAY + 2 * A_DAY, select=SELECT)
        return sorted(map(repr, nights.night(TODAY + 3 * A_DAY, select=SELECT).requests))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_who_is_missed_on_the_night_of_an_earlier_start_date_catches_up(trouble: str, usual: list[str]) -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **LONG)) as sandbox:
        nights = Nights(sandbox)
        nights.night(select=SELECT, start_date=TODAY - 20 * A_DAY)
        with TROUBLES[trouble](sandbox):
            nights.night(TODAY + A_DAY, select=SELECT)
        assert nights.differences()
        nights.night(TODAY + 2 * A_DAY, select=SELECT)
        assert nights.differences() == {}
        assert nights.open == NONE_OPEN
        again = nights.night(TODAY + 3 * A_DAY, select=SELECT)
        assert sorted(map(repr, again.requests)) == usual


def test_older_days_that_fail_are_named_and_asked_for_again_and_newer_ones_are_not() -> None:
    """Of a Canvas's older windows, one always fails: it and what is older is asked for until it comes back."""
    broken, now = date(2026, 5, 20), datetime(2026, 9, 1, 3, tzinfo=UTC)
    refused = {broken}

    def answer(path: str, query: Query) -> Any:
        if path == "canvas/list":
            return page("canvases", [{"id": "c", "name": "n", "tags": []}], query)
        if path == "canvas/details":
            seen = {"first_entry": "2026-01-01T00:00:00Z", "last_entry": "2026-08-31T00:00:00Z"}
            return {"created_at": "2026-01-01T00:00:00Z", "draft": False, **seen}
        days = days_asked(query)
        if refused & set(days[1:]):  # the first one may be the overlap
            return Reply(400, {"message": "no"})
        return {"data": {"stats": [{"time": day.isoformat(), "total_stats": {"entries": 1}} for day in days]}}

    with Scripted(answer, opened=date(2026, 4, 1)) as braze:
        nights = braze.nights()
        nights.run(now, "canvas_series", start_date=date(2026, 8, 1))
        (failure,) = nights.run(now + A_DAY, "canvas_series").failures
        assert failure.start_date < broken <= failure.end_date
        assert len(failure.days) == 13
        asked = nights.run(now + 2 * A_DAY, "canvas_series").asked("/canvas/data_series")
        oldest_days = sorted(day for request in asked for day in days_asked(request.params))
        assert oldest_days[0] <= date(2026, 4, 1)
        assert not [day for day in oldest_days if failure.end_date + 2 * A_DAY < day < date(2026, 7, 15)]
        refused.clear()
        nights.run(now + 3 * A_DAY, "canvas_series")
        first, last = date(2026, 4, 1), (now + 3 * A_DAY).date()
        assert nights.days("canvas_daily") == [first + n * A_DAY for n in range((last - first).days + 1)]
        assert nights.open == NONE_OPEN
        assert len(nights.run(now + 4 * A_DAY, "canvas_series").asked("/canvas/data_series")) == 3


def test_what_another_release_had_loaded_is_completed_as_well() -> None:
    """It kept one day for all entities of a resource."""
    with Sandbox(WorkspaceOptions(today=TODAY, **LONG)) as sandbox:
        nights, later = Nights(sandbox), TODAY - 20 * A_DAY
        nights.night(select=SELECT, start_date=later)
        state = json.loads(nights.state)
        for kept in state.values():
            if "cursors" in kept:
                kept["cursors"] = {name: kept["cursors"][name] for name in ("through", "quiet")}
                kept["since"] = later.isoformat()
        nights.state = json.dumps(state)
        nights.night(TODAY + A_DAY, select=SELECT)
        assert nights.differences() == {}
