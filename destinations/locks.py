"""One run at a time on a warehouse dataset."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from destinations.errors import DestinationBusy, DestinationUnavailable
from destinations.location import POSTGRES, AnyDestination, configuration, credentials_setting


@contextmanager
def lock(destination: AnyDestination, dataset: str) -> Iterator[Callable[[], None]]:
    """Hold the dataset for this run; yields what is to be called before each load, lest another run loads as well.

    In Postgres by an advisory lock on a connection of its own, which the server takes back when the run ends, however
    it ends, and when the connection is lost: then the call takes it anew. DuckDB locks its file by itself; other
    destinations have no lock.

    Raises DestinationBusy, now or when called, if another run holds it, and DestinationUnavailable if Postgres cannot
    be reached now.
    """
    if destination.destination_type != POSTGRES:
        yield lambda: None
        return
    from destinations.postgres_server import AdvisoryLock

    credentials = configuration(destination, dataset).credentials
    held = AdvisoryLock(credentials, credentials_setting(destination), dataset)
    held.take()

    def keep() -> None:
        if held.is_held():
            return
        try:
            held.take()
        except DestinationBusy as error:
            raise DestinationBusy(f"The connection that held the dataset was lost. {error}") from None
        except DestinationUnavailable:
            pass  # the load that follows says so

    try:
        yield keep
    finally:
        held.close()
