"""Cursors: what dlt's state keeps of them, and that they never step over a gap."""

from datetime import date, timedelta
from uuid import uuid4

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.cursors import Cursors
from sources.braze.windows import ONE_DAY, Span, windows

FIRST = date(2025, 1, 1)
NAMES = st.text(min_size=1, max_size=40)
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(st.dictionaries(NAMES, st.tuples(DAYS, st.booleans(), st.sampled_from([date.min, FIRST]) | DAYS), max_size=30))
def test_cursors_come_back_from_the_state_as_they_were(entities: dict[str, tuple[date, bool, date]]) -> None:
    cursors = Cursors()
    for name, (day, quiet, since) in entities.items():
        cursors.start(name, day + ONE_DAY, since)
        cursors.mark_quiet(name, quiet)
    restored = Cursors.from_state(orjson.loads(orjson.dumps(cursors.to_state())))
    assert {
        name: (restored.get(name), restored.is_quiet(name), restored.loaded_since(name)) for name in entities
    } == entities
    assert restored.get("somebody else") is None or "somebody else" in entities


def test_an_empty_state_gives_no_cursors() -> None:
    assert Cursors.from_state({}).get("campaign") is None


@given(st.integers(1, 300), st.sampled_from([13, 99]), st.data())
def test_whatever_the_order_of_completion_the_cursor_ends_at_the_last_day(
    length: int, per_request: int, data: st.DataObject
) -> None:
    loaded = windows(Span(FIRST, FIRST + timedelta(days=length - 1)), per_request)
    cursors = Cursors()
    cursors.start("campaign", FIRST)
    for span in data.draw(st.permutations(loaded)):
        cursors.advance("campaign", span)
    assert cursors.get("campaign") == loaded[-1].last


@given(st.integers(30, 300), st.data())
def test_a_cursor_waits_before_a_gap_and_goes_on_once_it_is_filled(length: int, data: st.DataObject) -> None:
    requests = windows(Span(FIRST, FIRST + timedelta(days=length - 1)), 13)
    failed = data.draw(st.sampled_from(requests))
    cursors = Cursors()
    cursors.start("campaign", FIRST)
    for span in data.draw(st.permutations([span for span in requests if span != failed])):
        cursors.advance("campaign", span)
    assert cursors.get("campaign") == failed.first - ONE_DAY
    cursors.advance("campaign", failed)
    assert cursors.get("campaign") == requests[-1].last


def test_what_came_back_after_a_gap_is_not_remembered_beyond_the_run() -> None:
    cursors = Cursors()
    cursors.start("campaign", FIRST)
    cursors.advance("campaign", Span(FIRST + timedelta(days=20), FIRST + timedelta(days=30)))
    restored = Cursors.from_state(cursors.to_state())
    restored.advance("campaign", Span(FIRST, FIRST + timedelta(days=9)))
    assert restored.get("campaign") == FIRST + timedelta(days=9)


@given(DAYS, DAYS)
def test_a_start_never_moves_a_cursor(loaded: date, later: date) -> None:
    cursors = Cursors()
    cursors.start("campaign", loaded)
    cursors.start("campaign", later)
    assert cursors.get("campaign") == loaded - ONE_DAY


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_a_cursor_never_goes_back_and_never_beyond_what_is_connected(parts: list[tuple[int, int]]) -> None:
    cursors = Cursors()
    cursors.start("campaign", FIRST)
    loaded: set[date] = set()
    for offset, length in parts:
        span = Span(FIRST + timedelta(days=offset), FIRST + timedelta(days=offset + length))
        loaded.update(span.days())
        cursors.advance("campaign", span)
        connected = FIRST - ONE_DAY
        while connected + ONE_DAY in loaded:
            connected += ONE_DAY
        assert cursors.get("campaign") == connected


def test_the_state_of_twenty_thousand_entities_stays_below_200_kb() -> None:
    cursors = Cursors()
    for number in range(20_000):
        name = str(uuid4())
        cursors.start(name, FIRST + timedelta(days=number % 40), since=date.min)
        cursors.mark_quiet(name, number % 3 > 0)
    assert len(orjson.dumps(cursors.to_state())) < 200_000
