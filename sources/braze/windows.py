"""From a range of days to the fewest requests, whatever Braze means by `ending_at`.

A series request names `length` units up to `ending_at`. Whether the day of `ending_at` counts is not documented
(recorded traffic: not at midnight). So every request ends at the midnight after its last day and asks for one unit
more than its days: read either way, the answer contains them. That unit is the overlap between neighbours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


class Unit(StrEnum):
    """What a row of a series stands for."""

    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, order=True)
class Span:
    """A closed range of days, both ends included, in the workspace's time zone."""

    first: date
    last: date

    def __len__(self) -> int:
        return max(0, (self.last - self.first).days + 1)

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def days(self) -> Iterable[date]:
        """Every day, oldest first."""
        return map(date.fromordinal, range(self.first.toordinal(), self.last.toordinal() + 1))


def midnight(day: date, zone: tzinfo) -> datetime:
    """The instant at which `day` begins in `zone`; where the clock skips midnight, the first instant after it."""
    return datetime.combine(day, time.min, tzinfo=zone)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The day of `instant` (time-zone aware) in `zone`."""
    return instant.astimezone(zone).date()


def days_per_request(cap: int, unit: Unit) -> int:
    """Days that one request covers: `cap` units less the overlap, and whole days even on the day of 25 hours."""
    return cap - 1 if unit is Unit.DAY else (cap - 2) // 24


def windows(span: Span, per_request: int, floor: date | None = None) -> list[Span]:
    """Cut `span` into the fewest spans of at most `per_request` days, oldest first.

    The cut runs from the newest day backwards, and the oldest span grows back to `floor` as far as its request
    allows: those days cost nothing. Without `floor` the spans cover exactly `span`.
    """
    floor = min(floor or span.first, span.first)
    cuts = []
    last = span.last
    while last >= span.first:
        first = max(floor, last - timedelta(days=per_request - 1))
        cuts.append(Span(first, last))
        last = first - ONE_DAY
    return cuts[::-1]


def request_parameters(span: Span, unit: Unit, zone: ZoneInfo) -> dict[str, str | int]:
    """`length` and `ending_at` that make the answer contain `span`, under both readings of `ending_at`.

    A request for hours ends on a full hour of UTC. Where midnight is not one (in UTC+05:30, for example), it ends
    a little later, because Braze may count hours by the zone's clock or by UTC: either way `span` is in the answer.
    """
    begin, end = midnight(span.first, zone), midnight(span.last + ONE_DAY, zone)
    units = len(span)
    if unit is Unit.HOUR:
        end += timedelta(seconds=-end.timestamp() % 3600)
        units = -(-int(end.timestamp() - begin.timestamp()) // 3600)
    return {"length": units + 1, "ending_at": end.isoformat()}


def missing(span: Span, returned: Iterable[date], through: date) -> Span | None:
    """The smallest span that holds every day of `span` up to `through` that was not returned; None if none is."""
    absent = set(Span(span.first, min(span.last, through)).days()).difference(returned)
    return Span(min(absent), max(absent)) if absent else None
