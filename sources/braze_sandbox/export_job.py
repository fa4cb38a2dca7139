"""One export: a thread that writes a segment's profiles to files, at its own pace, until done or cancelled."""

import gzip
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from secrets import token_urlsafe
from typing import IO, TYPE_CHECKING
from uuid import uuid4

import fsspec

from sources.braze_sandbox.entities import Segment
from sources.braze_sandbox.profiles import Renderer, numbers_of

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

_BATCH = 200
_BAD_LINE = b'{"braze_id":"0000000000000000dead0001","email":"cut off\n'
_NO_BRAZE_ID = b'{"external_id":"lost-1","country":"DE"}\n'


@dataclass(frozen=True)
class Order:
    """What to export: a segment (None: the global control group), which fields, in which format."""

    group_id: str
    segment: Segment | None
    fields: tuple[str, ...]
    custom_attributes: tuple[str, ...]
    gzip: bool
    prefix: str


class Job:
    """A running or finished export.

    In archive mode `path` is the archive and `token` its name in the storage; in bucket mode `path` is None. `done` is
    set at the end, `running` until then, `ready` once the archive can be fetched; `files` counts what was written and
    `error` says what went wrong.
    """

    def __init__(self, workspace: "Workspace", order: Order, folder: Path) -> None:
        self.order = order
        self.token = f"{token_urlsafe(24)}{'.gz' if order.gzip else '.zip'}"
        self.path = folder / self.token if workspace.options.delivery == "archive" else None
        self.done = threading.Event()
        self.ready = False
        self.files = 0
        self.error: Exception | None = None
        self._workspace = workspace
        self._options = workspace.options
        self._level = 1 if self._options.compress else 0
        self._folder = folder
        self._cancelled = threading.Event()
        self._ready_at = 0.0

    @property
    def running(self) -> bool:
        """Whether the export is still under way: a segment can only have one such."""
        return not self.done.is_set()

    def start(self) -> None:
        """Begin, in a thread."""
        threading.Thread(target=self._run, name=f"export-{self.order.prefix}", daemon=True).start()

    def cancel(self) -> None:
        """Give up as soon as possible."""
        self._cancelled.set()

    def age(self) -> float:
        """Seconds since the archive was ready."""
        return time.monotonic() - self._ready_at

    def _run(self) -> None:
        try:
            begun = time.monotonic()
            if self.path:
                self._write_archive(self.path)
                self._pause(self._options.export_delay - (time.monotonic() - begun))
                self._ready_at = time.monotonic()
                self.ready = not self._cancelled.is_set()
            else:
                self._pause(self._options.export_delay)
                self._write_bucket()
        except Exception as error:  # a job that fails is only ever told by e-mail
            self.error = error
        finally:
            self.done.set()

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._cancelled.wait(seconds)

    def _chunks(self) -> Iterator[Iterator[bytes]]:
        """The lines of each file, in batches. Files overlap by one profile, as exports now and then do."""
        renderer = Renderer(self._workspace, self.order.fields, self.order.custom_attributes)
        numbers = numbers_of(self._workspace, self.order.segment)
        last: int | None = None
        flaws = [_BAD_LINE] * ("bad_line" in self._options.export_flaws)
        flaws += [_NO_BRAZE_ID] * ("no_braze_id" in self._options.export_flaws)
        while not self._cancelled.is_set():
            chunk = list(islice(numbers, self._options.users_per_file))
            if not chunk and self.files:
                return
            if last is not None and self._options.duplicates:
                chunk.insert(0, last)
            last = chunk[-1] if chunk else None
            yield _lines(renderer, chunk, flaws)
            flaws = []
            self.files += 1

    def _write_archive(self, path: Path) -> None:
        partial = path.with_suffix(".part")
        if self.order.gzip:
            with gzip.open(partial, "wb", compresslevel=self._level) as stream:
                for lines in self._chunks():
                    stream.writelines(lines)
        else:
            with self._zip(partial) as archive:
                for lines in self._chunks():
                    with archive.open(f"{uuid4().hex}.txt", "w") as member:
                        member.writelines(lines)
        if "corrupt_member" in self._options.export_flaws:
            _corrupt(partial, self.order.gzip)
        partial.rename(path)

    def _write_bucket(self) -> None:
        """Write one file after the other, each whole when it appears, under the documented key."""
        day = self._workspace.now().date().isoformat()
        folder = f"segment-export/{self.order.group_id}/{day}/{self.order.prefix}"
        if not self._options.bucket:
            raise ValueError('delivery "bucket" needs the option bucket')
        options = dict(self._options.bucket_options)
        system, root = fsspec.core.url_to_fs(f"{self._options.bucket.rstrip('/')}/{folder}", **options)
        system.makedirs(root, exist_ok=True)
        for lines in self._chunks():
            suffix = "gz" if self.order.gzip else "zip"
            name = f"{uuid4().hex}.{suffix}"
            local = self._folder / name
            self._write_file(local, lines)
            if "corrupt_member" in self._options.export_flaws and self.files == 0:
                _corrupt(local, self.order.gzip)
            with local.open("rb") as source:
                _put(system, f"{root}/{name}", source)
            local.unlink()
            self._pause(self._options.export_interval)

    def _zip(self, path: Path) -> zipfile.ZipFile:
        method = zipfile.ZIP_DEFLATED if self._options.compress else zipfile.ZIP_STORED
        return zipfile.ZipFile(path, "w", method, compresslevel=self._level)

    def _write_file(self, path: Path, lines: Iterator[bytes]) -> None:
        if self.order.gzip:
            with gzip.open(path, "wb", compresslevel=self._level) as stream:
                stream.writelines(lines)
        else:
            with self._zip(path) as archive, archive.open(f"{path.stem}.txt", "w") as member:
                member.writelines(lines)


def _lines(renderer: Renderer, numbers: list[int], flaws: list[bytes]) -> Iterator[bytes]:
    yield from flaws
    for start in range(0, len(numbers), _BATCH):
        yield b"\n".join(map(renderer.line, numbers[start : start + _BATCH])) + b"\n"


def _put(system: fsspec.AbstractFileSystem, key: str, source: IO[bytes]) -> None:
    target = system.open(key, "wb", autocommit=False)
    shutil.copyfileobj(source, target)
    target.close()
    target.commit()


def _corrupt(path: Path, truncated: bool) -> None:
    """Cut a gzip stream short; in a ZIP, spoil bytes in the middle of the last member and leave the directory whole."""
    if truncated:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        return
    with zipfile.ZipFile(path) as archive:
        member = archive.infolist()[-1]
    with path.open("r+b") as file:
        file.seek(member.header_offset + 30 + len(member.filename) + member.compress_size // 2)
        file.write(b"\x00\xff" * 8)
