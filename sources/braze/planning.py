"""Which days to ask for: pure arithmetic over cursors, lookback, backfill range and what failed before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sources.braze.catalog import Entity
from sources.braze.cursors import RECHECK_DAYS, Cursors, entity_hash
from sources.braze.series import SUMMARY_DAYS, SeriesSpec, summary_blocks
from sources.braze.windows import ONE_DAY, Span, local_day, windows

WORKSPACE_HISTORY = timedelta(days=730)
"""How far back series of the whole workspace go when `start_date` is not set."""


@dataclass(frozen=True)
class Loaded:
    """What is loaded of an entity: its days from `since` up to `cursor`.

    Without a cursor it is loaded in part, or by the days of another time zone. It is `quiet` if its figures have all
    been zero for longer than the lookback.
    """

    since: date | None
    cursor: date | None
    quiet: bool


@dataclass(frozen=True)
class Calendar:
    """The days of one run in the workspace's zone. `only` is a backfill's closed range; None for a sync."""

    now: datetime
    zone: ZoneInfo
    lookback_days: int
    start_date: date | None = None
    only: Span | None = None

    @property
    def today(self) -> date:
        """The current, unfinished day."""
        return local_day(self.now, self.zone)

    @property
    def yesterday(self) -> date:
        """The last closed day."""
        return self.today - ONE_DAY

    @property
    def settled(self) -> date:
        """The last day that is not read again every run."""
        return self.today - timedelta(days=self.lookback_days) - ONE_DAY

    @property
    def beginning(self) -> date:
        """Where series begin of which nothing says when they began."""
        return self.start_date or self.today - WORKSPACE_HISTORY

    def floor(self, entity: Entity) -> date:
        """The earliest day worth asking `entity` for: its own first activity, not before `start_date`."""
        first = entity.asked_from or entity.begins
        if self.only:
            return max(self.only.first, first or self.only.first)
        first = first or self.beginning
        return max(first, self.start_date) if self.start_date else first

    def reach(self, entity: Entity) -> date:
        """The day from which on nothing of `entity` is lacking once it is loaded from its floor on.

        If it is asked from its known beginning, there is nothing older, and only `start_date` sets a limit; without one
        it is `date.min`. Otherwise it is the floor.
        """
        whole = entity.begins and (entity.asked_from or entity.begins) <= entity.begins
        return (self.start_date or date.min) if whole else self.floor(entity)

    def asked_from(self, spec: SeriesSpec, entity: Entity, loaded: Loaded) -> date | None:
        """The day to ask `entity` from, of which so much is `loaded`; None: nothing says where it begins.

        An entity that was never active is asked for its newest days alone: one request tells whether that is still so.
        One whose details are withheld is asked for what is not final or, if nothing is loaded, for the newest days.
        The day after the cursor is never skipped.

        An entity that was loaded by the days of another zone is asked from the day before its beginning: if that zone
        lay further west, the warehouse may have figures on that day, which now belong to the next one.
        """
        first, latest = entity.begins, self.today - timedelta(days=spec.days_per_request - 1)
        if entity.never_active and (loaded.quiet or not loaded.cursor):
            first = max(first or self.beginning, latest)
        if self.only:
            return first
        if entity.withheld:
            first = self._still_due(loaded) or latest
        if loaded.cursor:
            return min(first or self.beginning, loaded.cursor + ONE_DAY)
        if loaded.since:
            return first - ONE_DAY if first else min(self.beginning, loaded.since)
        return first

    def _still_due(self, loaded: Loaded) -> date | None:
        """The day from which on what is `loaded` is not final; None if nothing is.

        Where the beginning is not known, no more is asked for: once it is known again, the days before are.
        """
        if loaded.cursor is None:
            return None
        return max(loaded.since or date.min, min(loaded.cursor, self.final(loaded.cursor) + ONE_DAY))

    def older(self, entity: Entity, cursor: date | None, since: date | None) -> list[Span]:
        """The days before `since`, from which on the entity is loaded up to `cursor`, that are wanted by now.

        `start_date` was a later one, or nothing said how early the entity began.
        """
        floor = self.floor(entity)
        if self.only or cursor is None or since is None or floor >= since:
            return []
        return [Span(floor, min(since - ONE_DAY, cursor))]

    def needed(self, entity: Entity, cursor: date | None) -> Span:
        """The days to ask `entity` for when it is loaded up to `cursor`; an empty span if there are none."""
        floor = self.floor(entity)
        if self.only:
            return Span(max(floor, cursor + ONE_DAY) if cursor else floor, min(self.only.last, self.today))
        first = floor if cursor is None else max(floor, min(cursor, self.final(cursor)) + ONE_DAY)
        return Span(first, self.today)

    def final(self, cursor: date) -> date:
        """The last day that was final, `lookback_days` old, when an entity's days up to `cursor` came back.

        Counted from the cursor and not from today: what was young at the last answer is read again after nights
        without a run, and after days on which the API stood still.
        """
        return min(self.settled, cursor + ONE_DAY - timedelta(days=self.lookback_days))

    def requests(self, spec: SeriesSpec, entity: Entity, cursor: date | None, left: Iterable[Span] = ()) -> list[Span]:
        """The span of each request for `entity`, oldest first; days that were `left` by earlier runs are among them."""
        if self.only:
            left = [Span(max(span.first, self.only.first), min(span.last, self.only.last)) for span in left]
        spans = _union([span for span in (self.needed(entity, cursor), *left) if len(span)])
        if spec.summary:
            blocks = [block for span in spans for block in summary_blocks(span, self.yesterday)]
            return list(dict.fromkeys(blocks))
        floor = None if self.only else self.floor(entity)
        newest = len(spans) - 1
        return [
            request
            for place, span in enumerate(spans)
            for request in windows(span, spec.days_per_request, floor if place == newest == 0 else None)
        ]

    def rests(self, entity: Entity, cursor: date | None, quiet: bool, behind: int = 0) -> bool:
        """Whether a dormant `entity` need not be asked this run; its cursor may be `behind` by so many days.

        It rests while nothing was sent for longer than the lookback, or ever, or nothing says when, while all its
        figures were zero when it was last asked, and nobody edited it since; a seventh of the resting is asked each
        day, so that each is seen weekly.
        """
        if self.only or not quiet or cursor is None:
            return False
        known_to_rest = entity.last_active and entity.last_active <= self.final(cursor)
        if not (known_to_rest or entity.never_active or entity.silent):
            return False
        if entity.edited and local_day(entity.edited, self.zone) > cursor:
            return False
        turn = int.from_bytes(entity_hash(entity.id), "big") % RECHECK_DAYS
        overdue = (self.today - cursor).days > RECHECK_DAYS + behind
        return not overdue and self.today.toordinal() % RECHECK_DAYS != turn


def rests(calendar: Calendar, spec: SeriesSpec, entity: Entity, cursors: Cursors) -> bool:
    """Whether `spec` need not be asked for `entity` this run (see `Calendar.rests`)."""
    name = spec.cursor(entity.id, spec.parts[0])
    behind = SUMMARY_DAYS if spec.summary else 0
    return spec.dormant and calendar.rests(entity, cursors.get(name), cursors.is_quiet(name), behind)


def _union(spans: Iterable[Span]) -> list[Span]:
    """Overlapping and adjacent spans joined, oldest first."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.first <= joined[-1].last + ONE_DAY:
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return joined
