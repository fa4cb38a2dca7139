"""What is known of an export on disk, so that a killed run goes on with it instead of starting another.

    <jobs>/<audience>/job.json   identity and progress; holds the download URL, which opens the export to anyone
    <jobs>/<audience>/files/     what was fetched and is not loaded yet
    <jobs>/<audience>/members/   braze_ids of shredded profiles (as the `pii` rules leave them), until all are loaded
    <jobs>/<audience>/newer/     braze_ids that exports of later runs have loaded since
    <jobs>/work/                 what DuckDB writes when memory is short

Everything is readable by the owner only. What holds personal data is gone once it is loaded. A cancelled export is
gone in one step, and what was at work on it, in this process or another, cannot bring its folder back.
"""

import os
import re
import shutil
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from uuid import uuid4

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sources.braze.arrow import arrow_schema
from sources.braze.audience import Audience
from sources.braze.endpoints import Json
from sources.braze.errors import BrazeError
from sources.braze.known import LoadedExports
from sources.braze.model import Table
from sources.braze.private_files import owner_only, private_folder

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a job that nobody went on with is removed: no URL lives that long."""
FORGOTTEN_AFTER = 30 * ABANDONED_AFTER
"""Seconds after which it is forgotten that an export into a bucket was loaded."""
WORK = "work"
"""The folder beside those of exports for what DuckDB writes when memory is short."""
_MEMBERS_AT_A_TIME = 100_000
_REMOVED = ".removed-"
"""In the name of a folder that is being removed; no audience's name has a dot."""


class ExportCancelledError(BrazeError):
    """The export was cancelled: nothing is known of it any more."""

    def __init__(self, audience: Audience) -> None:
        super().__init__(f"The export of {audience.segment_id} was cancelled.", endpoint=audience.endpoint)


class NotKeptError(BrazeError):
    """The disk did not take, or did not give, what is kept of an export."""

    def __init__(self, audience: Audience, folder: Path, error: OSError) -> None:
        super().__init__(
            f"The export of {audience.segment_id} cannot be kept in {folder} ({error.strerror or error}): see that"
            " there is room and that it may be written. The next run goes on with it.",
            endpoint=audience.endpoint,
        )


@dataclass
class ExportedFile:
    """A file of an export: size in bytes, version tag if the storage has one, how far it is loaded.

    `parts` are the archive members that are loaded while the file as a whole is not.
    """

    size: int
    etag: str = ""
    parts: list[str] = field(default_factory=list)
    loaded: bool = False


@dataclass(frozen=True)
class Asked:
    """What an export is requested for.

    `fields` are those of the request, `rules` a fingerprint of the `pii` rules by which its profiles are read,
    `run_at` when the run that requests it began, in epoch seconds, and `workspace` the base URL of its API.
    """

    fields: tuple[str, ...]
    rules: str
    run_at: float
    workspace: str


@dataclass
class _State:
    requested_at: float
    fields: list[str]
    object_prefix: str
    url: str | None
    run_at: float = 0
    rules: str = ""
    id: str = ""
    workspace: str = ""
    files: dict[str, ExportedFile] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    complete: bool = False
    damaged: bool = False
    strange: bool = False


