"""Which days or hours a series request asks for, under either reading of `ending_at`."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sources.braze_sandbox.entities import hours_of
from sources.braze_sandbox.errors import BadRequest

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

Query = Mapping[str, str]

MOST = 100
MOST_CANVAS = 14


def days(workspace: "Workspace", query: Query) -> range:
    """The days (ordinals) of a daily series: `length` 1 to 100, ending by `ending_at`, none after what is known."""
    last = _last_day(workspace, _ending(workspace, query))
    return _known(workspace, last - _length(query, MOST) + 1, last)


def canvas_days(workspace: "Workspace", query: Query) -> range:
    """The days of a Canvas request: as `days`, with at most 14 of them, or from `starting_at` on."""
    last = _last_day(workspace, _ending(workspace, query))
    if "length" in query or "starting_at" not in query:
        return _known(workspace, last - _length(query, MOST_CANVAS) + 1, last)
    first = _moment(workspace, query["starting_at"], "starting_at").date().toordinal()
    if not 0 <= last - first < MOST_CANVAS:
        raise BadRequest(f"starting_at and ending_at must be at most {MOST_CANVAS} days apart")
    return _known(workspace, first, last)


def hours(workspace: "Workspace", query: Query) -> list[tuple[int, int, datetime]]:
    """The hours of an hourly series, as (workspace day, hour of that day, start in UTC), oldest first."""
    length, ending = _length(query, MOST), _ending(workspace, query)
    now = workspace.now()
    found: list[tuple[int, int, datetime]] = []
    day = ending.date().toordinal()
    while len(found) < length:
        for hour, start in reversed(list(enumerate(hours_of(day, workspace.zone)))):
            inside = start < ending or (workspace.options.ending_at == "inclusive" and start == ending)
            if inside and len(found) < length:
                found.append((day, hour, start))
        day -= 1
    latest = workspace.as_of()
    return [slot for slot in reversed(found) if slot[0] <= latest and slot[2] <= now]


def hours_so_far(workspace: "Workspace", day: int) -> int:
    """How many hours of a day there are figures for: all of them, on the current day those that have begun."""
    starts = hours_of(day, workspace.zone)
    now = workspace.now()
    if day < now.date().toordinal():
        return len(starts)
    return max(1, sum(start <= now for start in starts))


def _ending(workspace: "Workspace", query: Query) -> datetime:
    return _moment(workspace, query["ending_at"], "ending_at") if "ending_at" in query else workspace.now()


def _moment(workspace: "Workspace", text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{name} must be a datetime in ISO 8601 format") from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=workspace.zone)
    return moment.astimezone(workspace.zone)


def _last_day(workspace: "Workspace", ending: datetime) -> int:
    day = ending.date().toordinal()
    midnight = (ending.hour, ending.minute, ending.second, ending.microsecond) == (0, 0, 0, 0)
    return day - 1 if midnight and workspace.options.ending_at == "exclusive" else day


def _length(query: Query, most: int) -> int:
    text = query.get("length", "")
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadRequest(f"length must be a number between 1 and {most}")
    return int(text)


def _known(workspace: "Workspace", first: int, last: int) -> range:
    return range(first, min(last, workspace.as_of()) + 1)


def label(day: int) -> str:
    """A day as the `time` of a daily row."""
    return (date.min + timedelta(days=day - 1)).isoformat()
