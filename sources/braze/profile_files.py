"""Export files as lines: plain, gzip or zip, told apart by their content, streamed in bounded memory."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

_READ = 16 << 20
_LONGEST_LINE = 64 << 20
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(b"\n")


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class CorruptFileError(Exception):
    """A file that is cut off or damaged. The text names the file, and the member of an archive."""


def blocks(path: Path, skip: Collection[str] = ()) -> Iterator[tuple[str, pa.LargeBinaryArray | None]]:
    """The lines of a file with their ends, as Arrow arrays of some megabytes, with the name they belong to.

    An archive's members are read one after the other, whatever their names; a member is called `file/member`,
    and left out if it is in `skip`. Once one was read to its end without damage, None stands for lines. Raises
    CorruptFileError, after what could be read before the damage.
    """
    with path.open("rb") as file:
        start = file.read(4)
    try:
        if start.startswith(_ZIP):
            yield from _zip_blocks(path, skip)
        elif start.startswith(_GZIP):
            with gzip.open(path) as stream:
                yield from _line_blocks(stream, path.name)
        else:
            with path.open("rb") as stream:
                yield from _line_blocks(stream, path.name)
    except zipfile.BadZipFile as error:
        raise CorruptFileError(f"{path.name} is no complete zip archive.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptFileError(f"{path.name} is cut off or damaged.") from error


def _zip_blocks(path: Path, skip: Collection[str]) -> Iterator[tuple[str, pa.LargeBinaryArray | None]]:
    damaged = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = f"{path.name}/{member.filename}"
            if member.is_dir() or name in skip:
                continue
            try:
                with archive.open(member) as stream:
                    yield from _line_blocks(stream, name)
                yield name, None
            except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError):
                damaged.append(name)
    if damaged:
        raise CorruptFileError(f"Cut off or damaged: {', '.join(damaged)}.")


def _line_blocks(stream: _Stream, name: str) -> Iterator[tuple[str, pa.LargeBinaryArray]]:
    rest = b""
    first = True
    while chunk := stream.read(_READ):
        if first:
            chunk, first = chunk.removeprefix(_BOM), False
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


def _lines(text: bytes, start: int = 0, end: int | None = None) -> pa.LargeBinaryArray:
    """The lines of a part of `text` that begins and ends with one, without a copy of them."""
    end = len(text) if end is None else end
    ends = [match.end() for match in _LINE_END.finditer(text, start, end)]
    if not ends or ends[-1] < end:
        ends.append(end)
    offsets = pa.array([start, *ends], pa.int64())
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, offsets.buffers()[1], pa.py_buffer(text)])
