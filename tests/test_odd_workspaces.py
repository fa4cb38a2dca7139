"""Workspaces and answers that are documented or thinkable, and that the sandbox does not have."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests

from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.request_log import Asked
from tests.loopback import Reply
from tests.nights import SMALL, Nights
from tests.scripted import Query, Scripted, days_asked, page

NOW = datetime(2026, 9, 1, 3, tzinfo=UTC)
DENIED = Reply(403, {"message": "Access Denied"})
GONE = Reply(400, {"message": "canvas_id must be a string"})
A_DAY = timedelta(days=1)


def paths(requests: list[Asked]) -> Counter[str]:
    return Counter(request.path for request in requests)


def figures(query: Query, **counters: int) -> dict[str, Any]:
    return {"data": [{"time": day.isoformat(), **counters} for day in days_asked(query)]}


def relayed(sandbox: Sandbox, path: str, query: Query) -> Any:
    """What the sandbox answers."""
    headers = {"Authorization": "Bearer key"}
    return requests.get(f"{sandbox.url}/{path}", dict(query), headers=headers, timeout=10).json()


def unstamped(nights: Nights) -> dict[str, list[str]]:
    """The rows of every table, without the time at which they came."""
    return {
        name: sorted(str(sorted({**row, "synced_at": None}.items())) for row in rows)
        for name, rows in nights.tables.items()
    }


# Permissions


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_series_is_asked_once_whatever_the_number_of_entities(status: int) -> None:
    options = WorkspaceOptions(**SMALL | {"campaigns": 60, "days": 250})
    with Sandbox(options) as sandbox:
        nights = Nights(sandbox)
        sandbox.set(denied=frozenset({"campaigns.data_series"}), denied_status=status)
        night = nights.night(select="campaigns,campaign_series")
        assert len(nights.rows("campaigns")) == 60
        assert 1 <= len(night.asked("/campaigns/data_series")) <= 3 * nights.settings["concurrency"]


def test_a_series_of_several_requests_that_are_all_denied_costs_itself() -> None:
    with Sandbox(WorkspaceOptions(**SMALL | {"products": 300})) as sandbox:
        sandbox.set(denied=frozenset({"purchases.revenue_series", "purchases.quantity_series"}))
        nights = Nights(sandbox, hourly=True, products=["*"])
        night = nights.night(select="purchases,kpis")
        assert {(failure.resource, failure.entity_id) for failure in night.failures} == {("purchases", "*")}
        assert len(nights.rows("products")) == 300
        assert nights.rows("kpi_daily")


def test_details_and_events_that_are_denied_later_stay_as_they_were() -> None:
    with Sandbox(WorkspaceOptions(**SMALL)) as sandbox:
        today = sandbox.workspace.now().date()
        nights = Nights(sandbox)
        select = "campaigns,canvases,segments,events"
        nights.night(today, select=select)
        before = {name: sorted(map(str, rows)) for name, rows in nights.tables.items()}
        sandbox.set(denied=frozenset({"campaigns.details", "canvas.details", "segments.details", "events.get"}))
        night = nights.night(today + A_DAY, select=select)
        assert {failure.resource for failure in night.failures} == {"campaigns", "canvases", "segments", "events"}
        assert {name: sorted(map(str, rows)) for name, rows in nights.tables.items()} == before
        sandbox.set(denied=frozenset())
        granted = nights.night(today + 2 * A_DAY, select=select)
        assert granted.failures == []
        assert len(granted.resolved) == 4


DETAILS = frozenset({"campaigns.details", "canvas.details", "segments.details"})


@pytest.mark.parametrize("path", ["campaigns/details", "canvas/details", "segments/details", "feed/details"])
def test_details_that_are_an_apology_are_a_failure_and_change_nothing(path: str) -> None:
    """Answered 200, with a message and nothing else."""
    with Sandbox(WorkspaceOptions(**SMALL)) as sandbox:

        def answer(asked: str, query: Query) -> Any:
            return {"message": "We could not process your request"} if asked == path else relayed(sandbox, asked, query)

        nights, select = Nights(sandbox), "campaigns,canvases,segments,cards"
        nights.night(select=select)
        before = unstamped(nights)
        with Scripted(answer, date(2026, 1, 1)) as braze:
            night = nights.run(sandbox.workspace.now(), select, endpoint=braze.url)
        assert {failure.endpoint for failure in night.failures} == {path}
        assert unstamped(nights) == before


SERIES_OF = {
    "/campaigns/data_series": ("campaign_daily", "campaign_id", 99),
    "/canvas/data_series": ("canvas_daily", "canvas_id", 13),
    "/segments/data_series": ("segment_daily", "segment_id", 99),
}
"""By path: the table, the parameter, the days of a request."""
OF_CATALOGS = "campaign_series,canvas_series,segment_series"


def beginnings(nights: Nights) -> dict[str, date]:
    """The first day that is loaded of each entity."""
    first: dict[str, date] = {}
    for table, parameter, _ in SERIES_OF.values():
        for row in nights.rows(table):
            first[row[parameter]] = min(row["date"], first.get(row[parameter], date.max))
    return first


@pytest.mark.parametrize(
    ("select", "start"),
    [(OF_CATALOGS, date(2025, 6, 1)), (f"campaigns,canvases,segments,{OF_CATALOGS}", None)],
)
def test_details_that_are_denied_later_cost_no_history(select: str, start: date | None) -> None:
    """What is loaded is asked for what is not final, everybody else for one request's days: drafts, who is new."""
    sizes = SMALL | {"campaigns": 10, "canvases": 6, "days": 150}
    with Sandbox(WorkspaceOptions(**sizes)) as sandbox:
        workspace, today = sandbox.workspace, sandbox.workspace.now().date()
        nights = Nights(sandbox, start_date=start)
        nights.night(today, select=select)
        began = beginnings(nights)
        late = {kind: workspace.add(kind, live_from=today - 60 * A_DAY) for kind in ("campaign", "canvas")}
        sandbox.set(denied=DETAILS)
        for ahead in (1, 2, 3):
            night = nights.night(today + ahead * A_DAY, select=select)
            for path, (_, parameter, _) in SERIES_OF.items():
                asked = Counter(request.params[parameter] for request in night.asked(path))
                assert max(asked.values()) <= (3 if "canvas" in path else 1)
                assert ahead > 1 or all(count == 1 for entity, count in asked.items() if entity not in began)
        since = beginnings(nights)
        assert all(since[entity] >= min(first, today - 30 * A_DAY) for entity, first in began.items())
        latest = {p: today + A_DAY - (days - 1) * A_DAY for _, p, days in SERIES_OF.values()}
        assert since[late["canvas"]] == latest["canvas_id"]
        assert min(since[entity] for entity in since if entity not in began) >= latest["campaign_id"]
        sandbox.set(denied=frozenset())
        nights.night(today + 4 * A_DAY, select=select)
        assert beginnings(nights)[late["canvas"]] == today - 60 * A_DAY
        assert nights.differences() == {}


