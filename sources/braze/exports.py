"""Export jobs from request to files on disk: several side by side, resumed where an earlier run was killed.

`users/export/segment` and `users/export/global_control_group`. Braze tells by its answer how it delivers: a
`url` to one archive that will be there some time, or none, and files in the customer's own bucket that end
without a mark.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from sources.braze.client import Client
from sources.braze.endpoints import EXPORT_SEGMENT_CANCEL
from sources.braze.errors import BadAnswer, BrazeError, ConfigurationError, ExportRunning
from sources.braze.export_fields import ExportFields
from sources.braze.export_files import ARCHIVE, Bucket, StorageError, fetch_archive, open_bucket
from sources.braze.export_jobs import Audience, ExportJob, find_job, remove_abandoned, start_job

logger = logging.getLogger(__name__)

URL_LIFETIME = 4 * 3600.0
"""Seconds for which Braze keeps an archive; a 403 after that means expired, before that not ready."""


class ExportTimeoutError(BrazeError):
    """An export was not there in time. Its job stays on disk: the next run goes on waiting for it."""


@dataclass(frozen=True)
class ExportSettings:
    """How exports are waited for and fetched; times in seconds unless said otherwise.

    `bucket`, `quiet_seconds`, `timeout_minutes` and `parallel` are the settings `export_…`. `first_poll` is
    the first pause between two looks, which grows by half up to `longest_poll`.
    """

    bucket: str | None = None
    quiet_seconds: float = 300
    timeout_minutes: float = 240
    parallel: int = 4
    first_poll: float = 0.25
    longest_poll: float = 60


@dataclass(frozen=True)
class Arrived:
    """A file of an export is on disk, not loaded yet."""

    job: ExportJob
    path: Path


@dataclass(frozen=True)
class AllArrived:
    """Every file of the export has been given; time to load `job.members()`, and to call `job.finish()` then."""

    job: ExportJob


@dataclass(frozen=True)
class Failed:
    """An export ended without all of its files; the others go on."""

    audience: Audience
    error: BrazeError


Event = Arrived | AllArrived | Failed


class Exports:
    """The exports of some audiences. `jobs` is the folder that holds their state between runs."""

    def __init__(
        self,
        client: Client,
        jobs: Path,
        fields: ExportFields,
        settings: ExportSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._fields = fields
        self._settings = settings
        self._clock = clock
        self._bucket: Bucket | None = open_bucket(settings.bucket) if settings.bucket else None
        self._session = requests.Session()
        self._ended = threading.Event()

    async def events(self, audiences: Sequence[Audience]) -> AsyncIterator[Event]:
        """Request or resume the exports, `export_parallel` at a time, and give their files as they arrive.

        Late files of earlier exports come first. Of one job the events come in order; handle one before
        asking for the next. Raises ConfigurationError; what concerns one audience is a `Failed`.
        """
        remove_abandoned(self._jobs, audiences, self._clock())
        for audience in audiences:
            async for event in self._late(audience):
                yield event
        found: asyncio.Queue[Event | BaseException | None] = asyncio.Queue(maxsize=64)
        running = asyncio.create_task(self._deliver_all(audiences, found))
        try:
            while (item := await found.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._ended.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _deliver_all(
        self, audiences: Sequence[Audience], found: "asyncio.Queue[Event | BaseException | None]"
    ) -> None:
        places = asyncio.Semaphore(self._settings.parallel)

        async def deliver(audience: Audience) -> None:
            async with places:
                try:
                    async for event in self._delivered(audience):
                        await found.put(event)
                except ConfigurationError:
                    raise
                except BrazeError as error:
                    await found.put(Failed(audience, error))

        try:
            async with asyncio.TaskGroup() as group:
                for audience in audiences:
                    group.create_task(deliver(audience))
            await found.put(None)
        except ExceptionGroup as errors:
            await found.put(errors.exceptions[0])

    async def _delivered(self, audience: Audience) -> AsyncIterator[Event]:
        job = find_job(self._jobs, audience)
        if job and job.fields != self._asked(audience):
            job.remove()
            job = None
        waiting = _Waiting(audience, self._settings, self._clock)
        while True:
            job = job or await self._request(audience, waiting)
            try:
                deliver = self._from_url if job.url else self._from_bucket
                async for event in deliver(job, waiting):
                    yield event
                return
            except _ExpiredError:
                logger.warning("The export of %s has expired: requesting it anew.", audience.segment_id)
                job.remove()
                job = None

    def _asked(self, audience: Audience) -> tuple[str, ...]:
        body = self._fields.body(audience.endpoint)
        return (*body["fields_to_export"], *body.get("custom_attributes_to_export", ()))

    async def _request(self, audience: Audience, waiting: "_Waiting") -> ExportJob:
        body = self._fields.body(audience.endpoint)
        if not audience.is_control_group:
            body["segment_id"] = audience.segment_id
        while True:
            requested_at = self._clock()
            try:
                answer = await self._client.post(audience.endpoint, body)
            except ExportRunning as error:
                await self._wait_for_another(waiting, error, audience)
                continue
            if not answer.get("url") and not answer.get("object_prefix"):
                raise BadAnswer(audience.endpoint, audience.segment_id, None, "neither url nor object_prefix")
            return start_job(self._jobs, audience, answer, list(self._asked(audience)), requested_at)

    async def _wait_for_another(self, waiting: "_Waiting", error: ExportRunning, audience: Audience) -> None:
        if not waiting.paused:
            logger.warning(
                "Braze is running an export of %s that this machine did not start: waiting until it is over."
                " `braze-elt export-users --cancel --segment %s` ends it.",
                audience.segment_id,
                audience.segment_id,
            )
        try:
            await waiting.pause()
        except ExportTimeoutError:
            raise error from None

    async def _from_url(self, job: ExportJob, waiting: "_Waiting") -> AsyncIterator[Event]:
        known = job.file(ARCHIVE)
        if not known or not known.loaded:
            while not await self._fetched(job, waiting):
                if self._clock() - job.requested_at >= URL_LIFETIME:
                    raise _ExpiredError
                await waiting.pause()
                _check_not_canceled(job)
            yield Arrived(job, job.path(ARCHIVE))
        yield AllArrived(job)

    async def _fetched(self, job: ExportJob, waiting: "_Waiting") -> bool:
        try:
            return await asyncio.to_thread(fetch_archive, self._session, job, self._ended)
        except requests.RequestException as error:
            logger.info("The download of %s was cut (%s).", job.audience.segment_id, type(error).__name__)
            waiting.quicken()
            return False

    async def _from_bucket(self, job: ExportJob, waiting: "_Waiting") -> AsyncIterator[Event]:
        bucket = self._checked_bucket()
        seen: dict[str, int] = {}
        changed_at = self._clock()
        while True:
            there = await asyncio.to_thread(bucket.listing, job)
            if there != seen:
                changed_at = self._clock()
                waiting.restart()
                seen, before = there, seen
                async for event in self._new_files(bucket, job, dict(there.items() - before.items())):
                    yield event
            elif there and self._clock() - changed_at >= self._settings.quiet_seconds:
                break
            await waiting.pause(at_most=self._settings.quiet_seconds / 4)
            _check_not_canceled(job)
        yield AllArrived(job)

    async def _new_files(self, bucket: Bucket, job: ExportJob, there: dict[str, int]) -> AsyncIterator[Arrived]:
        for remote, size in sorted(there.items()):
            name = f"{remote}@{size}"
            known, path = job.file(name), job.path(name)
            if known and known.loaded:
                continue
            if not known or not path.exists() or path.stat().st_size != size:
                await asyncio.to_thread(bucket.fetch, remote, path)
                job.note(name, size)
            yield Arrived(job, path)

    async def _late(self, audience: Audience) -> AsyncIterator[Event]:
        job = find_job(self._jobs, audience)
        if not job or not job.complete:
            return
        any_late = False
        try:
            bucket = self._checked_bucket()
            there = await asyncio.to_thread(bucket.listing, job)
            async for event in self._new_files(bucket, job, there):
                any_late = True
                yield event
        except StorageError as error:
            yield Failed(audience, error)
        if any_late:
            yield AllArrived(job)
        job.remove()

    def _checked_bucket(self) -> Bucket:
        if self._bucket is None:
            raise StorageError(
                "Braze delivers this workspace's exports into your own bucket: set `export_bucket` to it"
                " (s3://…, gs://… or az://…). The next run then goes on with this export."
            )
        return self._bucket


async def cancel_export(client: Client, jobs: Path, segment_id: str) -> None:
    """Stop all running exports of a segment, whoever started them, and forget ours.

    `POST export/segment/cancel`, which needs the permission `segments.list`.
    """
    await client.post(EXPORT_SEGMENT_CANCEL, {"segment_id": segment_id})
    job = find_job(jobs, Audience(segment_id))
    if job:
        job.remove()


def _check_not_canceled(job: ExportJob) -> None:
    if not job.kept:
        raise BrazeError(f"The export of {job.audience.segment_id} was cancelled.", endpoint=job.audience.endpoint)


class _ExpiredError(Exception):
    """The URL no longer gives the archive."""


class _Waiting:
    """Pauses that grow, until the time is up."""

    def __init__(self, audience: Audience, settings: ExportSettings, clock: Callable[[], float]) -> None:
        self._audience = audience
        self._settings = settings
        self._clock = clock
        self.paused = False
        self.restart()

    def restart(self) -> None:
        """Start the time anew."""
        self._started = self._clock()
        self.quicken()

    def quicken(self) -> None:
        """Make the next pause a short one."""
        self._next = self._settings.first_poll

    async def pause(self, at_most: float = float("inf")) -> None:
        """Wait. Raises ExportTimeoutError once `export_timeout_minutes` are over."""
        if self._clock() - self._started >= self._settings.timeout_minutes * 60:
            where = f" in {self._settings.bucket}" if self._settings.bucket else ""
            raise ExportTimeoutError(
                f"The export of {self._audience.segment_id} did not arrive{where} within"
                f" {self._settings.timeout_minutes:g} minutes (`export_timeout_minutes`). The next run goes"
                " on waiting; Braze reports a failed export by e-mail only, to the key's owner."
            )
        self.paused = True
        await asyncio.sleep(min(self._next, at_most))
        self._next = min(self._next * 1.5, self._settings.longest_poll)
