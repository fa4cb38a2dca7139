"""What is kept between runs in the state of dlt's resources: cursors, failures that are open, what has details."""

from typing import Any

from sources.braze.cursors import Cursors
from sources.braze.extraction import Extraction
from sources.braze.failures import Failure, OpenFailures

FAILURES = "sync_failures"
ZONE = "time_zone"
DETAILED = "detailed"


def cursors_from_state(state: Any, extraction: Extraction) -> dict[str, Cursors]:
    """The cursors that this run goes by: the nightly ones, or those of the same backfill if it was interrupted.

    In another time zone days are other days: after the setting has changed everything is loaded anew.
    """
    kept, zone = section(extraction), extraction.run.settings.zone.key
    return {
        name: Cursors.from_state(resource_state.get(kept, {}))
        for name, resource_state in state.get("resources", {}).items()
        if resource_state.get(ZONE, zone) == zone
    }


def detailed_from_state(state: Any) -> set[str]:
    """The catalogs whose details have been loaded."""
    return {name for name, kept in state.get("resources", {}).items() if kept.get(DETAILED)}


def failures_from_state(state: Any) -> OpenFailures:
    """The failures that are still open."""
    stored = state.get("resources", {}).get(FAILURES, {}).get("open", [])
    return OpenFailures(Failure.from_state(failure) for failure in stored)


def section(extraction: Extraction) -> str:
    """Where in a resource's state the cursors are: backfills keep their own and leave the nightly ones alone."""
    only = extraction.run.calendar.only
    return f"backfill {only.first}..{only.last}" if only else "cursors"
