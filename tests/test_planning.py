"""Which days a run asks for: never too few, never a request too many, and who may be left alone for a night."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sources.braze import series
from sources.braze.catalog import Entity
from sources.braze.cursors import Cursors
from sources.braze.planning import Calendar, rests
from sources.braze.windows import ONE_DAY, Span

TODAY = date(2026, 4, 10)
NOW = datetime.combine(TODAY, time(12), UTC)
UTC_ZONE = ZoneInfo("UTC")


def entity(begins: date | None, last_active: date | None = None, edited: datetime | None = None) -> Entity:
    return Entity("c1", {"campaign_id": "c1"}, {"campaign_id": "c1"}, begins, last_active, edited)


def calendar(today: date = TODAY, lookback: int = 30, only: Span | None = None, start: date | None = None) -> Calendar:
    return Calendar(datetime.combine(today, time(12), UTC), UTC_ZONE, lookback, start, only)


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def asked_days(spans: list[Span]) -> list[date]:
    return [day for span in spans for day in span.days()]


@pytest.mark.parametrize(
    ("now", "zone", "today"),
    [
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 30)),
        (datetime(2026, 10, 25, 22, 59, tzinfo=UTC), "Europe/Berlin", date(2026, 10, 25)),
        (datetime(2026, 10, 25, 23, 0, tzinfo=UTC), "Europe/Berlin", date(2026, 10, 26)),
        (datetime(2026, 4, 10, 23, 59, tzinfo=ZoneInfo("Asia/Tokyo")), "America/New_York", date(2026, 4, 10)),
        (datetime(2026, 4, 10, 12, 59, tzinfo=ZoneInfo("Asia/Tokyo")), "America/New_York", date(2026, 4, 9)),
    ],
)
def test_today_is_the_workspaces_day(now: datetime, zone: str, today: date) -> None:
    run = Calendar(now, ZoneInfo(zone), 30)
    assert (run.today, run.yesterday, run.settled) == (today, today - ONE_DAY, today - timedelta(days=31))


# What is asked for

SPECS = st.sampled_from([series.CAMPAIGN_SERIES, series.CANVAS_SERIES, series.SEGMENT_SERIES, *series.HOURLY])


@given(SPECS, st.integers(0, 400), st.none() | st.integers(1, 400), st.integers(0, 365))
def test_a_sync_asks_for_the_lookback_and_what_is_not_loaded_in_the_fewest_requests(
    spec: series.SeriesSpec, age: int, loaded_ago: int | None, lookback: int
) -> None:
    begins = ago(age)
    cursor = None if loaded_ago is None else ago(loaded_ago)
    run = calendar(lookback=lookback)
    spans = run.requests(spec, entity(begins), cursor)
    oldest_needed = begins
    if cursor is not None:
        young_then = cursor + timedelta(days=2 - lookback)  # not yet final on the day after the cursor, when it moved
        oldest_needed = max(begins, min(cursor + ONE_DAY, young_then, ago(lookback)))
    needed = Span(oldest_needed, TODAY)
    asked = asked_days(spans)
    assert asked == sorted(set(asked))
    assert set(needed.days()) <= set(asked)
    assert min(asked) >= begins
    assert len(spans) == ceil(len(needed) / spec.days_per_request)
    assert all(len(span) <= spec.days_per_request for span in spans)


@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 90))
def test_the_start_date_is_the_earliest_day_asked_for(begins: int, start: int, loaded: int) -> None:
    run = calendar(start=ago(start))
    asked = asked_days(run.requests(series.CAMPAIGN_SERIES, entity(ago(begins)), ago(loaded)))
    assert min(asked) == max(ago(begins), ago(start))


def test_a_series_of_the_workspace_goes_back_two_years_unless_a_start_date_is_set() -> None:
    assert asked_days(calendar().requests(series.KPIS, entity(None), None))[0] == ago(730)
    assert asked_days(calendar(start=ago(5)).requests(series.KPIS, entity(None), None))[0] == ago(5)


@given(SPECS, st.integers(0, 300), st.integers(0, 200), st.integers(0, 300), st.none() | st.integers(0, 300))
def test_a_backfill_asks_for_its_range_and_nothing_else(
    spec: series.SeriesSpec, first: int, length: int, begins: int, loaded: int | None
) -> None:
    only = Span(ago(first), ago(first) + timedelta(days=length))
    cursor = None if loaded is None else ago(loaded)
    asked = asked_days(calendar(only=only).requests(spec, entity(ago(begins)), cursor))
    done = only.first if cursor is None else cursor + ONE_DAY
    wanted = Span(max(only.first, ago(begins), done), min(only.last, TODAY))
    assert asked == list(wanted.days())


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=5))
def test_days_that_failed_are_asked_for_again_and_no_day_twice(failed: list[tuple[int, int]]) -> None:
    spans = [Span(ago(start), min(TODAY, ago(start) + timedelta(days=length))) for start, length in failed]
    asked = asked_days(calendar().requests(series.CAMPAIGN_SERIES, entity(ago(300)), ago(1), spans))
    assert asked == sorted(set(asked))
    assert {day for span in spans for day in span.days()} <= set(asked)


@given(st.integers(0, 60), st.integers(0, 60))
def test_summaries_are_fixed_blocks_of_fourteen_closed_days(start: int, length: int) -> None:
    only = Span(ago(start), min(TODAY, ago(start) + timedelta(days=length)))
    blocks = calendar(only=only).requests(series.CANVAS_SUMMARY, entity(ago(400)), None)
    assert all(len(block) == 14 and block.last < TODAY and block.first.toordinal() % 14 == 0 for block in blocks)
    covered = {day for block in blocks for day in block.days()}
    unfinished = TODAY - timedelta(days=TODAY.toordinal() % 14)
    assert {day for day in only.days() if day < unfinished} <= covered


# Who rests


def asked(run: Calendar, campaign: Entity, cursors: Cursors) -> bool:
    return not rests(run, series.CAMPAIGN_SERIES, campaign, cursors)


class Nights:
    """Nights of one campaign, as `Extraction` runs them: what the API says then, what the warehouse has."""

    def __init__(self, lookback: int, figure: Callable[[date, date], int]) -> None:
        self._lookback = lookback
        self._figure = figure
        self._cursors = Cursors()
        self.warehouse: dict[date, int] = {}
        self.visits: list[date] = []

    def run(self, today: date, campaign: Entity) -> bool:
        """One night; says whether the campaign was asked."""
        assert campaign.begins
        run = calendar(today, self._lookback)
        if not asked(run, campaign, self._cursors):
            return False
        answer: dict[date, int] = {}
        for span in run.requests(series.CAMPAIGN_SERIES, campaign, self._cursors.get("c1")):
            answer |= {day: self._figure(day, today) for day in span.days()}
            self._cursors.start("c1", campaign.begins)
            if span.first < today:
                self._cursors.advance("c1", Span(span.first, min(span.last, run.yesterday)))
        active = max((day for day, figure in answer.items() if figure), default=None)
        self._cursors.mark_quiet("c1", active is None or active <= run.settled)
        self.warehouse |= answer
        self.visits.append(today)
        return True


@given(
    st.sets(st.integers(0, 150), min_size=1, max_size=5),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 6),
)
@example({0, 60}, 12, 12, 0)  # wakes after a long rest, without any edit
def test_no_campaign_rests_while_its_figures_move_and_each_is_seen_weekly(
    sends: set[int], tail: int, lookback: int, phase: int
) -> None:
    """Figures come up to `tail` days after a send and are final after `lookback` days, as Braze restates them."""
    tail = min(tail, lookback)
    first = TODAY + timedelta(days=phase)
    send_days = {first + timedelta(days=offset) for offset in sends}

    def figure(day: date, on: date) -> int:
        lively = any(0 <= (day - sent).days <= tail for sent in send_days)
        return 1000 + min((on - day).days, lookback) if lively and day <= on else 0

    nights = Nights(lookback, figure)
    for night in range(min(sends), 190):
        today = first + timedelta(days=night)
        sent_so_far = {day for day in send_days if day <= today}
        campaign = entity(min(send_days), max(sent_so_far))
        if not nights.run(today, campaign):
            for offset in range((today - min(send_days)).days):
                closed = min(send_days) + timedelta(days=offset)
                assert nights.warehouse.get(closed, 0) == figure(closed, today), (closed, today)
    gaps = [(later - earlier).days for earlier, later in zip(nights.visits, nights.visits[1:], strict=False)]
    assert max(gaps, default=0) <= 7
    assert len(nights.visits) < 190 - min(sends), "it never rested at all"


RESTING = entity(ago(300), last_active=ago(100))


def at_rest(campaign: Entity = RESTING, loaded: date | None = None) -> Cursors:
    cursors = Cursors()
    cursors.start(campaign.id, (loaded or ago(3)) + ONE_DAY)
    cursors.mark_quiet(campaign.id, True)
    return cursors


def nights_asked(campaign: Entity, cursors: Cursors, nights: int = 5) -> int:
    return sum(asked(calendar(ago(2) + timedelta(days=night)), campaign, cursors) for night in range(nights))


def test_a_resting_campaign_is_asked_once_in_seven_nights() -> None:
    cursors = at_rest(loaded=ago(1))
    assert sum(asked(calendar(TODAY + timedelta(days=night)), RESTING, cursors) for night in range(7)) == 1


def test_who_was_edited_since_is_asked() -> None:
    edited = replace(RESTING, edited=datetime.combine(ago(2), time(1), UTC))
    assert nights_asked(edited, at_rest()) == 5


def test_who_sent_within_the_lookback_is_asked() -> None:
    assert nights_asked(replace(RESTING, last_active=ago(28)), at_rest()) == 5


def test_who_had_figures_when_last_asked_is_asked() -> None:
    cursors = at_rest()
    cursors.mark_quiet("c1", False)
    assert nights_asked(RESTING, cursors) == 5


def test_who_was_never_loaded_is_asked() -> None:
    cursors = Cursors()
    cursors.mark_quiet("c1", True)
    assert nights_asked(RESTING, cursors) == 5


def test_who_was_missed_for_a_week_is_asked() -> None:
    assert nights_asked(RESTING, at_rest(loaded=ago(10))) == 5


def test_a_backfill_asks_everybody() -> None:
    run = calendar(only=Span(ago(200), ago(100)))
    assert asked(run, RESTING, at_rest())


def test_what_is_not_dormant_by_nature_never_rests() -> None:
    run = calendar()
    assert not any(rests(run, spec, RESTING, at_rest()) for spec in (*series.DAILY, *series.HOURLY) if not spec.dormant)
