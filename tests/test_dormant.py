"""Entities at rest are not asked every night, and never while their numbers move."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.numbers import TAIL
from tests.loopback import Reply
from tests.nights import Night, Nights
from tests.scripted import Query, Scripted, days_asked, page

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
LOOKBACK = 30
SELECT = "campaign_series,canvas_series"
SERIES = {"campaign": "/campaigns/data_series", "canvas": "/canvas/data_series"}
TABLES = {"campaign": "campaign_daily", "canvas": "canvas_daily"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = WorkspaceOptions(
        today=TODAY, campaigns=1, canvases=1, segments=0, cards=0, events=0, products=0, users=0, days=150
    )
    with Sandbox(options) as sandbox:
        yield sandbox


def first(sandbox: Sandbox, kind: str) -> str:
    collection = sandbox.workspace.campaigns if kind == "campaign" else sandbox.workspace.canvases
    return next(iter(collection))


def asked(night: Night, kind: str, entity: str) -> bool:
    return bool(night.asked(SERIES[kind], **{f"{kind}_id": entity}))


def put_to_rest(sandbox: Sandbox, kind: str, ago: int = 60) -> str:
    """An entity that has not sent for so many days before today."""
    entity = first(sandbox, kind)
    sandbox.workspace.stop(kind, entity, TODAY - timedelta(days=ago))
    sandbox.workspace.update(kind, entity, last_edited=datetime(2025, 10, 1, tzinfo=UTC))
    return entity


@pytest.mark.parametrize("kind", ["campaign", "canvas"])
def test_a_dormant_entity_is_skipped_and_seen_at_least_weekly(sandbox: Sandbox, kind: str) -> None:
    entity, nights = put_to_rest(sandbox, kind), Nights(sandbox)
    nights.night(select=SELECT)
    seen = [
        day
        for day in (TODAY + timedelta(days=n) for n in range(1, 23))
        if asked(nights.night(day, select=SELECT), kind, entity)
    ]
    assert 3 <= len(seen) <= 4
    assert max((after - before).days for before, after in zip([TODAY, *seen], seen, strict=False)) <= 7
    assert nights.differences() == {}


@pytest.mark.parametrize("kind", ["campaign", "canvas"])
def test_an_entity_rests_only_when_nothing_was_sent_for_longer_than_the_lookback(sandbox: Sandbox, kind: str) -> None:
    """Its last late figures come four days after its last send; from then on they must be older than the lookback."""
    entity, nights = put_to_rest(sandbox, kind, ago=0), Nights(sandbox, lookback_days=LOOKBACK)
    nights.night(select=SELECT)
    for age in range(1, LOOKBACK + 1, 5):
        assert asked(nights.night(TODAY + timedelta(days=age), select=SELECT), kind, entity)
    last = LOOKBACK + TAIL + 1
    assert asked(nights.night(TODAY + timedelta(days=last), select=SELECT), kind, entity)
    rested = [
        not asked(nights.night(TODAY + timedelta(days=last + age), select=SELECT), kind, entity) for age in range(1, 8)
    ]
    assert sum(rested) == 6
    assert nights.differences() == {}


@pytest.mark.parametrize("kind", ["campaign", "canvas"])
def test_an_entity_that_sends_again_wakes_the_same_night(sandbox: Sandbox, kind: str) -> None:
    entity, nights = put_to_rest(sandbox, kind), Nights(sandbox)
    nights.night(select=SELECT)
    assert not all(asked(nights.night(TODAY + timedelta(days=n), select=SELECT), kind, entity) for n in (1, 2))
    sandbox.workspace.wake(kind, entity, TODAY + timedelta(days=3))
    for day in range(3, 12):
        assert asked(nights.night(TODAY + timedelta(days=day), select=SELECT), kind, entity)
    assert nights.differences() == {}


@pytest.mark.parametrize("kind", ["campaign", "canvas"])
def test_an_edited_entity_wakes_the_same_night(sandbox: Sandbox, kind: str) -> None:
    entity, nights = put_to_rest(sandbox, kind), Nights(sandbox)
    nights.night(select=SELECT)
    for day in range(1, 10):
        sandbox.set(today=TODAY + timedelta(days=day))
        sandbox.workspace.update(kind, entity, name=f"edited {day}")
        assert asked(nights.night(select=SELECT), kind, entity)


@pytest.mark.parametrize("kind", ["campaign", "canvas"])
def test_late_figures_of_old_sends_keep_an_entity_awake(sandbox: Sandbox, kind: str) -> None:
    """Numbers move without a send or an edit, every tenth night: after the first it is asked every night."""
    entity, nights = put_to_rest(sandbox, kind), Nights(sandbox, lookback_days=LOOKBACK)
    path = "messages.email.0.opens" if kind == "campaign" else "total_stats.conversions"
    nights.night(select=SELECT)
    for day in range(1, 31):
        now = TODAY + timedelta(days=day)
        if day % 10 == 1:
            sandbox.workspace.restate(entity, now - ONE_DAY, **{path: 3})
        night = nights.night(now, select=SELECT)
        if day > 7:
            assert asked(night, kind, entity)
    assert nights.differences() == {}


def test_what_rested_and_moved_is_whole_again_after_a_week(sandbox: Sandbox) -> None:
    entity, nights = put_to_rest(sandbox, "campaign"), Nights(sandbox, lookback_days=LOOKBACK)
    nights.night(select=SELECT)
    sandbox.workspace.restate(entity, TODAY - timedelta(days=LOOKBACK - 1), **{"messages.email.0.opens": 3})
    for day in range(1, 8):
        nights.night(TODAY + timedelta(days=day), select=SELECT)
    assert nights.differences() == {}


def test_an_entity_with_an_open_failure_does_not_rest(sandbox: Sandbox) -> None:
    entity, nights = put_to_rest(sandbox, "campaign"), Nights(sandbox)
    nights.night(select=SELECT)
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": entity})
    failed = [nights.night(TODAY + timedelta(days=n), select=SELECT).failures for n in range(1, 9)]
    first_failure = next(number for number, failures in enumerate(failed) if failures)
    assert all(failed[first_failure:])
    sandbox.mend()
    assert len(nights.night(TODAY + timedelta(days=9), select=SELECT).resolved) == len(failed) - first_failure


def test_a_standing_api_puts_nobody_to_rest(sandbox: Sandbox) -> None:
    """Its last figures are as young as on the day it stopped, however late it is."""
    entity, nights = put_to_rest(sandbox, "campaign", ago=LOOKBACK - 5), Nights(sandbox, lookback_days=LOOKBACK)
    nights.night(select=SELECT)
    sandbox.set(frozen_on=TODAY)
    for day in range(2, 11):
        assert asked(nights.night(TODAY + timedelta(days=day), select=SELECT), "campaign", entity)


# What was never sent


NIGHT = datetime(2026, 3, 20, 3, 30, tzinfo=UTC)
OPENED = date(2023, 9, 1)
MADE = "2024-07-01T12:00:00Z"
RESOURCES = {"campaign": "campaign_series", "canvas": "canvas_series"}
ITEMS = {"campaign": "campaigns", "canvas": "canvases"}
ACTIVITY = {"campaign": ("first_sent", "last_sent"), "canvas": ("first_entry", "last_entry")}


class Unsent:
    """A workspace of seven entities of a `kind` that were made long ago; `details` are what is said of each of them.

    `active_since` is the first day with figures, `denied` what the key may not read.
    """

    def __init__(self, kind: str, **details: Any) -> None:
        self.kind = kind
        self.path = SERIES[kind].removeprefix("/")
        never = dict.fromkeys(ACTIVITY[kind])
        self.details = {"created_at": MADE, "updated_at": MADE, "draft": False, **never, **details}
        self.active_since = date.max
        self.denied: set[str] = set()

    def send(self, on: date) -> None:
        """Send for the first time, every day from this one on."""
        self.active_since = on
        moment = f"{on.isoformat()}T09:00:00Z"
        self.details |= dict.fromkeys(ACTIVITY[self.kind], moment)

    def answer(self, path: str, query: Query) -> Any:
        if path in self.denied:
            return Reply(403, {"message": "Access Denied"})
        if path.endswith("/list"):
            names = [{"id": f"e{n}", "name": "n", "tags": []} for n in range(7)]
            return page(ITEMS[self.kind], names, query)
        if path.endswith("/details"):
            return self.details
        figures = {day: int(day >= self.active_since) for day in days_asked(query)}
        if self.kind == "campaign":
            return {"data": [{"time": day.isoformat(), "conversions": n} for day, n in figures.items()]}
        return {"data": {"stats": [{"time": d.isoformat(), "total_stats": {"entries": n}} for d, n in figures.items()]}}

    def series_requests(self, night: Night) -> Counter[str]:
        """How often each entity's series was asked for."""
        return Counter(request.params[f"{self.kind}_id"] for request in night.asked(f"/{self.path}"))

    def days(self, nights: Nights) -> set[tuple[date, ...]]:
        """The days that are loaded, of each entity."""
        return {tuple(nights.days(TABLES[self.kind], **{f"{self.kind}_id": f"e{n}"})) for n in range(7)}

    def active_days(self, nights: Nights) -> set[date]:
        """The days with figures that are loaded."""
        column = "conversions" if self.kind == "campaign" else "entries"
        return {row["date"] for row in nights.rows(TABLES[self.kind]) if row.get(column)}


