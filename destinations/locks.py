"""One run at a time on a warehouse dataset."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from destinations.errors import DestinationBusy
from destinations.location import POSTGRES, AnyDestination, configuration, credentials_setting


@contextmanager
def lock(destination: AnyDestination, dataset: str) -> Iterator[None]:
    """Hold the dataset for this run.

    In Postgres by an advisory lock on a connection of its own, which the server takes back when the run ends,
    however it ends. DuckDB locks its file by itself; other destinations have no lock.

    Raises DestinationBusy if another run holds it, DestinationUnavailable if Postgres cannot be reached.
    """
    if destination.destination_type != POSTGRES:
        yield
        return
    from destinations.postgres_server import address, connect

    credentials = configuration(destination, dataset).credentials
    connection = connect(credentials, credentials_setting(destination))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            if connection.server_version >= 140000:
                # The connection is idle for as long as the run takes.
                cursor.execute("SET idle_session_timeout = 0")
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_key(dataset),))
            if cursor.fetchone() != (True,):
                raise DestinationBusy(
                    f"Another run is loading the dataset {dataset} in {address(credentials)}: "
                    "wait until it has ended, then run again."
                )
        yield
    finally:
        connection.close()


def _key(dataset: str) -> int:
    """Map the dataset to a signed 64-bit number; every database of a server has locks of its own."""
    digest = hashlib.sha256(f"braze-elt {dataset}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
