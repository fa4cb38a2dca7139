"""Exported profiles, from files of JSON lines to Arrow tables, cut by DuckDB in bounded memory.

No Python loop touches a profile: lines go to DuckDB in groups, and the statements of `profile_sql` make of a
group one Arrow table per warehouse table, with the `pii` rules applied. No value of a profile is in any
error.
"""

import ctypes
import os
from collections.abc import Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sources.braze import profile_sql as sql
from sources.braze.arrow import arrow_schema
from sources.braze.duckdb_hmac import install_hmac
from sources.braze.model import Table
from sources.braze.pii import PiiRules
from sources.braze.private_files import private_folder
from sources.braze.profile_files import CorruptFileError, blocks
from sources.braze.profile_tables import CUSTOM_ATTRIBUTES, PROFILE_LISTS, USER_CUSTOM_ATTRIBUTES, USERS

GROUP_PROFILES = 20_000
GROUP_BYTES = 64 << 20
_THREADS = 4
"""Each needs memory, and more are not faster."""
_SCAN_ROWS = 2048
_SCAN_BYTES = 4 << 20
"""Rows per Arrow chunk, and bytes of all threads' chunks: a chunk is what DuckDB hands to one thread at a time.

For each JSON function in a query DuckDB keeps a whole chunk parsed, in some ten times the memory of its text.
"""
_LONGEST_LINE = 8 << 20
_MEMORY_FOR_ONE = "2GB"
"""What DuckDB may take for a single profile: enough for the longest, whatever is in it."""


@dataclass(frozen=True)
class Quarantined:
    """Lines of a file that are no JSON object with a `braze_id`, or longer than 8 MB, by their numbers, from 1.

    `lines` has them as received: personal data.
    """

    file: str
    numbers: tuple[int, ...]
    lines: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Group:
    """Some thousand profiles as rows.

    `tables` has a warehouse table (as declared, with hashed columns as text and unknown fields added) and its
    rows. `members` is an Arrow array of the `braze_id` of each profile in it, hashed if the rules say so, those
    included whose rows were in an earlier group. `finished` lists the files whose last line is in this group, `parts`
    the archive members (`file/member`) of which that is so; `corrupt` a sentence for each file that could not be read
    to its end, and one if DuckDB could not cut the group: then there are no rows.
    """

    tables: list[tuple[Table, pa.Table]]
    members: pa.Array
    finished: tuple[Path, ...]
    parts: tuple[str, ...]
    quarantined: tuple[Quarantined, ...]
    corrupt: tuple[str, ...]

    @property
    def profiles(self) -> int:
        """How many profiles there are."""
        return len(self.members)


@dataclass
class _Lines:
    """Lines gathered for a group, and where they came from."""

    lines: list[pa.LargeBinaryArray] = field(default_factory=list)
    count: int = 0
    size: int = 0
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    def add(self, file: str, first_number: int, lines: pa.LargeBinaryArray) -> None:
        self.spans.append((file, self.count, first_number))
        self.lines.append(lines)
        self.count += len(lines)
        self.size += lines.nbytes

    def full(self) -> bool:
        return self.count >= GROUP_PROFILES or self.size >= GROUP_BYTES

    def places(self, indexes: Iterable[int]) -> dict[str, list[tuple[int, int]]]:
        """Of ascending line indexes: per file, the line's number in the file and its index."""
        places: dict[str, list[tuple[int, int]]] = {}
        span = 0
        for index in indexes:
            while span + 1 < len(self.spans) and self.spans[span + 1][1] <= index:
                span += 1
            file, start, first_number = self.spans[span]
            places.setdefault(file, []).append((first_number + index - start, index))
        return places


