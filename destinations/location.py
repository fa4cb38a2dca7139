"""Where a destination keeps its data: resolved settings, a name for people, a fingerprint for comparison."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    LookupTraces,
)
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.common.destination import Destination
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from destinations.errors import DestinationError

DUCKDB = "dlt.destinations.duckdb"
POSTGRES = "dlt.destinations.postgres"
FILESYSTEM = "dlt.destinations.filesystem"
ATHENA = "dlt.destinations.athena"
SQLALCHEMY = "dlt.destinations.sqlalchemy"

PARQUET, DELTA, ICEBERG = "parquet", "delta", "iceberg"
"""In what format `filesystem` keeps tables."""

AnyDestination = Destination[Any, Any]


def configuration(destination: AnyDestination, dataset: str) -> Any:
    """Resolve the destination's settings for a dataset by dlt's rules, to dlt's configuration object.

    Raises DestinationError if a setting is missing or cannot be read, or if the dataset's name is too long. The message
    never holds a setting's value.
    """
    initial = destination.spec()
    placement = {"dataset_name": dataset, "local_dir": str(Path.cwd())}
    initial.update({field: value for field, value in placement.items() if hasattr(initial, field)})
    setting = credentials_setting(destination)
    try:
        resolved = destination.configuration(initial)
    except ConfigFieldMissingException as error:
        raise DestinationError(_lacking(destination, error)) from None
    except (ConfigurationException, ValueError) as error:
        raise DestinationError(
            f"{setting} cannot be read ({type(error).__name__}): it must be a connection string{_example(destination)}."
        ) from None
    if destination.destination_type == POSTGRES:
        _check_length(destination, dataset)
    return resolved


def _check_length(destination: AnyDestination, dataset: str) -> None:
    """Raise DestinationError for a name that dlt would shorten: our own statements have it as it is."""
    most = destination.capabilities().max_identifier_length
    if len(dataset) > most:
        raise DestinationError(
            f"The name of the dataset {dataset} is too long: names in Postgres have at most {most} characters."
            " Choose a shorter one."
        )


def sql_client(pipeline: dlt.Pipeline) -> SqlClientBase[Any]:
    """Dlt's SQL client of the pipeline's dataset, to be opened by `with`.

    Like `pipeline.sql_client()`, which also reads the stored schema: that takes longer than most statements do.
    """
    config = configuration(pipeline.destination, pipeline.dataset_name)
    client = pipeline.destination.client(Schema(pipeline.pipeline_name), config)
    assert isinstance(client, SqlJobClientBase)
    opened: SqlClientBase[Any] = client.sql_client
    return opened


def dataset_name(name: str) -> str:
    """Return how dlt spells a dataset called `name`: `Our-Data` is `our_data`. Raises DestinationError for no name."""
    naming = type(Schema("spelling").naming)()  # dlt's own shortens for the destination of the pipeline made last
    try:
        spelt: str = naming.normalize_table_identifier(name)
    except ValueError:
        raise DestinationError("The dataset has no name: give it one that begins with a letter.") from None
    return spelt


def location(destination: AnyDestination, dataset: str) -> str:
    """Say where the data goes, for people: a file path, or server, port and database. Holds no password."""
    return _place(configuration(destination, dataset))


def fingerprint(destination: AnyDestination, dataset: str) -> str:
    """Hash destination type, place and dataset: the same for the same tables, whoever logs in."""
    identity = (destination.destination_type, location(destination, dataset), dataset)
    return hashlib.sha256("\n".join(identity).encode()).hexdigest()


def is_lake(destination: AnyDestination) -> bool:
    """Say whether the destination keeps tables as files, in a folder or a bucket."""
    return destination.destination_type == FILESYSTEM


def is_sql(destination: AnyDestination) -> bool:
    """Say whether the destination is a database, which takes SQL."""
    return issubclass(destination.client_class, SqlJobClientBase)


def duckdb_file(destination: AnyDestination, dataset: str) -> Path | None:
    """Return the file that a DuckDB destination writes, None for every other destination."""
    if destination.destination_type != DUCKDB:
        return None
    return Path(configuration(destination, dataset).credentials.database)


def exists(destination: AnyDestination, dataset: str) -> bool:
    """Say whether there is anything to open: opening a DuckDB file that does not exist would make it."""
    file = duckdb_file(destination, dataset)
    return file is None or file.exists()


def credentials_setting(destination: AnyDestination) -> str:
    """Return the name of the environment variable that holds the destination's credentials."""
    return f"DESTINATION__{destination.destination_name.upper()}__CREDENTIALS"


def place_setting(destination: AnyDestination) -> str:
    """Return the name of the environment variable that says where the destination is."""
    if is_lake(destination):
        return f"DESTINATION__{destination.destination_name.upper()}__BUCKET_URL"
    return credentials_setting(destination)


def table_format_setting(destination: AnyDestination) -> str:
    """Return the name of the environment variable that says in which format tables are kept."""
    return f"DESTINATION__{destination.destination_name.upper()}__TABLE_FORMAT"


def _place(config: Any) -> str:
    if bucket := getattr(config, "bucket_url", None):
        # Its `data_location` leaves out what follows the bucket's name.
        url = config.make_file_url(bucket) if config.is_local_path(bucket) else str(bucket)
        return str(config.make_local_path(url)) if url.startswith("file:") else url
    try:
        place = config.data_location()
    except (ConfigurationException, ValueError):
        place = None
    credentials = config.credentials
    if not place and isinstance(credentials, ConnectionStringCredentials):
        place = f"{credentials.data_location()}/{credentials.database or ''}"
    return str(place or config.fingerprint() or config.destination_type)


def _lacking(destination: AnyDestination, error: ConfigFieldMissingException) -> str:
    name = destination.destination_name
    missing = ", ".join(dict.fromkeys(_missing_fields(error)))
    settings = " and ".join(f"DESTINATION__{name.upper()}__{field.upper()}" for field in error.traces)
    return f"The {name} destination lacks {missing}: set {settings}{_example(destination)}."


def _missing_fields(error: ConfigFieldMissingException) -> Iterator[str]:
    for field, traces in error.traces.items():
        nested = [name for trace in traces if isinstance(trace, LookupTraces) for name in trace.traces]
        yield from nested or [field]


def _example(destination: AnyDestination) -> str:
    if destination.destination_type == POSTGRES:
        return ", for example postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    return ""


def quoted(identifier: str) -> str:
    """The identifier as DuckDB and Postgres read it literally."""
    return '"' + identifier.replace('"', '""') + '"'
