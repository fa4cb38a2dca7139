"""Figures that Braze drops after two weeks, and sums whose days it does not name."""

from datetime import timedelta

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import SMALL, Nights


@pytest.fixture
def sandbox(request):
    options = {**SMALL, "campaigns": 16, "ending_at": getattr(request, "param", "exclusive")}
    with Sandbox(WorkspaceOptions(**options)) as running:
        yield running


def figures(nights, table, **where):
    return sum(row["sent"] or 0 for row in nights.rows(table, **where) if row.get("sent"))


def test_figures_of_sends_outlive_their_two_weeks_in_braze(sandbox):
    today = sandbox.workspace.now().date()
    nights = Nights(sandbox, sends=[f"{campaign}:{send}" for campaign, send in sandbox.workspace.sends])
    nights.night(today, select="sends")
    loaded = figures(nights, "send_message_daily")
    assert loaded > 0
    for ahead in (10, 20, 28):
        nights.night(today + timedelta(days=ahead), select="sends")
        assert figures(nights, "send_message_daily") >= loaded


def test_a_failure_of_a_send_ends_with_the_setting_that_asks_for_it(sandbox):
    today = sandbox.workspace.now().date()
    nights = Nights(sandbox, sends=["no-campaign:no-send"])
    (failure,) = nights.night(today, select="sends").failures
    assert nights.night(today, select="kpis").resolved == []
    assert nights.night(today, select="kpis", sends=[]).resolved[0].entity_id == failure.entity_id
    assert nights.night(today, select="kpis", sends=[]).resolved == []


@pytest.mark.parametrize("sandbox", ["exclusive", "inclusive"], indirect=True)
def test_a_summary_sums_the_days_of_its_key_under_both_readings(sandbox):
    nights = Nights(sandbox)
    nights.night(select="canvas_series,canvas_summary")
    summaries = nights.rows("canvas_summary")
    assert summaries
    for summary in summaries:
        days = [
            row["entries"]
            for row in nights.rows("canvas_daily", canvas_id=summary["canvas_id"])
            if summary["start_date"] <= row["date"] <= summary["end_date"]
        ]
        assert summary["entries"] == sum(days), summary


def test_the_plan_counts_the_request_that_tells_the_reading(sandbox):
    now = sandbox.workspace.now()
    plan = Nights(sandbox).run(now, "canvas_summary", dry=True).planned
    sent = Nights(sandbox).run(now, "canvas_summary").requests
    assert sum(plan.values()) == len(sent)
