"""The figures of the stand-in workspace: windows, the clock, restatement, sums, and changes while it runs."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from sources.braze_sandbox import Sandbox, Scope, Workspace, WorkspaceOptions
from sources.braze_sandbox.windows import days
from tests.sandbox_requests import BREAKDOWNS, KEY, TODAY, ask, get, of_shape


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    with Sandbox(WorkspaceOptions(today=TODAY, campaigns=3, canvases=1, segments=3, users=50)) as sandbox:
        yield sandbox


# windows and the clock


@given(
    length=st.integers(1, 100),
    instant=st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 19), timezones=st.just(ZoneInfo("UTC"))),
    midnight=st.booleans(),
    reading=st.sampled_from(["exclusive", "inclusive"]),
)
def test_both_readings_of_ending_at(length: int, instant: datetime, midnight: bool, reading: Any) -> None:
    zone = ZoneInfo("America/New_York")
    if midnight:
        instant = datetime(instant.year, instant.month, instant.day, tzinfo=zone)
    options = WorkspaceOptions(
        today=TODAY, time_zone=zone.key, ending_at=reading, campaigns=0, canvases=0, segments=0, cards=0
    )
    window = days(Workspace(options), {"length": str(length), "ending_at": instant.isoformat()})
    local = instant.astimezone(zone)
    last = local.date() - timedelta(days=midnight and reading == "exclusive")
    assert (len(window), window[-1]) == (length, last.toordinal())


def test_no_row_is_later_than_today_or_than_the_day_analytics_stand_still(sandbox: Sandbox) -> None:
    campaign = next(iter(sandbox.workspace.campaigns))

    def last(**params: Any) -> str:
        return str(get(sandbox, "/campaigns/data_series", campaign_id=campaign, length=5, **params)["data"][-1]["time"])

    assert last() == "2026-11-20"
    assert last(ending_at="2026-11-22T00:00:00Z") == "2026-11-20"
    assert last(ending_at="2026-11-20T00:00:00Z") == "2026-11-19"
    sandbox.set(ending_at="inclusive")
    assert last(ending_at="2026-11-20T00:00:00Z") == "2026-11-20"
    sandbox.set(frozen_on=date(2026, 11, 18))
    assert last() == "2026-11-18"


def test_figures_grow_until_they_are_thirty_days_old(sandbox: Sandbox) -> None:
    campaign = of_shape(sandbox, "three_channels")

    def figure(today: date) -> Any:
        sandbox.set(today=today)
        window = {"length": 1, "ending_at": "2026-11-21T00:00:00Z"}
        return get(sandbox, "/campaigns/data_series", campaign_id=campaign.id, **window)["data"][0]

    seen = [figure(TODAY + timedelta(days=age)) for age in range(33)]
    opens = [row["messages"]["email"][0]["opens"] for row in seen]
    sent = [row["messages"]["email"][0]["sent"] for row in seen]
    assert opens == sorted(opens)
    assert opens[0] < opens[1] < opens[29]
    assert opens[30] == opens[31] == opens[32]
    assert sent[0] < sent[1] == sent[32]
    assert seen[1]["conversions_by_send_time"] < seen[29]["conversions_by_send_time"]
    sandbox.set(restated=False)
    assert figure(TODAY + timedelta(days=1)) == seen[32]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 5, 5), 24)])
def test_the_hours_of_a_day_add_up_also_when_the_clocks_change(day: date, hours: int) -> None:
    zone = ZoneInfo("America/New_York")
    options = WorkspaceOptions(today=TODAY, days=400, time_zone=zone.key, campaigns=0)
    with Sandbox(options) as sandbox:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)
        end = {"ending_at": midnight.isoformat()}
        card = next(iter(sandbox.workspace.cards))
        for path, scope in (
            ("/sessions/data_series", {}),
            ("/events/data_series", {"event": "Abandoned Cart"}),
            ("/purchases/revenue_series", {}),
            ("/purchases/quantity_series", {}),
            ("/feed/data_series", {"card_id": card}),
        ):
            whole = get(sandbox, path, length=1, **scope, **end)["data"][0]
            parts = get(sandbox, path, length=hours, unit="hour", **scope, **end)["data"]
            assert whole.pop("time") == day.isoformat()
            times = [datetime.fromisoformat(part.pop("time")) for part in parts]
            assert {moment.astimezone(zone).date() for moment in times} == {day}
            assert all(later - earlier == timedelta(hours=1) for earlier, later in pairwise(times))
            assert {key: pytest.approx(sum(part[key] for part in parts)) for key in whole} == whole


# sums


def windows(start: date, end: date, most: int) -> Iterator[dict[str, Any]]:
    while start <= end:
        length = min(most, (end - start).days + 1)
        start += timedelta(days=length)
        yield {"length": length, "ending_at": f"{start}T00:00:00Z"}


class Sums:
    """Counters per table, summed from the rows of answers."""

    def __init__(self, sandbox: Sandbox, start: date, end: date) -> None:
        self.tables: dict[str, Counter[str]] = {}
        self._sandbox = sandbox
        self._range = (start, end)

    def rows(self, path: str, most: int = 100, **params: Any) -> Iterator[dict[str, Any]]:
        for window in windows(*self._range, most):
            data = get(self._sandbox, path, **params, **window)["data"]
            yield from data["stats"] if isinstance(data, dict) else data

    def add(self, table: str, row: dict[str, Any]) -> None:
        counters = {key: value for key, value in row.items() if isinstance(value, int | float)}
        self.tables.setdefault(table, Counter()).update(counters)

    def series(self, table: str, path: str, **params: Any) -> None:
        for row in self.rows(path, **params):
            self.add(table, row)
            self.messages(table.replace("_daily", "_message_daily"), row)

    def messages(self, table: str, row: dict[str, Any]) -> None:
        for element in (element for channel in row.get("messages", {}).values() for element in channel):
            clicks = {key: value for key, value in element.items() if key.endswith("_click")}
            self.add(table, {key: value for key, value in element.items() if key not in clicks})
            for value in clicks.values():
                self.add(table.replace("_daily", "_click_daily"), {"clicks": value})

    def canvas(self, canvas_id: str) -> None:
        for row in self.rows("/canvas/data_series", 14, canvas_id=canvas_id, **BREAKDOWNS):
            self.add("canvas_daily", row["total_stats"])
            for variant in row["variant_stats"].values():
                self.add("canvas_variant_daily", variant)
            for step in row["step_stats"].values():
                self.add("canvas_step_daily", step)
                self.messages("canvas_step_message_daily", step)


def sums_over_http(sandbox: Sandbox, start: date, end: date) -> dict[str, Counter[str]]:
    """Every counter of every daily row in the range, from the answers alone."""
    sums, workspace = Sums(sandbox, start, end), sandbox.workspace
    for campaign in workspace.campaigns:
        sums.series("campaign_daily", "/campaigns/data_series", campaign_id=campaign)
    for campaign, send in workspace.sends:
        sums.series("send_daily", "/sends/data_series", campaign_id=campaign, send_id=send)
    for segment in workspace.segments.values():
        if segment.tracked:
            sums.series("segment_daily", "/segments/data_series", segment_id=segment.id)
    for card in workspace.cards:
        sums.series("card_daily", "/feed/data_series", card_id=card)
    for kpi in ("mau", "dau", "new_users", "uninstalls"):
        sums.series("kpi_daily", f"/kpi/{kpi}/data_series")
    for event in workspace.events:
        sums.series("event_daily", "/events/data_series", event=event)
    sums.series("session_daily", "/sessions/data_series")
    sums.series("purchase_daily", "/purchases/revenue_series")
    for row in sums.rows("/purchases/quantity_series"):
        sums.add("purchase_daily", {"quantity": row["purchase_quantity"]})
    for canvas in workspace.canvases:
        sums.canvas(canvas)
    return sums.tables


def test_stated_totals_are_the_sums_of_the_answers() -> None:
    options = WorkspaceOptions(today=TODAY, campaigns=13, canvases=4, segments=4, cards=3, events=3)
    start, end = date(2026, 8, 1), TODAY
    with Sandbox(options) as sandbox:
        workspace = sandbox.workspace
        workspace.restate(of_shape(sandbox, "email").id, date(2026, 11, 16), **{"messages.email.0.opens": 5})
        workspace.restate(of_shape(sandbox, "linear").id, date(2026, 11, 3), **{"total_stats.entries": 7})
        workspace.restate("kpi", date(2026, 11, 3), dau=9)
        asked = sums_over_http(sandbox, start, end)
        stated = sandbox.totals(start, end)
    for table, counters in asked.items():
        figures = {key: value for key, value in stated[table].items() if value and key != "rows"}
        assert figures
        assert figures == pytest.approx({key: value for key, value in counters.items() if value}), table
    daily = {table for table in stated if table.endswith("_daily")}
    assert daily == asked.keys()
    for name in ("session", "event", "purchase", "card"):
        daily_sums, hourly_sums = dict(stated[f"{name}_daily"]), dict(stated[f"{name}_hourly"])
        assert hourly_sums.pop("rows") > daily_sums.pop("rows")
        assert hourly_sums == daily_sums


def test_totals_take_in_apps_and_products_when_asked() -> None:
    workspace = Workspace(WorkspaceOptions(today=TODAY))
    whole = workspace.totals(TODAY, TODAY)
    more = workspace.totals(TODAY, TODAY, Scope(app_ids=workspace.apps, products=("*",)))
    assert more["kpi_daily"]["rows"] == 3 * whole["kpi_daily"]["rows"]
    assert more["purchase_daily"]["rows"] == 1 + len(workspace.products)


# changes


def test_entities_come_change_and_go(sandbox: Sandbox) -> None:
    workspace = sandbox.workspace
    dormant = of_shape(sandbox, "in_app_test").id

    def last_sent() -> Any:
        return get(sandbox, "/campaigns/details", campaign_id=dormant)["last_sent"]

    assert last_sent() < "2026-10-15"
    workspace.wake("campaign", dormant, on=date(2026, 11, 19))
    assert last_sent() >= "2026-11-19"
    new = workspace.add("campaign", name="Neu", live_from=date(2026, 11, 19))
    listed = {item["id"]: item for item in get(sandbox, "/campaigns/list")["campaigns"]}
    assert listed[new]["name"] == "Neu"
    rows = get(sandbox, "/campaigns/data_series", campaign_id=new, length=4)["data"]
    assert [row["unique_recipients"] > 0 for row in rows] == [False, False, True, True]
    workspace.update("campaign", new, archived=True)
    assert new not in {item["id"] for item in get(sandbox, "/campaigns/list")["campaigns"]}
    workspace.remove("campaign", new)
    assert ask(sandbox, "/campaigns/details", campaign_id=new).status_code == 400
    canvas = of_shape(sandbox, "journey")
    workspace.delete_step(canvas.id, 2)
    assert canvas.step_ids[2] not in str(get(sandbox, "/canvas/details", canvas_id=canvas.id)["steps"])
    with pytest.raises(ValueError, match="campaigns"):
        sandbox.set(campaigns=5)


def test_the_same_seed_gives_the_same_workspace_whenever_it_is_opened() -> None:
    opened = date(2026, 7, 1)
    early = Workspace(WorkspaceOptions(opened=opened, today=date(2026, 11, 1)))
    later = Workspace(WorkspaceOptions(opened=opened, today=date(2027, 3, 1)))
    assert early.campaigns == later.campaigns
    assert Workspace(WorkspaceOptions(opened=opened, seed=2)).campaigns.keys().isdisjoint(early.campaigns)
    final = (date(2026, 7, 1), date(2026, 9, 30))
    assert early.totals(*final)["campaign_daily"] == later.totals(*final)["campaign_daily"]


def test_a_separate_process_is_steered_over_http() -> None:
    options = '{"today": "2026-11-20", "campaigns": 2, "limits": {"catalogue": {"limit": 5, "period": 60}}}'
    command = [sys.executable, "-m", "sources.braze_sandbox", "--options", options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()

        def steer(name: str, **arguments: Any) -> Any:
            response = requests.post(f"{url}/_sandbox/{name}", json=arguments, timeout=10)
            assert response.status_code == 200, response.text
            return response.json()

        try:
            campaign = steer("entities")["campaigns"][0]
            before = steer("totals", start="2026-11-01", end="2026-11-20")["campaign_daily"]["conversions"]
            steer("restate", target=campaign, day="2026-11-10", deltas={"conversions": 3})
            after = steer("totals", start="2026-11-01", end="2026-11-20")["campaign_daily"]["conversions"]
            assert after == before + 3
            steer("set", today="2026-11-21", denied=["events.get"])
            assert requests.get(f"{url}/events", headers=KEY, timeout=10).status_code == 403
            steer("fail", path="/events/list", kind="503", times=1)
            statuses = [requests.get(f"{url}/events/list", headers=KEY, timeout=10) for _ in range(2)]
            assert [answer.status_code for answer in statuses] == [503, 200]
            assert statuses[1].headers["X-RateLimit-Limit"] == "5"
            log = steer("requests", listed=True)
            assert log["paths"] == {"/events": 1, "/events/list": 2}
            assert [asked["status"] for asked in log["requests"]] == [403, 503, 200]
            steer("reset")
            assert steer("requests")["total"] == 0
            assert requests.post(f"{url}/_sandbox/nope", json={}, timeout=10).status_code == 400
        finally:
            process.terminate()
            assert process.wait(10) == 0
