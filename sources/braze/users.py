"""Profiles in a run: exports and lookups by id become parcels, and files go once their rows are in the warehouse."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.endpoints import USERS_EXPORT_IDS, USERS_EXPORT_SEGMENT, Endpoint
from sources.braze.errors import BrazeError, ConfigurationError
from sources.braze.export_ids import export_ids
from sources.braze.export_jobs import (
    WORK,
    ExportCancelledError,
    ExportJob,
    NotKeptError,
)
from sources.braze.export_waiting import ExportSettings
from sources.braze.exports import AllArrived, Arrived, Exports, Failed
from sources.braze.known import LoadedExports
from sources.braze.model import Table
from sources.braze.parcels import Parcel
from sources.braze.private_files import owner_only, private_folder
from sources.braze.profiles import Group, ProfileShredder, Quarantined
from sources.braze.rows import Sheet
from sources.braze.settings import Settings

logger = logging.getLogger(__name__)
T = TypeVar("T")
IDS = "ids"
"""Stands for the segment in failures of lookups by id."""
SHOWN_UNKNOWN_IDS = 1_000
_SHOWN_LINES = 20


@dataclass(frozen=True)
class ProfileRequest:
    """Whose profiles to load: `audiences` by export, `external_ids` (or None) by lookup.

    `folder` keeps exports between runs; it is readable by its owner only.
    """

    folder: Path
    audiences: tuple[Audience, ...] = ()
    external_ids: Iterable[str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """By what name failures know what is asked for."""
        lookups = () if self.external_ids is None else (IDS,)
        return (*(audience.segment_id for audience in self.audiences), *lookups)


@dataclass(frozen=True)
class Delivery:
    """Where profiles go.

    `post` takes a parcel, `room` waits until another may come, `commit` until all are in the warehouse; `fail` records
    that an audience could not be loaded. `loaded` is what the warehouse has of exports.
    """

    post: Callable[[Parcel], None]
    room: Callable[[], Awaitable[None]]
    commit: Callable[[], Awaitable[None]]
    fail: Callable[[str, BrazeError], None]
    loaded: LoadedExports


class Profiles:
    """Loads the profiles of a `ProfileRequest`. `unknown_ids` holds (place in the input, id): personal data."""

    def __init__(self, client: Client, settings: Settings, request: ProfileRequest, delivery: Delivery) -> None:
        self._client = client
        self._settings = settings
        self._request = request
        self._delivery = delivery
        self._work = request.folder / WORK
        self._quarantine = request.folder / "quarantine"
        self._given_up: set[ExportJob] = set()
        self.unknown_ids: list[tuple[int, str]] = []
        self.unknown = 0

    async def load(self) -> None:
        """Load the lookups, then the exports as they arrive. Raises what concerns more than one audience.

        Whoever was looked up and is in an export too is as the export has it, which knows more fields.
        """
        self._remove_leftovers()
        self._warn_of_fields()
        try:
            if self._request.external_ids is not None:
                await self._by_id(self._request.external_ids)
            if self._request.audiences:
                await self._by_export()
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
            shutil.rmtree(self._request.folder / IDS, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        """Remove what a killed run could not, and the lines that an earlier run put aside."""
        for folder in (self._work, self._request.folder / IDS, self._quarantine):
            shutil.rmtree(folder, ignore_errors=True)

    def _warn_of_fields(self) -> None:
        """Say what the endpoints cannot give of `fields`."""
        fields = self._settings.fields
        lookups = () if self._request.external_ids is None else (USERS_EXPORT_IDS,)
        for endpoint in dict.fromkeys((*lookups, *(audience.endpoint for audience in self._request.audiences))):
            if lacking := fields.lacking(endpoint):
                logger.warning(
                    "%s does not give %s: null for its profiles, but for those in a segment that the same run exports.",
                    endpoint.path,
                    ", ".join(lacking),
                )
            if left_out := fields.left_out(endpoint):
                logger.warning(
                    "%s sends all custom attributes or none, so it is not asked for the %d that `fields` names one by"
                    " one: name `custom_attributes` there to load all of them.",
                    endpoint.path,
                    len(left_out),
                )

    async def _by_id(self, external_ids: Iterable[str]) -> None:
        folder, fields = self._request.folder / IDS, self._settings.fields
        try:
            with self._shredder(USERS_EXPORT_IDS) as shredder:
                async for answered in export_ids(self._client, external_ids, fields, folder):
                    for error in answered.failed:
                        self._delivery.fail(IDS, error)
                    self.unknown += len(answered.unknown)
                    self.unknown_ids += answered.unknown[: SHOWN_UNKNOWN_IDS - len(self.unknown_ids)]
                    await self._shred_answers(shredder, answered.path)
                if self._request.audiences:
                    await self._delivery.commit()
        except ConfigurationError:
            raise
        except BrazeError as error:
            self._delivery.fail(IDS, error)

    async def _by_export(self) -> None:
        settings = self._settings
        exports = Exports(
            self._client,
            self._request.folder,
            settings.fields,
            ExportSettings(
                settings.export_bucket,
                settings.export_quiet_seconds,
                settings.export_timeout_minutes,
                settings.export_parallel,
            ),
            self._delivery.loaded,
            settings.pii.fingerprint,
        )
        shredder, run_at = None, 0.0
        with ExitStack() as opened:
            async for event in exports.events(self._request.audiences):
                if isinstance(event, Failed):
                    self._delivery.fail(event.audience.segment_id, event.error)
                elif event.job.late:
                    # Of an earlier export: what comes anew is to be given all the same.
                    with self._shredder(event.job.audience.endpoint) as apart:
                        await self._handle(event, apart)
                elif event.job.audience.is_control_group:
                    # Without the profiles of the segments: its endpoint knows fewer fields than theirs.
                    with self._shredder(event.job.audience.endpoint, beside=shredder) as apart:
                        await self._handle(event, apart)
                else:
                    if shredder is None or event.job.run_at > run_at:
                        if shredder:
                            # A newer export is to give again, in a package of its own, what older ones had.
                            await self._delivery.commit()
                        opened.close()
                        shredder = opened.enter_context(self._shredder(USERS_EXPORT_SEGMENT))
                        run_at = event.job.run_at
                    await self._handle(event, shredder)

    def _shredder(self, endpoint: Endpoint, beside: ProfileShredder | None = None) -> ProfileShredder:
        fields = self._settings.fields.loaded(endpoint)
        return ProfileShredder(private_folder(self._work), self._settings.pii, fields, beside=beside)

    async def _handle(self, event: Arrived | AllArrived, shredder: ProfileShredder) -> None:
        job, audience = event.job, event.job.audience
        if job in self._given_up:
            return
        try:
            if isinstance(event, Arrived):
                await self._shred_export(shredder, event)
                return
            table, members = await asyncio.to_thread(job.members)
        except ExportCancelledError as error:
            if isinstance(event, AllArrived):  # otherwise the next event tells
                self._delivery.fail(audience.segment_id, error)
            return
        except OSError as error:
            if job.kept:  # if not, the file is gone with the export, and the next event tells
                self._given_up.add(job)
                self._delivery.fail(audience.segment_id, NotKeptError(audience, job.folder, error))
            return
        # Behind every profile of them. What is begun is brought to its end: members are loaded all or none.
        await _whole(self._post_members(job, table, members))
        if job.late:
            await self._delivery.commit()  # it is forgotten then

    async def _shred_export(self, shredder: ProfileShredder, event: Arrived) -> None:
        """Raises ExportCancelledError, and OSError where the disk does not do."""
        job = event.job
        await _whole(asyncio.to_thread(shredder.leave_out, job.newer()))
        with closing(shredder.groups([event.path], skip=job.loaded_parts())) as groups:
            while group := await _whole(asyncio.to_thread(next, groups, None)):
                loaded = _noting(job, group)
                self._report(group, job.audience.segment_id, job.audience.endpoint, event.in_words)
                self._post(group, loaded, (job.audience.segment_id, job.id))
                del group  # while the next one is awaited
                await self._delivery.room()

    async def _shred_answers(self, shredder: ProfileShredder, path: Path) -> None:
        with closing(shredder.groups([path])) as groups:
            while group := await _whole(asyncio.to_thread(next, groups, None)):
                self._report(group, IDS, USERS_EXPORT_IDS, str)
                self._post(group, lambda: path.unlink(missing_ok=True))
                del group
                await self._delivery.room()

    def _post(self, group: Group, loaded: Callable[[], None], export: tuple[str, str] | None = None) -> None:
        tables = {table.name: rows for table, rows in group.tables if rows.num_rows}
        shapes = {table.name: table for table, _ in group.tables}
        self._delivery.post(Parcel(tables, shapes=shapes, export=export, on_commit=loaded))

    async def _post_members(self, job: ExportJob, table: Table, batches: Iterator[pa.Table]) -> None:
        rows = 0
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            rows += batch.num_rows
            if batch.num_rows:
                self._delivery.post(Parcel({table.name: batch}, shapes={table.name: table}, more=True))
                await self._delivery.room()
        nobody = not rows and table.parent
        audience = job.audience.segment_id
        parents = Sheet([{"segment_id": audience}] if nobody else [])
        export = (audience, job.id)
        self._delivery.post(Parcel(plain={table.name: Sheet()}, parents=parents, export=export, on_commit=job.finish))

    def _report(self, group: Group, name: str, endpoint: Endpoint, in_words: Callable[[str], str]) -> None:
        for sentence in group.corrupt:
            self._delivery.fail(name, BrazeError(in_words(sentence), endpoint=endpoint))
        for found in group.quarantined:
            numbers = ", ".join(map(str, found.numbers[:_SHOWN_LINES]))
            more = ", …" if len(found.numbers) > _SHOWN_LINES else ""
            count, file = len(found.numbers), in_words(found.file)
            left_out = (
                f"1 line of {file} is no profile and was left out"
                if count == 1
                else f"{count:,} lines of {file} are no profiles and were left out"
            )
            sentence = f"{left_out}: {numbers}{more}.{self._put_aside(name, found)}"
            self._delivery.fail(name, BrazeError(sentence, endpoint=endpoint))

    def _put_aside(self, name: str, found: Quarantined) -> str:
        """Keep the lines until the next run and say where; not if there are rules, which cannot be applied to them."""
        if self._settings.pii.actions:
            return ""
        short = blake2b(f"{name}/{found.file}".encode(), digest_size=12).hexdigest()
        path = private_folder(self._quarantine) / f"{short}.txt"
        with open(path, "ab", opener=owner_only) as kept:
            kept.writelines(
                b"%d\t%b\n" % (number, line) for number, line in zip(found.numbers, found.lines, strict=True)
            )
        return f" Kept in {path} until the next run."


async def _whole(work: Awaitable[T]) -> T:
    """Await `work`; what is begun is brought to its end before a cancellation goes on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _noting(job: ExportJob, group: Group) -> Callable[[], None]:
    """Note whose profiles `group` has, and return what to do once it is in the warehouse; that holds no rows."""
    noted = job.shredded(group.members, damaged=bool(group.corrupt), strange=bool(group.quarantined))
    parts, files = group.parts, group.finished
    return lambda: job.loaded(noted, parts=parts, files=files)
