"""Entities at rest are not asked every night, and never while their numbers move."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.numbers import TAIL
from tests.nights import Night, Nights

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