class ExportJob:
    """An export that was requested, and its folder.

    The loop, the threads that fetch and the one that loads share it. What writes raises ExportCancelledError once the
    export was removed, here or by another process.
    """

    def __init__(self, audience: Audience, folder: Path, state: _State, into: LoadedExports) -> None:
        self.audience = audience
        self.folder = folder
        self._state = state
        self._into = into
        self._lock = threading.RLock()
        self._removed = False
        self.late = state.complete

    def __repr__(self) -> str:
        return f"ExportJob({self.audience.segment_id!r})"

    @property
    def id(self) -> str:
        """By which a warehouse knows what it has of the export: another one once it is read from its beginning."""
        return self._state.id

    @property
    def workspace(self) -> str:
        """The base URL of the API that it was requested from."""
        return self._state.workspace

    @property
    def requested_at(self) -> float:
        """When the export was requested, in epoch seconds."""
        return self._state.requested_at

    @property
    def run_at(self) -> float:
        """When the run that requested it began, in epoch seconds."""
        return self._state.run_at

    @property
    def object_prefix(self) -> str:
        """The export's name in the storage."""
        return self._state.object_prefix

    @property
    def url(self) -> str | None:
        """Where the archive will be, or None if files are delivered into the customer's bucket. A secret."""
        return self._state.url

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that were asked for."""
        return tuple(self._state.fields)

    @property
    def complete(self) -> bool:
        """Whether all files were loaded, members included: only late files can come."""
        return self._state.complete

    @property
    def kept(self) -> bool:
        """Whether the export is still known on disk: cancelling it removes it from there."""
        return not self._removed and (self.folder / "job.json").exists()

    def check_kept(self) -> None:
        """Raise ExportCancelledError if the export was cancelled."""
        if not self.kept:
            raise ExportCancelledError(self.audience)

    @property
    def work_folder(self) -> Path:
        """A private folder for shredding, which exports share: it outlives one that is cancelled."""
        return private_folder(self.folder.parent / WORK)

    def path(self, name: str) -> Path:
        """Return where the file of that name is kept until it is loaded; a bucket's names are too long for a disk."""
        return self._subfolder("files") / _short(name)

    def file(self, name: str) -> ExportedFile | None:
        """Return what is known of a file that was fetched, or is being fetched."""
        return self._state.files.get(name)

    def note(self, name: str, size: int, etag: str = "") -> None:
        """Remember a file that is being fetched."""
        with self._changing():
            self._state.files[name] = ExportedFile(size, etag)

    def loaded_parts(self) -> frozenset[str]:
        """Return the archive members, as `file/member`, that need not be loaded again."""
        with self._lock:
            return frozenset(part for file in self._state.files.values() for part in file.parts)

    def shredded(self, members: pa.Array, *, damaged: bool = False, strange: bool = False) -> Path:
        """Note whose profiles a `profiles.Group` has, before its rows are on their way; returns what `loaded` is told.

        `damaged` says that some of it could not be read, `strange` that it has lines which are no profiles. What is
        never said to be loaded the next run forgets: it reads the group again, perhaps by other `pii` rules.
        """
        if damaged or strange:
            with self._changing():
                self._state.damaged |= damaged
                self._state.strange |= strange
        noted = self._subfolder("members") / f"{uuid4().hex}.parquet"
        with self._keeping():
            pq.write_table(pa.table({"braze_id": members}), noted)
        return noted

    def loaded(self, noted: Path, *, parts: Collection[str] = (), files: Collection[Path] = ()) -> None:
        """Remember that a `profiles.Group` is in the warehouse, whose `parts` and `files` these are.

        The files are removed. Exports of earlier runs, which are still to come, leave these profiles alone from now on.
        If the export was cancelled in the meantime, nothing is remembered.
        """
        self._tell_older(noted)
        with suppress(ExportCancelledError), self._changing():
            self._state.members.append(noted.name)
            names = {_short(name): file for name, file in self._state.files.items()}
            for path in files:
                names[path.name].loaded, names[path.name].parts = True, []
            for part in parts:
                owner = names[part.partition("/")[0]]
                if not owner.loaded:
                    owner.parts.append(part)
        for path in files:
            path.unlink(missing_ok=True)

    def newer(self) -> Iterator[pa.Table]:
        """Yield the `braze_id`s of profiles that the warehouse has of later runs. Raises ExportCancelledError."""
        for path in sorted((self.folder / "newer").glob(f"{self._into.warehouse}-*.parquet")):
            with self._keeping():
                known = pq.read_table(path)
            yield known

    def _tell_older(self, noted: Path) -> None:
        if self.audience.is_control_group:  # its profiles have fewer fields than those of segments
            return
        for found in self.folder.parent.glob("*/job.json"):
            state = _read_state(found.parent)
            if state and not state.complete and state.run_at < self.run_at:
                newer = found.parent / "newer"
                with suppress(FileNotFoundError):  # one of the two was cancelled
                    newer.mkdir(mode=0o700, exist_ok=True)
                    copied = Path(shutil.copy(noted, newer / "copied"))
                    copied.rename(newer / f"{self._into.warehouse}-{noted.name}")

    def read_by(self, rules: str) -> None:
        """Have everything read again if other `pii` rules are in force now: what was noted follows those of before."""
        if rules != self._state.rules and not self.late:
            self._restart(rules)

    @property
    def goes_on(self) -> bool:
        """Whether the warehouse has all that is noted to be loaded."""
        there = self._into.latest.get(self.audience.segment_id)
        if there and there.job == self.id:
            return there.groups >= len(self._state.members)
        return not (self._state.members or self.late)

    def load_anew(self) -> None:
        """Have everything loaded, as far as Braze still has it: the warehouse lacks what is noted to be loaded."""
        self._restart(self._state.rules)

    def _restart(self, rules: str) -> None:
        with self._changing():
            for file in self._state.files.values():
                file.loaded, file.parts = False, []
            self._state.id, self._state.rules, self._state.members = uuid4().hex, rules, []
            self._state.damaged = self._state.strange = False
        shutil.rmtree(self.folder / "members", ignore_errors=True)

    def members(self) -> tuple[Table, Iterator[pa.Table]]:
        """Return the members table and its rows: every profile of the export once, to be loaded after them.

        The table replaces the segment's rows as a whole, unless the export is known to be incomplete, or has lines but
        no profile, or these are the profiles of files that came late: then they are added (the table's `parent` is
        None).

        Raises ExportCancelledError; the rows, once there are any, are all there although it is cancelled.
        """
        table = self.audience.members_table
        rows = self._member_rows(table)
        begun = list(islice(rows, 1))
        partial = self._state.damaged or self.late or (self._state.strange and not begun)
        return replace(table, parent=None) if partial else table, chain(begun, rows)

    def finish(self) -> None:
        """Remove what holds personal data; call it when the members are loaded.

        Of an export into a bucket its name and the names of its files are kept, to tell late ones.
        """
        if self._state.url or self.late:
            self.remove()
            return
        with suppress(ExportCancelledError), self._changing():
            self._state.complete, self._state.members = True, []
        for name in ("files", "members", "newer"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove(self) -> None:
        """Forget the export, with everything that was fetched."""
        with self._lock:
            if not self._removed:
                self._removed = True
                _discard(self.folder)

    def _member_rows(self, table: Table) -> Iterator[pa.Table]:
        schema = arrow_schema(table)
        exported_at = datetime.fromtimestamp(self.requested_at, UTC)
        for ids in self._distinct_members():
            yield pa.table(
                [
                    pa.array([self.audience.segment_id] * len(ids), pa.string()),
                    ids,
                    pa.array([exported_at] * len(ids), pa.timestamp("us", tz="UTC")),
                ],
                schema=schema,
            )

    def _distinct_members(self) -> Iterator[pa.Array]:
        files = sorted(map(str, (self.folder / "members").glob("*")))
        self.check_kept()
        if not files:
            return
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": "256MB",
            "temp_directory": str(self.work_folder / "duckdb"),
        }
        with duckdb.connect(config=config) as connection:
            try:
                distinct = connection.sql("SELECT DISTINCT braze_id FROM read_parquet($files)", params={"files": files})
                batches = distinct.to_arrow_reader(_MEMBERS_AT_A_TIME)  # which reads the files to their end
            except duckdb.IOException:
                self.check_kept()
                raise
            for batch in batches:
                yield batch.column(0)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Write in the folder, alone. Raises ExportCancelledError if it is gone."""
        with self._lock:
            self.check_kept()
            try:
                yield
            except FileNotFoundError:
                self.check_kept()
                raise

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the state, and save it."""
        with self._keeping():
            yield
            self._save()

    def _subfolder(self, name: str) -> Path:
        folder = self.folder / name
        with self._keeping():
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _save(self) -> None:
        """Write the state so that it is either the old or the new one, whenever the process is killed."""
        new = self.folder / "job.json.new"
        with open(new, "wb", opener=owner_only) as file:
            file.write(orjson.dumps(self._state))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / "job.json")