class ProfileShredder:
    """Cuts profiles into tables.

    `workspace` is a folder for what DuckDB writes when memory is short, personal data: the caller removes it.
    `fields` are the requested profile fields (`custom_attributes.x` counts as `custom_attributes`): tables of others
    are left alone; None means all. `memory_limit` (DuckDB's notation) bounds DuckDB, to which the lines of one group
    come on top.

    A profile that occurs twice is one row: within a group the last one counts, and what an earlier group of the same
    shredder had is not given again. Nor is what the shredder had that this one is `beside`: the two share memory.
    """

    def __init__(
        self,
        workspace: Path,
        rules: PiiRules | None = None,
        fields: Collection[str] | None = None,
        memory_limit: str = "384MB",
        threads: int | None = None,
        beside: "ProfileShredder | None" = None,
    ) -> None:
        self._rules = rules or PiiRules()
        self._fields = None if fields is None else {name.partition(".")[0] for name in fields}
        private_folder(workspace)
        self._memory_limit = memory_limit
        self._threads = threads or min(_THREADS, os.cpu_count() or 1)
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": str(workspace / "duckdb"),
            "threads": self._threads,
            "preserve_insertion_order": False,
        }
        self._duckdb: duckdb.DuckDBPyConnection = beside._duckdb.cursor() if beside else duckdb.connect(config=settings)
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._run((*sql.TEXT_MACROS, *sql.MACROS))
        install_hmac(self._duckdb, self._rules.key)
        self._duckdb.execute("CREATE TABLE IF NOT EXISTS seen (id UHUGEINT)")
        self._queries = list(self._table_queries())
        self._relations: dict[str, duckdb.DuckDBPyRelation] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._duckdb.close()

    def leave_out(self, profiles: Iterable[pa.Table]) -> None:
        """Give no rows of the profiles with these `braze_id`s: they are loaded, and are newer."""
        for some in profiles:
            self._duckdb.register("newer", some)
            self._run([sql.REMEMBER_NEWER])
            self._duckdb.unregister("newer")

    def groups(self, files: Iterable[Path], skip: Collection[str] = ()) -> Generator[Group, None, None]:
        """The profiles of the files (plain, gzip or zip), some 20,000 at a time, in order.

        `skip` names archive members (`file/member`) that are to be left out, being loaded already.
        A damaged file is named in `Group.corrupt`; what could be read of it, and all other files, are there.
        """
        gathered = self._gathered(files, skip)
        with ThreadPoolExecutor(1, thread_name_prefix="shredder") as ahead:
            cut = ahead.submit(self._next, gathered)
            while group := cut.result():
                # The next group is cut while the caller uses this one.
                cut = ahead.submit(self._next, gathered)
                yield group
                del group

    def _next(self, gathered: Iterator[_Lines]) -> Group | None:
        lines = next(gathered, None)
        return self._shredded(lines) if lines else None

    def _gathered(self, files: Iterable[Path], skip: Collection[str]) -> Iterator[_Lines]:
        gathered = _Lines()
        for path in files:
            part, number = "", 1
            try:
                for name, lines in blocks(path, skip):
                    if lines is None:
                        gathered.parts.append(name)
                        continue
                    if name != part:
                        part, number = name, 1
                    gathered.add(name, number, lines)
                    number += len(lines)
                    if gathered.full():
                        yield gathered
                        gathered = _Lines()
            except CorruptFileError as error:
                gathered.corrupt.append(str(error))
            gathered.finished.append(path)
        if gathered.lines or gathered.finished:
            yield gathered

    def _shredded(self, gathered: _Lines) -> Group:
        try:
            return self._cut(gathered)
        except duckdb.Error as error:
            files = ", ".join(dict.fromkeys(name for name, _, _ in gathered.spans))
            # DuckDB quotes the text it stumbles over, so its own words stay out.
            unread = f"DuckDB could not read {gathered.count:,} lines of {files} ({type(error).__name__}): left out."
            corrupt = (*gathered.corrupt, unread)
            nobody = pa.array([], pa.string())
            return Group([], nobody, tuple(gathered.finished), tuple(gathered.parts), (), corrupt)
        finally:
            self._duckdb.unregister("profiles")

    def _cut(self, gathered: _Lines) -> Group:
        quarantined, members, profiles, unknown = self._read(gathered)
        tables = [self._rows(profiles, *query) for query in [self._users(unknown), *self._queries]]
        self._run([sql.REMEMBER])
        _give_memory_back()
        return Group(
            tables,
            members.combine_chunks(),
            tuple(gathered.finished),
            tuple(gathered.parts),
            quarantined,
            tuple(gathered.corrupt),
        )

    def _read(self, gathered: _Lines) -> tuple[tuple[Quarantined, ...], pa.ChunkedArray, pa.Table, list[str]]:
        """Fill `profiles` from the lines, and let go of these.

        Gives the lines that are no profiles, the members, `profiles`, and the unknown fields that hold something.
        """
        lines = self._in_chunks(_arrow_lines(gathered.lines))
        self._duckdb.register("lines", lines)
        try:
            unknown = self._unknown_fields(lines)
            self._run(sql.NUL_MACROS if self._column(sql.HAS_NUL)[0] else sql.TEXT_MACROS)
            # Queries read nested Arrow as fast as a table of DuckDB's, which takes long to fill.
            profiles = self._made_of("lines", lines, sql.profiles_query(self._rules, unknown))
            del lines
        finally:
            self._duckdb.unregister("lines")
        profiles = self._in_chunks(profiles)
        self._duckdb.register("profiles", profiles)
        quarantined = _quarantine(gathered, [int(str(index)) for index in self._column(sql.NOT_PROFILES)])
        gathered.lines.clear()
        members = self._relation(sql.MEMBERS).to_arrow_table().column(0)
        new = self._relation(sql.NEW_PROFILES).to_arrow_table().column(0)
        if len(new) < profiles.num_rows:
            profiles = profiles.filter(pc.is_in(profiles.column(sql.SEQ), new))
            self._duckdb.register("profiles", profiles)
        return quarantined, members, profiles, self._filled(unknown)

    def _users(self, unknown: list[str]) -> tuple[Table, str, str]:
        table = sql.loaded_table(USERS, self._rules, unknown)
        return table, sql.users_query(table), ""

    def _table_queries(self) -> Iterator[tuple[Table, str, str]]:
        """Tables, the queries of their rows, and what decides which row of a key counts if one may come twice."""
        if self._requested(CUSTOM_ATTRIBUTES):
            table = sql.loaded_table(USER_CUSTOM_ATTRIBUTES, self._rules)
            yield table, sql.attributes_query(self._rules), "place"
        for rows in PROFILE_LISTS:
            if self._requested(rows.field):
                yield sql.loaded_table(rows.table, self._rules), sql.rows_query(rows, self._rules), rows.newest

    def _requested(self, profile_field: str) -> bool:
        return self._fields is None or profile_field in self._fields

    def _unknown_fields(self, lines: pa.Table) -> list[str]:
        names = set(self._top_level_keys(lines).column("name").to_pylist())
        return sorted(name for name in names if name and sql.is_unknown_field(name))

    def _top_level_keys(self, lines: pa.Table) -> pa.Table:
        """The names of all fields. Finds out, too, whether all lines are JSON, which what reads them then trusts."""
        self._run(sql.TRUSTING_MACROS)
        with suppress(duckdb.InvalidInputException):
            return self._made_of("lines", lines, sql.TOP_LEVEL_KEYS)
        self._run(sql.WARY_MACROS)
        return self._made_of("lines", lines, sql.TOP_LEVEL_KEYS)

    def _filled(self, unknown: list[str]) -> list[str]:
        """Those of the unknown fields that hold something in the group."""
        if not unknown:
            return []
        counts = self._duckdb.sql(sql.filled_counts(unknown)).fetchall()[0]
        return [name for name, count in zip(unknown, counts, strict=True) if count]

    def _rows(self, profiles: pa.Table, table: Table, query: str, newest: str) -> tuple[Table, pa.Table]:
        rows = self._made_of("profiles", profiles, query)
        # Sorting all rows costs more than making them, and few profiles have anything twice.
        if newest and len(pc.unique(rows.column(sql.KEY_HASH))) < rows.num_rows:
            self._duckdb.register("rows", rows)
            rows = self._duckdb.sql(sql.each_key_once(table, newest)).to_arrow_table()
            self._duckdb.unregister("rows")
        schema = arrow_schema(table)
        return table, rows.select(schema.names).cast(schema)

    def _made_of(self, name: str, source: pa.Table, query: str) -> pa.Table:
        """What `query` makes of each row of `source`, registered by `name`: in halves, if memory is short for all."""
        try:
            return self._relation(query).to_arrow_table()
        except duckdb.OutOfMemoryException:
            if source.num_rows < 2:
                return self._made_of_one(query)
        middle = source.num_rows // 2
        made = []
        for half in (source.slice(0, middle), source.slice(middle)):
            self._duckdb.register(name, half)
            made.append(self._made_of(name, half, query))
        self._duckdb.register(name, source)
        return pa.concat_tables(made)

    def _made_of_one(self, query: str) -> pa.Table:
        self._run([f"SET memory_limit = '{_MEMORY_FOR_ONE}'"])
        try:
            return self._relation(query).to_arrow_table()
        finally:
            self._run([f"SET memory_limit = '{self._memory_limit}'"])

    def _in_chunks(self, table: pa.Table) -> pa.Table:
        chunks = max(1, table.nbytes * self._threads // _SCAN_BYTES)
        rows = min(_SCAN_ROWS, max(1, table.num_rows // chunks))
        return pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self._duckdb.execute(statement)

    def _column(self, query: str) -> list[object]:
        return [row[0] for row in self._relation(query).fetchall()]

    def _relation(self, query: str) -> duckdb.DuckDBPyRelation:
        # DuckDB plans a query to make the relation, and again to run it: the first is spared from the second group on.
        if query not in self._relations:
            self._relations[query] = self._duckdb.sql(query)
        return self._relations[query]


def _give_memory_back() -> None:
    """Return to the system what is freed: glibc keeps it in pieces that the next group fits into worse and worse."""
    with suppress(AttributeError, OSError, TypeError):  # other C libraries
        ctypes.CDLL(None).malloc_trim(0)


def _quarantine(gathered: _Lines, indexes: list[int]) -> tuple[Quarantined, ...]:
    if not indexes:
        return ()
    bad = pa.chunked_array(gathered.lines, pa.large_binary()).take(pa.array(indexes, pa.int64())).to_pylist()
    lines = {index: line.removesuffix(b"\n") for index, line in zip(indexes, bad, strict=True) if line.strip()}
    return tuple(
        Quarantined(file, tuple(number for number, _ in places), tuple(lines[index] for _, index in places))
        for file, places in gathered.places(lines).items()
    )


def _arrow_lines(lines: list[pa.LargeBinaryArray]) -> pa.Table:
    """Lines as `SEQ` and `line`; a line that is not UTF-8, or too long, is null."""
    texts = pa.chunked_array([_text_array(some) for some in lines], pa.large_string())
    too_long = pc.greater(pc.binary_length(texts), _LONGEST_LINE)
    if pc.any(too_long).as_py():
        texts = pc.if_else(too_long, None, texts)
    return pa.table({sql.SEQ: pa.array(range(len(texts)), pa.int32()), "line": texts})


def _text_array(lines: pa.LargeBinaryArray) -> pa.LargeStringArray:
    try:
        return lines.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array([line if _is_utf8(line) else None for line in lines.to_pylist()], pa.large_string())


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
