"""Tables that are files: in a folder or a bucket, as Parquet alone or with Delta's or Iceberg's list of what counts.

They are only appended to. Reading goes through DuckDB views of the current rows (`current`), over the files that the
table format lists; no DuckDB extension is needed for any of the formats.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema import Schema
from dlt.common.schema.typing import DLT_NAME_PREFIX
from dlt.common.storages.configuration import FileSystemCredentials
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient

from destinations.current import Grain, current
from destinations.location import DELTA, ICEBERG, PARQUET
from destinations.parquet import parquet
from destinations.schemas import stored_schema

_LISTS = {DELTA: "_delta_log", ICEBERG: "metadata"}
"""The folder in which a table format lists what counts."""

_LOAD_FILE = re.compile(r".*?__(?P<load>\d+\.\d+)(__[0-9a-f]*)?\.jsonl")
_ROWS_FILE = re.compile(r"(?P<load>\d+\.\d+)\.")
_DELTA_ROWS_FILE = re.compile(r"part-\d+-")
_PARQUET_ENDS = b"PAR1"


def client_of(pipeline: dlt.Pipeline) -> FilesystemClient:
    """Dlt's client of a pipeline whose destination keeps files, with the newest schema that is stored beside them."""
    client = pipeline.destination_client()
    assert isinstance(client, FilesystemClient)
    client.fs_client.invalidate_cache()  # those who only read keep listings, and share them within a process
    if schema := stored_schema(client):
        client.schema = schema
    return client


def table_names(client: FilesystemClient) -> list[str]:
    """The tables that can be read, dlt's own left out: they have files, and the list of what counts if there is one."""
    return sorted(name for name in client.schema.data_table_names() if _is_readable(client, name))


def _is_readable(client: FilesystemClient, table: str) -> bool:
    files, listed = _files_of(client, table), _LISTS.get(_table_format(client, table))
    return any(f"/{listed}/" in file for file in files) if listed else bool(files)


def _table_format(client: FilesystemClient, table: str) -> str:
    return client.prepare_load_table(table).get("table_format") or PARQUET


def _files_of(client: FilesystemClient, table: str) -> list[str]:
    """The files of a table; a run that was killed may not have made its folder."""
    try:
        return list(client.list_table_files(table))
    except DestinationUndefinedEntity:
        return []


def format_of(client: FilesystemClient) -> str | None:
    """The format of the tables that are there; None if there are none yet."""
    files = client.fs_client
    for table in files.ls(client.dataset_path, detail=True):
        if table["type"] != "directory" or _last(table["name"]).startswith(DLT_NAME_PREFIX):
            continue
        inside = {_last(name) for name in files.ls(table["name"], detail=False)}
        for table_format, folder in _LISTS.items():
            if folder in inside:
                return table_format
        # Delta writes rows before its list: a run that was killed in between has left them alone.
        if any(name.endswith(f".{PARQUET}") and not _DELTA_ROWS_FILE.match(name) for name in inside):
            return PARQUET
    return None


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def remove_torn(pipeline: dlt.Pipeline) -> None:
    """Remove files that a killed run, or a full disk, left empty or cut off: dlt or the views would stumble over them.

    In folders files are written in place; a bucket has a file whole or not at all. Of notes (dlt's own tables, and what
    lists the files of an Iceberg table) as of rows none is removed that a completed load needs.
    """
    client = pipeline.destination_client()
    assert isinstance(client, FilesystemClient)
    if not (client.is_local_filesystem and client.is_storage_initialized()):
        return
    dataset, schema = Path(client.dataset_path), client.schema
    for table in (schema.version_table_name, schema.state_table_name, schema.loads_table_name):
        for file in dataset.glob(f"{table}/*.jsonl"):
            if not _is_json(file):
                file.unlink()
    for metadata in dataset.glob(f"*/{_LISTS[ICEBERG]}"):
        for file in sorted(metadata.glob("*.metadata.json"), reverse=True):
            if _is_json(file):
                break  # only the newest is read
            file.unlink()
    noted = _load_ids(client, schema.loads_table_name)
    for file in dataset.glob(f"*/*.{PARQUET}"):
        rows = _ROWS_FILE.match(file.name)
        if rows and rows["load"] not in noted and not _is_parquet(file):
            file.unlink()


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def _is_parquet(file: Path) -> bool:
    """Whether a file ends as Parquet files do."""
    with file.open("rb") as rows:
        rows.seek(max(0, file.stat().st_size - len(_PARQUET_ENDS)))
        return rows.read() == _PARQUET_ENDS


