"""Figures that Braze drops after two weeks, and sums whose days it does not name."""

from datetime import UTC, date, datetime, timedelta

import pytest

from sources.braze.ending_at import CANVASES_ASKED
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import SMALL, Nights
from tests.scripted import Scripted, days_asked, page

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
TODAY = NOW.date()
OPENED = date(2026, 11, 1)


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


class Canvases(Scripted):
    """Canvases without days before `begun` or after `latest`, whose entries on a day are the day's number.

    `counts` says whether the day of `ending_at` belongs to an answer.
    """

    def __init__(self, *ids: str, counts: bool, latest: date, begun: dict[str, date] | None = None) -> None:
        super().__init__(self._said, OPENED)
        self.ids = ids
        self.counts = counts
        self.latest = latest
        self.begun = begun or {}

    def _said(self, path, query):
        if path == "canvas/list":
            return page("canvases", [{"id": canvas, "name": canvas} for canvas in self.ids], query)
        if path == "canvas/details":
            return {"name": "A Canvas", "created_at": f"{OPENED}T00:00:00+00:00", "first_entry": f"{OPENED}T00:00:00Z"}
        days = [day + timedelta(days=self.counts) for day in days_asked(query)]
        begun = self.begun.get(query["canvas_id"], date.min)
        entries = {day: day.day for day in days if begun <= day <= self.latest}
        if path == "canvas/data_summary":
            return {"data": {"name": "A Canvas", "total_stats": {"entries": sum(entries.values())}}}
        stats = [{"time": day.isoformat(), "total_stats": {"entries": number}} for day, number in entries.items()]
        return {"data": {"name": "A Canvas", "stats": stats}}

    def summaries(self):
        nights = self.nights()
        night = nights.run(NOW, "canvas_summary")
        return nights.rows("canvas_summary"), night.asked("/canvas/data_series")


def numbers(summary):
    """The numbers of the days that are the key of `summary`, summed."""
    return sum(day.day for day in Span(summary["start_date"], summary["end_date"]).days())


@pytest.mark.parametrize("latest", [TODAY, TODAY - timedelta(days=1)], ids=["with today", "up to yesterday"])
@pytest.mark.parametrize("counts", [True, False], ids=["inclusive", "exclusive"])
def test_a_summary_sums_the_days_of_its_key_whether_braze_returns_today_or_not(counts, latest):
    with Canvases("canvas-1", counts=counts, latest=latest) as workspace:
        summaries, probes = workspace.summaries()
    assert summaries
    assert len(probes) == 1
    for summary in summaries:
        assert summary["entries"] == numbers(summary), summary


def test_a_canvas_without_figures_does_not_tell_the_reading():
    with Canvases("new", "old", counts=True, latest=TODAY, begun={"new": date.max}) as workspace:
        summaries, probes = workspace.summaries()
    assert summaries
    assert 1 <= len(probes) <= 3
    for summary in summaries:
        assert summary["entries"] == (numbers(summary) if summary["canvas_id"] == "old" else 0), summary


def test_where_no_canvas_tells_the_reading_few_are_asked():
    ids = [f"canvas-{number}" for number in range(15)]
    with Canvases(*ids, counts=True, latest=date.min) as workspace:
        summaries, probes = workspace.summaries()
    assert {summary["canvas_id"] for summary in summaries} == set(ids)
    assert len(probes) == CANVASES_ASKED
