"""Names of events, apps and products that could be taken for others: each has a cursor and failures of its own."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sources.braze.catalog import entity_named
from sources.braze.model import ALL
from sources.braze.windows import Span
from tests.scripted import Query, Scripted, moments

NOW = datetime(2026, 9, 1, 3, tzinfo=UTC)
A_DAY = timedelta(days=1)
OPENED = NOW.date() - 150 * A_DAY
APP = "app-ios-1"


def workspace(events: Sequence[str] = (), products: Sequence[str] = ()) -> Any:
    """Answers about these events and products."""

    def answer(path: str, query: Query) -> Any:
        if path == "events":
            return {"events": [{"name": name} for name in events]}
        if path == "purchases/product_list":
            return {"products": products if query.get("page", "0") == "0" else []}
        figure = {"revenue": 1, "purchase_quantity": 1, "count": 1}
        return {"data": [{"time": moment, **figure} for moment in moments(query)]}

    return answer


def every_day(last: date) -> list[date]:
    return list(Span(OPENED, last).days())


@pytest.mark.parametrize(
    ("settings", "later"),
    [
        ({"hourly": True}, "signup hourly"),
        ({"app_ids": [APP]}, f"signup {APP}"),
        ({"app_ids": [APP]}, f'signup" {APP}'),
    ],
)
def test_an_event_whose_name_reads_like_another_series_is_loaded_whole(settings: dict[str, Any], later: str) -> None:
    with Scripted(workspace(["signup"]), opened=OPENED) as braze:
        nights = braze.nights(**settings)
        nights.run(NOW, "event_series")
        braze.answer = workspace(["signup", later])
        assert nights.run(NOW + A_DAY, "event_series").failures == []
        assert nights.days("event_daily", event=later, app_id=ALL) == every_day(NOW.date() + A_DAY)


def test_an_event_named_like_the_total_is_asked_for_by_its_name() -> None:
    with Scripted(workspace([ALL]), opened=OPENED) as braze:
        nights = braze.nights()
        night = nights.run(NOW, "event_series")
        assert {request.params.get("event") for request in night.asked("/events/data_series")} == {ALL}
        assert nights.days("event_daily", event=ALL) == every_day(NOW.date())


def test_a_product_named_like_the_total_does_not_ask_for_the_total_twice() -> None:
    with Scripted(workspace(products=[ALL, "a"]), opened=OPENED) as braze:
        night = braze.nights(products=[ALL]).run(NOW, "purchases")
        named = Counter(request.params.get("product") for request in night.asked("/purchases/revenue_series"))
        assert named == {None: 2, "a": 2}


def test_products_that_braze_does_not_list_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with Scripted(workspace(products=["Shirt"]), opened=OPENED) as braze:
        braze.nights(products=[ALL, "Shirt"]).run(NOW, "purchases")
        assert "products" not in caplog.text
        night = braze.nights(products=["shirt", "Shirt", "Hat"]).run(NOW, "purchases")
        assert "does not list: Hat, shirt." in caplog.text
        assert len(night.asked("/purchases/revenue_series", product="Shirt")) == 2


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ({"app_id": ALL}, ALL),
        ({"event": "signup", "app_id": ALL, "segment_id": ALL}, "signup"),
        ({"event": "signup", "app_id": APP, "segment_id": ALL}, f"signup {APP}"),
        ({"event": "Été & Co.", "app_id": APP}, f'"Été & Co." {APP}'),
        ({"event": ALL}, '"*"'),
        ({"event": ""}, '""'),
    ],
)
def test_the_id_of_an_entity_is_its_names(key: dict[str, str], name: str) -> None:
    assert entity_named(key).id == name


NAMES = ["p1", "p2", "p3", "p4", "p5"]


@pytest.mark.parametrize(
    ("products", "first", "asked"),
    [
        (NAMES, {"0": 0, "1": 1}, ["0", "1", "2", "3"]),
        (NAMES, {"0": None, "1": 0}, ["0", "1", "2", "3", "4"]),
        (NAMES, {"0": 0, "1": 0}, ["0", "1", "2", "3", "4"]),
        (NAMES[:2], {"0": 0, "1": 1}, ["0", "1"]),
        (NAMES[:2], {"0": 0, "1": 0}, ["0", "1", "2"]),
        ([], {"0": 0, "1": 1}, ["0", "1"]),
    ],
    ids=["from 0", "from 1, 0 empty", "from 1, 0 as 1", "one page", "one page from 1", "none"],
)
def test_all_products_are_found_wherever_pages_begin(
    products: list[str], first: dict[str, int | None], asked: list[str]
) -> None:
    """Two products a page; `first` says which piece of the list the pages 0 and 1 are."""

    def answer(path: str, query: Query) -> Any:
        if path != "purchases/product_list":
            return workspace()(path, query)
        number = int(query["page"])
        piece = first[query["page"]] if number < 2 else number - 1 + (first["1"] or 0)
        return {"products": [] if piece is None else products[2 * piece : 2 * piece + 2]}

    with Scripted(answer, opened=OPENED) as braze:
        nights = braze.nights()
        night = nights.run(NOW, "purchases")
    assert sorted(row["product"] for row in nights.rows("products")) == products
    assert [request.params["page"] for request in night.asked("/purchases/product_list")] == asked
