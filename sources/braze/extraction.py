"""One run against a workspace: catalog → work → requests → rows, in the background of dlt's extraction.

An event loop in a thread of its own walks the catalog and sends the requests; parcels of Arrow tables wait, by
resource, for the dlt resources to take them. What waits is bounded, so memory does not grow with the workspace, and
requests go on while a chunk is being loaded.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import pyarrow as pa

from sources.braze import endpoints, flatten
from sources.braze.catalog import CATALOGS, Catalog, Entity, entity_named, event_pages, listed, names
from sources.braze.client import Client
from sources.braze.cursors import Cursors
from sources.braze.endpoints import Endpoint
from sources.braze.errors import (
    BadAnswer,
    BrazeError,
    ConfigurationError,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    Stopped,
    Unreachable,
    first_of,
)
from sources.braze.failures import Failure, OpenFailures
from sources.braze.flatten import Answer, Row, Rows, Series
from sources.braze.model import ALL
from sources.braze.packing import Known, pack
from sources.braze.parcels import Parcel
from sources.braze.planning import Calendar, rests
from sources.braze.series import CANVAS_SUMMARY, Gaps, Part, SeriesSpec, documented_shape, specs
from sources.braze.settings import Pair, Settings
from sources.braze.standstill import Standstill
from sources.braze.users import Delivery, ProfileRequest, Profiles
from sources.braze.windows import ONE_DAY, Span, local_day

WAITING_ROWS = 150_000
"""Rows that may wait for the warehouse before requests pause."""
FAILURES_IN_A_ROW = 20
"""Entities of one resource that may fail one after the other before the rest of it is left for the next run."""

FED_BY = {"events": ("event_series",)}
"""Workspace resources whose work list another one brings along."""


@dataclass
class Progress:
    """How far a resource is: requests known so far, answered, and entities that failed."""

    known: int = 0
    done: int = 0
    failed: int = 0


@dataclass
class Packed:
    """A flattened answer whose rows are Arrow already."""

    tables: dict[str, pa.Table]
    series: Series


class Extraction:
    """Everything that is asked in one run; the dlt resources in `sources.braze` take its parcels.

    `only` makes it a backfill of that closed range; `dry` walks the catalog and counts what series would be asked
    (`planned`, requests by path) without asking. `now` is the run's clock, `request` whose profiles `users` loads.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        now: datetime,
        only: Span | None = None,
        dry: bool = False,
        request: ProfileRequest | None = None,
    ) -> None:
        self.settings = settings
        self.client = client
        self.calendar = Calendar(now, settings.zone, settings.lookback_days, settings.start_date, only)
        self.dry = dry
        self.request = request
        self.profiles: Profiles | None = None
        self.run_id = uuid4().hex
        self.cursors: dict[str, Cursors] = {}
        self.open_failures = OpenFailures()
        self.failures: list[Failure] = []
        self.progress: dict[str, Progress] = defaultdict(Progress)
        self.planned: Counter[str] = Counter()
        self.planned_days: Counter[str] = Counter()
        self.known = Known()
        self.crash: BaseException | None = None
        self._began = time.monotonic()
        self._selected: tuple[str, ...] = ()
        self._parcels: dict[str, deque[Parcel]] = defaultdict(deque)
        self._waiting_rows = 0
        self._denied: set[Endpoint] = set()
        self._asked_for: dict[str, set[str]] = defaultdict(set)
        self._standstills: dict[str, Standstill] = defaultdict(Standstill)
        self._failed_in_a_row: Counter[str] = Counter()
        self._stopping = False
        self._uncommitted = 0
        self._committed: asyncio.Event | None = None
        self._export: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room: asyncio.Event | None = None

    # What the consumer (dlt's thread) calls

    def start(self, selected: Iterable[str], cursors: Mapping[str, Cursors], failures: OpenFailures) -> None:
        """Begin asking for `selected` resources in the background; later calls do nothing."""
        if self._thread:
            return
        self._selected = tuple(selected)
        self.cursors = dict(cursors)
        self.open_failures = failures
        self._thread = threading.Thread(target=self._run, name="braze-extraction", daemon=True)
        self._thread.start()

    def take(self, resource: str) -> Parcel | None:
        """The next parcel of `resource`, or None if none is waiting. Raises what ended the extraction early."""
        if self.crash:
            raise self.crash
        if not self._parcels[resource]:
            return None
        parcel = self._parcels[resource].popleft()
        self._waiting_rows -= parcel.rows
        if self._room and self._waiting_rows < WAITING_ROWS:
            self._tell(self._room.set)
        return parcel

    @property
    def waits_for_commit(self) -> bool:
        """Whether nothing more comes for `users` before what was taken is in the warehouse."""
        return self._committed is not None and not self._parcels["users"]

    def committed(self, parcels: int) -> None:
        """Say that the rows of so many parcels with `on_commit` are in the warehouse."""
        self._uncommitted -= parcels
        if not self._uncommitted and self._committed:
            self._tell(self._committed.set)

    def _tell(self, what: Callable[[], object]) -> None:
        """Call `what` in the loop; it may have ended just now."""
        assert self._loop
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what)

    @property
    def asked(self) -> bool:
        """Whether everything has been asked and answered (parcels may still wait)."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def finished(self) -> bool:
        """Whether everything has been asked and every parcel taken."""
        return self.asked and not any(self._parcels.values())

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end early."""
        return self._stopping

    def stop(self) -> None:
        """Ask for nothing more; requests in flight are finished, their parcels kept, and exports left to resume."""
        self._stopping = True
        self._tell(self._drop_waiting)
        if self._export:
            self._tell(self._export.cancel)

    def join(self) -> None:
        """Wait until nothing is in flight any more."""
        if self._thread:
            self._thread.join()

    # What happens in the loop

    def _drop_waiting(self) -> None:
        assert self._room
        self._room.set()
        self.client.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseExceptionGroup as group:
            self.crash = first_of(group)
        except BaseException as error:
            self.crash = error

    async def _main(self) -> None:
        self._loop, self._room = asyncio.get_running_loop(), asyncio.Event()
        self._room.set()
        try:
            async with asyncio.TaskGroup() as families:
                for catalog in CATALOGS:
                    series = [
                        spec for name in self._selected for spec in self._specs(name) if spec.of == catalog.resource
                    ]
                    if series or catalog.resource in self._selected:
                        families.create_task(self._catalog(catalog, series))
                for resource, family in self._workspace_families().items():
                    if resource in self._selected:
                        affected = [name for name in (resource, *FED_BY.get(resource, ())) if name in self._selected]
                        families.create_task(self._guarded(affected, family()))
        finally:
            await self.client.aclose()
        self._reject_key()
        self._fail_standstills()
        if not self._stopping:
            self._mend_resources()

    def _mend_resources(self) -> None:
        """Close what failed for a whole resource before and did not now, and what is not asked for any more."""
        failing = {(failure.resource, failure.entity_id) for failure in self.failures}
        for resource in self._selected:
            if (resource, ALL) not in failing:
                self._mend(resource, ALL, None)
                if resource in self._workspace_families() and resource != "users":
                    self.open_failures.forget(resource, self._asked_for[resource])
        for audience in self.request.audiences if self.request else ():
            if ("users", audience.segment_id) not in failing:
                self._mend("users", audience.segment_id, None)

    def _specs(self, resource: str) -> tuple[SeriesSpec, ...]:
        return specs(resource, self.settings.hourly)

    def _workspace_families(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "events": self._events,
            "event_series": self._events_for_series_only,
            "purchases": self._purchases,
            "kpis": lambda: self._by_app("kpis"),
            "sessions": lambda: self._by_app("sessions", segment_id=ALL),
            "sends": self._sends,
            "users": self._users,
        }

    def _reject_key(self) -> None:
        """A 401 that no success contradicts means that the key or the host is wrong for everything."""
        if self._refused and not self.client.traffic.succeeded:
            raise self._refused

    _refused: InvalidKey | None = None

    async def _guarded(self, resources: Sequence[str], work: Awaitable[None]) -> None:
        """Await `work`; what fails it as a whole fails `resources`, and nothing else."""
        try:
            await work
        except InvalidKey as error:
            self._refused = error
            self._fail_resources(resources, PermissionDenied(_endpoint(error), 401, error.detail))
        except (Unreachable, ConfigurationError):
            raise
        except Stopped:
            pass
        except (NotAvailable, PermissionDenied) as error:
            if not set(resources) <= {"cards", "card_series"}:
                self._fail_resources(resources, error)
        except BrazeError as error:
            self._fail_resources(resources, error)

    def _fail_resources(self, resources: Sequence[str], error: BrazeError) -> None:
        for resource in resources:
            self._fail(resource, ALL, None, error)

    def _fail(self, resource: str, entity_id: str, span: Span | None, error: BrazeError) -> None:
        days = span or Span(self.calendar.today, self.calendar.today)
        self.progress[resource].failed += 1
        self.failures.append(
            Failure(
                run_id=self.run_id,
                resource=resource,
                entity_id=entity_id,
                start_date=days.first,
                end_date=days.last,
                endpoint=error.endpoint.path if error.endpoint else ALL,
                status=error.status,
                message=str(error),
                failed_at=self.calendar.now + timedelta(seconds=time.monotonic() - self._began),
            )
        )

    # Catalogs

    async def _catalog(self, catalog: Catalog, series: Sequence[SeriesSpec]) -> None:
        resources = [
            *([catalog.resource] if catalog.resource in self._selected else []),
            *dict.fromkeys(spec.resource for spec in series),
        ]
        await self._guarded(resources, self._walk(catalog, series))

    async def _walk(self, catalog: Catalog, series: Sequence[SeriesSpec]) -> None:
        lanes = asyncio.Semaphore(4 * self.settings.concurrency)
        present: set[str] = set()
        async with _tasks() as entities:
            async for page in listed(self._get, catalog):
                present.update(entry["id"] for entry in page)
                for entry in page:
                    await lanes.acquire()
                    if self._stopping:
                        raise Stopped
                    task = entities.create_task(self._entity(catalog, entry, series, lanes))
                    task.add_done_callback(lambda _: lanes.release())

        for resource in (catalog.resource, *(spec.resource for spec in series)):
            self.open_failures.forget(resource, present)

    async def _entity(
        self, catalog: Catalog, entry: Answer, series: Sequence[SeriesSpec], lane: asyncio.Semaphore
    ) -> None:
        try:
            details = await self._details(catalog, entry, lane)
            with documented_shape(catalog.details, entry["id"]):
                rows = catalog.flatten(entry, details, self.settings.message_bodies)
                entity = catalog.entity(entry, details, self.settings)
        except Stopped:
            return
        except BrazeError as error:
            self._count_failure(catalog.resource, error)
            self._fail(catalog.resource, entry["id"], None, error)
            return
        self._failed_in_a_row[catalog.resource] = 0
        if catalog.resource in self._selected:
            for row in rows[catalog.resource]:
                row["synced_at"] = self.calendar.now
            self._post(
                catalog.resource,
                Parcel(plain=rows, parents=[{catalog.parameter: entry["id"]}]),
            )
        self._mend(catalog.resource, entry["id"], None)
        for spec in series if entity else ():
            assert entity
            await self._series(spec, entity, lane)

    async def _details(self, catalog: Catalog, entry: Answer, lane: asyncio.Semaphore) -> Answer:
        if catalog.details in self._denied:
            return {}
        if self._failed_in_a_row[catalog.resource] >= FAILURES_IN_A_ROW:
            raise Stopped
        self.progress[catalog.resource].known += 1
        try:
            details: Answer = await self._get(catalog.details, {catalog.parameter: entry["id"]}, lane=lane)
            return details
        except PermissionDenied as error:
            self._deny(catalog.resource, error)
            return {}
        finally:
            self.progress[catalog.resource].done += 1

    # Series of the workspace itself

    async def _events(self) -> None:
        await self._walk_events(with_catalog=True)

    async def _events_for_series_only(self) -> None:
        if "events" not in self._selected:
            await self._walk_events(with_catalog=False)

    async def _walk_events(self, with_catalog: bool) -> None:
        async with _tasks() as tasks:
            async for page in event_pages(self._get, self._get_page):
                if with_catalog:
                    rows: Rows = {"events": [], "event_tags": []}
                    for entry in page:
                        for table, table_rows in flatten.event(entry).items():
                            rows[table] += table_rows
                    for row in rows["events"]:
                        row["synced_at"] = self.calendar.now
                    parents = [{"event": entry["name"]} for entry in page]
                    self._post("events", Parcel(plain=rows, parents=parents))
                for entry in page if "event_series" in self._selected else ():
                    for app_id in (ALL, *self.settings.app_ids):
                        key = {"event": entry["name"], "app_id": app_id, "segment_id": ALL}
                        for spec in self._specs("event_series"):
                            tasks.create_task(self._series(spec, entity_named(key)))

    async def _purchases(self) -> None:
        async with _tasks() as tasks:
            tasks.create_task(self._purchase_series(ALL))
            async for page in names(self._get, endpoints.PURCHASES_PRODUCT_LIST, "products", None):
                rows = [{"product": product, "synced_at": self.calendar.now} for product in page]
                self._post("purchases", Parcel(plain={"products": rows}))
                for product in page:
                    if product in self.settings.products or ALL in self.settings.products:
                        tasks.create_task(self._purchase_series(product))

    async def _purchase_series(self, product: str) -> None:
        for spec in self._specs("purchases"):
            await self._series(spec, entity_named({"product": product, "app_id": ALL}))

    async def _by_app(self, resource: str, **key: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            for app_id in (ALL, *self.settings.app_ids):
                for spec in self._specs(resource):
                    tasks.create_task(self._series(spec, entity_named({"app_id": app_id, **key})))

    async def _sends(self) -> None:
        (spec,) = self._specs("sends")
        async with asyncio.TaskGroup() as tasks:
            for campaign_id, send_id in await self._known_sends():
                key = {"campaign_id": campaign_id, "send_id": send_id}
                entity = Entity(f"{campaign_id}:{send_id}", dict(key), key, begins=self.calendar.settled + ONE_DAY)
                tasks.create_task(self._series(spec, entity))

    async def _known_sends(self) -> Iterable[Pair]:
        settings = self.settings
        if not (settings.sends_query and settings.sends_query_url):
            return settings.sends
        from sources.braze.sends_query import read_sends

        queried = await asyncio.to_thread(read_sends, settings.sends_query_url, settings.sends_query)
        return dict.fromkeys((*settings.sends, *queried))

    async def _users(self) -> None:
        if not self.request:
            return
        for audience in self.request.audiences:
            self.planned[audience.endpoint.path] += 1
        if self.dry:
            return
        delivery = Delivery(
            post=lambda parcel: self._post("users", parcel),
            room=self._wait_for_room,
            commit=self._commit,
            fail=lambda name, error: self._fail("users", name, None, error),
        )
        self.profiles = Profiles(self.client, self.settings, self.request, delivery)
        self._export = asyncio.create_task(self.profiles.load())
        await asyncio.wait([self._export])
        if not self._export.cancelled():
            self._export.result()

    async def _wait_for_room(self) -> None:
        assert self._room
        await self._room.wait()

    async def _commit(self) -> None:
        """Wait until every parcel posted so far with `on_commit` is in the warehouse."""
        if self._uncommitted:
            self._committed = asyncio.Event()
            await self._committed.wait()
            self._committed = None

    # A series of an entity

    async def _series(self, spec: SeriesSpec, entity: Entity, lane: asyncio.Semaphore | None = None) -> None:
        self._asked_for[spec.resource].add(entity.id)
        cursors = self.cursors.setdefault(spec.resource, Cursors())
        failed = self.open_failures.days(spec.resource, entity.id)
        if not failed and rests(self.calendar, spec, entity, cursors):
            return
        cursor = self._cursor(spec, entity)
        spans = self.calendar.requests(spec, entity, cursor, failed)
        if len(spans) > 1 and self._has_new_part(spec, entity) and not self.dry:
            # A part that was never loaded may be denied still: the newest days tell, before all the others are asked.
            newest = spans[-1]
            await self._request(spec, entity, newest, cursor, lane)
            cursor = self._cursor(spec, entity)
            spans = [span for span in self.calendar.requests(spec, entity, cursor, failed) if span != newest]
        parts = self._parts(spec)
        self.progress[spec.resource].known += len(spans) * len(parts)
        if self.dry:
            for part in parts:
                self.planned[part.endpoint.path] += len(spans)
                self.planned_days[part.endpoint.path] += sum(len(span) for span in spans)
            return
        results = await asyncio.gather(*(self._request(spec, entity, span, cursor, lane) for span in spans))
        names_ = [spec.cursor(entity.id, part) for part in parts]
        if spec.dormant and results and all(result is not None for result in results):
            latest = max((result.last_active for result in results if result and result.last_active), default=None)
            quiet = latest is None or latest <= self.calendar.settled
            self._post(spec.resource, Parcel(quiet=[(name, quiet) for name in names_]))
        if spec.gaps is Gaps.LEADING:
            before = _before_the_first_day(spans, results)
            if before:
                self._post(spec.resource, Parcel(reached=[(name, span) for name in names_ for span in before]))

    def _parts(self, spec: SeriesSpec) -> list[Part]:
        return [part for part in spec.parts if part.endpoint not in self._denied]

    def _part_cursors(self, spec: SeriesSpec, entity: Entity, parts: Sequence[Part]) -> list[date | None]:
        cursors = self.cursors.setdefault(spec.resource, Cursors())
        return [cursors.get(spec.cursor(entity.id, part)) for part in parts]

    def _cursor(self, spec: SeriesSpec, entity: Entity) -> date | None:
        """The day up to which all parts that are not denied have been loaded, or None."""
        known = self._part_cursors(spec, entity, self._parts(spec))
        return None if None in known else min((day for day in known if day), default=None)

    def _has_new_part(self, spec: SeriesSpec, entity: Entity) -> bool:
        known = self._part_cursors(spec, entity, self._parts(spec))
        return None in known and any(known)

    async def _request(
        self, spec: SeriesSpec, entity: Entity, span: Span, cursor: date | None, lane: asyncio.Semaphore | None
    ) -> Series | None:
        """Ask for `span` of `entity`, loaded up to `cursor`, and post what comes back; None if that is not all."""
        await self._wait_for_room()
        if self._stopping or self._failed_in_a_row[spec.resource] >= FAILURES_IN_A_ROW:
            return None
        needed = self.calendar.needed(entity, cursor)
        wanted = Span(max(span.first, min(needed.first, span.last)), span.last)
        begun = cursor if cursor and cursor >= self.calendar.floor(entity) else None
        standstill = self._standstills[spec.resource]
        try:
            packed = await self._answer(spec, entity, span, lane)
            absent = spec.absent(span, packed.series, self.calendar.yesterday, begun)
            if absent and not standstill.is_general(absent):
                packed = await self._answer(spec, entity, span, lane)
                absent = spec.absent(span, packed.series, self.calendar.yesterday, begun)
        except (ConfigurationError, PermissionDenied) as error:
            if isinstance(error, Unreachable):
                raise
            self._deny(spec.resource, error)
            return None
        except Stopped:
            return None
        except BrazeError as error:
            self._count_failure(spec.resource, error)
            self._fail(spec.resource, entity.id, wanted, error)
            return None
        self._failed_in_a_row[spec.resource] = 0
        if absent and absent.last == self.calendar.yesterday:
            standstill.note(absent, entity.id)
        elif absent:
            self._fail_absent(spec, entity.id, absent)
        else:
            self._mend(spec.resource, entity.id, span)
        self._deliver(spec, entity, span, packed, absent)
        return None if absent else packed.series

    def _fail_absent(self, spec: SeriesSpec, entity_id: str, absent: Span) -> None:
        detail = f"the days {absent.first} to {absent.last} are missing in it, also when asked again"
        self._fail(spec.resource, entity_id, absent, BadAnswer(spec.parts[0].endpoint, entity_id, 200, detail))

    def _fail_standstills(self) -> None:
        """Record what lacks its latest days: one failure for the resource if it is many entities, else one each."""
        for resource, standstill in self._standstills.items():
            spec = self._specs(resource)[0]
            for absent, entity_ids in standstill.entities():
                if standstill.is_general(absent):
                    sentence = (
                        f"The figures of {len(entity_ids):,} entities end before {absent.first}: Braze has not come"
                        " further yet. The next run asks again."
                    )
                    self._fail(resource, ALL, absent, BrazeError(sentence, endpoint=spec.parts[0].endpoint, status=200))
                else:
                    for entity_id in entity_ids:
                        self._fail_absent(spec, entity_id, absent)

    def _deliver(self, spec: SeriesSpec, entity: Entity, span: Span, packed: Packed, absent: Span | None) -> None:
        last = min(span.last, self.calendar.yesterday)
        if absent:
            last = absent.first - ONE_DAY
        elif not packed.series.days:
            last = span.first - ONE_DAY
        parcel = Parcel(packed.tables)
        floor = self.calendar.floor(entity)
        for part in spec.parts:
            if part.endpoint not in self._denied:
                name = spec.cursor(entity.id, part)
                parcel.started.append((name, floor))
                if last >= span.first:
                    parcel.reached.append((name, Span(span.first, last)))
        self._post(spec.resource, parcel)

    async def _answer(self, spec: SeriesSpec, entity: Entity, span: Span, lane: asyncio.Semaphore | None) -> Packed:
        """The answer(s) for `span` of `entity`, flattened and packed in the client's worker thread."""
        parts = self._parts(spec)
        if len(spec.parts) == 1:
            pack = lambda series: self._pack_series(spec, entity, series)  # noqa: E731
            packed: Packed = await self._ask(parts[0], spec, entity, span, pack, lane)
            return packed
        answers = await asyncio.gather(
            *(self._ask(part, spec, entity, span, lambda series: series, lane) for part in parts),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, PermissionDenied | InvalidKey):
                self._deny(spec.resource, answer)
            elif isinstance(answer, BaseException):
                raise answer
        granted = [answer for answer in answers if isinstance(answer, Series)]
        if not granted:
            raise next(answer for answer in answers if isinstance(answer, PermissionDenied | InvalidKey))
        series = flatten.joined(spec.table, spec.keys, granted)
        denied = [part for part in spec.parts if part.endpoint in self._denied]
        if complete := max((day for day in self._part_cursors(spec, entity, denied) if day), default=None):
            # Rows replace rows: up to this day there are some that also hold what is denied by now.
            kept = [row for row in series.rows[spec.table] if self._day(row) > complete]
            series = replace(series, rows={spec.table: kept})
        return self._pack_series(spec, entity, series)

    async def _ask(
        self,
        part: Part,
        spec: SeriesSpec,
        entity: Entity,
        span: Span,
        pack: Callable[[Series], Any],
        lane: asyncio.Semaphore | None,
    ) -> Any:
        parameters = spec.parameters(part, entity.parameters, span, self.settings.zone)

        def read(answer: Answer) -> Any:
            with documented_shape(part.endpoint, entity.id):
                return pack(part.flatten(answer, entity.key, span, self.settings.zone))

        try:
            return await self._get(part.endpoint, parameters, then=read, lane=lane)
        finally:
            self.progress[spec.resource].done += 1

    # Small things

    def _day(self, row: Row) -> date:
        day: date = row["date"] if "date" in row else local_day(row["hour"], self.settings.zone)
        return day

    async def _get(self, endpoint: Endpoint, parameters: Mapping[str, Any], **options: Any) -> Any:
        self.planned[endpoint.path] += 1
        return await self.client.get(endpoint, parameters, **options)

    async def _get_page(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        self.planned[endpoint.path] += 1
        return await self.client.get_page(endpoint, parameters)

    def _post(self, resource: str, parcel: Parcel) -> None:
        if self.dry:
            return
        self._waiting_rows += parcel.rows
        self._uncommitted += parcel.on_commit is not None
        if self._room and self._waiting_rows >= WAITING_ROWS:
            self._room.clear()
        self._parcels[resource].append(parcel)

    def _mend(self, resource: str, entity_id: str, span: Span | None) -> None:
        always = Span(self.calendar.now.date().min, self.calendar.now.date().max)
        self.open_failures.loaded(resource, entity_id, span or always)

    def _count_failure(self, resource: str, error: BrazeError) -> None:
        if error.status and error.status < HTTPStatus.TOO_MANY_REQUESTS:
            self._failed_in_a_row[resource] = 0  # an answer about this one entity
            return
        self._failed_in_a_row[resource] += 1
        if self._failed_in_a_row[resource] == FAILURES_IN_A_ROW:
            sentence = (
                f"{FAILURES_IN_A_ROW} requests for {resource} failed one after the other: the rest is left for the"
                f" next run. The latest: {error}"
            )
            self._fail(resource, ALL, None, BrazeError(sentence, endpoint=error.endpoint, status=error.status))

    def _deny(self, resource: str, error: BrazeError) -> None:
        endpoint = _endpoint(error)
        if isinstance(error, InvalidKey):
            self._refused = error
            error = PermissionDenied(endpoint, 401, error.detail)
        if endpoint not in self._denied:
            self._denied.add(endpoint)
            self._fail(resource, ALL, None, error)

    def _pack_series(self, spec: SeriesSpec, entity: Entity, series: Series) -> Packed:
        if spec is CANVAS_SUMMARY:
            parents = [
                {name: row[name] for name in ("canvas_id", "start_date", "end_date")}
                for row in series.rows["canvas_summary"]
            ]
        else:
            parents = [{**entity.key, "date": day} for day in series.days]
        return Packed(pack(series.rows, parents, self.known), Series({}, series.days, series.last_active))


def _before_the_first_day(spans: Sequence[Span], results: Sequence[Series | None]) -> list[Span]:
    """The `spans` whose answers are empty because they end before the first day that any of them has."""
    first = min((min(result.days) for result in results if result and result.days), default=date.min)
    return [
        span
        for span, result in zip(spans, results, strict=True)
        if result is not None and not result.days and span.last < first
    ]


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that, when the listing that feeds it fails, completes what was listed before it raises that."""
    failure = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except (BrazeError, Stopped) as error:
            failure = error
    if failure:
        raise failure


def _endpoint(error: BrazeError) -> Endpoint:
    assert error.endpoint
    return error.endpoint