def without_gaps(days: Iterable[date]) -> bool:
    loaded = list(days)
    return loaded == list(Span(loaded[0], loaded[-1]).days())


KINDS = pytest.mark.parametrize("kind", ["campaign", "canvas"])


@KINDS
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("never", [None, "0001-01-01T00:00:00Z"])
def test_what_was_never_sent_costs_one_request_and_rests(kind: str, archived: bool, never: str | None) -> None:
    workspace = Unsent(kind, archived=archived, **dict.fromkeys(ACTIVITY[kind], never))
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        everybody = {f"e{n}" for n in range(7)}
        assert workspace.series_requests(nights.run(NIGHT, RESOURCES[kind])) == Counter(everybody)
        for week in (0, 7):
            asked: Counter[str] = Counter()
            for ahead in range(1, 8):
                asked += workspace.series_requests(nights.run(NIGHT + (week + ahead) * ONE_DAY, RESOURCES[kind]))
            assert asked == Counter(everybody)
        assert all(map(without_gaps, workspace.days(nights)))


@KINDS
@pytest.mark.parametrize("pause", [1, 5, 40])
def test_what_is_sent_for_the_first_time_is_loaded_from_that_day_on(kind: str, pause: int) -> None:
    """However many nights there was no run, and whoever rested."""
    workspace = Unsent(kind)
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        for ahead in range(6):
            nights.run(NIGHT + ahead * ONE_DAY, RESOURCES[kind])
        again = NIGHT + (5 + pause) * ONE_DAY
        workspace.send(again.date() - ONE_DAY * (pause // 2))
        for ahead in range(3):
            now = again + ahead * ONE_DAY
            assert nights.run(now, RESOURCES[kind]).failures == []
            assert workspace.active_days(nights) == set(Span(workspace.active_since, now.date()).days())
            assert all(map(without_gaps, workspace.days(nights)))
        usual = workspace.series_requests(nights.run(again + 3 * ONE_DAY, RESOURCES[kind]))
        assert max(usual.values()) <= (1 if kind == "campaign" else 3)


@KINDS
def test_where_details_do_not_speak_of_sending_nothing_is_left_out(kind: str) -> None:
    workspace = Unsent(kind)
    workspace.active_since = date(2025, 1, 1)
    for name in ACTIVITY[kind]:
        del workspace.details[name]
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind])
        assert workspace.active_days(nights) == set(Span(workspace.active_since, NIGHT.date()).days())


