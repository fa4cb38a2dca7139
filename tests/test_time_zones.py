"""Days are the workspace's: in every zone, through both changes of the clock, whatever the runner's clock shows."""

from collections import Counter
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.entities import hours_of
from tests.nights import Nights

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
