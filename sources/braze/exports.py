"""Export jobs from request to files on disk: several side by side, resumed where an earlier run was killed.

`users/export/segment` and `users/export/global_control_group`. Braze tells by its answer how it delivers: a
`url` to one archive that will be there some time, or none, and files in the customer's own bucket that end
without a mark.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import requests

from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.endpoints import EXPORT_SEGMENT_CANCEL, Json
from sources.braze.errors import BadAnswer, BrazeError, ConfigurationError, ExportRunning, UnknownEntity
from sources.braze.export_fields import ExportFields
from sources.braze.export_files import ARCHIVE, Bucket, Download, StorageError, open_bucket
from sources.braze.export_jobs import (
    Asked,
    ExportCancelledError,
    ExportJob,
    NotKeptError,
    find_job,
    start_job,
)
from sources.braze.export_waiting import ExportSettings, ExportTimeoutError, Waiting
from sources.braze.known import LoadedExports

logger = logging.getLogger(__name__)

URL_LIFETIME = 4 * 3600.0
"""Seconds for which Braze keeps an archive; a 403 after that means expired, before that not ready."""
LATE_FOR = 3 * 24 * 3600.0
"""Seconds since the request for which late files are looked for although the bucket cannot be read."""


@dataclass(frozen=True)
class Arrived:
    """A file of an export is on disk, not loaded yet. `name` is what the bucket calls it."""

    job: ExportJob
    path: Path
    name: str

    def in_words(self, text: str) -> str:
        """`text` with the file called by its name instead of by that of its copy here."""
        return text.replace(self.path.name, self.name)


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
    """The exports of some audiences.

    `jobs` is the folder that holds their state between runs, `into` what the warehouse has of them, and `rules` a
    fingerprint of the `pii` rules in force.
    """

    def __init__(
        self,
        client: Client,
        jobs: Path,
        fields: ExportFields,
        settings: ExportSettings,
        into: LoadedExports,
        rules: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._into = into
        self._rules = rules
        self._run_at = clock()
        self._fields = fields
        self._settings = settings
        self._clock = clock
        self._bucket: Bucket | None = open_bucket(settings.bucket) if settings.bucket else None
        self._session = requests.Session()
        self._ended = threading.Event()

    async def events(self, audiences: Sequence[Audience]) -> AsyncIterator[Event]:
        """Request or resume the exports, `export_parallel` at a time, and give their files as they arrive.

        Late files of earlier exports come first, and last what should not take the place of what others know better or
        newer: exports of a run before the one that requested the latest so far, then the global control group. Apart
        from that the events of one job come in order; handle one before asking for the next. Once an export is
        cancelled nothing of it comes but one `Failed`. Raises ConfigurationError; what concerns one audience is a
        `Failed`.
        """
        cancelled: set[Audience] = set()
        async with aclosing(self._in_order(list(dict.fromkeys(audiences)))) as events:
            async for found in events:
                event = _unless_cancelled(found)
                if isinstance(event, Failed) and isinstance(event.error, ExportCancelledError):
                    if event.audience in cancelled:
                        continue
                    cancelled.add(event.audience)
                yield event

    async def _in_order(self, audiences: list[Audience]) -> AsyncGenerator[Event]:
        for audience in tuple(audiences):
            async for event in self._late(audience):
                if isinstance(event, Failed):
                    audiences.remove(audience)
                yield event
        last: list[Arrived | AllArrived] = []
        latest = float("-inf")
        async with aclosing(self._found(audiences)) as events:
            async for event in events:
                if isinstance(event, Failed):
                    yield event
                elif event.job.audience.is_control_group or event.job.run_at < latest:
                    last.append(event)
                else:
                    latest = event.job.run_at
                    yield event
        for event in sorted(last, key=lambda event: (event.job.audience.is_control_group, -event.job.run_at)):
            yield event

    async def _found(self, audiences: Sequence[Audience]) -> AsyncGenerator[Event]:
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
            self._session.close()

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
                except OSError as error:
                    await found.put(Failed(audience, NotKeptError(audience, self._jobs, error)))

        try:
            async with asyncio.TaskGroup() as group:
                for audience in audiences:
                    group.create_task(deliver(audience))
            await found.put(None)
        except ExceptionGroup as errors:
            await found.put(errors.exceptions[0])

    async def _delivered(self, audience: Audience) -> AsyncIterator[Event]:
        asked = Asked(self._fields_of(audience), self._rules, self._run_at, self._client.base_url)
        job = self._earlier(audience)
        if job and job.fields != asked.fields:
            job.remove()
            job = None
        if job:
            job.read_by(asked.rules)
            minutes = (self._clock() - job.requested_at) / 60
            logger.info("Going on with the export of %s, requested %.0f minutes ago.", audience.segment_id, minutes)
        waiting = Waiting(audience, self._settings, self._clock)
        while True:
            job = job or await self._request(audience, asked, waiting)
            try:
                deliver = self._from_url if job.url else self._from_bucket
                async for event in deliver(job, waiting):
                    yield event
                return
            except _ExpiredError:
                job.remove()
                job = None
                # By default waiting lasts as long as a URL does. Nobody would wait for what is requested at its end,
                # and by the next night it would have expired: that run requests its own.
                waiting.check_time_left()
                logger.warning("The export of %s has expired or failed: requesting it anew.", audience.segment_id)
            except (OSError, StorageError):
                job.check_kept()  # its folder may be gone because it was cancelled
                raise

    def _earlier(self, audience: Audience) -> ExportJob | None:
        """The export that an earlier run left: from its beginning, if this warehouse lacks what was loaded of it."""
        job = find_job(self._jobs, audience, self._into)
        if job and job.workspace != self._client.base_url:
            job.remove()
            return None
        if job and not job.goes_on:
            logger.warning(
                "What was loaded of the export of %s is not in this warehouse: loading it from its beginning.",
                audience.segment_id,
            )
            job.load_anew()
        return job

    def _fields_of(self, audience: Audience) -> tuple[str, ...]:
        body = self._fields.body(audience.endpoint)
        return (*body["fields_to_export"], *body.get("custom_attributes_to_export", ()))

    async def _request(self, audience: Audience, asked: Asked, waiting: Waiting) -> ExportJob:
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
            if not _says_where(answer):
                said = "neither a url to fetch from nor an object_prefix to look for"
                raise BadAnswer(audience.endpoint, audience.segment_id, None, said)
            logger.info("The export of %s is requested: waiting for its files.", audience.segment_id)
            return start_job(self._jobs, audience, answer, asked, requested_at, self._into)

    async def _wait_for_another(self, waiting: Waiting, error: ExportRunning, audience: Audience) -> None:
        if not waiting.paused:
            # Braze cancels exports of segments only.
            ends = f"`braze-elt export-users --cancel --segment {audience.segment_id}` ends it."
            logger.warning(
                "Braze is running an export of %s that this machine did not start: waiting until it is over. %s",
                audience.segment_id,
                "" if audience.is_control_group else ends,
            )
        try:
            await waiting.pause()
        except ExportTimeoutError:
            raise error from None

    async def _from_url(self, job: ExportJob, waiting: Waiting) -> AsyncIterator[Event]:
        known = job.file(ARCHIVE)
        if not known or not known.loaded:
            download = Download(self._session, job, self._ended)
            while not await self._fetched(download, job.audience, waiting):
                if self._clock() - job.requested_at >= URL_LIFETIME:
                    raise _ExpiredError
                await waiting.pause()
                job.check_kept()
            yield Arrived(job, job.path(ARCHIVE), ARCHIVE)
        yield AllArrived(job)

    async def _fetched(self, download: Download, audience: Audience, waiting: Waiting) -> bool:
        try:
            fetched = await asyncio.to_thread(download.attempt)
        except requests.RequestException as error:
            waiting.hindrance = f"{_kind(error)} at {download.host}"
            if download.gained:
                logger.info("The download of %s was cut (%s).", audience.segment_id, waiting.hindrance)
                waiting.quicken()
            else:
                waiting.warn()
            return False
        waiting.hindrance = ""
        return fetched

    async def _from_bucket(self, job: ExportJob, waiting: Waiting) -> AsyncIterator[Event]:
        bucket = self._checked_bucket()
        seen: dict[str, int] = {}
        changed_at = self._clock()
        if not await asyncio.to_thread(bucket.listing, job):
            await asyncio.to_thread(bucket.check_there)
            if self._is_overdue(job):
                raise _ExpiredError
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
            job.check_kept()
        yield AllArrived(job)

    def _is_overdue(self, job: ExportJob) -> bool:
        """Whether an earlier run waited as long for the export as anybody wants to: it may have failed, untold."""
        age = self._clock() - job.requested_at
        return job.run_at < self._run_at and age >= self._settings.timeout_minutes * 60

    async def _new_files(self, bucket: Bucket, job: ExportJob, there: dict[str, int]) -> AsyncIterator[Arrived]:
        for remote, size in sorted(there.items()):
            name = f"{remote}@{size}"
            known, path = job.file(name), job.path(name)
            if known and known.loaded:
                continue
            if not known or not path.exists() or path.stat().st_size != size:
                await asyncio.to_thread(bucket.fetch, remote, path)
                job.note(name, size)
            yield Arrived(job, path, remote)

    async def _late(self, audience: Audience) -> AsyncIterator[Event]:
        """Files that came after an earlier export counted as complete.

        Until the bucket could be looked into, that export is not forgotten, and no new one is requested: it would come
        into the same bucket.
        """
        job = find_job(self._jobs, audience, self._into)
        if not job or not job.complete:
            return
        try:
            if self._bucket and job.workspace == self._client.base_url and job.goes_on:
                there = await asyncio.to_thread(self._bucket.listing, job)
                any_late = False
                async for event in self._new_files(self._bucket, job, there):
                    any_late = True
                    yield event
                if any_late:
                    yield AllArrived(job)
        except BrazeError as error:
            if self._clock() - job.requested_at < LATE_FOR:
                yield Failed(audience, error)
                return
        except OSError as error:
            yield Failed(audience, NotKeptError(audience, self._jobs, error))
            return
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

    `POST export/segment/cancel`, which needs the permission `segments.list`. Raises the exceptions of
    `sources.braze.errors`. Where Braze has nothing to cancel (400) ours is forgotten too: nobody wants it any more, and
    its archive may never come.
    """
    try:
        await client.post(EXPORT_SEGMENT_CANCEL, {"segment_id": segment_id})
    except UnknownEntity as refusal:
        if not _forget(client, jobs, segment_id):
            raise
        sentence = f"{refusal} The export of it that was requested from here is forgotten."
        raise BrazeError(sentence, endpoint=refusal.endpoint, status=refusal.status, detail=refusal.detail) from None
    _forget(client, jobs, segment_id)


def _forget(client: Client, jobs: Path, segment_id: str) -> bool:
    """Forget our export of a segment in the workspace of `client`, and say whether there was one."""
    job = find_job(jobs, Audience(segment_id))
    if not job or job.workspace != client.base_url:
        return False
    job.remove()
    return True


def _says_where(answer: Json) -> bool:
    """Whether the answer to a request tells where the files of the export will be."""
    url, prefix = answer.get("url"), answer.get("object_prefix")
    if url:
        return isinstance(url, str) and url.startswith(("https://", "http://"))
    return isinstance(prefix, str) and bool(prefix)


def _unless_cancelled(event: Event) -> Event:
    if isinstance(event, Failed) or event.job.kept:
        return event
    return Failed(event.job.audience, ExportCancelledError(event.job.audience))


class _ExpiredError(Exception):
    """The URL no longer gives the archive, or the bucket has had nothing of the export for too long."""


def _kind(error: requests.RequestException) -> str:
    """What kind of error it is: its own words have the URL, which is a secret."""
    return str(error) if isinstance(error, requests.HTTPError) else type(error).__name__