def test_an_earlier_start_date_waits_for_details_that_are_denied() -> None:
    with Sandbox(WorkspaceOptions(**SMALL | {"days": 200})) as sandbox:
        today = sandbox.workspace.now().date()
        nights = Nights(sandbox)
        nights.night(today, select=OF_CATALOGS, start_date=today - 10 * A_DAY)
        sandbox.set(denied=DETAILS)
        nights.night(today + A_DAY, select=OF_CATALOGS)
        sandbox.set(denied=frozenset())
        nights.night(today + 2 * A_DAY, select=OF_CATALOGS)
        assert nights.differences() == {}


def test_a_backfill_asks_for_its_days_while_details_are_denied() -> None:
    with Sandbox(WorkspaceOptions(**SMALL | {"days": 200})) as sandbox:
        today = sandbox.workspace.now().date()
        nights = Nights(sandbox)
        nights.night(today, select=OF_CATALOGS, start_date=today - 10 * A_DAY)
        sandbox.set(denied=DETAILS)
        span = Span(today - 120 * A_DAY, today - 100 * A_DAY)
        nights.run(sandbox.workspace.now(), OF_CATALOGS, only=span)
        assert set(span.days()) <= set(nights.days("campaign_daily"))


def test_details_that_were_never_granted_leave_what_the_lists_say() -> None:
    with Sandbox(WorkspaceOptions(**SMALL)) as sandbox:
        nights = Nights(sandbox)
        sandbox.set(denied=frozenset({"campaigns.details", "events.get"}))
        for ahead in range(2):
            night = nights.night(sandbox.workspace.now().date() + ahead * A_DAY, select="campaigns,events")
            assert [failure.resource for failure in night.failures] == ["campaigns"]
            assert len(nights.rows("campaigns")) == 8
            assert len(nights.rows("events")) == 3


# Figures that begin late, end, or are dropped


