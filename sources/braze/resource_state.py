"""What is kept between runs in the state of dlt's resources: cursors, open failures, and what else is loaded."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from sources.braze.cursors import Cursors
from sources.braze.extraction import Extraction
from sources.braze.failures import Failure, OpenFailures
from sources.braze.known import LoadedExport, LoadedExports

FAILURES = "sync_failures"
CURSORS = "cursors"
ZONE = "time_zone"
DETAILED = "detailed"
SINCE = "since"
"""Where earlier releases kept one day since which all entities of a resource were loaded."""
EXPORTS = "exports"
_ENDED = "ended"


def cursors_from_state(state: Any, extraction: Extraction) -> dict[str, Cursors]:
    """The cursors that this run goes by: the nightly ones, or those of the same backfill if it is to be gone on with.

    In another time zone days are other days: after the setting has changed everything is loaded anew. Between which
    days there are figures is the same for both.
    """
    return {name: _cursors(extraction, kept) for name, kept in state.get("resources", {}).items()}


def _cursors(extraction: Extraction, kept: Mapping[str, Any]) -> Cursors:
    if _is_of_another_zone(extraction, kept):
        return Cursors() if extraction.run.calendar.only else _unpacked(kept, CURSORS).outdated()
    today, name = extraction.run.calendar.today.isoformat(), section(extraction)
    goes_on = kept.get(name, {}).get(_ENDED, today) == today
    cursors = _unpacked(kept, name) if goes_on else Cursors()
    cursors.remember(_unpacked(kept, CURSORS))
    return cursors


def _unpacked(kept: Mapping[str, Any], name: str) -> Cursors:
    return Cursors.from_state({"usually_since": kept.get(SINCE), **kept.get(name, {})})


def _is_of_another_zone(extraction: Extraction, kept: Mapping[str, Any]) -> bool:
    zone = extraction.run.settings.zone.key
    return bool(kept.get(ZONE, zone) != zone)


def keep_cursors(extraction: Extraction, cursors: Cursors, kept: MutableMapping[str, Any]) -> None:
    """Note in the state `kept` of a resource how far this run has come, and forget cursors of another time zone."""
    if _is_of_another_zone(extraction, kept):
        outdated = _unpacked(kept, CURSORS).outdated()
        kept.clear()
        kept[CURSORS] = outdated.to_state()
    kept[section(extraction)] = cursors.to_state()
    kept[ZONE] = extraction.run.settings.zone.key


def end_backfill(extraction: Extraction, kept: MutableMapping[str, Any]) -> None:
    """Note in the state `kept` of a resource that a backfill was not interrupted: repeated, it reads its days again.

    After failures it does so from the next day on; until then it asks only for what is missing.
    """
    cursors = kept.pop(section(extraction), {})
    if extraction.failures:
        kept[section(extraction)] = {**cursors, _ENDED: extraction.run.calendar.today.isoformat()}


def learn(extraction: Extraction, state: Any) -> None:
    """Tell `extraction` what the warehouse has: details of catalogs, exports how far."""
    for name, kept in state.get("resources", {}).items():
        if kept.get(DETAILED):
            extraction.run.known.detailed.add(name)
        if exports := kept.get(EXPORTS):
            latest = {audience: LoadedExport(**loaded) for audience, loaded in exports["latest"].items()}
            extraction.run.known.exports = LoadedExports(exports["warehouse"], latest)


def keep(extraction: Extraction, resource: str, kept: MutableMapping[str, Any]) -> None:
    """Note in the state `kept` of a resource what `learn` is to find there."""
    if resource in extraction.run.known.detailed:
        kept[DETAILED] = True


def keep_exports(extraction: Extraction, groups: Mapping[tuple[str, str], int], kept: MutableMapping[str, Any]) -> None:
    """Note in the state `kept` of a resource how many more groups of exports, by audience and job, are loaded."""
    exports = kept.setdefault(EXPORTS, {"warehouse": extraction.run.known.exports.warehouse, "latest": {}})
    for (audience, job), count in groups.items():
        before = exports["latest"].get(audience, {})
        groups_before = before["groups"] if before.get("job") == job else 0
        exports["latest"][audience] = {"job": job, "groups": groups_before + count}


def failures_from_state(state: Any) -> OpenFailures:
    """The failures that are still open."""
    stored = state.get("resources", {}).get(FAILURES, {}).get("open", [])
    return OpenFailures(Failure.from_state(failure) for failure in stored)


def section(extraction: Extraction) -> str:
    """Where in a resource's state the cursors are: backfills keep their own and leave the nightly ones alone."""
    only = extraction.run.calendar.only
    return f"backfill {only.first}..{only.last}" if only else CURSORS
