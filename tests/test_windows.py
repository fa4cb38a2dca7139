"""Days → requests: every day covered, as few requests as possible, under both readings of `ending_at`."""

from datetime import UTC, date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sources.braze.windows import (
    ONE_DAY,
    Span,
    Unit,
    days_per_request,
    local_day,
    midnight,
    missing,
    request_parameters,
    windows,
)

BERLIN = ZoneInfo("Europe/Berlin")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",  # until 2019 the clock skipped midnight
        "Africa/Cairo",  # skips midnight
        "America/Havana",  # midnight comes twice
        "Australia/Lord_Howe",  # moves by half an hour
        "Asia/Kathmandu",
        "Asia/Tehran",  # until 2022 it skipped midnight, at half past an hour of UTC
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
    )
]
DAYS = st.dates(date(2013, 1, 1), date(2030, 12, 31))
CAPS = st.sampled_from([14, 100])


@st.composite
def spans(draw: st.DrawFn, longest: int = 800) -> Span:
    first = draw(DAYS)
    return Span(first, first + timedelta(days=draw(st.integers(0, longest))))


def days_in(cut: list[Span]) -> list[date]:
    return [day for span in cut for day in span.days()]


@given(spans(), CAPS)
def test_windows_cover_every_day_once_with_the_fewest_requests(span: Span, cap: int) -> None:
    cut = windows(span, cap - 1)
    assert days_in(cut) == list(span.days())
    assert len(cut) == ceil(len(span) / (cap - 1))
    assert all(len(window) <= cap - 1 for window in cut)


@given(spans(), CAPS, st.integers(0, 300))
def test_what_a_floor_adds_is_older_and_costs_no_request(span: Span, cap: int, older: int) -> None:
    floor = span.first - timedelta(days=older)
    cut = windows(span, cap - 1, floor)
    assert len(cut) == len(windows(span, cap - 1))
    assert days_in(cut) == list(Span(cut[0].first, span.last).days())
    assert floor <= cut[0].first <= span.first
    assert len(cut[0]) == min(cap - 1, (cut[0].last - floor).days + 1)


def test_no_days_need_no_request() -> None:
    assert windows(Span(date(2026, 3, 2), date(2026, 3, 1)), 99) == []


def answered_days(parameters: dict[str, str | int], zone: ZoneInfo, inclusive: bool) -> Span:
    """What Braze answers by day: `length` days, the last one being that of `ending_at` or the one before."""
    ending = datetime.fromisoformat(str(parameters["ending_at"])).astimezone(zone)
    at_midnight = (ending.hour, ending.minute, ending.second) == (0, 0, 0)
    last = ending.date() - (ONE_DAY if at_midnight and not inclusive else timedelta())
    return Span(last - timedelta(days=int(parameters["length"]) - 1), last)


@given(spans(99), CAPS, st.sampled_from(ZONES), st.booleans())
@example(Span(date(2018, 10, 1), date(2018, 11, 3)), 100, SAO_PAULO, False)  # ends at a midnight that was skipped
@example(Span(date(2018, 11, 4), date(2018, 11, 4)), 14, SAO_PAULO, True)
@example(Span(date(2026, 3, 28), date(2026, 3, 29)), 14, BERLIN, False)
@example(Span(date(2026, 10, 24), date(2026, 10, 25)), 14, BERLIN, True)
def test_either_reading_of_ending_at_answers_the_days_asked_for(
    span: Span, cap: int, zone: ZoneInfo, inclusive: bool
) -> None:
    for window in windows(span, days_per_request(cap, Unit.DAY)):
        parameters = request_parameters(window, Unit.DAY, zone)
        assert 1 <= int(parameters["length"]) <= cap
        answered = answered_days(parameters, zone, inclusive)
        assert window.first in answered
        assert window.last in answered


def hour_starts(day: date, zone: ZoneInfo) -> list[datetime]:
    """The hours of a workspace day: from its midnight on, every sixty minutes, until the next one."""
    begin, end = midnight(day, zone).astimezone(UTC), midnight(day + ONE_DAY, zone).astimezone(UTC)
    return [begin + timedelta(hours=hour) for hour in range(ceil((end - begin) / timedelta(hours=1)))]


def answered_hours(parameters: dict[str, str | int], zone: ZoneInfo, inclusive: bool) -> list[datetime]:
    ending = datetime.fromisoformat(str(parameters["ending_at"])).astimezone(UTC)
    around = Span(ending.astimezone(zone).date() - timedelta(days=8), ending.astimezone(zone).date())
    starts = [start for day in around.days() for start in hour_starts(day, zone)]
    known = [start for start in starts if start < ending or (inclusive and start == ending)]
    return known[-int(parameters["length"]) :]


