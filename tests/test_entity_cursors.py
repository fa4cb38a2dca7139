"""Every entity has its own cursor: whatever comes late catches up from its own start."""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.cursors import Cursors
from sources.braze.windows import Span
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import SMALL, Nights

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
ENTITIES = 20_000


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"canvases": 4})) as sandbox:
        yield sandbox


def every_day(first: date, last: date) -> list[date]:
    return list(Span(first, last).days())


@pytest.mark.parametrize(
    ("kind", "table", "column"),
    [
        ("campaign", "campaign_daily", "campaign_id"),
        ("canvas", "canvas_daily", "canvas_id"),
        ("segment", "segment_daily", "segment_id"),
        ("card", "card_daily", "card_id"),
    ],
)
def test_a_late_entity_is_loaded_from_its_own_start(sandbox: Sandbox, kind: str, table: str, column: str) -> None:
    nights = Nights(sandbox)
    nights.night()
    start = TODAY - timedelta(days=50)
    entity = sandbox.workspace.add(kind, live_from=start)
    if kind == "segment":
        sandbox.workspace.update(kind, entity, tracked=True)
    nights.night(TODAY + ONE_DAY)
    assert nights.days(table, **{column: entity})[-50:] == every_day(TODAY - timedelta(days=48), TODAY + ONE_DAY)
    assert nights.differences() == {}


def test_an_unarchived_campaign_has_all_its_days(sandbox: Sandbox) -> None:
    workspace = sandbox.workspace
    campaign = next(entity.id for entity in workspace.campaigns.values() if entity.archived)
    nights = Nights(sandbox)
    nights.night()
    for _ in range(2):
        workspace.update("campaign", campaign, archived=False)
        sandbox.set(today=workspace.now().date() + timedelta(days=9))
        nights.night()
        assert nights.differences() == {}
    days = nights.days("campaign_daily", campaign_id=campaign)
    assert days == every_day(days[0], workspace.now().date())


def test_a_newly_selected_resource_starts_at_the_beginning(sandbox: Sandbox) -> None:
    nights = Nights(sandbox)
    nights.night(select="campaigns,campaign_series")
    nights.night(TODAY + ONE_DAY)
    assert nights.days("session_daily")[0] == sandbox.workspace.opened
    assert nights.differences() == {}


def test_a_newly_named_app_starts_at_the_beginning(sandbox: Sandbox) -> None:
    nights, app = Nights(sandbox), sandbox.workspace.apps[0]
    nights.night(select="kpis,sessions,event_series")
    nights.night(TODAY + ONE_DAY, select="kpis,sessions,event_series", app_ids=[app])
    assert nights.days("kpi_daily", app_id=app) == every_day(sandbox.workspace.opened, TODAY + ONE_DAY)
    assert nights.differences(app_ids=(app,)) == {}


@pytest.mark.parametrize("path", ["/campaigns/details", "/campaigns/data_series"])
def test_an_entity_that_failed_for_weeks_catches_up(sandbox: Sandbox, path: str) -> None:
    workspace = sandbox.workspace
    campaign = next(entity.id for entity in workspace.campaigns.values() if entity.shape == "email")
    nights, select = Nights(sandbox), "campaigns,campaign_series"
    nights.night(select=select)
    sandbox.fail(path, "500", {"campaign_id": campaign})
    for week in range(1, 4):
        night = nights.night(TODAY + timedelta(days=7 * week), select=select)
        assert [failure.entity_id for failure in night.failures] == [campaign]
    sandbox.mend()
    mended = nights.night(TODAY + timedelta(days=22), select=select)
    assert mended.failures == []
    assert len(mended.resolved) == 3
    assert nights.differences() == {}


def test_a_cursor_only_moves_by_days_that_came_back(sandbox: Sandbox) -> None:
    """One day is missing in every answer: all before it counts as loaded, nothing after."""
    nights = Nights(sandbox)
    lost = TODAY - timedelta(days=40)
    sandbox.fail("/sessions/data_series", "missing_days", days=(lost.isoformat(),))
    night = nights.night(select="sessions")
    assert [(failure.start_date, failure.end_date) for failure in night.failures] == [(lost, lost)]
    packed = json.loads(nights.state)["sessions"]["cursors"]
    assert Cursors.from_state(packed).get("*") == lost - ONE_DAY
    sandbox.mend()
    nights.night(TODAY + ONE_DAY, select="sessions")
    assert nights.differences() == {}


def test_the_state_stays_small_with_20_000_entities() -> None:
    """A campaign and a Canvas series of 20,000 entities each, stragglers among them: nine characters an entity."""
    cursors = Cursors()
    for number in range(ENTITIES):
        entity = f"{number:08x}-0000-4000-8000-000000000000"
        cursors.start(entity, TODAY - timedelta(days=100))
        behind = number % 400 if number % 50 == 0 else 0
        cursors.advance(entity, Span(TODAY - timedelta(days=100), TODAY - timedelta(days=1 + behind % 90)))
        cursors.mark_quiet(entity, quiet=number % 10 == 0)
    state = json.dumps(cursors.to_state())
    assert len(state) < 9 * ENTITIES + 10_000
    assert len(b64encode(zlib.compress(state.encode()))) < 9 * ENTITIES + 10_000
    again = Cursors.from_state(json.loads(state))
    assert again.through == cursors.through
    assert again.quiet == cursors.quiet


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_a_cursor_never_steps_over_a_gap(order: list[int], failed: set[int]) -> None:
    """Ten-day windows come back in any order, some never: the cursor ends before the first of these."""
    cursors, start = Cursors(), date(2026, 1, 1)
    windows = [Span(start + timedelta(days=10 * n), start + timedelta(days=10 * n + 9)) for n in range(6)]
    cursors.start("e", start)
    for number in order:
        if number not in failed:
            cursors.advance("e", windows[number])
    assert cursors.get("e") == start + timedelta(days=10 * min(failed, default=6)) - ONE_DAY