def test_days_before_a_workspace_began_are_no_failure_and_not_asked_again() -> None:
    born = date(2026, 6, 1)

    def answer(path: str, query: Query) -> Any:
        return {"data": [{"time": day.isoformat(), "sessions": 5} for day in days_asked(query) if day >= born]}

    with Scripted(answer, opened=date(2024, 9, 2)) as braze:
        nights = braze.nights()
        first = nights.run(NOW, "sessions")
        assert first.failures == []
        assert len(first.requests) == 8 + 1  # the answer that begins late is asked for again
        assert nights.days("session_daily") == [born + n * A_DAY for n in range((NOW.date() - born).days + 1)]
        second = nights.run(NOW + A_DAY, "sessions")
        assert (second.failures, len(second.requests)) == ([], 1)


def test_an_answer_that_lacks_its_first_days_once_is_not_where_a_series_begins() -> None:
    answered = 0

    def answer(path: str, query: Query) -> Any:
        nonlocal answered
        answered += 1
        days = days_asked(query)
        return {"data": [{"time": day.isoformat(), "sessions": 5} for day in (days[9:] if answered == 1 else days)]}

    with Scripted(answer, opened=date(2026, 8, 1)) as braze:
        nights = braze.nights()
        assert nights.run(NOW, "sessions").failures == []
        assert nights.days("session_daily") == [date(2026, 8, 1) + n * A_DAY for n in range(32)]


def test_an_earlier_start_date_loads_what_lies_before_once() -> None:
    with Sandbox(WorkspaceOptions(**SMALL)) as sandbox:
        today, select = sandbox.workspace.now().date(), "campaigns,campaign_series,segment_series,kpis"
        later = sandbox.workspace.opened + 30 * A_DAY
        nights = Nights(sandbox)
        nights.night(today, select=select, start_date=later)
        assert min(nights.days("kpi_daily")) == later
        nights.night(today + A_DAY, select=select)
        assert nights.differences() == {}
        third, same = nights.night(today + 2 * A_DAY, select=select), Nights(sandbox)
        same.night(today, select=select)
        same.night(today + A_DAY, select=select)
        assert paths(third.requests) == paths(same.night(today + 2 * A_DAY, select=select).requests)


def test_an_earlier_start_date_is_caught_up_with_after_a_run_that_was_killed() -> None:
    with Sandbox(WorkspaceOptions(**SMALL)) as sandbox:
        today, select = sandbox.workspace.now().date(), "campaigns,campaign_series,kpis"
        nights = Nights(sandbox)
        nights.night(today, select=select, start_date=sandbox.workspace.opened + 30 * A_DAY)
        sandbox.set(today=today + A_DAY)
        nights.run(sandbox.workspace.now(), select, requests=6)
        nights.night(today + A_DAY, select=select)
        assert nights.differences() == {}


def test_history_is_completed_once_details_tell_how_early_it_began() -> None:
    denied = True

    def answer(path: str, query: Query) -> Any:
        if path == "campaigns/list":
            return page("campaigns", [{"id": "c", "name": "n", "tags": []}], query)
        if path == "campaigns/details":
            return DENIED if denied else {"created_at": "2023-01-01T12:00:00Z", "draft": False}
        return figures(query, conversions=1)

    with Scripted(answer, opened=date(2023, 1, 1)) as braze:
        nights = braze.nights(start_date=None)
        nights.run(NOW, "campaigns,campaign_series")
        assert min(nights.days("campaign_daily")) > date(2024, 1, 1)
        denied = False
        nights.run(NOW + A_DAY, "campaigns,campaign_series")
        first, last = date(2023, 1, 1), NOW.date() + A_DAY
        assert nights.days("campaign_daily") == [first + n * A_DAY for n in range((last - first).days + 1)]
        assert len(nights.run(NOW + 2 * A_DAY, "campaign_series").asked("/campaigns/data_series")) == 1


def test_a_hole_in_a_series_that_began_is_a_failure() -> None:
    hole = (date(2026, 1, 1), date(2026, 6, 1))

    def answer(path: str, query: Query) -> Any:
        days = [day for day in days_asked(query) if not hole[0] <= day <= hole[1]]
        return {"data": [{"time": day.isoformat(), "sessions": 5} for day in days]}

    with Scripted(answer, opened=date(2025, 9, 1)) as braze:
        night = braze.nights().run(NOW, "sessions")
        failed = {day for failure in night.failures for day in failure.days.days()}
        assert {hole[0] + n * A_DAY for n in range((hole[1] - hole[0]).days + 1)} <= failed


def test_a_series_without_any_day_is_a_failure() -> None:
    with Scripted(lambda path, query: {"data": []}, opened=date(2026, 1, 1)) as braze:
        (failure,) = braze.nights().run(NOW, "sessions").failures
        assert failure.end_date == date(2026, 8, 31)