@given(spans(30), st.sampled_from(ZONES), st.booleans())
@example(Span(date(2026, 3, 26), date(2026, 3, 29)), BERLIN, True)  # 23 hours
@example(Span(date(2026, 10, 22), date(2026, 10, 25)), BERLIN, True)  # 25 hours
@example(Span(date(2026, 4, 2), date(2026, 4, 5)), ZoneInfo("Australia/Lord_Howe"), True)  # 24 and a half
@example(Span(date(2026, 10, 1), date(2026, 10, 4)), ZoneInfo("Australia/Lord_Howe"), False)  # 23 and a half
@example(Span(date(2018, 11, 1), date(2018, 11, 4)), SAO_PAULO, False)
def test_either_reading_answers_every_hour_of_the_days_asked_for(span: Span, zone: ZoneInfo, inclusive: bool) -> None:
    cut = windows(span, days_per_request(100, Unit.HOUR))
    assert len(cut) == ceil(len(span) / 4)
    for window in cut:
        parameters = request_parameters(window, Unit.HOUR, zone)
        assert 1 <= int(parameters["length"]) <= 100
        wanted = {start for day in window.days() for start in hour_starts(day, zone)}
        assert wanted <= set(answered_hours(parameters, zone, inclusive))


@given(spans(30), st.sampled_from(ZONES), st.booleans())
@example(Span(date(2026, 3, 9), date(2026, 3, 9)), ZoneInfo("Asia/Kathmandu"), False)  # midnight is 18:15 UTC
@example(Span(date(2026, 10, 30), date(2026, 11, 2)), ZoneInfo("America/St_Johns"), True)  # 25 hours, and half past
def test_either_reading_answers_every_hour_that_utc_counts(span: Span, zone: ZoneInfo, inclusive: bool) -> None:
    """Where midnight is no full hour of UTC, the hours of a day that Braze counts by UTC are not those of the zone."""
    for window in windows(span, days_per_request(100, Unit.HOUR)):
        parameters = request_parameters(window, Unit.HOUR, zone)
        assert 1 <= int(parameters["length"]) <= 100
        ending = datetime.fromisoformat(str(parameters["ending_at"])).astimezone(UTC).replace(minute=0)
        last = ending if inclusive else ending - timedelta(hours=1)
        answered = [last - timedelta(hours=hour) for hour in range(int(parameters["length"]))]
        begin, end = midnight(window.first, zone).timestamp(), midnight(window.last + ONE_DAY, zone).timestamp()
        wanted = range(ceil(begin / 3600) * 3600, ceil(end / 3600) * 3600, 3600)
        assert {datetime.fromtimestamp(start, UTC) for start in wanted} <= set(answered)


@pytest.mark.parametrize(
    ("zone", "day", "instant"),
    [
        ("UTC", date(2026, 3, 29), datetime(2026, 3, 29, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 3, 30), datetime(2026, 3, 29, 22, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 10, 26), datetime(2026, 10, 25, 23, tzinfo=UTC)),
        ("Africa/Cairo", date(2024, 4, 26), datetime(2024, 4, 25, 22, tzinfo=UTC)),  # 00:00 does not exist
        ("America/Havana", date(2025, 11, 2), datetime(2025, 11, 2, 4, tzinfo=UTC)),  # the first of two
    ],
)
def test_midnight_is_the_first_instant_of_the_day(zone: str, day: date, instant: datetime) -> None:
    assert midnight(day, ZoneInfo(zone)).astimezone(UTC) == instant
    assert local_day(instant, ZoneInfo(zone)) == day
    assert local_day(instant - timedelta(seconds=1), ZoneInfo(zone)) == day - ONE_DAY


@given(DAYS, st.sampled_from(ZONES), st.integers(0, 22), st.integers(0, 59))
def test_every_moment_after_midnight_is_on_that_day(day: date, zone: ZoneInfo, hour: int, minute: int) -> None:
    moment = midnight(day, zone).astimezone(UTC) + timedelta(hours=hour, minutes=minute)
    assert local_day(moment, zone) == day


def test_the_runners_own_zone_does_not_matter() -> None:
    late = datetime(2026, 3, 30, 6, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert local_day(late, BERLIN) == date(2026, 3, 29)


@given(spans(40), st.data())
def test_missing_is_the_smallest_span_around_the_closed_days_that_did_not_come(span: Span, data: st.DataObject) -> None:
    returned = data.draw(st.sets(st.sampled_from(list(span.days()))))
    through = data.draw(st.sampled_from([span.first - ONE_DAY, *span.days(), span.last + ONE_DAY]))
    absent = [day for day in span.days() if day <= through and day not in returned]
    expected = Span(absent[0], absent[-1]) if absent else None
    assert missing(span, returned, through) == expected


@given(spans(40), st.integers(-50, 50))
def test_a_span_contains_its_days_and_no_others(span: Span, offset: int) -> None:
    day = span.first + timedelta(days=offset)
    assume(day not in (span.first, span.last))
    assert (day in span) == (day in set(span.days()))
    assert len(span) == len(list(span.days()))
