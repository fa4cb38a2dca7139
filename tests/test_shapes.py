"""Answers that are not as documented: nothing is lost, nothing ends the run, nothing is silent."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import SERIES, SMALL, Nights

TODAY = date(2026, 3, 20)
ONE_DAY = timedelta(days=1)
CAMPAIGN_SHAPES = ("email", "multichannel", "iam_test", "push_clicks", "api", "sms")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"campaigns": 13, "canvases": 4})) as sandbox:
        yield sandbox


@pytest.mark.parametrize("kind", ["missing_keys", "duplicate_rows", "shuffled_days", "integer_revenue"])
def test_sums_are_exact_whatever_the_shape(sandbox: Sandbox, kind: str) -> None:
    nights = Nights(sandbox)
    sandbox.fail("*", kind)
    assert nights.night().failures == []
    assert nights.night(TODAY + ONE_DAY).failures == []
    assert nights.differences() == {}


def test_unknown_keys_at_every_level(sandbox: Sandbox) -> None:
    """Scalars become columns, objects and lists JSON columns, an unknown channel rows; all else is exact."""
    nights = Nights(sandbox)
    sandbox.fail("*", "unknown_keys")
    assert nights.night().failures == []
    wrong = {name for name in nights.differences() if not name.startswith("campaign_message_daily.")}
    assert wrong == set()
    for table in (
        "campaigns",
        "canvases",
        "segments",
        "campaign_daily",
        "canvas_daily",
        "canvas_step_daily",
        "kpi_daily",
    ):
        assert {row["new_counter"] for row in nights.rows(table)} == {7}, table
        assert {row["new_object"] for row in nights.rows(table)} == {'{"a":[1]}'}, table
    beams = nights.rows("campaign_message_daily", channel="hologram")
    assert beams
    assert {row["beams"] for row in beams} == {3}


def test_days_missing_for_good_are_a_failure_of_those_days_and_nothing_else(sandbox: Sandbox) -> None:
    nights, lost = Nights(sandbox), TODAY - 12 * ONE_DAY
    sandbox.fail("/sessions/data_series", "missing_days", days=(lost.isoformat(),))
    night = nights.night(select="sessions,kpis")
    (failure,) = night.failures
    assert (failure.resource, failure.start_date, failure.end_date) == ("sessions", lost, lost)
    assert "missing" in failure.message
    assert len(night.asked("/sessions/data_series")) == 2
    assert TODAY in nights.days("session_daily")
    sandbox.mend()
    assert len(nights.night(TODAY + ONE_DAY, select="sessions,kpis").resolved) == 1
    assert nights.differences() == {}


@pytest.mark.parametrize("path", ["/campaigns/data_series", "/canvas/data_series", "/kpi/dau/data_series"])
def test_days_missing_once_are_asked_again_at_once(sandbox: Sandbox, path: str) -> None:
    nights = Nights(sandbox)
    sandbox.fail(path, "missing_days", times=1)
    assert nights.night(select=SERIES).failures == []
    assert nights.differences() == {}


def test_a_gap_in_a_segment_that_had_days_before_is_no_leading_gap(sandbox: Sandbox) -> None:
    """Braze keeps sizes from when tracking was switched on: days before the first are no failure, later ones are."""
    nights = Nights(sandbox, lookback_days=3)
    tracked = next(segment.id for segment in sandbox.workspace.segments.values() if segment.tracked)
    early = tuple((sandbox.workspace.opened + n * ONE_DAY).isoformat() for n in range(40))
    leading = sandbox.fail("/segments/data_series", "missing_days", {"segment_id": tracked}, days=early)
    assert nights.night(select="segment_series").failures == []
    assert nights.night(TODAY + ONE_DAY, select="segment_series").failures == []
    sandbox.mend(leading)
    late = tuple((TODAY + n * ONE_DAY).isoformat() for n in range(-5, 3))
    sandbox.fail("/segments/data_series", "missing_days", {"segment_id": tracked}, days=late)
    (failure,) = nights.night(TODAY + 2 * ONE_DAY, select="segment_series").failures
    assert (failure.entity_id, failure.end_date) == (tracked, TODAY + ONE_DAY)
    sandbox.mend()
    nights.night(TODAY + 3 * ONE_DAY, select="segment_series")
    assert nights.differences() == {}


def test_a_segment_tracked_late_is_not_asked_for_its_history_every_night() -> None:
    """Years without sizes come back as empty answers: they count as seen once later days have come."""
    with Sandbox(WorkspaceOptions(today=TODAY, **SMALL | {"days": 700})) as sandbox:
        nights = Nights(sandbox)
        tracked = next(segment.id for segment in sandbox.workspace.segments.values() if segment.tracked)
        since = TODAY - 50 * ONE_DAY
        empty = tuple((since - n * ONE_DAY).isoformat() for n in range(1, 700))
        sandbox.fail("/segments/data_series", "missing_days", {"segment_id": tracked}, days=empty)
        first = nights.night(select="segment_series")
        assert len(first.asked("/segments/data_series", segment_id=tracked)) > 2
        assert nights.days("segment_daily", segment_id=tracked)[0] == since
        second = nights.night(TODAY + ONE_DAY, select="segment_series")
        assert len(second.asked("/segments/data_series", segment_id=tracked)) == 1
        assert second.failures == []


def test_names_tags_and_steps_follow_the_workspace(sandbox: Sandbox) -> None:
    nights, workspace = Nights(sandbox), sandbox.workspace
    nights.night()
    campaign = next(c for c in workspace.campaigns.values() if c.tags and None not in c.tags)
    canvas = next(c for c in workspace.canvases.values() if len(c.step_ids) > 1 and c.activity.spans and not c.deleted)
    workspace.update("campaign", campaign.id, name="Renamed ✨", tags=(None, "only"))
    workspace.delete_step(canvas.id, 1)
    nights.night(TODAY + ONE_DAY)
    assert [row["name"] for row in nights.rows("campaigns", id=campaign.id)] == ["Renamed ✨"]
    assert [row["tag"] for row in nights.rows("campaign_tags", campaign_id=campaign.id)] == ["only"]
    steps = {row["step_id"] for row in nights.rows("canvas_steps", canvas_id=canvas.id)}
    assert canvas.step_ids[1] not in steps
    figures = nights.rows("canvas_step_daily", canvas_id=canvas.id, step_id=canvas.step_ids[1])
    assert figures, "figures of a deleted step stay"
    assert nights.differences() == {}
