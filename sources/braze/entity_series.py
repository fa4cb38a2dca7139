"""A series of one entity: which days to ask for, the rows to post, and what the answers say about cursors."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sources.braze import flatten
from sources.braze.beginnings import late_beginnings, loaded_since
from sources.braze.catalog import Entity
from sources.braze.cursors import Cursors
from sources.braze.endpoints import Endpoint
from sources.braze.errors import BrazeError, InvalidKey, PermissionDenied, Stopped, Unreachable
from sources.braze.failures import ALWAYS
from sources.braze.flatten import Series
from sources.braze.joining import Piece, joined
from sources.braze.parcels import Parcel
from sources.braze.planning import Loaded, rests
from sources.braze.rows import Row, Sheet
from sources.braze.run import Run
from sources.braze.series import Gaps, Part, SeriesSpec
from sources.braze.windows import ONE_DAY, Span, local_day

Answers = Mapping[Endpoint, Series]
"""What the parts of a series said of a span, without rows."""


@dataclass(frozen=True)
class Heard:
    """What `part` answered, and the closed days that it ought to hold and does not."""

    part: Part
    series: Series
    absent: Span | None


@dataclass(frozen=True)
class Due:
    """The `spans` of the requests for an entity that is loaded up to `cursor` but for the days `left`."""

    cursor: date | None
    left: Sequence[Span]
    spans: Sequence[Span]


class EntitySeries:
    """The series `spec` of one `entity`. `lane` is the place it holds among those asked at a time."""

    def __init__(self, run: Run, spec: SeriesSpec, entity: Entity, lane: asyncio.Semaphore | None = None) -> None:
        self._run = run
        self._spec = spec
        self._entity = entity
        self._lane = lane
        self._cursors = run.cursors.setdefault(spec.resource, Cursors())
        self._first = {part.endpoint: self._cursors.first_day(self._name(part)) for part in spec.parts}
        self._begun = {part.endpoint: self._begun_by(part) for part in spec.parts}
        # As earlier runs left it: what this one brings of other days says nothing of rows in the warehouse.
        self._newest = {part.endpoint: self._newest_of(part) for part in spec.parts}
        self._answered = False

    async def ask(self) -> None:
        """Ask for every day that is due, post the rows, and record what fails."""
        run, spec = self._run, self._spec
        run.record.asked[spec.resource].add(self._entity.id)
        if not self._parts():
            return
        self._entity = self._placed()
        due = self._due()
        if not due.left and rests(run.calendar, spec, self._entity, self._cursors):
            return
        refused = self._was_refused()
        probed = await self._probe(due) if refused or self._has_new_part() else {}
        if refused and probed and not self._answered:
            return  # without a cursor the older days stay due
        if probed:
            due = self._due(besides=probed)
        parts = self._parts()
        run.record.progress[spec.resource].known += len(due.spans) * len(parts)
        if run.dry:
            for part in parts:
                run.series.plan(spec, part, due.spans)
            return
        since = self._since()
        results = await asyncio.gather(*(self._request(span, due) for span in due.spans))
        self._conclude(probed | dict(zip(due.spans, results, strict=True)), since)

    def _placed(self) -> Entity:
        """The entity with the day from which to ask it."""
        names = list(map(self._name, self._parts()))
        loaded = Loaded(self._since(), self._cursor(), quiet=all(map(self._cursors.is_quiet, names)))
        return replace(self._entity, asked_from=self._run.calendar.asked_from(self._spec, self._entity, loaded))

    def _due(self, besides: Collection[Span] = ()) -> Due:
        """What is due by what the parts that are not denied have loaded, `besides` the spans that were asked for."""
        cursor = self._cursor()
        left = self._left(cursor)
        spans = self._run.calendar.requests(self._spec, self._entity, cursor, left)
        return Due(cursor, left, [span for span in spans if span not in besides])

    def _left(self, cursor: date | None) -> list[Span]:
        """The days before the lookback that are due all the same: those that failed, those that are wanted by now."""
        failed = self._run.record.open_failures.days(self._spec.resource, self._entity.id, self._spec.unit)
        return [*failed, *self._run.calendar.older(self._entity, cursor, self._since())]

    async def _probe(self, due: Due) -> dict[Span, Answers | None]:
        """The newest days, asked for before all the others: those may well be denied or refused like these."""
        if self._run.dry or len(due.spans) < 2:
            return {}
        newest = due.spans[-1]
        self._run.record.progress[self._spec.resource].known += len(self._parts())
        return {newest: await self._request(newest, due)}

    def _conclude(self, answered: Mapping[Span, Answers | None], since: date | None) -> None:
        """Post what only all answers together say of the entity, that was loaded from `since` on before them."""
        if since:
            self._post_extended(answered, since)
        whole = [answers for answers in answered.values() if answers is not None]
        if self._spec.dormant and whole and len(whole) == len(answered):
            self._post_quiet(whole)
        if self._spec.may_begin_late(self._entity.begins):
            self._post_beginnings(answered)

    def _post_extended(self, answered: Mapping[Span, Answers | None], since: date) -> None:
        """Post since when the entity is loaded by now, if that is earlier than `since`."""
        extended = max(self._run.calendar.reach(self._entity), loaded_since(since, answered))
        if extended < since:
            self._run.post(
                self._spec.resource, Parcel(extended=[(self._name(part), extended) for part in self._parts()])
            )

    def _post_quiet(self, whole: Iterable[Answers]) -> None:
        """Post whether the figures have stopped."""
        days = [series.last_active for answers in whole for series in answers.values() if series.last_active]
        quiet = max(days, default=date.min) <= self._run.calendar.settled
        self._run.post(self._spec.resource, Parcel(quiet=[(self._name(part), quiet) for part in self._parts()]))

    def _post_beginnings(self, answered: Mapping[Span, Answers | None]) -> None:
        """Post the days before the first figures as loaded, and record those as absent that are holes after them."""
        run, spec = self._run, self._spec
        holes: dict[Span, Endpoint] = {}
        for part in self._parts():
            days = {span: _days(answered[span], part) for span in sorted(answered)}
            before, lacking = late_beginnings(days, run.calendar.yesterday)
            if before:
                run.post(spec.resource, Parcel(reached=[(self._name(part), span) for span in before]))
            for span in lacking:
                holes.setdefault(span, part.endpoint)
        for span, endpoint in holes.items():
            run.record.fail_absent(spec.resource, self._entity.id, span, endpoint, spec.unit)

    def _name(self, part: Part) -> str:
        return self._spec.cursor(self._entity.id, part)

    def _parts(self) -> list[Part]:
        return [part for part in self._spec.parts if part.endpoint not in self._run.record.denied]

    def _part_cursors(self, parts: Sequence[Part]) -> list[date | None]:
        return [self._cursors.get(self._name(part)) for part in parts]

    def _cursor(self) -> date | None:
        """The day up to which all parts that are not denied have been loaded, or None."""
        known = self._part_cursors(self._parts())
        return None if None in known else min((day for day in known if day), default=None)

    def _since(self) -> date | None:
        """The day since which all parts that are not denied have been loaded, or None."""
        known = (self._cursors.loaded_since(self._name(part)) for part in self._parts())
        return max((day for day in known if day), default=None)

    def _has_new_part(self) -> bool:
        known = self._part_cursors(self._parts())
        return None in known and any(known)

    def _was_refused(self) -> bool:
        """Whether nightly runs have asked for the entity and loaded nothing of it."""
        if self._run.calendar.only or any(self._part_cursors(self._parts())):
            return False
        return bool(self._run.record.open_failures.days(self._spec.resource, self._entity.id, self._spec.unit))

    def _begun_by(self, part: Part) -> date | None:
        """The last day that answers of `part` may lack because it had not begun; None if that may be any day.

        That is the day before the first one that ever came back or, where that one was not noted, the cursor.
        """
        if first := self._first[part.endpoint]:
            return first - ONE_DAY
        cursor = self._cursors.get(self._name(part))
        return cursor if cursor and cursor >= self._run.calendar.floor(self._entity) else None

    def _newest_of(self, part: Part) -> date | None:
        """The last closed day of which the warehouse may have `part`, or None."""
        name = self._name(part)
        # A state of earlier versions says how far a part is loaded, not which day of it came last.
        return self._cursors.newest_day(name) or self._cursors.get(name)

    async def _request(self, span: Span, due: Due) -> Answers | None:
        """Ask for `span`, which is among what is `due`, and post what comes back; None if that is not all."""
        run, spec, entity, record = self._run, self._spec, self._entity, self._run.record
        if run.stopping or record.given_up(spec.resource):
            return None
        try:
            heard, errors = await self._complete_answers(span)
        except (InvalidKey, PermissionDenied) as denial:
            record.deny(spec.resource, denial)
            return None
        except Unreachable:
            raise
        except Stopped:
            return None
        except BrazeError as failure:
            heard, errors = [], [failure]
        for error in errors:
            wanted = (run.calendar.needed(entity, due.cursor), *due.left)
            first = max(span.first, min(days.first for days in wanted if days.last >= span.first))
            record.fail_entity(spec.resource, entity.id, Span(first, span.last), error, spec.unit)
        if not heard:
            return None
        if not errors:
            record.went_well(spec.resource)
        lacking = self._record_absent(heard) or bool(errors)
        if not lacking:
            record.mend(spec.resource, entity.id, self._replaced(span, heard), (spec.unit,))
        self._deliver(span, heard)
        return None if lacking else {one.part.endpoint: replace(one.series, rows={}) for one in heard}

    def _record_absent(self, heard: Sequence[Heard]) -> bool:
        """Record the days that answers lack, those that several lack once, and say whether there are any."""
        run, spec, entity_id = self._run, self._spec, self._entity.id
        lacking: dict[Span, Endpoint] = {}
        for one in heard:
            if one.absent:
                lacking.setdefault(one.absent, one.part.endpoint)
        for absent, endpoint in lacking.items():
            if absent.last == run.calendar.yesterday:
                run.record.standstills[spec.resource, endpoint, spec.unit].note(absent, entity_id)
            else:
                run.record.fail_absent(spec.resource, entity_id, absent, endpoint, spec.unit)
        return bool(lacking)

    async def _complete_answers(self, span: Span) -> tuple[list[Heard], list[BrazeError]]:
        """The answers for `span`, those that lack closed days asked for again once, and the days still missing then.

        Days before an entity begins are not missing; but where no gap at all is usual, an answer that begins
        late is not taken for the entity's beginning before it has come twice. Beside them the errors of the parts
        that have no answer and are not denied; if none has an answer, the first error is raised.
        """
        heard, errors = await self._answers(self._parts() or self._spec.parts, span)
        doubtful = [one.part for one in heard if self._is_doubtful(one, span)]
        if doubtful:
            again, errors_again = await self._answers(doubtful, span)
            heard = [*(one for one in heard if one.part not in doubtful), *again]
            errors = [*errors, *errors_again]
        failed = [error for error in errors if not isinstance(error, PermissionDenied | InvalidKey)]
        if not heard:
            raise (failed or errors)[0]
        return heard, failed

    def _is_doubtful(self, heard: Heard, span: Span) -> bool:
        """Whether asking again may bring more."""
        if heard.absent:
            spec, record = self._spec, self._run.record
            return not record.standstills[spec.resource, heard.part.endpoint, spec.unit].is_general(heard.absent)
        if self._begun[heard.part.endpoint] or self._spec.gaps is not Gaps.NONE:
            return False
        begins_late = min(heard.series.days, default=span.first) > span.first
        return begins_late and self._spec.may_begin_late(self._entity.begins)

    def _deliver(self, span: Span, heard: Sequence[Heard]) -> None:
        """Post the rows, and that every part is loaded up to the first day that any of them lacks."""
        self._answered = True
        calendar, spec = self._run.calendar, self._spec
        last = min([span.last, calendar.yesterday, *(one.absent.first - ONE_DAY for one in heard if one.absent)])
        rows = self._rows(heard)
        parcel = Parcel(plain=rows.rows, parents=self._parents(rows))
        for one in heard:
            name, days = self._name(one.part), one.series.days
            parcel.started.append((name, calendar.floor(self._entity), calendar.reach(self._entity)))
            first = min(days, default=span.first) if spec.may_begin_late(self._entity.begins) else span.first
            if days and last >= first:
                parcel.reached.append((name, Span(first, last)))
            if days and len(spec.parts) > 1:
                parcel.came.append((name, Span(min(days), min(max(days), calendar.yesterday))))
        self._run.post(spec.resource, parcel)

    def _parents(self, series: Series) -> Sheet:
        """The rows that other tables of the series hang below (see `packing.pack`)."""
        main, *others = self._spec.tables
        parents = Sheet()
        if others and main.name in series.rows:
            parents.extend(series.rows[main.name])
        return parents

    async def _answers(self, parts: Sequence[Part], span: Span) -> tuple[list[Heard], list[BrazeError]]:
        """What `parts` say of `span`, and the errors of those that say nothing."""
        answers = await asyncio.gather(*(self._ask(part, span) for part in parts), return_exceptions=True)
        heard: list[Heard] = []
        errors: list[BrazeError] = []
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, Series):
                heard.append(self._heard(part, answer, span))
            elif isinstance(answer, BrazeError) and not isinstance(answer, Unreachable):
                errors.append(answer)
            else:
                raise answer
            if isinstance(answer, PermissionDenied | InvalidKey):
                self._run.record.deny(self._spec.resource, answer)
        return heard, errors

    def _heard(self, part: Part, series: Series, span: Span) -> Heard:
        may_begin_late = self._spec.may_begin_late(self._entity.begins)
        yesterday, begun = self._run.calendar.yesterday, self._begun[part.endpoint]
        due = Span(max(span.first, self._entity.begins or span.first), span.last)
        return Heard(part, series, self._spec.absent(due, series, yesterday, begun, may_begin_late))

    def _rows(self, heard: Sequence[Heard]) -> Series:
        """The rows of all answers for the same days."""
        if len(self._spec.parts) == 1:
            return heard[0].series
        pieces = [Piece(one.series, self._blank_until(one.part)) for one in heard]
        series = joined(self._spec.table, self._spec.moment, pieces, self._run.settings.zone)
        replaced = self._replaced(ALWAYS, heard)
        if replaced == ALWAYS:
            return series
        kept = Sheet(row for row in series.rows[self._spec.table] if self._day(row) in replaced)
        return replace(series, rows={self._spec.table: kept})

    def _blank_until(self, part: Part) -> date:
        """The last day of which rows may lack `part`: all before the first that ever came, if any did."""
        begun = self._begun[part.endpoint]
        if begun is None:
            return date.max
        # A cursor of earlier versions does not say where the part began: its rows may have it on any day.
        return begun if self._first[part.endpoint] else date.min

    def _replaced(self, span: Span, heard: Sequence[Heard]) -> Span:
        """The days of `span` without those of which the warehouse has rows that also hold what silent parts said."""
        said = [one.part for one in heard]
        newest = (self._newest[part.endpoint] for part in self._spec.parts if part not in said)
        complete = max((day for day in newest if day), default=None)
        return Span(max(span.first, complete + ONE_DAY), span.last) if complete else span

    def _day(self, row: Row) -> date:
        day: date = row["date"] if "date" in row else local_day(row["hour"], self._run.settings.zone)
        return day

    async def _ask(self, part: Part, span: Span) -> Series:
        """What `part` says of `span`, without what Braze does not keep."""
        try:
            return self._unexpired(await self._run.series.ask(self._spec, part, self._entity, span, self._lane))
        finally:
            self._run.record.progress[self._spec.resource].done += 1

    def _unexpired(self, series: Series) -> Series:
        if not self._spec.retention_days:
            return series
        kept_since = self._run.calendar.today - timedelta(days=self._spec.retention_days)
        series = flatten.without_expired(series, kept_since)
        # A backfill does not know what is loaded; after a change of zone much is, though there are no cursors.
        may_be_loaded = self._cursor() or self._since() or self._run.calendar.only
        if series.last_active is None and may_be_loaded:
            return Series({})  # what was loaded has expired since, or nothing has happened yet
        return series


def _days(answers: Answers | None, part: Part) -> set[date] | None:
    series = answers.get(part.endpoint) if answers else None
    return series.days if series else None