def test_figures_of_a_send_stay_when_braze_drops_them_all() -> None:
    sent, dropped = date(2026, 8, 20), []

    def answer(path: str, query: Query) -> Any:
        expired = dropped or days_asked(query)[-1] > sent + 14 * A_DAY
        counted = {sent: 100, sent + 5 * A_DAY: 7}
        return {
            "data": [
                {"time": day.isoformat(), "conversions": 0 if expired else counted.get(day, 0), "messages": {}}
                for day in days_asked(query)
            ]
        }

    with Scripted(answer, opened=date(2026, 1, 1)) as braze:
        nights = braze.nights(sends=["c:s"], lookback_days=3)
        for ahead in (1, 2, 12, 14, 15, 16, 40):
            nights.run(datetime(2026, 8, 20, 3, tzinfo=UTC) + ahead * A_DAY, "sends")
        dropped.append(True)
        nights.run(datetime(2026, 9, 8, 3, tzinfo=UTC), "sends", time_zone="Europe/Berlin")
        nights.run(datetime(2026, 9, 8, 3, tzinfo=UTC), "sends", only=Span(sent, sent + 10 * A_DAY))
        active = {row["date"]: row["conversions"] for row in nights.rows("send_daily") if row.get("conversions")}
        assert active == {sent: 100, sent + 5 * A_DAY: 7}


def test_a_send_is_read_as_far_back_as_braze_keeps_it_whatever_the_lookback() -> None:
    with Scripted(lambda path, query: figures(query, conversions=1), opened=date(2026, 1, 1)) as braze:
        nights = braze.nights(sends=["c:s"], lookback_days=3)
        nights.run(NOW - 9 * A_DAY, "sends")
        nights.run(NOW, "sends")
        days = nights.days("send_daily")
        assert days == [days[0] + n * A_DAY for n in range(len(days))]
        assert days[0] <= NOW.date() - 14 * A_DAY


def test_a_day_that_one_part_lacks_does_not_replace_the_row_that_had_it() -> None:
    late = False

    def answer(path: str, query: Query) -> Any:
        name = path.split("/")[1]
        days = [day for day in days_asked(query) if not (late and name == "mau" and day == date(2026, 8, 31))]
        return {"data": [{"time": day.isoformat(), name: 5} for day in days]}

    with Scripted(answer, opened=date(2026, 8, 1)) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        late = True
        assert nights.run(NOW + A_DAY, "kpis").failures
        (row,) = nights.rows("kpi_daily", date=date(2026, 8, 31))
        assert row["mau"] == row["dau"] == 5


# Canvas summaries


def canvases(bad: Any) -> Any:
    def answer(path: str, query: Query) -> Any:
        if path == "canvas/list":
            return page("canvases", [{"id": name, "name": name, "tags": []} for name in ("c1", "c2", "c3")], query)
        if path == "canvas/details":
            return {"name": query["canvas_id"], "created_at": "2026-08-01T00:00:00Z", "draft": False}
        if path == "canvas/data_series":
            return bad if query["canvas_id"] == "c1" else {"data": {"stats": []}}
        return {"data": {"name": "x", "total_stats": {"entries": 3}}}

    return answer


@pytest.mark.parametrize("bad", [GONE, {"data": {"stats": [{"time": None}]}}])
def test_a_canvas_that_cannot_tell_how_ending_at_is_read_costs_itself_alone(bad: Any) -> None:
    with Scripted(canvases(bad), opened=date(2026, 8, 1)) as braze:
        nights = braze.nights()
        night = nights.run(NOW, "canvas_summary")
        assert {failure.entity_id for failure in night.failures} <= {"c1"}
        assert {row["canvas_id"] for row in nights.rows("canvas_summary")} >= {"c2", "c3"}


@pytest.mark.parametrize("empty", [{}, {"data": None}, {"data": {}}, {"data": {"total_stats": None}}])
def test_a_summary_without_totals_does_not_replace_one(empty: dict[str, Any]) -> None:
    answers = {"c1": {"data": {"total_stats": {"entries": 3}}}}

    def answer(path: str, query: Query) -> Any:
        if path == "canvas/data_summary":
            return answers["c1"]
        return canvases({"data": {"stats": []}})(path, query)

    with Scripted(answer, opened=date(2026, 8, 1)) as braze:
        nights = braze.nights()
        nights.run(NOW, "canvas_summary")
        answers["c1"] = empty
        night = nights.run(NOW + A_DAY, "canvas_summary")
        assert {failure.entity_id for failure in night.failures} == {"c1", "c2", "c3"}
        assert {row["entries"] for row in nights.rows("canvas_summary")} == {3}


