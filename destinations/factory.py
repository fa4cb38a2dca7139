"""A dlt destination by name, set up for large Arrow loads in bounded memory."""

import difflib
import os
import re
from pathlib import Path
from typing import Any

import dlt
from dlt.common import json
from dlt.common.configuration import configspec
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.destination import Destination
from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.duckdb.exceptions import InvalidInMemoryDuckdbCredentials

from destinations.errors import DestinationError
from destinations.location import (
    ATHENA,
    DELTA,
    DUCKDB,
    FILESYSTEM,
    ICEBERG,
    PARQUET,
    POSTGRES,
    SQLALCHEMY,
    AnyDestination,
    credentials_setting,
    table_format_setting,
)
from destinations.merging_duckdb import MergingDuckDb
from destinations.parquet import READ_ONCE

DEFAULT_FILE = Path("warehouse.duckdb")

# Fast and exact; dlt's own default, INSERT statements or JSON lines, is neither.
PARQUET_DESTINATIONS = (DUCKDB, POSTGRES, FILESYSTEM)

TABLE_FORMATS = (PARQUET, DELTA, ICEBERG)

# DuckDB by itself takes 80 % of the machine's memory; beyond this limit it spills to disk.
DUCKDB_LIMITS: dict[str, Any] = {
    "memory_limit": "256MB",
    "threads": min(4, os.cpu_count() or 1),
    "preserve_insertion_order": False,
}

# How a URL begins, or `:memory:`.
_NO_PATH = r"\w+:|:"


@configspec(init=False)
class DuckDbFile(DuckDbCredentials):
    """A DuckDB file named by its path. dlt's own credentials import all of SQLAlchemy to read and to show one."""

    def parse_native_representation(self, native_value: Any) -> None:
        """Take a path as it is, and leave everything else to dlt."""
        if isinstance(native_value, str) and not re.match(_NO_PATH, native_value):
            self.database = native_value
        else:
            super().parse_native_representation(native_value)

    def __str__(self) -> str:
        return f"duckdb:///{self.database}"


def destination(name: str, file: Path | None = None, read_only: bool = False) -> AnyDestination:
    """Make the dlt destination `name`: any that dlt brings, or one that dlt's settings name.

    DuckDB writes `file` if given, else what `DESTINATION__DUCKDB__CREDENTIALS` says, else `warehouse.duckdb`;
    relative paths start at the current folder. Its `global_config` setting overrides `DUCKDB_LIMITS`. With
    `read_only` DuckDB refuses every change, and lets other readers in; the folders of a bucket are listed, and every
    file known by its folder's list. `filesystem` writes Parquet, or what `DESTINATION__FILESYSTEM__TABLE_FORMAT`
    says: `parquet`, `delta` or `iceberg`; Athena writes Iceberg.

    Raises DestinationError for an unknown name, for a DuckDB database that is no file, for another table format, and
    for `file` with another destination than DuckDB. Opens nothing.
    """
    try:
        made = Destination.from_reference(name)
    except DestinationException:
        raise DestinationError(_unknown(name)) from None
    if made is None:
        raise DestinationError(_unknown(name))
    if file and made.destination_type != DUCKDB:
        raise DestinationError(f"A file can only be given with the duckdb destination, not with {name}.")
    if made.destination_type in PARQUET_DESTINATIONS:
        made.caps_params["preferred_loader_file_format"] = "parquet"
    if made.destination_type == DUCKDB:
        duckdb = MergingDuckDb(destination_name=made.configured_name, parquet_format=READ_ONCE, **made.caps_params)
        credentials = _duckdb_credentials(duckdb, file)
        credentials.read_only = credentials.read_only or read_only
        duckdb.config_params["credentials"] = credentials
        return duckdb
    if made.destination_type == POSTGRES:
        from destinations.merging_postgres import MergingPostgres  # its driver is slow to import

        return MergingPostgres(destination_name=made.configured_name, parquet_format=READ_ONCE, **made.caps_params)
    if made.destination_type == SQLALCHEMY:
        _write_json_as_it_is(made)
    elif made.destination_type == FILESYSTEM:
        _set_table_format(made)
        made.config_params["read_only"] = read_only
    elif (
        made.destination_type == ATHENA and dlt.config.get(f"destination.{made.destination_name}.force_iceberg") is None
    ):
        made.config_params["force_iceberg"] = True  # its other tables cannot replace a row
    return made


def known_names() -> list[str]:
    """List the destinations that dlt brings, in alphabetical order."""
    return sorted(set(dlt.destinations.__all__) - {"destination", "dummy"})


def _write_json_as_it_is(made: AnyDestination) -> None:
    """JSON comes as text, which SQLAlchemy would wrap into a JSON string once more."""
    from dlt.destinations.impl.sqlalchemy.configuration import SqlalchemyCredentials

    try:
        credentials = resolve_configuration(SqlalchemyCredentials(), sections=("destination", made.destination_name))
    except ConfigurationException:
        return  # said when the destination is opened
    credentials.engine_kwargs = {"json_serializer": _json_text, **(credentials.engine_kwargs or {})}
    made.config_params["credentials"] = credentials


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _set_table_format(made: AnyDestination) -> None:
    table_format = dlt.config.get(f"destination.{made.destination_name}.table_format", str) or PARQUET
    if table_format not in TABLE_FORMATS:
        formats = ", ".join(TABLE_FORMATS)
        raise DestinationError(f"{table_format_setting(made)} is {table_format!r}: set one of {formats}.")
    if table_format != PARQUET:
        made.caps_params["preferred_table_format"] = table_format


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, known_names(), n=1)
    guess = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"Unknown destination {name!r}.{guess} Known: {', '.join(known_names())}."


def _duckdb_credentials(made: AnyDestination, file: Path | None) -> DuckDbCredentials:
    setting = credentials_setting(made)
    try:
        configured = resolve_configuration(
            DuckDbFile(),
            sections=("destination", made.destination_name),
            explicit_value=str(file) if file else None,
        )
    except InvalidInMemoryDuckdbCredentials:
        raise DestinationError(f"{setting} must name a file: memory is gone after the run.") from None
    except ConfigurationException:
        raise DestinationError(f"{setting} cannot be read: it must be the path of a DuckDB file.") from None
    path = configured.database or str(DEFAULT_FILE)
    if path.startswith("md:"):
        raise DestinationError(f"{setting} names a MotherDuck database: use the motherduck destination.")
    if path == ":pipeline:":
        # dlt's working directory is a cache that may be emptied at any time.
        raise DestinationError(f"{setting} must name a file outside dlt's working directory, not {path}.")
    configured.database = str(Path(path).expanduser().absolute())
    configured.global_config = DUCKDB_LIMITS | (configured.global_config or {})
    return configured