def start_job(jobs: Path, audience: Audience, answer: Json, asked: Asked, now: float, into: LoadedExports) -> ExportJob:
    """Keep the identity of an export that Braze accepted with `answer`. `now` is in epoch seconds."""
    private_folder(jobs)
    folder = _folder(jobs, audience)
    _discard(folder)
    private_folder(folder)
    url = answer.get("url")
    state = _State(
        requested_at=now,
        fields=list(asked.fields),
        object_prefix=str(answer.get("object_prefix") or ""),
        url=str(url) if url else None,
        run_at=asked.run_at,
        rules=asked.rules,
        id=uuid4().hex,
        workspace=asked.workspace,
    )
    job = ExportJob(audience, folder, state, into)
    job._save()
    return job


def find_job(jobs: Path, audience: Audience, into: LoadedExports | None = None) -> ExportJob | None:
    """Return the audience's export that an earlier run left, or None. What it had noted and not loaded is forgotten.

    `into` is what the warehouse has in which it is to be loaded.
    """
    folder = _folder(jobs, audience)
    state = _read_state(folder)
    if not state:
        return None
    for noted in (folder / "members").glob("*"):
        if noted.name not in state.members:
            noted.unlink(missing_ok=True)
    return ExportJob(audience, folder, state, into or LoadedExports())


def _read_state(folder: Path) -> _State | None:
    try:
        known = orjson.loads((folder / "job.json").read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    files = {name: ExportedFile(**file) for name, file in known.pop("files").items()}
    return _State(**known, files=files)


def remove_abandoned(jobs: Path, keep: Collection[Audience], now: float) -> None:
    """Remove the folders of exports that no run went on with for a day, other than those of `keep`.

    So are those that a killed process was about to remove. What is complete has no personal data, and tells late files:
    it stays for a month.
    """
    kept = {_folder(jobs, audience) for audience in keep}
    for folder in jobs.glob("*") if jobs.is_dir() else ():
        if _REMOVED in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder not in kept:
            with suppress(FileNotFoundError):  # cancelled by another process
                age = now - folder.stat().st_mtime
                if age > FORGOTTEN_AFTER or (age > ABANDONED_AFTER and not _is_complete(folder)):
                    _discard(folder)


def _is_complete(folder: Path) -> bool:
    state = _read_state(folder)
    return bool(state and state.complete)


def _folder(jobs: Path, audience: Audience) -> Path:
    return jobs / re.sub(r"[^\w-]", "_", audience.segment_id)


def _short(name: str) -> str:
    return blake2b(name.encode(), digest_size=12).hexdigest()


def _discard(folder: Path) -> None:
    """Remove a folder so that whoever still writes into it finds it gone at once, and whole."""
    gone = folder.with_name(f"{folder.name}{_REMOVED}{uuid4().hex}")
    with suppress(FileNotFoundError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