def newest_load(client: FilesystemClient) -> str | None:
    """The newest completed load, having noted as complete those that wanted only the note.

    dlt stores a load's cursors when all its rows are there, and then the note: rows of a load that was killed in
    between would be neither current nor asked for again.
    """
    noted, stored = _load_ids(client, client.schema.loads_table_name), _load_ids(client, client.schema.state_table_name)
    for load_id in sorted(stored - noted):
        client.complete_load(load_id)
    return max(noted | stored, default=None)


def _load_ids(client: FilesystemClient, table: str) -> set[str]:
    """The loads that the files of one of dlt's own tables are named for."""
    if not client.is_storage_initialized():
        return set()
    names = map(_last, _files_of(client, table))
    return {found["load"] for name in names if (found := _LOAD_FILE.match(name))}


def iceberg_metadata(client: FilesystemClient, name: str) -> str:
    """Where the newest metadata of an Iceberg table is."""
    from dlt.common.libs.pyiceberg import get_last_metadata_file

    return get_last_metadata_file(f"{client.get_table_dir(name)}metadata", client.fs_client, client.config)


def _iceberg_files(client: FilesystemClient, name: str) -> list[str]:
    """The files of the newest snapshot; read without a catalog, since dlt's own is in the memory of one thread."""
    from dlt.common.configuration.specs.mixins import WithPyicebergConfig
    from pyiceberg.table import StaticTable

    credentials = client.config.credentials
    access = credentials.to_pyiceberg_fileio_config() if isinstance(credentials, WithPyicebergConfig) else {}
    table = StaticTable.from_metadata(iceberg_metadata(client, name), properties=access)
    return [task.file.file_path for task in table.scan().plan_files()]


class CurrentRows(FilesystemSqlClient):
    """dlt's SQL client for files, but its views show what is current instead of every row ever appended."""

    def __init__(self, remote_client: FilesystemClient) -> None:
        super().__init__(remote_client, remote_client.dataset_name)
        # What a reader sees belongs together, however long it takes: dlt would have lists forgotten after a minute.
        remote_client.fs_client.dircache.listings_expiry_time = None

    def create_view_select(
        self, table_schema: PreparedTableSchema, schema: Schema | None = None
    ) -> tuple[str, str] | None:
        """The location and the SELECT of a table's view."""
        name = str(table_schema["name"])
        if name in self.schema.dlt_table_names():
            selected: tuple[str, str] | None = super().create_view_select(table_schema, schema or self.schema)
            return selected
        files = self._files(name)
        rows = parquet(files) if files else self._no_rows(table_schema)
        select = current(rows, self._loads(), Grain.of(table_schema["columns"]), self.escape_column_name)
        return self.remote_client.get_table_dir(name), select

    def create_secret(self, scope: str, credentials: FileSystemCredentials, *args: Any, **kwargs: Any) -> bool:
        """Let DuckDB read buckets through Python: without its own extension, and with whatever credentials dlt found.

        dlt's way asks DuckDB for its secrets by a method that DuckDB 2 no longer has.
        """
        protocol = self.remote_client.config.protocol
        if protocol != "file":
            self._register_filesystem(self.remote_client.fs_client, protocol)
        return True

    def _no_rows(self, table_schema: PreparedTableSchema) -> str:
        types = self.capabilities.get_type_mapper()
        columns = (
            f"NULL::{types.to_destination_type(column, table_schema)} AS {self.escape_column_name(name)}"
            for name, column in table_schema["columns"].items()
        )
        return f"(SELECT {', '.join(columns)} LIMIT 0)"

    def _loads(self) -> str:
        prepared = self.remote_client.prepare_load_table(self.schema.loads_table_name)
        selected = super().create_view_select(prepared, self.schema)
        assert selected
        return f"({selected[1]})"

    def _files(self, name: str) -> list[str]:
        client = self.remote_client
        table_format = _table_format(client, name)
        if table_format == DELTA:
            return list(map(unquote, client.load_open_table("delta", name).file_uris()))
        if table_format == ICEBERG:
            return _iceberg_files(client, name)
        return [
            file if client.is_local_filesystem else client.make_remote_url(file) for file in _files_of(client, name)
        ]
