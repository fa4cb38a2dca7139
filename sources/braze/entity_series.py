"""A series of one entity: which days to ask for, the rows to post, and what the answers say about cursors."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from sources.braze import flatten
from sources.braze.catalog import Entity
from sources.braze.cursors import Cursors
from sources.braze.errors import BrazeError, InvalidKey, PermissionDenied, Stopped, Unreachable
from sources.braze.flatten import Row, Series
from sources.braze.parcels import Parcel
from sources.braze.planning import rests
from sources.braze.run import Run
from sources.braze.series import Gaps, Part, SeriesSpec
from sources.braze.windows import ONE_DAY, Span, local_day


class EntitySeries:
    """The series `spec` of one `entity`. `lane` is the place it holds among those asked at a time."""

    def __init__(self, run: Run, spec: SeriesSpec, entity: Entity, lane: asyncio.Semaphore | None = None) -> None:
        self._run = run
        self._spec = spec
        self._entity = entity
        self._lane = lane
        self._cursors = run.cursors.setdefault(spec.resource, Cursors())

    async def ask(self) -> None:
        """Ask for every day that is due, post the rows, and record what fails."""
        run, spec, entity = self._run, self._spec, self._entity
        run.record.asked[spec.resource].add(entity.id)
        if not self._parts():
            return
        cursor = self._cursor()
        left = [
            *run.record.open_failures.days(spec.resource, entity.id),
            *run.calendar.older(entity, cursor, run.known.since.get(spec.resource)),
        ]
        if not left and rests(run.calendar, spec, entity, self._cursors):
            return
        spans = run.calendar.requests(spec, entity, cursor, left)
        if len(spans) > 1 and self._has_new_part() and not run.dry:
            # A part that was never loaded may be denied still: the newest days tell, before all the others are asked.
            newest = spans[-1]
            await self._request(newest, cursor)
            cursor = self._cursor()
            spans = [span for span in run.calendar.requests(spec, entity, cursor, left) if span != newest]
        parts = self._parts()
        run.record.progress[spec.resource].known += len(spans) * len(parts)
        if run.dry:
            for part in parts:
                run.series.plan(spec, part, spans)
            return
        results = await asyncio.gather(*(self._request(span, cursor) for span in spans))
        self._conclude(spans, results)

    def _conclude(self, spans: Sequence[Span], results: Sequence[Series | None]) -> None:
        """Post what only all answers together say: whether the figures have stopped, and where they begin."""
        run, spec = self._run, self._spec
        names = [spec.cursor(self._entity.id, part) for part in self._parts()]
        if spec.dormant and results and all(result is not None for result in results):
            latest = max((result.last_active for result in results if result and result.last_active), default=None)
            quiet = latest is None or latest <= run.calendar.settled
            run.post(spec.resource, Parcel(quiet=[(name, quiet) for name in names]))
        if spec.may_begin_late(self._entity.begins):
            before, holes = _late_beginnings(spans, results, run.calendar.yesterday)
            if before:
                run.post(spec.resource, Parcel(reached=[(name, span) for name in names for span in before]))
            for span in holes:
                run.record.fail_absent(spec.resource, self._entity.id, span, spec.parts[0].endpoint)

    def _parts(self) -> list[Part]:
        return [part for part in self._spec.parts if part.endpoint not in self._run.record.denied]

    def _part_cursors(self, parts: Sequence[Part]) -> list[date | None]:
        return [self._cursors.get(self._spec.cursor(self._entity.id, part)) for part in parts]

    def _cursor(self) -> date | None:
        """The day up to which all parts that are not denied have been loaded, or None."""
        known = self._part_cursors(self._parts())
        return None if None in known else min((day for day in known if day), default=None)

    def _has_new_part(self) -> bool:
        known = self._part_cursors(self._parts())
        return None in known and any(known)

    async def _request(self, span: Span, cursor: date | None) -> Series | None:
        """Ask for `span`, the entity being loaded up to `cursor`, and post what comes back; None if that is not all."""
        run, spec, entity, record = self._run, self._spec, self._entity, self._run.record
        if run.stopping or record.given_up(spec.resource):
            return None
        try:
            series, absent = await self._complete_answer(span, cursor)
        except (InvalidKey, PermissionDenied) as error:
            record.deny(spec.resource, error)
            return None
        except Unreachable:
            raise
        except Stopped:
            return None
        except BrazeError as error:
            needed = run.calendar.needed(entity, cursor)
            wanted = Span(max(span.first, min(needed.first, span.last)), span.last)
            record.fail_entity(spec.resource, entity.id, wanted, error)
            return None
        record.went_well(spec.resource)
        if absent and absent.last == run.calendar.yesterday:
            record.standstills[spec.resource].note(absent, entity.id)
        elif absent:
            record.fail_absent(spec.resource, entity.id, absent, spec.parts[0].endpoint)
        elif len(self._parts()) == len(spec.parts):
            record.mend(spec.resource, entity.id, span)
        self._deliver(span, series, absent)
        return None if absent else replace(series, rows={})

    async def _complete_answer(self, span: Span, cursor: date | None) -> tuple[Series, Span | None]:
        """The answer for `span`, asked for again once if closed days are missing, and the days still missing then.

        Days before the first one of an entity are not missing; but where no gap at all is usual, an answer that begins
        late is not taken for the entity's beginning before it has come twice.
        """
        calendar = self._run.calendar
        begun = cursor if cursor and cursor >= calendar.floor(self._entity) else None
        late = self._spec.may_begin_late(self._entity.begins)
        series = await self._answer(span)
        absent = self._spec.absent(span, series, calendar.yesterday, begun, late)
        starts_inside = min(series.days, default=span.first) > span.first
        begins_late = late and not begun and starts_inside and self._spec.gaps is Gaps.NONE
        standstill = absent and self._run.record.standstills[self._spec.resource].is_general(absent)
        if (absent or begins_late) and not standstill:
            series = await self._answer(span)
            absent = self._spec.absent(span, series, calendar.yesterday, begun, late)
        return series, absent

    def _deliver(self, span: Span, series: Series, absent: Span | None) -> None:
        calendar, days = self._run.calendar, series.days
        first, last = span.first, min(span.last, calendar.yesterday)
        if absent:
            last = absent.first - ONE_DAY
        elif not days:
            last = first - ONE_DAY
        if days and self._spec.may_begin_late(self._entity.begins):
            first = min(days)
        parcel = Parcel(plain=series.rows, parents=self._parents(series))
        floor = calendar.floor(self._entity)
        for part in self._parts():
            name = self._spec.cursor(self._entity.id, part)
            parcel.started.append((name, floor))
            if last >= first:
                parcel.reached.append((name, Span(first, last)))
        self._run.post(self._spec.resource, parcel)

    def _parents(self, series: Series) -> list[Row]:
        """The keys of the rows that other tables of the series hang below (see `packing.pack`)."""
        main, *others = self._spec.tables
        return [{name: row[name] for name in main.key} for row in series.rows.get(main.name, ()) if others]

    async def _answer(self, span: Span) -> Series:
        """The answer(s) for `span`, flattened and without what Braze does not keep."""
        if len(self._spec.parts) == 1:
            return self._unexpired(await self._ask(self._spec.parts[0], span))
        answers = await asyncio.gather(
            *(self._ask(part, span) for part in self._parts() or self._spec.parts), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, PermissionDenied | InvalidKey):
                self._run.record.deny(self._spec.resource, answer)
            elif isinstance(answer, BaseException):
                raise answer
        granted = [answer for answer in answers if isinstance(answer, Series)]
        if not granted:
            raise next(answer for answer in answers if isinstance(answer, PermissionDenied | InvalidKey))
        joined = flatten.joined(self._spec.table, self._spec.keys, granted)
        return self._unexpired(self._without_denied_history(joined))

    def _without_denied_history(self, series: Series) -> Series:
        """`series` without the days of which the warehouse has rows that also hold what is denied by now."""
        denied = [part for part in self._spec.parts if part.endpoint in self._run.record.denied]
        complete = max((day for day in self._part_cursors(denied) if day), default=None)
        if complete is None:
            return series
        kept = [row for row in series.rows[self._spec.table] if self._day(row) > complete]
        return replace(series, rows={self._spec.table: kept})

    def _day(self, row: Row) -> date:
        day: date = row["date"] if "date" in row else local_day(row["hour"], self._run.settings.zone)
        return day

    async def _ask(self, part: Part, span: Span) -> Series:
        try:
            return await self._run.series.ask(self._spec, part, self._entity, span, self._lane)
        finally:
            self._run.record.progress[self._spec.resource].done += 1

    def _unexpired(self, series: Series) -> Series:
        if not self._spec.retention_days:
            return series
        kept_since = self._run.calendar.today - timedelta(days=self._spec.retention_days)
        series = flatten.without_expired(series, kept_since)
        if series.last_active is None and self._cursor():
            return Series({})  # what was loaded has expired since, or nothing has happened yet
        return series


def _late_beginnings(
    spans: Sequence[Span], results: Sequence[Series | None], through: date
) -> tuple[list[Span], list[Span]]:
    """The closed days, up to `through`, that the answers for `spans` (oldest first) lack at their beginning.

    Those before the first day that any answer has, and those after it, which are holes. What an answer lacks that
    follows one that failed may be either, and is left for the next run.
    """
    before, holes = [], []
    begun = failed = False
    for span, result in zip(spans, results, strict=True):
        if result is None:
            failed = True
            continue
        first = min(result.days, default=None)
        gap = Span(span.first, min(first - ONE_DAY if first else span.last, through))
        if len(gap) and begun:
            holes.append(gap)
        elif len(gap) and not failed:
            before.append(gap)
        begun = begun or first is not None
    return (before if begun else []), holes
