"""The walks through a workspace: each lists what there is and asks for the series of it while it goes on listing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

from sources.braze import endpoints, flatten
from sources.braze.catalog import CATALOGS, Catalog, Entity, entity_named
from sources.braze.endpoints import Json
from sources.braze.entity_series import EntitySeries
from sources.braze.errors import BadAnswer, BrazeError, PermissionDenied, Stopped, documented_shape
from sources.braze.listings import EventPage, event_pages, listed, names
from sources.braze.model import ALL
from sources.braze.parcels import Parcel
from sources.braze.rows import Row, Rows, Sheet
from sources.braze.run import Run
from sources.braze.series import SeriesSpec, specs
from sources.braze.settings import Pair

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Walk:
    """A walk and the selected resources that it feeds.

    `complete` says whether this walk asks for every entity, so that failures of others can be closed.
    """

    resources: tuple[str, ...]
    work: Callable[[], Awaitable[None]]
    complete: bool = False


class Walks:
    """The walks of one run for the `selected` resources."""

    def __init__(self, run: Run, selected: Sequence[str]) -> None:
        self._run = run
        self._selected = selected
        self._known_sends: Iterable[Pair] = run.settings.sends

    def all(self) -> list[Walk]:
        """Every walk that has something to do."""
        possible = (
            *(self._catalog_walk(catalog) for catalog in CATALOGS),
            Walk(("events", "event_series"), self._events, complete=True),
            Walk(("purchases",), self._purchases, complete=True),
            Walk(("kpis",), lambda: self._by_app("kpis"), complete=True),
            Walk(("sessions",), lambda: self._by_app("sessions", segment_id=ALL), complete=True),
            Walk(("sends",), self._sends, complete=True),
        )
        chosen = (
            Walk(tuple(name for name in walk.resources if name in self._selected), walk.work, walk.complete)
            for walk in possible
        )
        return [walk for walk in chosen if walk.resources]

    def _specs(self, resource: str) -> tuple[SeriesSpec, ...]:
        return specs(resource, self._run.settings.hourly)

    async def _series(self, spec: SeriesSpec, entity: Entity, lane: asyncio.Semaphore | None = None) -> None:
        await EntitySeries(self._run, spec, entity, lane).ask()

    # Catalogs

    def _catalog_walk(self, catalog: Catalog) -> Walk:
        series = [spec for name in self._selected for spec in self._specs(name) if spec.of == catalog.resource]
        fed = (catalog.resource, *dict.fromkeys(spec.resource for spec in series))
        return Walk(fed, lambda: self._catalog(catalog, series))

    async def _catalog(self, catalog: Catalog, series: Sequence[SeriesSpec]) -> None:
        lanes = asyncio.Semaphore(4 * self._run.settings.concurrency)
        present: set[str] = set()
        fed = (catalog.resource, *(spec.resource for spec in series))
        async with _tasks() as entities:
            with self._run.record.listing(fed):
                async for page in listed(self._run.api.get, catalog):
                    present.update(entry["id"] for entry in page)
                    for entry in page:
                        await lanes.acquire()
                        if self._run.stopping:
                            raise Stopped
                        task = entities.create_task(self._entity(catalog, entry, series, lanes))
                        task.add_done_callback(lambda _: lanes.release())
        for resource in fed:
            self._run.record.open_failures.forget(resource, present)

    async def _entity(
        self, catalog: Catalog, entry: Json, series: Sequence[SeriesSpec], lane: asyncio.Semaphore
    ) -> None:
        run, record, resource = self._run, self._run.record, catalog.resource
        try:
            details = await self._details(catalog, entry, lane)
            with documented_shape(catalog.details, entry["id"]):
                rows = catalog.flatten(entry, details)
                entity = catalog.entity(entry, details, run.settings.zone)
        except Stopped:
            return
        except BrazeError as error:
            record.fail_entity(resource, entry["id"], None, error)
            return
        record.went_well(resource)
        if details:
            run.known.detailed.update((resource, *(spec.resource for spec in series)))
        if resource in self._selected and (details or not self._keeps_details(resource)):
            rows[resource] = self._stamped(rows[resource])
            if not run.settings.message_bodies:
                rows = flatten.without_bodies(rows)
            run.post(resource, Parcel(plain=rows, parents=Sheet([{catalog.parameter: entry["id"]}])))
        record.mend(resource, entry["id"])
        for spec in series:
            if entity:
                withheld = not details and bool({resource, spec.resource} & run.known.detailed)
                await self._series(spec, replace(entity, withheld=withheld), lane)
            else:
                record.mend(spec.resource, entry["id"])  # it has no figures (any more), so none are missing

    def _keeps_details(self, resource: str) -> bool:
        """Whether the warehouse has details that rows made from a list alone would replace by nothing."""
        return resource in self._run.known.detailed

    async def _details(self, catalog: Catalog, entry: Json, lane: asyncio.Semaphore) -> Json:
        """The details of a listed entry; empty where the key may not read them."""
        record = self._run.record
        if catalog.details in record.denied:
            return {}
        if record.given_up(catalog.resource):
            raise Stopped
        record.progress[catalog.resource].known += 1
        try:
            details: Json = await self._run.api.get(catalog.details, {catalog.parameter: entry["id"]}, lane=lane)
            if not catalog.describes(details):
                raise BadAnswer(catalog.details, entry["id"], HTTPStatus.OK, "it holds no details")
            return details
        except PermissionDenied as error:
            record.deny(catalog.resource, error)
            return {}
        finally:
            record.progress[catalog.resource].done += 1

    # What belongs to the workspace itself

    async def _events(self) -> None:
        async with _tasks() as tasks:
            async for page in event_pages(self._run.api.get, self._run.api.get_page):
                if "events" in self._selected:
                    self._post_events(page)
                for entry in page.entries if "event_series" in self._selected else ():
                    for app_id in (ALL, *self._run.settings.app_ids):
                        entity = entity_named({"event": entry["name"], "app_id": app_id, "segment_id": ALL})
                        for spec in self._specs("event_series"):
                            tasks.create_task(self._series(spec, entity))

    def _post_events(self, page: EventPage) -> None:
        if page.denial and self._keeps_details("events"):
            self._run.record.deny("events", page.denial)
            return
        rows: Rows = {"events": Sheet(), "event_tags": Sheet()}
        for entry in page.entries:
            for table, sheet in flatten.event(entry).items():
                rows[table].extend(sheet)
        rows["events"] = self._stamped(rows["events"])
        if not page.denial:
            self._run.known.detailed.add("events")
        parents = Sheet({"event": entry["name"]} for entry in page.entries)
        self._run.post("events", Parcel(plain=rows, parents=parents))

    def _stamped(self, rows: Iterable[Row]) -> Sheet:
        return Sheet({**row, "synced_at": self._run.calendar.now} for row in rows)

    async def _purchases(self) -> None:
        wanted = self._run.settings.products
        unlisted = set(wanted) - {ALL}
        async with _tasks() as tasks:
            tasks.create_task(self._purchase_series(ALL))
            async for page in names(self._run.api.get, endpoints.PURCHASES_PRODUCT_LIST, "products", None):
                unlisted.difference_update(page)
                rows = self._stamped({"product": product} for product in page)
                self._run.post("purchases", Parcel(plain={"products": rows}))
                for product in page:
                    if product != ALL and (product in wanted or ALL in wanted):  # `*` is the total
                        tasks.create_task(self._purchase_series(product))
            if unlisted:
                logger.warning(
                    "`products` names what Braze does not list: %s. Compare with the column `product` of the table"
                    " `products`.",
                    ", ".join(sorted(unlisted)),
                )

    async def _purchase_series(self, product: str) -> None:
        for spec in self._specs("purchases"):
            await self._series(spec, entity_named({"product": product, "app_id": ALL}))

    async def _by_app(self, resource: str, **key: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            for app_id in (ALL, *self._run.settings.app_ids):
                for spec in self._specs(resource):
                    tasks.create_task(self._series(spec, entity_named({"app_id": app_id, **key})))

    async def find_sends(self) -> None:
        """Ask the database of `sends_query`, if any: before everything else, as it may be a setting that is wrong."""
        settings = self._run.settings
        if "sends" in self._selected and settings.sends_query and settings.sends_query_url:
            from sources.braze.sends_query import read_sends

            queried = await asyncio.to_thread(read_sends, settings.sends_query_url, settings.sends_query)
            self._known_sends = tuple(dict.fromkeys((*settings.sends, *queried)))

    async def _sends(self) -> None:
        (spec,) = self._specs("sends")
        begins = self._run.calendar.today - timedelta(days=spec.retention_days or 0)
        async with asyncio.TaskGroup() as tasks:
            for campaign_id, send_id in self._known_sends:
                key = {"campaign_id": campaign_id, "send_id": send_id}
                entity = Entity(f"{campaign_id}:{send_id}", dict(key), key, begins=begins)
                tasks.create_task(self._series(spec, entity))


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
