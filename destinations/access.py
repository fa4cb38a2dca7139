"""Whether a destination can be reached and written, asked without leaving anything behind."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
from dlt.common.exceptions import MissingDependencyException
from dlt.common.schema import Schema
from dlt.destinations.sql_client import SqlClientBase

from destinations.errors import DestinationError, DestinationUnavailable
from destinations.location import (
    DELTA,
    ICEBERG,
    PARQUET,
    POSTGRES,
    AnyDestination,
    configuration,
    credentials_setting,
    duckdb_file,
    is_lake,
    location,
    place_setting,
    quoted,
    table_format_setting,
)

_PROBE = "braze_elt_access_check"
_NAMES_OF_DUCKDB = ("temp", "system", "information_schema", "pg_catalog")
_LOCK_HOLDER = re.compile(r"Conflicting lock is held in (?P<program>.*?) ?\(PID (?P<pid>\d+)\)")
_UNPROVEN = ("athena",)
"""Dialects in which a table needs a place of its own, so that none is made to prove that it can be."""
_TABLE_KINDS = {"clickhouse": " ENGINE = Memory"}
"""What a dialect wants to know of a table beside its columns."""
_UNREADABLE = "'*?[]"
"""What the path of no dataset of files can have in it: DuckDB takes it for a pattern, dlt does not quote it."""
_EXTRAS = {
    "deltalake": "delta",
    "pyiceberg": "iceberg",
    **dict.fromkeys(("s3", "s3a", "boto3", "botocore", "s3fs"), "s3"),
    **dict.fromkeys(("gs", "gcs", "gcsfs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl", "adlfs"), "azure"),
}
"""Our extras by what dlt calls its own, or by the package, where they are not called like the destination."""


def check(destination: AnyDestination, dataset: str) -> None:
    """Prove that the destination can be reached and that tables can be made in `dataset`.

    DuckDB and Postgres are asked to create a table, which is rolled back; a DuckDB file that does not exist
    is not made. In other SQL destinations the table is removed again (Athena is only opened), in folders and
    buckets a file.

    Raises DestinationError for settings that can never work, DestinationUnavailable for what is in the way
    now.
    """
    setting = credentials_setting(destination)
    if file := duckdb_file(destination, dataset):
        _check_duckdb(file, dataset, setting)
    elif destination.destination_type == POSTGRES:
        from destinations import postgres_server

        postgres_server.check(configuration(destination, dataset).credentials, dataset, setting, _PROBE)
    else:
        _check_other(destination, dataset)


def check_readable(destination: AnyDestination, dataset: str) -> None:
    """Prove that the destination can be opened for reading; nothing is made in it.

    Raises DestinationError and DestinationUnavailable as `check` does, also for a DuckDB file that does not exist.
    """
    setting = credentials_setting(destination)
    if file := duckdb_file(destination, dataset):
        if not file.is_file():
            raise DestinationUnavailable(
                f"Nothing has been loaded yet, the DuckDB file {file} does not exist: run a sync, or correct {setting}."
            )
        try:
            duckdb.connect(str(file), read_only=True).close()
        except duckdb.Error as error:
            raise DestinationUnavailable(_duckdb_sentence(file, str(error))) from None
    elif destination.destination_type == POSTGRES:
        from destinations import postgres_server

        postgres_server.connect(configuration(destination, dataset).credentials, setting).close()
    else:
        _check_other(destination, dataset, write=False)


def _check_duckdb(file: Path, dataset: str, setting: str) -> None:
    if dataset.lower() in _NAMES_OF_DUCKDB:
        raise DestinationError(
            f"The dataset must not be called {dataset}, a name that DuckDB keeps for itself: choose another one."
        )
    if file.stem.lower() == dataset.lower():
        raise DestinationError(
            f"The DuckDB file {file} and the dataset must not both be called {dataset}, because DuckDB "
            f"cannot tell the two apart: name another file in {setting}, or another dataset."
        )
    if file.is_dir():
        raise DestinationError(f"{file} is a folder, not a DuckDB file: correct {setting}.")
    if not file.parent.is_dir():
        raise DestinationUnavailable(
            f"The folder {file.parent} for the DuckDB file {file.name} does not exist: create it, or correct {setting}."
        )
    _check_folder(file)
    if file.exists():
        _check_database(file, dataset)


def _check_folder(file: Path) -> None:
    """Prove that the folder can be written: DuckDB keeps its write-ahead log beside the file."""
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise DestinationUnavailable(
            f"The folder {file.parent} for the DuckDB file {file.name} cannot be written: {error.strerror}."
        ) from None


def _check_database(file: Path, dataset: str) -> None:
    if not os.access(file, os.R_OK | os.W_OK):
        raise DestinationUnavailable(f"The DuckDB file {file} cannot be read and written by this user.")
    schema = quoted(dataset)
    try:
        with duckdb.connect(str(file)) as connection:
            connection.begin()
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"CREATE TABLE {schema}.{_PROBE} (x INTEGER)")
            connection.rollback()
    except duckdb.Error as error:
        raise DestinationUnavailable(_duckdb_sentence(file, str(error))) from None


def _duckdb_sentence(file: Path, answer: str) -> str:
    if holder := _LOCK_HOLDER.search(answer):
        return (
            f"The DuckDB file {file} is held by another process (PID {holder['pid']}, {holder['program']}): "
            "end it, or close its connection, and run again."
        )
    if "Could not set lock" in answer:
        return f"The DuckDB file {file} is held by another process: close its connection and run again."
    if "not a valid DuckDB database file" in answer:
        return f"{file} is not a DuckDB file: name another one."
    return f"The DuckDB file {file} cannot be used: {answer.splitlines()[0]}"


def _check_other(destination: AnyDestination, dataset: str, write: bool = True) -> None:
    with _reaching(destination, dataset):
        config = configuration(destination, dataset)
        with destination.client(Schema(dataset), config) as client:
            initialized = client.is_storage_initialized()
            if is_lake(destination):
                table_format = client.capabilities.preferred_table_format
                _check_path(location(destination, dataset), table_format, destination)
                _import_table_format(table_format)
                if write:
                    _prove_file(client, initialized)
                if initialized:
                    _prove_format(client, table_format, destination)
                elif client.config.protocol == "s3":
                    _prove_bucket(client)
            elif write and client.capabilities.sqlglot_dialect not in _UNPROVEN:
                _prove_table(client.sql_client, initialized)


@contextmanager
def _reaching(destination: AnyDestination, dataset: str) -> Iterator[None]:
    """Turn what a driver says in the block into a sentence without values."""
    name = destination.destination_name
    try:
        yield
    except ImportError as error:
        raise DestinationError(
            f"The {name} destination needs packages that are not installed:"
            f" pip install 'braze-elt[{_extra(destination, error)}]'."
        ) from None
    except DestinationError:
        raise
    except Exception as error:  # every driver has its own, and their texts may hold credentials
        raise DestinationUnavailable(_hindrance(destination, location(destination, dataset), error)) from None


def _hindrance(destination: AnyDestination, place: str, error: Exception) -> str:
    """What is in the way according to `error`, of which only the kind is told."""
    setting, credentials = place_setting(destination), credentials_setting(destination)
    if is_lake(destination) and "://" in place:
        if isinstance(error, FileNotFoundError):
            return f"There is no bucket for {place}: make it, or correct {setting}."
        if isinstance(error, PermissionError):
            return (
                f"{place} refuses these credentials, or what they are used for: check {credentials}, and that their"
                " user may list, read, write and delete there."
            )
        setting += f", {credentials}"
    return (
        f"The {destination.destination_name} destination at {place} cannot be used ({type(error).__name__}):"
        f" check {setting} and what its user may do."
    )


def _extra(destination: AnyDestination, error: ImportError) -> str:
    wanted = [error.name or ""]
    if isinstance(error, MissingDependencyException):
        wanted += [requirement.rpartition("[")[2].rstrip("]") for requirement in error.dependencies]
    found = (_EXTRAS[name] for name in wanted if name in _EXTRAS)
    return next(found, destination.destination_type.rpartition(".")[2])


def _import_table_format(table_format: str | None) -> None:
    if table_format == DELTA:
        import dlt.common.libs.deltalake
    elif table_format == ICEBERG:
        import dlt.common.libs.pyiceberg  # noqa: F401


def _check_path(place: str, table_format: str | None, destination: AnyDestination) -> None:
    """Files at such places could be written, but not read again: table formats take a path for a part of a URL."""
    unreadable = _UNREADABLE + ("%" if table_format == DELTA else "")
    quoted_ones = table_format == ICEBERG and "://" not in place  # of a bucket's it is not known
    wrong = {sign for sign in place if sign in unreadable or (quoted_ones and quote(sign, "/") != sign)}
    if wrong:
        raise DestinationError(
            f"The path {place} has signs in it that {table_format or PARQUET} tables cannot have in theirs"
            f" ({' '.join(map(repr, sorted(wrong)))}): name another one in {place_setting(destination)}."
        )


def _prove_file(client: Any, initialized: bool) -> None:
    """Write a file where the dataset is or will be, and remove it with the folders that were made for it.

    dlt makes the dataset's own folder, and fails if it is there: an empty one goes, whoever made it.
    """
    files, folder = client.fs_client, client.dataset_path.rstrip("/")
    parent = folder.rpartition("/")[0]
    new_parent = client.is_local_filesystem and not files.exists(parent)
    probe = f"{folder}/{_PROBE}"
    if client.is_local_filesystem:
        files.makedirs(folder, exist_ok=True)
    files.pipe_file(probe, b"")
    files.rm_file(probe)
    if client.is_local_filesystem and not initialized:
        if files.ls(folder):
            raise DestinationError(
                f"The folder {folder} has other files in it than a dataset's: empty it, or name another dataset."
            )
        files.rmdir(folder)
    if new_parent:
        files.rmdir(parent)


def _prove_bucket(client: Any) -> None:
    """Raise FileNotFoundError if there is no bucket: a dataset in it just seems not to be there, then."""
    bucket = client.dataset_path.partition("/")[0]
    with suppress(PermissionError):  # who may use a part of a bucket need not see all of it
        client.fs_client.info(bucket)


def _prove_format(client: Any, table_format: str | None, destination: AnyDestination) -> None:
    """Files of one format are not seen among those of another, and a table that has both cannot be read."""
    from destinations import lake

    held, wanted = lake.format_of(client), table_format or PARQUET
    if held not in (None, wanted):
        raise DestinationError(
            f"The tables of the dataset {client.dataset_name} are {held}, but"
            f" {table_format_setting(destination)} says {wanted}: set it to {held}, or load into another dataset."
        )


def _prove_table(client: SqlClientBase[Any], initialized: bool) -> None:
    """Make a table in the dataset, and remove it, with the dataset if there was none."""
    if not initialized:
        client.create_dataset()
    try:
        name = client.make_qualified_table_name(_PROBE)
        client.execute_sql(
            f"CREATE TABLE {name} (x INTEGER){_TABLE_KINDS.get(str(client.capabilities.sqlglot_dialect), '')}"
        )
        client.execute_sql(f"DROP TABLE {name}")
    finally:
        if not initialized:
            client.drop_dataset()