@KINDS
def test_where_details_do_not_speak_of_sending_what_stands_still_rests(kind: str) -> None:
    workspace = Unsent(kind)
    for name in ACTIVITY[kind]:
        del workspace.details[name]
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind])
        asked: Counter[str] = Counter()
        for ahead in range(1, 8):
            asked += workspace.series_requests(nights.run(NIGHT + ahead * ONE_DAY, RESOURCES[kind]))
        assert set(asked) == {f"e{n}" for n in range(7)}
        assert max(asked.values()) <= (1 if kind == "campaign" else 4)
        workspace.active_since = NIGHT.date() + 10 * ONE_DAY
        for ahead in range(8, 18):
            nights.run(NIGHT + ahead * ONE_DAY, RESOURCES[kind])
        assert workspace.active_days(nights) == set(Span(workspace.active_since, NIGHT.date() + 17 * ONE_DAY).days())
        assert all(map(without_gaps, workspace.days(nights)))


@KINDS
def test_figures_that_are_texts_keep_an_entity_awake(kind: str) -> None:
    workspace = Unsent(kind)
    workspace.send(NIGHT.date() - 60 * ONE_DAY)
    workspace.details["last_sent" if kind == "campaign" else "last_entry"] = workspace.details["created_at"]

    def answer(path: str, query: Query) -> Any:
        said = workspace.answer(path, query)
        return json.loads(re.sub(r'("(?:conversions|entries)": )(\d+)', r'\1"\2"', json.dumps(said)))

    with Scripted(answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind])
        assert set(workspace.series_requests(nights.run(NIGHT + ONE_DAY, RESOURCES[kind]))) == {
            f"e{n}" for n in range(7)
        }


@KINDS
def test_figures_of_what_is_said_to_have_sent_nothing_are_loaded_from_when_it_was_made(kind: str) -> None:
    workspace = Unsent(kind)
    workspace.active_since = date(2025, 1, 1)
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind])
        nights.run(NIGHT + ONE_DAY, RESOURCES[kind])
        assert workspace.active_days(nights) == set(Span(workspace.active_since, NIGHT.date() + ONE_DAY).days())


@KINDS
def test_what_is_sent_earlier_than_details_said_at_first_is_loaded_from_then_on(kind: str) -> None:
    workspace = Unsent(kind)
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind])
        workspace.send(NIGHT.date() - 200 * ONE_DAY)
        nights.run(NIGHT + ONE_DAY, RESOURCES[kind])
        never_asked = Span(workspace.active_since, NIGHT.date() - 99 * ONE_DAY)
        assert set(never_asked.days()) <= workspace.active_days(nights)


@KINDS
def test_without_details_nobody_is_known_to_have_sent_nothing(kind: str) -> None:
    workspace = Unsent(kind)
    workspace.denied.add(workspace.path.replace("data_series", "details"))
    with Scripted(workspace.answer, opened=OPENED) as braze:
        nights = braze.nights()
        nights.run(NIGHT, RESOURCES[kind], start_date=date(2025, 6, 1))
        assert {days[0] for days in workspace.days(nights)} == {date(2025, 6, 1)}


@KINDS
def test_a_backfill_leaves_out_what_was_never_sent(kind: str) -> None:
    workspace = Unsent(kind)
    with Scripted(workspace.answer, opened=OPENED) as braze:
        night = braze.nights().run(NIGHT, RESOURCES[kind], only=Span(date(2025, 2, 1), date(2025, 8, 31)))
        assert workspace.series_requests(night) == Counter()
