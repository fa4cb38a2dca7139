"""Export files as lines: plain, gzip or zip, told apart by their content, streamed in bounded memory."""

import gzip
import io
import json
import lzma
import struct
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

import pyarrow as pa

_READ = 16 << 20
_LONGEST_LINE = 64 << 20
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, LookupError, OverflowError, RuntimeError),
)
"""What Python's readers of gzip and zip raise where bytes are not what they should be."""


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _DamagedError(Exception):
    """Bytes are not what they should be."""


class CorruptFileError(Exception):
    """A file that is cut off or damaged. The text names the file, and the member of an archive."""


def blocks(path: Path, skip: Collection[str] = ()) -> Iterator[tuple[str, pa.LargeBinaryArray | None]]:
    """The lines of a file with their ends, as Arrow arrays of some megabytes, with the name they belong to.

    An archive's members, plain or gzip, are read one after the other, whatever their names; a member is called
    `file/member`, and left out if it is in `skip`. Once one was read to its end without damage, None stands for lines.
    Raises CorruptFileError, after what could be read before the damage; the cut last line of a file comes all the same.
    """
    with path.open("rb") as file:
        try:
            yield from _blocks(file, path.name, skip)
        except _DamagedError:
            raise CorruptFileError(f"{path.name} is cut off or damaged.") from None


def _blocks(file: IO[bytes], name: str, skip: Collection[str]) -> Iterator[tuple[str, pa.LargeBinaryArray | None]]:
    with _reading():
        start = file.read(4)
        file.seek(0)
    if start.startswith(_ZIP):
        yield from _zip_blocks(file, name, skip)
    elif start.startswith(_GZIP):
        with io.BufferedReader(gzip.open(file)) as content:
            with _reading():
                start = content.peek(4)
            # An archive may be kept compressed once more by the storage, and is downloaded as it is kept.
            yield from _zip_blocks(content, name, skip) if start.startswith(_ZIP) else _line_blocks(content, name)
    else:
        yield from _line_blocks(file, name)


def _zip_blocks(file: IO[bytes], name: str, skip: Collection[str]) -> Iterator[tuple[str, pa.LargeBinaryArray | None]]:
    damaged, sentences = [], []
    with _reading():
        archive = zipfile.ZipFile(file)
    with archive:
        for member in archive.infolist():
            part = f"{name}/{member.filename}"
            if member.is_dir() or part in skip:
                continue
            try:
                with _reading():
                    stream = archive.open(member)
                with stream:
                    yield from _line_blocks(_unpacked(cast(zipfile.ZipExtFile, stream)), part)
                yield part, None
            except _DamagedError:
                damaged.append(part)
            except CorruptFileError as error:
                sentences.append(str(error))
    if damaged:
        sentences.insert(0, f"Cut off or damaged: {', '.join(damaged)}.")
    if sentences:
        raise CorruptFileError(" ".join(sentences))


def _unpacked(stream: zipfile.ZipExtFile) -> _Stream:
    with _reading():
        return gzip.open(stream) if stream.peek(2).startswith(_GZIP) else stream


def _line_blocks(stream: _Stream, name: str) -> Iterator[tuple[str, pa.LargeBinaryArray]]:
    rest = b""
    first = True
    while chunk := _read(stream):
        if first:
            chunk, first = chunk.removeprefix(BOM_UTF8), False
        begun = chunk.find(b"\n") + 1
        ended = chunk.rfind(b"\n") + 1
        if begun:
            yield name, _lines(rest + chunk[:begun])
            rest = b""
        if ended > begun:
            yield name, _lines(chunk, begun, ended)
        rest += chunk[ended:]
        if len(rest) > _LONGEST_LINE:
            raise CorruptFileError(f"{name} has a line of more than {_LONGEST_LINE >> 20} MB.")
    if rest:
        yield name, _lines(rest)
        if _is_cut(rest):
            raise CorruptFileError(f"{name} ends within a line.")


def _is_cut(last_line: bytes) -> bool:
    """Whether a file's last line, which no line end follows, is no whole JSON value."""
    try:
        json.loads(last_line.decode(errors="replace").strip() or "null")
    except ValueError:
        return True
    except RecursionError:
        return False  # deeper than Python reads, and DuckDB's to judge
    return False


def _read(stream: _Stream) -> bytes:
    with _reading():
        return stream.read(_READ)


@contextmanager
def _reading() -> Iterator[None]:
    """Guards what Python's readers do, and nothing of ours."""
    try:
        yield
    except _DAMAGE as error:
        raise _DamagedError from error


def _lines(text: bytes, start: int = 0, end: int | None = None) -> pa.LargeBinaryArray:
    """The lines of a part of `text` that begins and ends with one, without a copy of them."""
    end = len(text) if end is None else end
    ends, found = [], text.find(b"\n", start, end)
    while found >= 0:  # a regular expression takes five times as long
        ends.append(found + 1)
        found = text.find(b"\n", found + 1, end)
    if not ends or ends[-1] < end:
        ends.append(end)
    offsets = pa.array([start, *ends], pa.int64())
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, offsets.buffers()[1], pa.py_buffer(text)])
