"""What the answers to all requests for an entity say together: since when it is loaded, where its figures begin."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.beginnings import late_beginnings, loaded_since
from sources.braze.windows import ONE_DAY, Span

FIRST = date(2026, 3, 1)
LENGTH = 10
"""Days of a request."""


def day(place: int) -> date:
    return FIRST + timedelta(days=place)


def span(first: int, last: int) -> Span:
    return Span(day(first), day(last))


def answers(*begins: int | None) -> dict[Span, set[date] | None]:
    """Requests one after the other: each has the days from so many after its first on, none (10), or fails (None)."""
    asked = [span(place * LENGTH, place * LENGTH + LENGTH - 1) for place in range(len(begins))]
    return {
        one: None if begin is None else set(list(one.days())[begin:]) for one, begin in zip(asked, begins, strict=True)
    }


@pytest.mark.parametrize(
    ("begins", "before", "holes"),
    [
        ((0, 0, 0), [], []),
        ((4, 0, 0), [span(0, 3)], []),
        ((LENGTH, 4, 0), [span(0, 9), span(10, 13)], []),
        ((0, 4, 0), [], [span(10, 13)]),
        ((4, LENGTH, 2), [span(0, 3)], [span(10, 19), span(20, 21)]),
        ((None, 4, 0), [], []),
        ((LENGTH, None, 4), [span(0, 9)], []),
        ((4, None, 4), [span(0, 3)], [span(20, 23)]),
        ((LENGTH, LENGTH, LENGTH), [], []),
        ((LENGTH, None, None), [], []),
        ((), [], []),
    ],
)
def test_days_before_the_first_figures_are_told_from_holes_after_them(
    begins: tuple[int | None, ...], before: list[Span], holes: list[Span]
) -> None:
    assert late_beginnings(answers(*begins), day(29)) == (before, holes)


def test_days_that_are_not_closed_are_neither() -> None:
    assert late_beginnings(answers(0, 4), day(11)) == ([], [span(10, 11)])
    assert late_beginnings(answers(0, 4), day(9)) == ([], [])
    assert late_beginnings(answers(4, 0), day(1)) == ([span(0, 1)], [])


@given(st.lists(st.one_of(st.none(), st.integers(0, LENGTH)), max_size=6))
def test_nothing_that_was_answered_is_called_lacking_and_all_that_is_lacking_after_a_figure_is(
    begins: list[int | None],
) -> None:
    answered = answers(*begins)
    before, holes = late_beginnings(answered, day(len(begins) * LENGTH))
    figures = {one for days in answered.values() for one in days or ()}
    lacking = {one for asked, days in answered.items() if days is not None for one in asked.days()} - figures
    found = {one for gap in before for one in gap.days()}, {one for gap in holes for one in gap.days()}
    assert found[0].isdisjoint(found[1])
    assert found[0] | found[1] <= lacking
    assert found[1] == {one for one in lacking if figures and one > min(figures)}
    assert all(one < min(figures) for one in found[0])


@pytest.mark.parametrize(
    ("asked", "since"),
    [
        ({}, date.min),
        ({(0, 9): True, (10, 19): True}, date.min),
        ({(0, 9): False, (10, 19): True}, day(10)),
        ({(0, 9): True, (10, 19): False}, day(20)),
        ({(0, 9): True, (20, 29): False}, date.min),
        ({(0, 9): False, (20, 29): False}, day(20)),
        ({(0, 3): False, (6, 9): True, (10, 19): True}, day(6)),
        ({(15, 29): False, (5, 14): True}, day(20)),
    ],
)
def test_an_entity_is_loaded_since_the_oldest_request_behind_which_none_failed(
    asked: dict[tuple[int, int], bool], since: date
) -> None:
    assert loaded_since(day(20), {span(*days): {} if fine else None for days, fine in asked.items()}) == since


@given(st.lists(st.booleans(), max_size=8))
def test_what_is_older_than_a_failure_does_not_count(fine: list[bool]) -> None:
    asked = [Span(day(place), day(place)) for place in range(len(fine))]
    since = day(len(fine))
    loaded = loaded_since(since, {one: [] if well else None for one, well in zip(asked, fine, strict=True)})
    failed = [one.last for one, well in zip(asked, fine, strict=True) if not well]
    assert loaded == (max(failed) + ONE_DAY if failed else date.min)
