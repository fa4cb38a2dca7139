"""What is known of an export on disk, so that a killed run goes on with it instead of starting another.

    <jobs>/<audience>/job.json   identity and progress; holds the download URL, which opens the export to anyone
    <jobs>/<audience>/files/     what was fetched and is not loaded yet
    <jobs>/<audience>/members/   braze_ids of shredded profiles (as the `pii` rules leave them), until all are loaded
    <jobs>/<audience>/work/      what DuckDB writes when memory is short

Everything is readable by the owner only. What holds personal data is gone once it is loaded.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sources.braze.endpoints import USERS_EXPORT_GLOBAL_CONTROL_GROUP, USERS_EXPORT_SEGMENT, Endpoint
from sources.braze.model import Table
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP, GLOBAL_CONTROL_GROUP_MEMBERS, SEGMENT_MEMBERS
from sources.braze.profiles import arrow_schema

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a job that nobody went on with is removed: no URL lives that long."""
_MEMBERS_AT_A_TIME = 100_000
_NOTED = ".noted"
"""Ends the names of files with members whose profiles are not known to be loaded."""


@dataclass(frozen=True)
class Audience:
    """Whose profiles are exported: a segment's, or the global control group's."""

    segment_id: str

    @property
    def is_control_group(self) -> bool:
        """Whether it is the global control group."""
        return self.segment_id == GLOBAL_CONTROL_GROUP

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that exports it."""
        return USERS_EXPORT_GLOBAL_CONTROL_GROUP if self.is_control_group else USERS_EXPORT_SEGMENT

    @property
    def members_table(self) -> Table:
        """The table of its members."""
        return GLOBAL_CONTROL_GROUP_MEMBERS if self.is_control_group else SEGMENT_MEMBERS


@dataclass
class ExportedFile:
    """A file of an export: size in bytes, version tag if the storage has one, how far it is loaded.

    `parts` are the archive members that are loaded while the file as a whole is not.
    """

    size: int
    etag: str = ""
    parts: list[str] = field(default_factory=list)
    loaded: bool = False


@dataclass
class _State:
    requested_at: float
    fields: list[str]
    object_prefix: str
    url: str | None
    files: dict[str, ExportedFile] = field(default_factory=dict)
    complete: bool = False
    damaged: bool = False


class ExportJob:
    """An export that was requested, and its folder."""

    def __init__(self, audience: Audience, folder: Path, state: _State) -> None:
        self.audience = audience
        self.folder = folder
        self._state = state
        self.late = state.complete

    def __repr__(self) -> str:
        return f"ExportJob({self.audience.segment_id!r})"

    @property
    def requested_at(self) -> float:
        """When the export was requested, in epoch seconds."""
        return self._state.requested_at

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
        return (self.folder / "job.json").exists()

    @property
    def work_folder(self) -> Path:
        """A private folder for shredding."""
        return private_folder(self.folder / "work")

    def path(self, name: str) -> Path:
        """Return where the file of that name is kept until it is loaded."""
        return private_folder(self.folder / "files") / re.sub(r"[^\w.-]", "_", name)

    def file(self, name: str) -> ExportedFile | None:
        """Return what is known of a file that was fetched, or is being fetched."""
        return self._state.files.get(name)

    def note(self, name: str, size: int, etag: str = "") -> None:
        """Remember a file that is being fetched."""
        self._state.files[name] = ExportedFile(size, etag)
        self._save()

    def loaded_parts(self) -> frozenset[str]:
        """Return the archive members, as `file/member`, that need not be loaded again."""
        return frozenset(part for file in self._state.files.values() for part in file.parts)

    def shredded(self, members: pa.Array, damaged: bool = False) -> Path:
        """Note whose profiles a `profiles.Group` has, before its rows are on their way; returns what `loaded` is told.

        `damaged` says that some of it could not be read. What is never said to be loaded the next run forgets: it
        reads the group again, perhaps by other `pii` rules.
        """
        noted = private_folder(self.folder / "members") / f"{uuid4().hex}{_NOTED}"
        pq.write_table(pa.table({"braze_id": members}), noted)
        if damaged:
            self._state.damaged = True
            self._save()
        return noted

    def loaded(self, noted: Path, *, parts: Collection[str] = (), files: Collection[Path] = ()) -> None:
        """Remember that a `profiles.Group` is in the warehouse, whose `parts` and `files` these are.

        The files are removed. Does nothing if the export was cancelled in the meantime.
        """
        if not self.kept:
            return
        noted.rename(noted.with_suffix(".parquet"))
        names = {self.path(name): file for name, file in self._state.files.items()}
        for path in files:
            names[path].loaded, names[path].parts = True, []
        for part in parts:
            owner = next((file for path, file in names.items() if part.startswith(f"{path.name}/")), None)
            if owner and not owner.loaded:
                owner.parts.append(part)
        self._save()
        for path in files:
            path.unlink(missing_ok=True)

    def members(self) -> tuple[Table, Iterator[pa.Table]]:
        """Return the members table and its rows: every profile of the export once, to be loaded after them.

        The table replaces the segment's rows as a whole, unless the export is known to be incomplete, or
        these are the profiles of files that came late: then they are added (the table's `parent` is None).
        """
        table = self.audience.members_table
        partial = self._state.damaged or self.late
        return replace(table, parent=None) if partial else table, self._member_rows(table)

    def finish(self) -> None:
        """Remove what holds personal data; call it when the members are loaded.

        Of an export into a bucket its name and the names of its files are kept, to tell late ones.
        """
        if self._state.url or self.late or not self.kept:
            self.remove()
            return
        self._state.complete = True
        self._save()
        for name in ("files", "members", "work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove(self) -> None:
        """Forget the export, with everything that was fetched."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _member_rows(self, table: Table) -> Iterator[pa.Table]:
        schema = arrow_schema(table)
        exported_at = datetime.fromtimestamp(self.requested_at, UTC)
        with duckdb.connect(
            config={"memory_limit": "256MB", "temp_directory": str(self.work_folder / "duckdb")}
        ) as connection:
            files = sorted(map(str, (self.folder / "members").glob("*")))
            if not files:
                yield schema.empty_table()
                return
            distinct = connection.sql("SELECT DISTINCT braze_id FROM read_parquet($files)", params={"files": files})
            for batch in distinct.to_arrow_reader(_MEMBERS_AT_A_TIME):
                yield pa.table(
                    [
                        pa.array([self.audience.segment_id] * batch.num_rows, pa.string()),
                        batch.column(0),
                        pa.array([exported_at] * batch.num_rows, pa.timestamp("us", tz="UTC")),
                    ],
                    schema=schema,
                )

    def _save(self) -> None:
        """Write the state so that it is either the old or the new one, whenever the process is killed."""
        new = self.folder / "job.json.new"
        with open(new, "wb", opener=owner_only) as file:
            file.write(orjson.dumps(asdict(self._state)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / "job.json")


def start_job(jobs: Path, audience: Audience, answer: dict[str, object], fields: list[str], now: float) -> ExportJob:
    """Keep the identity of an export that Braze accepted with `answer`. `now` is in epoch seconds."""
    private_folder(jobs)
    folder = _folder(jobs, audience)
    shutil.rmtree(folder, ignore_errors=True)
    private_folder(folder)
    url = answer.get("url")
    state = _State(now, fields, str(answer.get("object_prefix") or ""), str(url) if url else None)
    job = ExportJob(audience, folder, state)
    job._save()
    return job


def find_job(jobs: Path, audience: Audience) -> ExportJob | None:
    """Return the audience's export that an earlier run left, or None. What it had noted and not loaded is forgotten."""
    folder = _folder(jobs, audience)
    try:
        known = orjson.loads((folder / "job.json").read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    for noted in (folder / "members").glob(f"*{_NOTED}"):
        noted.unlink()
    files = {name: ExportedFile(**file) for name, file in known.pop("files").items()}
    return ExportJob(audience, folder, _State(**known, files=files))


def remove_abandoned(jobs: Path, keep: Collection[Audience], now: float) -> None:
    """Remove the folders of exports that no run went on with for a day, other than those of `keep`."""
    kept = {_folder(jobs, audience) for audience in keep}
    for folder in jobs.glob("*") if jobs.is_dir() else ():
        if folder not in kept and now - folder.stat().st_mtime > ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can look into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def owner_only(path: str, flags: int) -> int:
    """Open a file readable by its owner only: an `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _folder(jobs: Path, audience: Audience) -> Path:
    return jobs / re.sub(r"[^\w-]", "_", audience.segment_id)
