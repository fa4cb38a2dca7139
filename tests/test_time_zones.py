"""Days are the workspace's: in every zone, through both changes of the clock, whatever the runner's clock shows."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.entities import hours_of
from tests.loopback import Reply
from tests.nights import Nights
from tests.scripted import Query, Scripted, days_asked, page

ONE_DAY = timedelta(days=1)
SIZES = {"campaigns": 6, "canvases": 2, "segments": 2, "cards": 2, "events": 2, "products": 1, "users": 1, "days": 40}
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
EVERYTHING = "campaign_series,canvas_series,segment_series,card_series,kpis,sessions,event_series,purchases"


@pytest.mark.parametrize("ending_at", ["exclusive", "inclusive"])
@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("Europe/Berlin", SPRING),
        ("Europe/Berlin", AUTUMN),
        ("America/Santiago", date(2026, 9, 6)),  # midnight itself is skipped
        ("Asia/Kathmandu", SPRING),
        ("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour
        ("Pacific/Kiritimati", SPRING),
        ("America/Los_Angeles", date(2026, 11, 1)),
    ],
)
def test_the_nights_round_a_change_of_the_clock(zone: str, changes: date, ending_at: str) -> None:
    options = WorkspaceOptions(today=changes - ONE_DAY, time_zone=zone, ending_at=ending_at, **SIZES)  # type: ignore[arg-type]
    with Sandbox(options) as sandbox:
        nights = Nights(sandbox)
        for day in range(-1, 3):
            night = nights.night(changes + day * ONE_DAY, select=EVERYTHING)
            assert night.failures == []
        assert nights.differences() == {}
        assert nights.days("session_daily")[-4:] == [changes + day * ONE_DAY for day in range(-1, 3)]


@pytest.mark.parametrize(("changes", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_hours_of_the_days_on_which_the_clock_changes(changes: date, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    options = WorkspaceOptions(today=changes + 2 * ONE_DAY, time_zone=zone.key, **SIZES)
    with Sandbox(options) as sandbox:
        nights = Nights(sandbox, hourly=True)
        assert nights.night(select="sessions,event_series,purchases,card_series").failures == []
        assert nights.differences() == {}
        by_day = Counter(row["hour"].astimezone(zone).date() for row in nights.rows("session_hourly"))
        assert by_day[changes] == hours == len(hours_of(changes.toordinal(), zone))
        assert by_day[changes - ONE_DAY] == 24


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_a_minute_before_and_at_midnight(zone: str) -> None:
    day = date(2026, 3, 8)  # the clock changes in New York
    with Sandbox(WorkspaceOptions(today=day, time_zone=zone, **SIZES)) as sandbox:
        nights = Nights(sandbox)
        nights.night(day, at=wall_time(23, 59), select=EVERYTHING)
        assert nights.days("session_daily")[-1] == day
        nights.night(day + ONE_DAY, at=wall_time(0, 0), select=EVERYTHING)
        assert nights.days("session_daily")[-1] == day + ONE_DAY
        nights.night(day + ONE_DAY, at=wall_time(0, 1), select=EVERYTHING)
        assert nights.differences() == {}
        assert nights.days("session_daily") == sorted(set(nights.days("session_daily")))


@pytest.mark.parametrize("runner", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"])
def test_the_runner_may_be_in_another_zone(runner: str) -> None:
    """The same instant on a clock that shows another date."""
    day = date(2026, 3, 20)
    with Sandbox(WorkspaceOptions(today=day, time_zone="America/New_York", **SIZES)) as sandbox:
        here, there = Nights(sandbox), Nights(sandbox)
        sandbox.set(time_of_day=wall_time(23, 30))
        now: datetime = sandbox.workspace.now()
        first = here.run(now, EVERYTHING)
        second = there.run(now.astimezone(ZoneInfo(runner)), EVERYTHING)
        asked = [Counter((r.path, *sorted(r.params.items())) for r in night.requests) for night in (first, second)]
        assert asked[0] == asked[1]
        assert here.differences() == there.differences() == {}


# The setting is corrected


WEST, EAST = "UTC", "Asia/Tokyo"
SENT = datetime(2026, 2, 3, 23, tzinfo=UTC)
"""The next morning in Tokyo."""
NIGHT = datetime(2026, 3, 20, 3, 30, tzinfo=UTC)


class OneSend:
    """A workspace of one campaign that sent a hundred e-mails at one moment; `zone` is that of its days.

    `broken` says that the details are; `kept_since` that there are no figures of earlier days.
    """

    def __init__(self, zone: str = WEST) -> None:
        self.zone = ZoneInfo(zone)
        self.broken = False
        self.kept_since = date.min

    def answer(self, path: str, query: Query) -> Any:
        if path == "campaigns/list":
            return page("campaigns", [{"id": "c", "name": "n", "tags": []}], query)
        if path == "campaigns/details":
            sent = {"first_sent": SENT.isoformat(), "last_sent": SENT.isoformat()}
            return Reply(400, {"message": "no"}) if self.broken else {"created_at": "2026-01-01T00:00:00Z", **sent}
        counter = "conversions" if path.startswith("campaigns") else "sessions"
        day_sent = SENT.astimezone(self.zone).date()
        days = [day for day in days_asked(query) if day >= self.kept_since]
        return {"data": [{"time": day.isoformat(), counter: 100 * (day == day_sent)} for day in days]}


@pytest.fixture
def one_send() -> Iterator[tuple[OneSend, Nights]]:
    workspace = OneSend()
    with Scripted(workspace.answer, opened=date(2020, 1, 1)) as braze:
        yield workspace, braze.nights(start_date=None)


def total(nights: Nights, table: str, column: str) -> int:
    return sum(row.get(column, 0) for row in nights.rows(table))


def zone_days(nights: Nights, table: str) -> list[date]:
    days = nights.days(table)
    assert days == [days[0] + n * ONE_DAY for n in range(len(days))]
    return days


def test_a_zone_further_east_leaves_nothing_of_the_old_first_day(one_send: tuple[OneSend, Nights]) -> None:
    workspace, nights = one_send
    nights.run(NIGHT, "campaign_series", time_zone=WEST)
    workspace.zone = ZoneInfo(EAST)
    for n in (1, 2):
        assert nights.run(NIGHT + n * ONE_DAY, "campaign_series", time_zone=EAST).failures == []
        assert total(nights, "campaign_daily", "conversions") == 100
        assert zone_days(nights, "campaign_daily")[0] == date(2026, 2, 3)


@pytest.mark.parametrize("between", ["broken details", "backfill", "killed"])
def test_the_old_first_day_is_overwritten_even_if_the_night_after_the_change_is_not_the_one(
    one_send: tuple[OneSend, Nights], between: str
) -> None:
    workspace, nights = one_send
    nights.run(NIGHT, "campaign_series,sessions", time_zone=WEST)
    workspace.zone = ZoneInfo(EAST)
    workspace.broken = between == "broken details"
    only = Span(date(2026, 3, 1), date(2026, 3, 5)) if between == "backfill" else None
    killed_after = 1 if between == "killed" else None
    select = "campaign_series,sessions"
    nights.run(NIGHT + ONE_DAY, select, time_zone=EAST, only=only, requests=killed_after)
    workspace.broken = False
    nights.run(NIGHT + 2 * ONE_DAY, select, time_zone=EAST)
    assert total(nights, "campaign_daily", "conversions") == 100
    assert total(nights, "session_daily", "sessions") == 100


def test_a_zone_is_changed_when_braze_has_no_figures_of_the_day_before(one_send: tuple[OneSend, Nights]) -> None:
    workspace, nights = one_send
    nights.run(NIGHT, "campaign_series", time_zone=WEST)
    workspace.zone, workspace.kept_since = ZoneInfo(EAST), date(2026, 2, 4)
    night = nights.run(NIGHT + ONE_DAY, "campaign_series", time_zone=EAST)
    assert night.failures == []
    assert len(night.asked("/campaigns/data_series")) == 1


def test_workspace_series_that_go_back_two_years_are_loaded_anew_as_far_as_they_are_held(
    one_send: tuple[OneSend, Nights],
) -> None:
    """Their first day of long ago would otherwise stay by the days of the other zone."""
    workspace, nights = one_send
    nights.run(NIGHT - 60 * ONE_DAY, "sessions", time_zone=WEST)
    first = nights.days("session_daily")[0]
    workspace.zone = ZoneInfo(EAST)
    asked = nights.run(NIGHT, "sessions", time_zone=EAST).asked("/sessions/data_series")
    assert min(day for request in asked for day in days_asked(request.params)[1:]) <= first
    assert zone_days(nights, "session_daily")[0] == first
