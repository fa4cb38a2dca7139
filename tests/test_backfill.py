"""A closed range of days: exact, resumable, and nothing to the nightly cursors."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import NONE_OPEN, SERIES, SMALL, Nights, Row

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
RANGE = Span(date(2026, 2, 3), date(2026, 2, 24))
OWN_START = ("campaign", "canvas", "segment", "card")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL)) as sandbox:
        yield sandbox


def dated(nights: Nights, span: Span | None = None) -> dict[str, list[Row]]:
    """The rows of every table that has days, sorted; those of `span`."""
    return {
        name: sorted((row for row in rows if span is None or row["date"] in span), key=_content)
        for name, rows in nights.tables.items()
        if name.endswith("_daily")
    }


def _content(row: Row) -> str:
    return repr(sorted(row.items()))


def backfill(nights: Nights, span: Span = RANGE, **options: Any) -> Any:
    return nights.run(nights.sandbox.workspace.now(), options.pop("select", SERIES), only=span, **options)


def series_requests(night: Any) -> Counter[str]:
    return Counter(request.path for request in night.requests if "series" in request.path)


def test_both_ends_are_included_and_nothing_else(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    backfill(nights)
    assert nights.days("session_daily") == list(RANGE.days())
    for table, rows in dated(nights).items():
        assert {row["date"] for row in rows} <= set(RANGE.days()), table


def test_a_single_day(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    backfill(nights, Span(RANGE.first, RANGE.first))
    assert nights.days("session_daily") == [RANGE.first]


def test_rows_are_those_that_a_sync_loads(sandbox: Sandbox) -> None:
    filled, synced = Nights(sandbox), Nights(sandbox)
    backfill(filled)
    synced.night()
    assert dated(filled) == dated(synced, RANGE)


def test_cursors_and_open_failures_of_the_nights_stay(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    campaign = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": campaign})
    nights.night()
    before, failures = nights.state, nights.open
    backfill(nights, Span(RANGE.first, TODAY), select="campaigns,canvas_series,kpis")
    assert json.loads(nights.state) == json.loads(before)
    assert json.loads(nights.open) == json.loads(failures)
    sandbox.mend()
    assert nights.night(TODAY + ONE_DAY).failures == []
    assert nights.differences() == {}


def test_a_backfill_asks_only_for_its_days_of_what_failed_before(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    campaign = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": campaign})
    nights.night()
    sandbox.mend()
    backfill(nights)
    assert nights.days("campaign_daily", campaign_id=campaign) == [
        day for day in RANGE.days() if day.toordinal() >= sandbox.workspace.campaigns[campaign].activity.first()
    ]
    assert len(json.loads(nights.open)["open"]) == 1


@pytest.mark.parametrize("select", [SERIES, "campaigns,campaign_series", "events,event_series,purchases,kpis"])
@pytest.mark.parametrize("span", [RANGE, Span(date(2025, 6, 1), TODAY), Span(TODAY, TODAY)])
def test_the_plan_is_exact(sandbox: Sandbox, select: str, span: Span) -> None:
    nights = Nights(sandbox, app_ids=sandbox.workspace.apps[:1])
    planned = backfill(nights, span, select=select, dry=True)
    assert series_requests(planned) == Counter()
    sent = backfill(nights, span, select=select)
    assert {f"/{path}": count for path, count in planned.planned.items() if count} == Counter(
        request.path for request in sent.requests
    )


def test_the_plan_of_a_night_is_exact(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    for day in range(3):
        sandbox.set(today=TODAY + day * ONE_DAY)
        planned = nights.run(sandbox.workspace.now(), dry=True).planned
        sent = nights.night()
        assert {f"/{path}": n for path, n in planned.items() if n} == Counter(r.path for r in sent.requests)


def test_a_killed_backfill_of_three_years_goes_on_where_it_was() -> None:
    """Killed five times after a few requests, with nights in between: no request is sent again but those in flight."""
    years = Span(TODAY - timedelta(days=3 * 365), TODAY - ONE_DAY)
    options = WorkspaceOptions(today=TODAY, **SMALL | {"days": 3 * 365, "canvases": 1, "campaigns": 6})
    with Sandbox(options) as sandbox:
        whole = backfill(Nights(sandbox), years, select="campaign_series,canvas_series,kpis")
        due = series_requests(whole).total()
        nights = Nights(sandbox, concurrency=2)
        nights.night(select="kpis,sessions")
        for kill in range(5):
            backfill(nights, years, select="campaign_series,canvas_series,kpis", requests=due // 5)
            if kill == 2:
                nights.night(TODAY + ONE_DAY, select="kpis,sessions")
        rest = series_requests(backfill(nights, years, select="campaign_series,canvas_series,kpis"))
        assert rest.total() < 0.75 * due
        assert nights.night(select="campaign_series,canvas_series,kpis").failures == []
        assert nights.differences() == {}
        assert [
            section for name in json.loads(nights.state).values() for section in name if "backfill" in section
        ] == []


def test_a_backfill_with_a_failure_keeps_what_it_has_and_asks_for_the_rest(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    first = RANGE.first.toordinal()
    campaign = next(c.id for c in sandbox.workspace.campaigns.values() if (c.activity.first() or first + 1) <= first)
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": campaign})
    assert len(backfill(nights).failures) == 1
    sandbox.mend()
    again = backfill(nights)
    assert {request.params["campaign_id"] for request in again.asked("/campaigns/data_series")} == {campaign}
    assert series_requests(again) == Counter({"/campaigns/data_series": 1})
    assert len(again.resolved) == 1
    assert nights.open == NONE_OPEN


@pytest.mark.parametrize("fails", [False, True])
def test_a_backfill_that_has_ended_reads_its_days_again(sandbox: Sandbox, fails: bool) -> None:
    """One that failed in part does so from the next day on: what always fails must not freeze the rest."""
    nights = Nights(sandbox)
    if fails:
        campaign = next(iter(sandbox.workspace.campaigns))
        sandbox.fail("/campaigns/details", "400", {"campaign_id": campaign})
    first = series_requests(backfill(nights))
    sandbox.set(today=TODAY + ONE_DAY)
    again = series_requests(backfill(nights))
    assert again == first
    assert again.total() > 20
