"""Tables whose rows are made of several answers: KPIs of four endpoints, purchases of two."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sources.braze import endpoints
from sources.braze.catalog import entity_named
from sources.braze.cursors import Cursors
from sources.braze.errors import BadAnswer
from sources.braze.model import ALL
from sources.braze.rereading import Reread, Rereading
from sources.braze.series import KPIS as KPIS_SERIES
from sources.braze.settings import resolve
from sources.braze.windows import Span
from tests.loopback import Reply
from tests.nights import Nights, quick_client
from tests.scripted import Query, Scripted, days_asked

NOW = datetime(2026, 9, 1, 3, tzinfo=UTC)
TODAY = NOW.date()
A_DAY = timedelta(days=1)
OPENED = TODAY - 150 * A_DAY
KPIS = ("mau", "dau", "new_users", "uninstalls")
DENIED = Reply(403, {"message": "Access Denied"})
Has = Callable[[str, date], bool]


def kpis(has: Has, figure: int = 5) -> Any:
    """Answers that hold the days of each KPI that `has` says."""

    def answer(path: str, query: Query) -> Any:
        name = path.split("/")[1]
        return {"data": [{"time": day.isoformat(), name: figure} for day in days_asked(query) if has(name, day)]}

    return answer


def from_day(**begins: date) -> Has:
    return lambda name, day: day >= begins.get(name, date.min)


def lacking(*days: date, kpi: str = "dau") -> Has:
    return lambda name, day: not (name == kpi and day in days)


def days_with(nights: Nights, column: str) -> list[date]:
    return sorted(row["date"] for row in nights.rows("kpi_daily") if column in row)


def every_day(first: date, last: date = TODAY) -> list[date]:
    return list(Span(first, last).days())


@pytest.mark.parametrize("ago", [40, 10, 120])
def test_days_before_a_kpi_began_have_the_others(ago: int) -> None:
    began = TODAY - ago * A_DAY
    with Scripted(kpis(from_day(uninstalls=began)), opened=OPENED) as braze:
        nights = braze.nights()
        assert nights.run(NOW, "kpis").failures == []
        assert nights.days("kpi_daily") == days_with(nights, "dau") == every_day(OPENED)
        assert days_with(nights, "uninstalls") == every_day(began)
        braze.answer = kpis(from_day(uninstalls=began), figure=6)
        second = nights.run(NOW + A_DAY, "kpis")
        assert (second.failures, len(second.requests)) == ([], len(KPIS))
        for day in every_day(TODAY - 29 * A_DAY):
            (row,) = nights.rows("kpi_daily", date=day)
            figures = {name: row.get(name) for name in KPIS}
            assert figures == dict.fromkeys(KPIS, 6) | ({} if day >= began else {"uninstalls": None})


def test_a_kpi_that_has_no_day_at_all_is_a_failure_and_does_not_keep_the_others_away() -> None:
    with Scripted(kpis(from_day(uninstalls=date.max)), opened=OPENED) as braze:
        nights = braze.nights()
        (failure,) = nights.run(NOW, "kpis").failures
        assert (failure.endpoint, failure.end_date) == ("kpi/uninstalls/data_series", TODAY - A_DAY)
        assert days_with(nights, "mau") == every_day(OPENED)


@pytest.mark.parametrize(("since", "until"), [(60, 0), (98, 60)])
def test_days_that_a_kpi_has_no_more_keep_the_rows_that_had_it(since: int, until: int) -> None:
    """Its latest, or its first that are asked for: they were there, so that it has not begun later."""
    gone = every_day(TODAY - since * A_DAY, TODAY - until * A_DAY)
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        braze.answer = kpis(lacking(*gone), figure=6)
        failures = nights.run(NOW, "kpis").failures
        assert {failure.endpoint for failure in failures} == {"kpi/dau/data_series"}
        assert nights.days("kpi_daily") == days_with(nights, "dau") == every_day(OPENED)
        assert {nights.rows("kpi_daily", date=day)[0]["mau"] for day in gone} == {5}
        braze.answer = kpis(lacking(), figure=7)
        mended = nights.run(NOW, "kpis")
        assert (mended.failures, len(mended.resolved)) == ([], len(failures))
        assert {nights.rows("kpi_daily", date=day)[0]["dau"] for day in gone} == {7}


def test_a_backfill_keeps_the_rows_that_have_what_a_kpi_lacks_now() -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        first = TODAY - 60 * A_DAY
        braze.answer = kpis(lacking(first), figure=6)
        (failure,) = nights.run(NOW, "kpis", only=Span(first, first + 9 * A_DAY)).failures
        assert (failure.endpoint, failure.days) == ("kpi/dau/data_series", Span(first, first))
        assert nights.rows("kpi_daily", date=first)[0]["dau"] == 5
        assert nights.rows("kpi_daily", date=first + A_DAY)[0]["dau"] == 6


def test_a_kpi_with_a_hole_is_named_and_asked_again_alone() -> None:
    hole = TODAY - 20 * A_DAY
    with Scripted(kpis(lacking(hole)), opened=TODAY - 50 * A_DAY) as braze:
        night = braze.nights().run(NOW, "kpis")
        (failure,) = night.failures
        assert (failure.endpoint, failure.days) == ("kpi/dau/data_series", Span(hole, hole))
        assert [len(night.asked(f"/kpi/{name}/data_series")) for name in KPIS] == [1, 2, 1, 1]


def test_a_kpi_whose_latest_day_is_missing_is_named() -> None:
    with Scripted(kpis(lacking(TODAY - A_DAY)), opened=TODAY - 50 * A_DAY) as braze:
        (failure,) = braze.nights().run(NOW, "kpis").failures
        assert (failure.endpoint, failure.end_date) == ("kpi/dau/data_series", TODAY - A_DAY)


def test_a_hole_across_requests_is_a_failure_of_the_kpi_that_has_it() -> None:
    gone = every_day(TODAY - 110 * A_DAY, TODAY - 60 * A_DAY)
    with Scripted(kpis(lacking(*gone)), opened=OPENED) as braze:
        nights = braze.nights()
        first, second = (nights.run(NOW, "kpis").failures for _ in range(2))
        assert {failure.endpoint for failure in (*first, *second)} == {"kpi/dau/data_series"}
        assert set(gone) <= {day for failure in second for day in failure.days.days()}
        braze.answer = kpis(lacking())
        assert nights.run(NOW + A_DAY, "kpis").failures == []
        assert days_with(nights, "dau") == every_day(OPENED, TODAY + A_DAY)


def test_an_earlier_start_date_loads_what_lies_before_a_kpi_began() -> None:
    began = TODAY - 40 * A_DAY
    with Scripted(kpis(from_day(uninstalls=began)), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis", start_date=TODAY - 20 * A_DAY)
        assert nights.run(NOW, "kpis").failures == []
        assert (nights.days("kpi_daily"), days_with(nights, "uninstalls")) == (every_day(OPENED), every_day(began))
        assert len(nights.run(NOW + A_DAY, "kpis").requests) == len(KPIS)


def test_a_kpi_that_is_granted_later_and_began_late_is_caught_up_with_once() -> None:
    began = TODAY - 40 * A_DAY
    answer, denied = kpis(from_day(uninstalls=began)), kpis(from_day(uninstalls=date.max))
    with Scripted(answer, opened=OPENED) as braze:
        nights = braze.nights()
        braze.answer = lambda path, query: denied(path, query) if "uninstalls" not in path else DENIED
        nights.run(NOW, "kpis")
        braze.answer = answer
        assert nights.run(NOW + A_DAY, "kpis").failures == []
        assert days_with(nights, "uninstalls") == every_day(began, TODAY + A_DAY)
        assert len(nights.run(NOW + 2 * A_DAY, "kpis").requests) == len(KPIS)


@pytest.mark.parametrize("failure", [Reply(400, {"message": "Invalid"}), Reply(body=b"{")])
def test_a_kpi_that_fails_one_night_does_not_keep_the_others_away_and_loses_nothing(failure: Reply) -> None:
    with Scripted(kpis(from_day()), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        answer = kpis(from_day(), figure=6)
        braze.answer = lambda path, query: failure if "uninstalls" in path else answer(path, query)
        (recorded,) = nights.run(NOW + A_DAY, "kpis").failures
        assert (recorded.endpoint, recorded.end_date) == ("kpi/uninstalls/data_series", TODAY + A_DAY)
        assert days_with(nights, "mau") == every_day(OPENED, TODAY + A_DAY)
        assert days_with(nights, "uninstalls") == every_day(OPENED, TODAY - A_DAY)
        braze.answer = answer
        assert nights.run(NOW + 2 * A_DAY, "kpis").failures == []
        assert days_with(nights, "uninstalls") == days_with(nights, "mau") == every_day(OPENED, TODAY + 2 * A_DAY)
        for day in every_day(TODAY - 29 * A_DAY, TODAY + 2 * A_DAY):
            (row,) = nights.rows("kpi_daily", date=day)
            assert {name: row[name] for name in KPIS} == dict.fromkeys(KPIS, 6)


def test_kpis_that_are_answered_on_the_first_night_are_loaded_although_one_is_not() -> None:
    answer = kpis(from_day())
    with Scripted(answer, opened=OPENED) as braze:
        nights = braze.nights()
        braze.answer = lambda path, query: Reply(400) if "kpi/dau" in path else answer(path, query)
        failures = nights.run(NOW, "kpis").failures
        assert {failure.endpoint for failure in failures} == {"kpi/dau/data_series"}
        assert days_with(nights, "mau") == every_day(OPENED)
        braze.answer = answer
        assert nights.run(NOW + A_DAY, "kpis").failures == []
        assert days_with(nights, "dau") == days_with(nights, "mau") == every_day(OPENED, TODAY + A_DAY)


def test_a_kpi_that_fails_is_recorded_beside_those_that_are_denied() -> None:
    with Scripted(lambda path, _: Reply(400) if "kpi/dau" in path else DENIED, opened=OPENED) as braze:
        failures = braze.nights().run(NOW, "kpis").failures
        assert sorted(failure.status or 0 for failure in failures if "dau" in failure.endpoint) == [400, 400]
        assert {failure.status for failure in failures if "dau" not in failure.endpoint} == {403}


def test_a_backfill_does_not_blank_a_kpi_that_is_denied_by_now() -> None:
    answer = kpis(from_day())
    with Scripted(answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        before = days_with(nights, "uninstalls")
        assert before == every_day(OPENED)
        braze.answer = lambda path, query: DENIED if "uninstalls" in path else answer(path, query)
        (failure,) = nights.run(NOW, "kpis", only=Span(OPENED, OPENED + 30 * A_DAY)).failures
        assert failure.status == 403
        assert all(row["uninstalls"] == 5 for row in nights.rows("kpi_daily"))
        assert days_with(nights, "uninstalls") == before


def test_rows_of_a_state_that_does_not_say_where_kpis_began_are_not_replaced_by_poorer_ones() -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        state = json.loads(nights.state)
        del state["kpis"]["cursors"]["first"]
        nights.state = json.dumps(state)
        braze.answer = kpis(lacking(*every_day(TODAY - 120 * A_DAY, TODAY - 20 * A_DAY)))
        nights.run(NOW, "kpis")
        assert days_with(nights, "dau") == every_day(OPENED)


@pytest.mark.parametrize("reply", [DENIED, Reply(400, {"message": "temporary"})])
@pytest.mark.parametrize("has", [from_day(uninstalls=date.max), lacking(TODAY - 20 * A_DAY, kpi="uninstalls")])
def test_a_kpi_that_fails_keeps_its_figures_although_another_holds_the_cursors_back(has: Has, reply: Reply) -> None:
    with Scripted(kpis(has), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        closed = set(days_with(nights, "dau")) - {TODAY}
        assert len(closed) >= 149
        answer = kpis(has, figure=6)
        braze.answer = lambda path, query: reply if "dau" in path else answer(path, query)
        for night in (1, 2):
            assert nights.run(NOW + night * A_DAY, "kpis").failures
            assert set(days_with(nights, "dau")) - {TODAY} == closed
            assert TODAY + (night - 1) * A_DAY in days_with(nights, "mau"), "new days have the others"


def test_what_failed_of_a_kpi_is_mended_though_another_is_denied() -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights, answer = braze.nights(), braze.answer

        def without(*failing: str) -> Callable[[str, Query], Any]:
            replies = {"uninstalls": DENIED} | dict.fromkeys(failing, Reply(400, {"message": "temporary"}))
            return lambda path, query: replies.get(path.split("/")[1]) or answer(path, query)

        braze.answer = without("dau")
        assert {failure.endpoint for failure in nights.run(NOW, "kpis").failures} == {
            "kpi/dau/data_series",
            "kpi/uninstalls/data_series",
        }
        braze.answer = without()
        night = nights.run(NOW + A_DAY, "kpis")
        assert {failure.endpoint for failure in night.resolved} == {"kpi/dau/data_series"}
        assert days_with(nights, "dau") == every_day(OPENED, TODAY + A_DAY)


def test_what_failed_of_a_kpi_stays_open_while_its_rows_are_kept_for_what_is_denied() -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights, answer = braze.nights(), braze.answer
        failing = Reply(400, {"message": "temporary"})
        nights.run(NOW, "kpis")
        braze.answer = lambda path, query: failing if "dau" in path else answer(path, query)
        assert nights.run(NOW + A_DAY, "kpis").failures
        braze.answer = lambda path, query: DENIED if "uninstalls" in path else answer(path, query)
        assert nights.run(NOW + 2 * A_DAY, "kpis").resolved == []
        braze.answer = answer
        assert {failure.endpoint for failure in nights.run(NOW + 3 * A_DAY, "kpis").resolved} == {
            "kpi/dau/data_series",
            "kpi/uninstalls/data_series",
        }
        assert days_with(nights, "dau") == every_day(OPENED, TODAY + 3 * A_DAY)


def test_a_backfill_closes_no_failure_of_other_days() -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights, answer = braze.nights(), braze.answer
        nights.run(NOW, "kpis")
        braze.answer = lambda path, query: (
            Reply(400, {"message": "temporary"}) if "dau" in path else answer(path, query)
        )
        (failure,) = nights.run(NOW + A_DAY, "kpis").failures
        braze.answer = answer
        assert nights.run(NOW + A_DAY, "kpis", only=Span(OPENED, OPENED + 2 * A_DAY)).resolved == []
        (resolved,) = nights.run(NOW + A_DAY, "kpis", only=failure.days).resolved
        assert resolved.days == failure.days


@pytest.mark.parametrize("later", [timedelta(0), A_DAY], ids=["same day", "next day"])
@pytest.mark.parametrize("reply", [DENIED, Reply(400, {"message": "temporary"})])
def test_a_backfill_that_is_repeated_keeps_the_rows_that_have_what_a_kpi_says_no_more(
    reply: Reply, later: timedelta
) -> None:
    with Scripted(kpis(lacking()), opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NOW, "kpis")
        whole, answer = days_with(nights, "dau"), braze.answer
        wanted = Span(OPENED, TODAY - A_DAY)

        def but_one_window(path: str, query: Query) -> Any:
            return Reply(400, {"message": "temporary"}) if OPENED in days_asked(query) else answer(path, query)

        braze.answer = but_one_window
        assert nights.run(NOW, "kpis", only=wanted).failures
        braze.answer = lambda path, query: reply if "dau" in path else answer(path, query)
        assert nights.run(NOW + later, "kpis", only=wanted).failures
        assert days_with(nights, "dau") == whole


def test_days_of_which_a_kpi_fails_have_the_others_though_newer_ones_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came earlier in the same run says nothing of rows in the warehouse."""
    opened, middle = TODAY - 250 * A_DAY, TODAY - 150 * A_DAY
    answer, gone, newer_came = kpis(lacking()), Reply(400, {"message": "temporary"}), threading.Event()
    came = Cursors.came

    def noted(cursors: Cursors, entity: str, days: Span) -> None:
        came(cursors, entity, days)
        if TODAY - A_DAY in days:
            newer_came.set()

    def middle_last(path: str, query: Query) -> Any:
        if middle not in days_asked(query):
            return answer(path, query)
        assert newer_came.wait(30)
        return gone if "dau" in path else answer(path, query)

    monkeypatch.setattr(Cursors, "came", noted)
    with Scripted(middle_last, opened=opened) as braze:
        nights = braze.nights()
        assert nights.run(NOW, "kpis").failures
        assert days_with(nights, "mau") == every_day(opened)
        assert middle not in days_with(nights, "dau")