def test_dormant_canvases_rest_between_the_ends_of_blocks() -> None:
    def answer(path: str, query: Query) -> Any:
        if path == "canvas/list":
            return page("canvases", [{"id": f"c{n}", "name": "n", "tags": []} for n in range(7)], query)
        if path == "canvas/details":
            seen = {"created_at": "2025-01-01T00:00:00Z", "first_entry": "2025-01-01T00:00:00Z"}
            return {**seen, "last_entry": "2025-02-01T00:00:00Z", "draft": False}
        if path == "canvas/data_series":
            return {"data": {"stats": [{"time": day.isoformat(), "total_stats": {}} for day in days_asked(query)]}}
        return {"data": {"total_stats": {"entries": 0}}}

    with Scripted(answer, opened=date(2026, 6, 1)) as braze:
        nights = braze.nights()
        asked = []
        for ahead in range(15):
            night = nights.run(NOW + ahead * A_DAY, "canvas_summary")
            asked.append(len({request.params["canvas_id"] for request in night.asked("/canvas/data_summary")}))
        assert asked[0] == 7
        assert max(asked[1:]) < 7
        assert sum(asked[1:8]) == 7


# Lists


def test_an_event_that_moves_to_the_next_page_counts_once_and_a_cursor_that_repeats_ends_the_list() -> None:
    pages = {"": (["a", "b"], "x"), "x": (["b", "c"], "y"), "y": (["c"], "x")}

    def answer(path: str, query: Query) -> Any:
        if path == "events":
            found, cursor = pages[query.get("cursor", "")]
            link = {"Link": f'</events?cursor={cursor}>; rel="next"'}
            return Reply(body={"events": [{"name": name, "description": "d"} for name in found]}, headers=link)
        return figures(query, count=1)

    with Scripted(answer, opened=date(2026, 8, 20)) as braze:
        nights = braze.nights()
        night = nights.run(NOW, "events,event_series")
        assert paths(night.requests)["/events"] == 3
        assert Counter(request.params["event"] for request in night.asked("/events/data_series")) == Counter("abc")
        assert sorted(row["name"] for row in nights.rows("events")) == ["a", "b", "c"]


def test_events_that_are_denied_half_way_leave_what_was_read_of_them() -> None:
    def answer(path: str, query: Query) -> Any:
        if path == "events" and "cursor" not in query:
            link = {"Link": '</events?cursor=x>; rel="next"'}
            return Reply(body={"events": [{"name": "a", "description": "d"}]}, headers=link)
        if path == "events":
            return DENIED
        return page("events", ["a", "b"], query) if path == "events/list" else figures(query, count=1)

    with Scripted(answer, opened=date(2026, 8, 20)) as braze:
        nights = braze.nights()
        night = nights.run(NOW, "events,event_series")
        assert Counter(request.params["event"] for request in night.asked("/events/data_series")) == Counter("ab")
        (row,) = nights.rows("events")
        assert row["description"] == "d"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("placeholder", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_placeholder_for_no_date_is_no_beginning(zone: str, placeholder: str) -> None:
    def answer(path: str, query: Query) -> Any:
        if path == "campaigns/list":
            return page("campaigns", [{"id": 7, "name": "n", "tags": []}], query)
        if path == "campaigns/details":
            return {"created_at": "2026-08-01T12:00:00Z", "first_sent": placeholder, "draft": False}
        return figures(query, conversions=1)

    with Scripted(answer, opened=date(2026, 1, 1), time_zone=zone) as braze:
        nights = braze.nights(start_date=None)
        night = nights.run(NOW, "campaigns,campaign_series")
        assert night.failures == []
        assert [row["id"] for row in nights.rows("campaigns")] == ["7"]
        assert min(nights.days("campaign_daily")) == date(2026, 8, 1)
        assert len(night.asked("/campaigns/data_series")) == 1


@pytest.mark.parametrize("written", ["2026-08-01T12:00:00-5:00", "some day", 1785500000, {"at": "noon"}])
def test_a_time_that_cannot_be_read_costs_no_entity_its_figures(written: Any) -> None:
    def answer(path: str, query: Query) -> Any:
        if path == "campaigns/list":
            return page("campaigns", [{"id": "c1", "name": "n", "tags": []}], query)
        if path == "campaigns/details":
            return {"name": "n", "created_at": written, "updated_at": written, "first_sent": "2026-08-03T12:00:00Z"}
        return figures(query, conversions=1)

    with Scripted(answer, opened=date(2026, 1, 1)) as braze:
        nights = braze.nights(start_date=None)
        night = nights.run(NOW, "campaigns,campaign_series")
        assert night.failures == []
        assert [row["id"] for row in nights.rows("campaigns")] == ["c1"]
        assert min(nights.days("campaign_daily")) == date(2026, 8, 3)
