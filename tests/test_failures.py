"""What fails costs itself: recorded, tried again, resolved; everything else is loaded."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sources.braze.client import ATTEMPTS
from sources.braze.errors import InvalidKey
from sources.braze.extraction import Extraction
from sources.braze.failures import OpenFailures
from sources.braze.record import FAILURES_IN_A_ROW
from sources.braze.settings import resolve
from sources.braze.tables import TABLES
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.loopback import Reply
from tests.nights import SMALL, Night, Nights, quick_client
from tests.scripted import Query, Scripted, moments

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
NOON_UTC = datetime(2026, 3, 20, 12, tzinfo=UTC)
REFUSED = Reply(400, {"message": "bad"})


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL)) as sandbox:
        yield sandbox


def without(nights: Nights, *tables: str) -> dict[str, Any]:
    """The differences in all other tables."""
    return {name: found for name, found in nights.differences().items() if name.partition(".")[0] not in tables}


CAMPAIGN = ("campaign_daily", "campaign_message_daily", "campaign_message_click_daily")


@pytest.mark.parametrize("kind", ["500", "400", "404", "not_json", "reset", "truncated"])
def test_a_failing_campaign_costs_itself_and_is_whole_once_mended(sandbox: Sandbox, kind: str) -> None:
    nights = Nights(sandbox)
    campaign = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/data_series", kind, {"campaign_id": campaign})
    first = nights.night()
    assert [(failure.resource, failure.entity_id) for failure in first.failures] == [("campaign_series", campaign)]
    assert nights.rows("campaigns", id=campaign)
    assert nights.rows("campaign_daily", campaign_id=campaign) == []
    assert without(nights, *CAMPAIGN) == {}
    second = nights.night(TODAY + ONE_DAY)
    assert len(second.failures) == 1
    assert second.resolved == []
    sandbox.mend()
    third = nights.night(TODAY + 2 * ONE_DAY)
    assert third.failures == []
    assert {failure.run_id for failure in third.resolved} == {f.run_id for f in (*first.failures, *second.failures)}
    assert all(failure.resolved_at == sandbox.workspace.now() for failure in third.resolved)
    assert nights.differences() == {}
    assert nights.night(TODAY + 3 * ONE_DAY).resolved == []


def test_a_failure_says_what_was_asked_and_answered(sandbox: Sandbox) -> None:
    key = "0d5c1d2e-secret-key"
    nights = Nights(sandbox, api_key=key)
    campaign = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/data_series", "502", {"campaign_id": campaign})
    sandbox.set(denied=frozenset({"kpi.dau.data_series"}), denied_status=401)
    failures = {failure.resource: failure for failure in nights.night().failures}
    failed = failures["campaign_series"]
    begins = nights.rows("campaigns", id=campaign)[0]["first_sent"].date()
    assert (failed.start_date, failed.end_date, failed.status) == (begins, TODAY, 502)
    assert failed.endpoint == "campaigns/data_series"
    assert campaign in failed.message
    assert "502" in failed.message
    assert failed.resolved_at is None
    assert "kpi.dau.data_series" in failures["kpis"].message
    assert key not in nights.open


def loaded(nights: Nights) -> dict[str, list[str]]:
    """The rows of every table that has any, comparable whatever came first."""
    tables = {name: rows for name, rows in nights.tables.items() if rows}
    return {name: sorted(repr(sorted(row.items())) for row in rows) for name, rows in tables.items()}


@pytest.mark.parametrize(
    ("path", "resources", "stem"),
    [
        ("/campaigns/list", {"campaigns", "campaign_series"}, "campaign"),
        ("/canvas/list", {"canvases", "canvas_series"}, "canvas"),
        ("/segments/list", {"segments", "segment_series"}, "segment"),
        ("/events", {"events", "event_series"}, "event"),
        ("/purchases/product_list", {"purchases"}, "products"),
    ],
)
def test_a_list_that_fails_costs_its_resources(sandbox: Sandbox, path: str, resources: set[str], stem: str) -> None:
    spared = Nights(sandbox)
    assert spared.night().failures == []
    whole = loaded(spared)
    nights = Nights(sandbox)
    sandbox.fail(path, "500")
    failures = nights.night().failures
    assert sorted((failure.resource, failure.entity_id) for failure in failures) == [
        (resource, "*") for resource in sorted(resources)
    ]
    assert loaded(nights) == {name: rows for name, rows in whole.items() if not name.startswith(stem)}
    sandbox.mend()
    mended = nights.night(TODAY + ONE_DAY)
    assert mended.failures == []
    assert len(mended.resolved) == len(failures)
    assert nights.differences() == {}
    assert set(loaded(nights)) == set(whole)


def test_the_second_page_of_a_list_fails(sandbox: Sandbox) -> None:
    """What the first page named is loaded; nothing counts as vanished."""
    for _ in range(100):
        sandbox.workspace.add("segment", live_from=TODAY - 5 * ONE_DAY, tracked=False)
    nights = Nights(sandbox)
    sandbox.fail("/segments/list", "500", {"page": "1"})
    first = nights.night(select="segments,segment_series")
    assert {(failure.resource, failure.entity_id) for failure in first.failures} == {
        ("segments", "*"),
        ("segment_series", "*"),
    }
    assert len(nights.rows("segments")) == 100
    sandbox.mend()
    assert nights.night(TODAY + ONE_DAY, select="segments,segment_series").failures == []
    assert len(nights.rows("segments")) == 103


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("permission", "resource", "tables"),
    [
        ("campaigns.data_series", "campaign_series", CAMPAIGN),
        ("segments.data_series", "segment_series", ("segment_daily",)),
        ("sessions.data_series", "sessions", ("session_daily",)),
        ("events.data_series", "event_series", ("event_daily",)),
    ],
)
def test_a_denied_endpoint_names_the_permission_and_catches_up_once_granted(
    sandbox: Sandbox, status: int, permission: str, resource: str, tables: tuple[str, ...]
) -> None:
    nights = Nights(sandbox)
    sandbox.set(denied=frozenset({permission}), denied_status=status)
    denied = [nights.night(), nights.night(TODAY + ONE_DAY)]
    for night in denied:
        (failure,) = night.failures
        assert (failure.resource, failure.entity_id, failure.status) == (resource, "*", status)
        assert permission in failure.message
    assert without(nights, *tables) == {}
    sandbox.set(denied=frozenset())
    granted = nights.night(TODAY + 2 * ONE_DAY)
    assert granted.failures == []
    assert len(granted.resolved) == 2
    assert nights.differences() == {}


def test_a_key_that_is_refused_everywhere_ends_the_run(sandbox: Sandbox) -> None:
    sandbox.set(api_key="another")
    with pytest.raises(InvalidKey):
        Nights(sandbox).night()


def test_a_denied_part_leaves_its_columns_and_no_extra_requests_and_catches_up() -> None:
    """The history of three requests is not asked for again every night because one of four columns never came."""
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"days": 250})) as sandbox:
        nights = Nights(sandbox)
        sandbox.set(denied=frozenset({"kpi.mau.data_series"}))
        nights.night(select="kpis")
        assert set(nights.differences()) == {"kpi_daily.mau"}
        assert all(row.get("mau") is None for row in nights.rows("kpi_daily"))
        second = nights.night(TODAY + ONE_DAY, select="kpis")
        assert len(second.requests) == 4
        sandbox.set(denied=frozenset())
        granted = nights.night(TODAY + 2 * ONE_DAY, select="kpis")
        assert len(granted.resolved) == 2
        assert nights.differences() == {}


def test_a_part_that_is_denied_later_keeps_what_was_loaded(sandbox: Sandbox) -> None:
    """Rows replace rows: those with monthly users must not be replaced by rows without."""
    nights = Nights(sandbox)
    nights.night(select="kpis")
    sandbox.set(denied=frozenset({"kpi.mau.data_series"}))
    for day in (1, 2):
        nights.night(TODAY + day * ONE_DAY, select="kpis")
    without_mau = [row["date"] for row in nights.rows("kpi_daily") if row.get("mau") is None]
    assert without_mau == [TODAY, TODAY + ONE_DAY, TODAY + 2 * ONE_DAY]
    sandbox.workspace.restate("kpi", TODAY - 20 * ONE_DAY, dau=5)
    sandbox.set(denied=frozenset())
    nights.night(TODAY + 3 * ONE_DAY, select="kpis")
    assert nights.differences() == {}


@pytest.mark.parametrize(
    "workspace",
    [{"news_feed": False}, *({"denied": frozenset({"feed.list"}), "denied_status": status} for status in (401, 403))],
    ids=["404", "401", "403"],
)
def test_a_workspace_without_news_feed_has_no_failure(sandbox: Sandbox, workspace: dict[str, Any]) -> None:
    sandbox.set(**workspace)
    nights = Nights(sandbox)
    assert nights.night().failures == []


def test_what_vanished_closes_its_failure_and_keeps_its_days(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    nights.night()
    campaign = next(iter(sandbox.workspace.campaigns))
    kept = len(nights.rows("campaign_daily", campaign_id=campaign))
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": campaign})
    assert len(nights.night(TODAY + ONE_DAY).failures) == 1
    sandbox.workspace.remove("campaign", campaign)
    gone = nights.night(TODAY + 2 * ONE_DAY)
    assert gone.failures == []
    assert [failure.entity_id for failure in gone.resolved] == [campaign]
    assert len(nights.rows("campaign_daily", campaign_id=campaign)) == kept > 0


def test_a_segment_that_is_tracked_no_more_closes_its_failure(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    segment = next(one for one in sandbox.workspace.segments.values() if one.tracked)
    sandbox.fail("/segments/data_series", "500", {"segment_id": segment.id})
    assert [failure.entity_id for failure in nights.night().failures] == [segment.id]
    sandbox.workspace.update("segment", segment.id, tracked=False)
    second = nights.night(TODAY + ONE_DAY)
    assert ([failure.entity_id for failure in second.resolved], second.failures) == ([segment.id], [])


def test_an_app_no_longer_asked_for_closes_its_failure(sandbox: Sandbox) -> None:
    nights, app = Nights(sandbox), sandbox.workspace.apps[0]
    sandbox.fail("/sessions/data_series", "500", {"app_id": app})
    assert [failure.entity_id for failure in nights.night(select="sessions", app_ids=[app]).failures] == [app]
    assert [failure.entity_id for failure in nights.night(select="sessions").resolved] == [app]


def test_an_id_that_vanishes_between_list_and_details(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    campaign = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/details", "400", {"campaign_id": campaign})
    (failure,) = nights.night().failures
    assert (failure.resource, failure.entity_id, failure.status) == ("campaigns", campaign, 400)
    assert without(nights, *CAMPAIGN) == {}


@pytest.mark.parametrize("path", ["/campaigns/details", "/campaigns/data_series"])
def test_a_total_outage_is_left_for_the_next_run(path: str) -> None:
    sizes = SMALL | {"campaigns": 150}
    with Sandbox(WorkspaceOptions(today=TODAY, campaign_shapes=("email",), **sizes)) as sandbox:
        nights = Nights(sandbox, concurrency=2)
        sandbox.fail(path, "503")
        night = nights.night(select="campaigns,campaign_series,kpis")
        given_up = [failure for failure in night.failures if failure.entity_id == "*"]
        assert len(given_up) == 1
        assert str(FAILURES_IN_A_ROW) in given_up[0].message
        assert len(night.failures) == FAILURES_IN_A_ROW + 1
        assert without(nights, *CAMPAIGN) == {}
        sandbox.mend()
        mended = nights.night(TODAY + ONE_DAY, select="campaigns,campaign_series,kpis")
        assert mended.failures == []
        assert len(mended.resolved) == len(night.failures)
        assert nights.differences() == {}


def test_many_refused_entities_in_a_row_do_not_hide_those_behind_them() -> None:
    sizes = SMALL | {"campaigns": 40}
    with Sandbox(WorkspaceOptions(today=TODAY, campaign_shapes=("email",), **sizes)) as sandbox:
        nights = Nights(sandbox, concurrency=2)
        campaigns = list(sandbox.workspace.campaigns)
        for campaign in campaigns[:30]:
            sandbox.fail("/campaigns/data_series", "400", {"campaign_id": campaign})
        night = nights.night(select="campaign_series")
        assert {failure.entity_id for failure in night.failures} == set(campaigns[:30])
        assert {row["campaign_id"] for row in nights.rows("campaign_daily")} == set(campaigns[30:])


def test_an_entity_that_was_always_refused_costs_one_request_a_night_and_is_whole_once_mended() -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"days": 400})) as sandbox:
        nights, event = Nights(sandbox), next(iter(sandbox.workspace.events))
        sandbox.fail("/events/data_series", "400", {"event": event})
        first = nights.night(select="event_series")
        assert len(first.asked("/events/data_series", event=event)) == len(first.failures) == 5
        for night in (1, 2):
            refused = nights.night(TODAY + night * ONE_DAY, select="event_series")
            assert len(refused.asked("/events/data_series", event=event)) == len(refused.failures) == 1
            assert refused.resolved == []
        sandbox.mend()
        mended = nights.night(TODAY + 3 * ONE_DAY, select="event_series")
        assert len(mended.asked("/events/data_series", event=event)) == 5
        assert (len(mended.resolved), mended.failures) == (7, [])
        assert nights.differences() == {}


def test_what_was_always_refused_is_loaded_up_to_where_the_analytics_stand_still() -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"days": 400})) as sandbox:
        nights, event = Nights(sandbox), next(iter(sandbox.workspace.events))
        sandbox.fail("/events/data_series", "400", {"event": event})
        nights.night(select="event_series")
        sandbox.mend()
        sandbox.set(frozen_on=TODAY - ONE_DAY)
        nights.night(TODAY + ONE_DAY, select="event_series")
        assert nights.days("event_daily", event=event)[0] == sandbox.workspace.opened
        assert nights.days("event_daily", event=event)[-1] == TODAY - ONE_DAY


def test_a_backfill_asks_for_all_its_days_of_what_fails_at_night() -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"days": 400})) as sandbox:
        nights, event = Nights(sandbox), next(iter(sandbox.workspace.events))
        sandbox.fail("/events/data_series", "400", {"event": event})
        nights.night(select="event_series")
        days = Span(sandbox.workspace.opened, TODAY - ONE_DAY)
        backfill = nights.run(sandbox.workspace.now(), "event_series", only=days)
        assert len(backfill.asked("/events/data_series", event=event)) == len(backfill.failures) == 5


def test_a_failing_entity_does_not_hold_up_the_others(sandbox: Sandbox) -> None:
    """With one request at a time, the first campaign of all fails, is tried again, and is the last to be given up."""
    nights = Nights(sandbox, concurrency=1, backoff=0.15)
    slow = next(iter(sandbox.workspace.campaigns))
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": slow})
    night = nights.night()
    assert [failure.entity_id for failure in night.failures] == [slow]
    assert len(night.asked("/campaigns/data_series", campaign_id=slow)) == ATTEMPTS
    last = night.requests[-1]
    assert (last.path, last.params["campaign_id"]) == ("/campaigns/data_series", slow)
    assert without(nights, *CAMPAIGN) == {}


def test_a_stopped_run_does_not_wait_for_another_attempt(sandbox: Sandbox) -> None:
    """Nor does it count what it did not try again as failed."""
    settings = resolve(api_key="key", endpoint=sandbox.url, start_date=sandbox.workspace.opened)
    extraction = Extraction(settings, quick_client(settings, backoff=1_000), sandbox.workspace.now())
    sandbox.fail("/campaigns/data_series", "500")
    extraction.start(("campaigns", "campaign_series"), {}, OpenFailures())
    while extraction.run.client.traffic.retries < 5:
        time.sleep(0.005)
    extraction.stop()
    started = time.monotonic()
    extraction.join()
    assert time.monotonic() - started < 5
    assert extraction.crash is None
    assert extraction.failures == []


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_on_15_percent_of_all_requests(seed: int) -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, seed=seed, fault_rate=0.15, **SMALL)) as sandbox:
        nights = Nights(sandbox)
        first = nights.night()
        assert len(first.requests) > 60
        assert any(request.fault for request in first.requests)
        if first.failures:
            assert nights.night().failures == []
        assert nights.differences() == {}


# Series by day and by hour


def by_unit(*failing: str) -> Any:
    """Answers of a workspace with one event, whose series by the units `failing` is refused."""

    def answer(path: str, query: Query) -> Any:
        if path == "events":
            return {"events": [{"name": "signup"}]}
        unit = query.get("unit", "day")
        return REFUSED if unit in failing else {"data": [{"time": moment, "count": 1} for moment in moments(query)]}

    return answer


def asked_by(night: Night, unit: str) -> int:
    return len([one for one in night.asked("/events/data_series") if one.params.get("unit", "day") == unit])


@pytest.mark.parametrize(("failing", "other"), [("hour", "day"), ("day", "hour")])
def test_a_series_by_day_neither_mends_nor_asks_for_what_failed_by_hour_nor_the_other_way(
    failing: str, other: str
) -> None:
    with Scripted(by_unit(), opened=TODAY - 60 * ONE_DAY) as braze:
        nights = braze.nights(hourly=True, lookback_days=3)
        nights.run(NOON_UTC, "event_series")
        usual = asked_by(nights.run(NOON_UTC, "event_series"), other)
        braze.answer = by_unit(failing)
        failures = 0
        for ahead in range(1, 15):
            night = nights.run(NOON_UTC + ahead * ONE_DAY, "event_series")
            failures += len(night.failures)
            assert (night.resolved, asked_by(night, other)) == ([], usual)
        braze.answer = by_unit()
        mended = nights.run(NOON_UTC + 15 * ONE_DAY, "event_series")
        assert (mended.failures, len(mended.resolved)) == ([], failures)
        assert len(nights.days("event_daily")) == 60 + 16
        assert len(nights.rows("event_hourly")) == 24 * (60 + 16)


def test_what_failed_by_day_and_by_hour_is_one_failure_that_both_mend() -> None:
    with Scripted(by_unit("day", "hour"), opened=TODAY - 2 * ONE_DAY) as braze:
        nights = braze.nights(hourly=True)
        (failure,) = nights.run(NOON_UTC, "event_series").failures
        assert set(failure.row()) == {column.name for column in TABLES["sync_failures"].columns}
        braze.answer = by_unit("hour")
        assert nights.run(NOON_UTC, "event_series").resolved == []
        braze.answer = by_unit()
        assert len(nights.run(NOON_UTC, "event_series").resolved) == 2


def test_hours_that_are_not_asked_for_any_more_close_their_failures() -> None:
    with Scripted(by_unit("hour"), opened=TODAY - 2 * ONE_DAY) as braze:
        nights = braze.nights()
        assert nights.run(NOON_UTC, "event_series", hourly=True).failures
        assert len(nights.run(NOON_UTC, "event_series").resolved) == 1


def test_failures_in_a_state_that_does_not_know_of_hours_are_of_days() -> None:
    with Scripted(by_unit("day"), opened=TODAY - 2 * ONE_DAY) as braze:
        nights = braze.nights()
        nights.run(NOON_UTC, "event_series")
        state = json.loads(nights.open)
        del state["open"][0]["units"]
        nights.open = json.dumps(state)
        braze.answer = by_unit()
        assert len(nights.run(NOON_UTC, "event_series").resolved) == 1
