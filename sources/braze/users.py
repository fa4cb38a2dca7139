"""Profiles in a run: exports and lookups by id become parcels, and files go once their rows are in the warehouse."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sources.braze.client import Client
from sources.braze.endpoints import USERS_EXPORT_IDS, Endpoint
from sources.braze.errors import BrazeError
from sources.braze.export_ids import export_ids
from sources.braze.export_jobs import Audience, ExportJob
from sources.braze.exports import AllArrived, Arrived, Exports, ExportSettings, Failed
from sources.braze.parcels import Parcel
from sources.braze.profiles import Group, ProfileShredder
from sources.braze.settings import Settings

T = TypeVar("T")
SHOWN_UNKNOWN_IDS = 1_000


@dataclass(frozen=True)
class ProfileRequest:
    """Whose profiles to load: `audiences` by export, `external_ids` (or None) by lookup.

    `folder` keeps exports between runs; it is readable by its owner only.
    """

    folder: Path
    audiences: tuple[Audience, ...] = ()
    external_ids: Iterable[str] | None = None


@dataclass(frozen=True)
class Delivery:
    """Where profiles go.

    `post` takes a parcel, `room` waits until another may come, `commit` until all are in the warehouse; `fail` records
    that an audience could not be loaded.
    """

    post: Callable[[Parcel], None]
    room: Callable[[], Awaitable[None]]
    commit: Callable[[], Awaitable[None]]
    fail: Callable[[str, BrazeError], None]


class Profiles:
    """Loads the profiles of a `ProfileRequest`. `unknown_ids` holds (place in the input, id): personal data."""

    def __init__(self, client: Client, settings: Settings, request: ProfileRequest, delivery: Delivery) -> None:
        self._client = client
        self._settings = settings
        self._request = request
        self._delivery = delivery
        self.unknown_ids: list[tuple[int, str]] = []
        self.unknown = 0

    async def load(self) -> None:
        """Load the lookups, then the exports as they arrive. Raises what concerns more than one audience."""
        if self._request.external_ids is not None:
            await self._by_id(self._request.external_ids)
        if self._request.audiences:
            await self._by_export()

    async def _by_id(self, external_ids: Iterable[str]) -> None:
        folder = self._request.folder / "ids"
        fields = self._settings.fields
        try:
            with self._shredder(folder / "work", USERS_EXPORT_IDS) as shredder:
                async for answered in export_ids(self._client, external_ids, fields, folder):
                    self.unknown += len(answered.unknown)
                    self.unknown_ids += answered.unknown[: SHOWN_UNKNOWN_IDS - len(self.unknown_ids)]
                    await self._shred(shredder, answered.path, "ids", USERS_EXPORT_IDS)
                await self._delivery.commit()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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
        )
        with ExitStack() as stack:
            shredders: dict[Audience, ProfileShredder] = {}
            async for event in exports.events(self._request.audiences):
                if isinstance(event, Failed):
                    self._delivery.fail(event.audience.segment_id, event.error)
                    continue
                job = event.job
                if isinstance(event, AllArrived):
                    await self._finish(job)
                    continue
                if job.audience not in shredders:
                    shredder = self._shredder(job.work_folder, job.audience.endpoint)
                    shredders[job.audience] = stack.enter_context(shredder)
                await self._shred_export(shredders[job.audience], event)

    def _shredder(self, folder: Path, endpoint: Endpoint) -> ProfileShredder:
        return ProfileShredder(folder, self._settings.pii, self._settings.fields.loaded(endpoint))

    async def _shred_export(self, shredder: ProfileShredder, event: Arrived) -> None:
        job = event.job
        groups = shredder.groups([event.path], skip=job.loaded_parts())
        while group := await asyncio.to_thread(next, groups, None):
            self._report(group, job.audience.segment_id, job.audience.endpoint)
            self._post(group, _noting(job, group))
            await self._delivery.room()

    async def _shred(self, shredder: ProfileShredder, path: Path, name: str, endpoint: Endpoint) -> None:
        groups = shredder.groups([path])
        while group := await asyncio.to_thread(next, groups, None):
            self._report(group, name, endpoint)
            self._post(group, lambda: path.unlink(missing_ok=True))
            await self._delivery.room()

    def _post(self, group: Group, loaded: Callable[[], None]) -> None:
        tables = {table.name: rows for table, rows in group.tables if rows.num_rows}
        shapes = {table.name: table for table, _ in group.tables}
        self._delivery.post(Parcel(tables, shapes=shapes, on_commit=loaded))

    async def _finish(self, job: ExportJob) -> None:
        """Replace the members, once every profile of them is in the warehouse."""
        await self._delivery.commit()
        table, batches = job.members()
        rows = 0
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            rows += batch.num_rows
            if batch.num_rows:
                self._delivery.post(Parcel({table.name: batch}, shapes={table.name: table}, more=True))
                await self._delivery.room()
        nobody = not rows and table.parent
        parents = [{"segment_id": job.audience.segment_id}] if nobody else []
        self._delivery.post(Parcel(plain={table.name: []}, parents=parents, on_commit=job.finish))
        await self._delivery.commit()

    def _report(self, group: Group, name: str, endpoint: Endpoint) -> None:
        for sentence in group.corrupt:
            self._delivery.fail(name, BrazeError(sentence, endpoint=endpoint))
        for found in group.quarantined:
            numbers = ", ".join(map(str, found.numbers[:20])) + (", …" if len(found.numbers) > 20 else "")
            self._delivery.fail(
                name,
                BrazeError(
                    f"{len(found.numbers):,} lines of {found.file} are no profiles and were left out: {numbers}.",
                    endpoint=endpoint,
                ),
            )


def _noting(job: ExportJob, group: Group) -> Callable[[], None]:
    """What to do once `group` is in the warehouse; holds no rows."""
    members, parts, files = group.members, group.parts, group.finished
    damaged = bool(group.corrupt)
    return lambda: job.loaded(members, parts=parts, files=files, damaged=damaged)