def test_purchases_of_which_revenue_began_before_quantity() -> None:
    began = TODAY - 3 * A_DAY
    sold = datetime(began.year, began.month, began.day, 5, tzinfo=UTC)

    def answer(path: str, query: Query) -> Any:
        if path == "purchases/product_list":
            return {"products": []}
        name = "revenue" if "revenue" in path else "purchase_quantity"
        end = datetime.fromisoformat(query["ending_at"])
        step = timedelta(hours=1) if query.get("unit") == "hour" else A_DAY
        moments = [end - count * step for count in range(int(query["length"]), 0, -1)]
        first = sold if step < A_DAY else datetime(began.year, began.month, began.day, tzinfo=UTC)
        kept = [moment for moment in moments if name == "revenue" or moment >= first]
        written = (str(moment.date()) if step == A_DAY else moment.isoformat() for moment in kept)
        return {"data": [{"time": moment, name: 2} for moment in written]}

    with Scripted(answer, opened=TODAY - 9 * A_DAY) as braze:
        nights = braze.nights(hourly=True)
        assert nights.run(NOW, "purchases").failures == []
        daily, hourly = nights.rows("purchase_daily"), nights.rows("purchase_hourly")
        assert sorted(row["date"] for row in daily if row["revenue"] == 2) == every_day(TODAY - 9 * A_DAY)
        assert sorted(row["date"] for row in daily if "quantity" in row) == every_day(began)
        assert len(hourly) == 10 * 24
        assert min(row["hour"] for row in hourly if "quantity" in row) == sold


def test_verify_reads_a_kpi_that_began_late_and_names_the_one_with_a_hole() -> None:
    span, began, hole = Span(TODAY - 20 * A_DAY, TODAY - A_DAY), TODAY - 9 * A_DAY, TODAY - 5 * A_DAY
    with Scripted(kpis(from_day(uninstalls=began)), opened=OPENED) as braze:
        said = asyncio.run(reread(braze, span))
        assert said
        assert {row["date"] for row in said.rows["kpi_daily"]} == said.days == set(span.days())
        assert sorted(row["date"] for row in said.rows["kpi_daily"] if "uninstalls" in row) == every_day(
            began, span.last
        )
        braze.answer = kpis(lacking(hole))
        with pytest.raises(BadAnswer) as raised:
            asyncio.run(reread(braze, span))
        assert raised.value.endpoint == endpoints.KPI_DAU


async def reread(braze: Scripted, span: Span) -> Reread | None:
    settings = resolve(api_key="key", endpoint=braze.url)
    client = quick_client(settings)
    try:
        return await Rereading(settings, client).series(KPIS_SERIES, entity_named({"app_id": ALL}), span)
    finally:
        await client.aclose()
