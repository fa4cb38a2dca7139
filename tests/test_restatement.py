"""What Braze changes after the fact, what it has not computed yet, and the day that is not over."""

from collections.abc import Iterator
from datetime import date, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.catalog import Entity
from sources.braze.planning import Calendar
from sources.braze.series import CAMPAIGN_SERIES, CANVAS_SERIES, SeriesSpec
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.request_log import Asked
from tests.nights import SERIES, SMALL, Nights, utc

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL)) as sandbox:
        yield sandbox


def busy_campaign(sandbox: Sandbox) -> str:
    """A campaign that sends every day."""
    campaigns = sandbox.workspace.campaigns.values()
    return next(c.id for c in campaigns if c.activity.spans and c.activity.spans[-1][1] is None and c.shape == "email")


def days_asked(requests: list[Asked]) -> dict[str, int]:
    """The most days that a request of each series asked for."""
    lengths: dict[str, int] = {}
    for request in requests:
        if "length" in request.params:
            lengths[request.path] = max(lengths.get(request.path, 0), int(request.params["length"]))
    return lengths


def test_figures_of_25_days_ago_restated_are_exact_after_the_next_run(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    nights.night()
    then = TODAY - timedelta(days=25)
    workspace = sandbox.workspace
    workspace.restate(busy_campaign(sandbox), then, unique_recipients=11, **{"messages.email.0.opens": 5})
    canvas = next(c.id for c in workspace.canvases.values() if c.activity.spans)
    workspace.restate(canvas, then, **{"total_stats.entries": 3, "step_stats.0.unique_recipients": 2})
    workspace.restate("kpi", then, dau=7)
    workspace.restate("purchases", then, revenue=1234, quantity=1)
    workspace.restate(next(iter(workspace.events)), then, count=9)
    before = nights.differences()
    assert before["kpi_daily.dau"][1] - before["kpi_daily.dau"][0] == 7
    nights.night(TODAY + ONE_DAY)
    assert nights.differences() == {}


@given(
    lookback=st.integers(0, 120),
    cursor_age=st.integers(1, 400),
    missed=st.integers(0, 60),
    spec=st.sampled_from([CAMPAIGN_SERIES, CANVAS_SERIES]),
)
def test_no_fewer_days_than_the_lookback_and_no_request_for_final_days(
    lookback: int, cursor_age: int, missed: int, spec: SeriesSpec
) -> None:
    """`missed` nights ago was the run before; a day is final that was over and `lookback` days old when it was read."""
    calendar = Calendar(utc(TODAY), ZoneInfo("UTC"), lookback)
    cursor = TODAY - timedelta(days=1 + missed + 1)
    entity = Entity("e", {}, {}, begins=TODAY - timedelta(days=cursor_age))
    spans = calendar.requests(spec, entity, cursor)
    days = sorted({day for span in spans for day in span.days()})
    due = {TODAY - timedelta(days=age) for age in range(max(lookback, 1) + missed + 1)} | {TODAY}
    due = {day for day in due if day >= entity.begins}
    assert due <= set(days)
    assert days == sorted(set(days))
    wanted = (TODAY - max(entity.begins, min(due))).days + 1
    assert len(spans) == max(1, -(-wanted // spec.days_per_request))


def test_the_current_day_is_loaded_and_never_frozen(sandbox: Sandbox) -> None:
    nights, campaign = Nights(sandbox), busy_campaign(sandbox)
    nights.night(at=wall_time(3))
    early = nights.rows("campaign_daily", campaign_id=campaign, date=TODAY)
    sandbox.workspace.restate(campaign, TODAY, unique_recipients=50)
    nights.night(at=wall_time(22))
    late = nights.rows("campaign_daily", campaign_id=campaign, date=TODAY)
    assert late[0]["unique_recipients"] == early[0]["unique_recipients"] + 50
    nights.night(TODAY + ONE_DAY)
    assert nights.differences() == {}


def test_nights_without_a_run_leave_nothing_behind(sandbox: Sandbox) -> None:
    nights = Nights(sandbox, lookback_days=30)
    nights.night()
    nights.night(TODAY + timedelta(days=41))
    assert nights.differences() == {}


def test_days_that_were_young_before_nights_without_a_run_are_read_again() -> None:
    """20 days old at the last run, restated when 29 days old, 45 days old at the next run."""
    options = WorkspaceOptions(today=TODAY, **SMALL | {"days": 300}, restated=False)
    with Sandbox(options) as sandbox:
        nights, then = Nights(sandbox), TODAY - timedelta(days=20)
        canvas = next(c.id for c in sandbox.workspace.canvases.values() if c.activity.spans)
        nights.night()
        sandbox.workspace.restate("sessions", then, sessions=13)
        sandbox.workspace.restate(canvas, then, **{"total_stats.entries": 3})
        nights.night(TODAY + timedelta(days=25))
        assert nights.differences() == {}


def test_a_standing_api_loses_no_day_and_freezes_none(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    nights.night()
    sandbox.set(frozen_on=TODAY)
    standing = [nights.night(TODAY + timedelta(days=day), select=SERIES) for day in range(1, 11)]
    last = standing[-1]
    assert {failure.start_date for failure in last.failures} == {TODAY + ONE_DAY}
    assert all("missing" in failure.message for failure in last.failures)
    assert nights.differences() == {}
    sandbox.set(frozen_on=None)
    moved_on = nights.night(TODAY + timedelta(days=11), select=SERIES)
    assert moved_on.failures == []
    assert len(moved_on.resolved) == sum(len(night.failures) for night in standing)
    assert nights.differences() == {}


def test_a_standing_api_is_one_failure_and_no_second_request_for_each_entity() -> None:
    sizes = SMALL | {"campaigns": 120}
    with Sandbox(WorkspaceOptions(today=TODAY, campaign_shapes=("email",), **sizes)) as sandbox:
        nights = Nights(sandbox, concurrency=4)
        nights.night(select="campaign_series")
        sandbox.set(frozen_on=TODAY - ONE_DAY)
        standing = nights.night(TODAY + ONE_DAY, select="campaign_series")
        (failure,) = standing.failures
        assert (failure.entity_id, failure.start_date, failure.end_date) == ("*", TODAY, TODAY)
        asked = len(standing.asked("/campaigns/data_series"))
        entities = len({request.params["campaign_id"] for request in standing.asked("/campaigns/data_series")})
        assert entities + 20 <= asked < entities + 80
        sandbox.set(frozen_on=None)
        moved_on = nights.night(TODAY + timedelta(days=2), select="campaign_series")
        assert moved_on.failures == []
        assert [f.run_id for f in moved_on.resolved] == [failure.run_id]
        assert nights.differences() == {}


def test_the_lookback_grows_as_far_as_a_request_reaches(sandbox: Sandbox) -> None:
    """99 days of a campaign and 13 of a Canvas cost one request; neither a day before the first activity."""
    nights = Nights(sandbox, lookback_days=3)
    nights.night()
    lengths = days_asked(nights.night(TODAY + ONE_DAY).requests)
    assert lengths["/canvas/data_series"] == 14
    assert lengths["/kpi/dau/data_series"] == min(100, SMALL["days"] + 3)
