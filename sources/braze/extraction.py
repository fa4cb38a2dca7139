"""One run against a workspace: catalog → work → requests → rows, in the background of dlt's extraction.

An event loop in a thread of its own walks the catalog and sends the requests; parcels of Arrow tables wait, by
resource, for the dlt resources to take them. What waits is bounded, so memory does not grow with the workspace, and
requests go on while a chunk is being loaded.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import uuid4

from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.cursors import Cursors
from sources.braze.errors import first_of
from sources.braze.export_jobs import remove_abandoned
from sources.braze.failures import ALWAYS, Failure, OpenFailures
from sources.braze.model import ALL
from sources.braze.parcels import Parcel
from sources.braze.planning import Calendar
from sources.braze.profile_tables import USERS_RESOURCE
from sources.braze.record import Record
from sources.braze.run import Run
from sources.braze.settings import Settings
from sources.braze.users import Delivery, ProfileRequest, Profiles
from sources.braze.walks import Walk, Walks
from sources.braze.windows import Span, local_day


class Extraction:
    """Everything that is asked in one run; the dlt resources in `sources.braze.resources` take its parcels.

    `only` makes it a backfill of that closed range; `dry` walks the catalog, and counts in `run.api` what series would
    be asked without asking. `now` is the run's clock, `request` whose profiles `users` loads.
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
        calendar = Calendar(now, settings.zone, settings.lookback_days, settings.start_date, only)
        self.run_id = uuid4().hex
        self.run = Run(settings, client, calendar, Record(self.run_id, calendar), dry)
        self.request = request
        self.profiles: Profiles | None = None
        self.crash: BaseException | None = None
        self._selected: tuple[str, ...] = ()
        self._export: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    # What the consumer (dlt's thread) calls

    def start(self, selected: Iterable[str], cursors: Mapping[str, Cursors], failures: OpenFailures) -> None:
        """Begin asking for `selected` resources in the background; later calls do nothing."""
        if self._thread:
            return
        self._selected = tuple(selected)
        self.run.cursors.update(cursors)
        self.run.record.open_failures = failures
        self._thread = threading.Thread(target=self._loop, name="braze-extraction", daemon=True)
        self._thread.start()

    def take(self, resource: str) -> Parcel | None:
        """The next parcel of `resource`, or None if none is waiting. Raises what ended the extraction early."""
        if self.crash:
            raise self.crash
        return self.run.outbox.take(resource)

    @property
    def failures(self) -> list[Failure]:
        """What could not be loaded so far."""
        return self.run.record.failures

    @property
    def waits_for_commit(self) -> bool:
        """Whether no more profiles come before those that were taken are in the warehouse."""
        return self.run.outbox.waits_for_commit(USERS_RESOURCE)

    @property
    def asked(self) -> bool:
        """Whether everything has been asked and answered (parcels may still wait)."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def finished(self) -> bool:
        """Whether everything has been asked and every parcel taken."""
        return self.asked and self.run.outbox.empty

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to end early."""
        return self.run.stopping

    def stop(self) -> None:
        """Ask for nothing more; requests in flight are finished, their parcels kept, and exports left to resume."""
        self.run.stopping = True
        self.run.outbox.tell(self.run.client.stop)
        self.run.outbox.let_go()
        if self._export:
            self.run.outbox.tell(self._export.cancel)

    def join(self) -> None:
        """Wait until nothing is in flight any more."""
        if self._thread:
            self._thread.join()

    # What happens in the loop

    def _loop(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseExceptionGroup as group:
            self.crash = first_of(group)
        except BaseException as error:
            self.crash = error

    async def _main(self) -> None:
        run, record = self.run, self.run.record
        if self.request and not run.dry:
            self._remove_abandoned(self.request)
        run.outbox.open()
        run.client.room = run.outbox.room
        asked = Walks(run, self._selected)
        walks = asked.all()
        try:
            await asked.find_sends()
            async with asyncio.TaskGroup() as tasks:
                for walk in walks:
                    tasks.create_task(record.guard(walk.resources, walk.work()))
                if self.request and USERS_RESOURCE in self._selected:
                    tasks.create_task(record.guard((USERS_RESOURCE,), self._users(self.request)))
        finally:
            await run.client.aclose()
        if record.refused and not run.client.traffic.succeeded:
            # A 401 that no success contradicts means that the key or the host is wrong for everything.
            raise record.refused
        for resource, endpoint, unit in list(record.standstills):
            record.fail_standstill(resource, endpoint, unit)
        if not run.stopping:
            self._mend(walks)

    def _remove_abandoned(self, request: ProfileRequest) -> None:
        """Remove what killed exports left on disk, personal data, although this run may load no profiles at all.

        What this run or a nightly one goes on with stays.
        """
        configured = map(Audience, self.run.settings.segments)
        remove_abandoned(request.folder, {*request.audiences, *configured}, time.time())

    def _mend(self, walks: Iterable[Walk]) -> None:
        """Close what failed for a whole resource before and did not now, and what is not asked for any more."""
        record = self.run.record
        failing = {(failure.resource, failure.entity_id) for failure in record.failures}
        for walk in walks:
            for resource in walk.resources:
                if (resource, ALL) not in failing:
                    self._mend_whole(resource)
                    if walk.complete:
                        record.open_failures.forget(resource, record.asked[resource])
        self._mend_unwanted()
        if self.request and USERS_RESOURCE in self._selected:
            for name in (ALL, *self.request.names):
                if (USERS_RESOURCE, name) not in failing:
                    record.mend(USERS_RESOURCE, name)

    def _mend_whole(self, resource: str) -> None:
        """Close what failed for all of `resource`. Of a backfill that is not what failed for other days than its own.

        Series of the whole workspace go by the same name as the resource, but failed for more than the day of the run.
        """
        run = self.run
        failures = [one for one in run.record.open_failures.all() if (one.resource, one.entity_id) == (resource, ALL)]
        for failure in failures:
            day, days = local_day(failure.failed_at, run.settings.zone), run.calendar.only or ALWAYS
            if failure.days == Span(day, day) or days.first <= failure.start_date <= failure.end_date <= days.last:
                run.record.mend(resource, ALL, failure.days)

    def _mend_unwanted(self) -> None:
        """Close what failed of series by hour and of sends, once no setting asks for them."""
        settings, record = self.run.settings, self.run.record
        if not settings.hourly:
            for resource in self._selected:
                record.open_failures.forget_hours(resource)
        if not (settings.sends or settings.sends_query):
            for name in record.open_failures.entities("sends"):
                record.mend("sends", name)

    async def _users(self, request: ProfileRequest) -> None:
        run = self.run
        for audience in request.audiences:
            run.api.plan(audience.endpoint)
        if run.dry:
            return
        delivery = Delivery(
            post=lambda parcel: run.post(USERS_RESOURCE, parcel),
            room=run.outbox.room,
            commit=run.outbox.commit,
            fail=lambda name, error: run.record.fail(USERS_RESOURCE, name, None, error),
            loaded=run.known.exports,
        )
        self.profiles = Profiles(run.client, run.settings, request, delivery)
        self._export = asyncio.create_task(self.profiles.load())
        if run.stopping:
            self._export.cancel()
        await asyncio.wait([self._export])
        if not self._export.cancelled():
            self._export.result()
