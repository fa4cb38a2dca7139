"""Rows of a query in a database of the user's own; what goes wrong names the setting to change."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy.engine import CursorResult, Engine
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from sources.braze.errors import ConfigurationError, redact

_POSTGRES = "postgresql+psycopg2"
"""The driver that the connector brings, where a URL names none."""


@dataclass(frozen=True)
class UserQuery:
    """A `query` for the database at `url` (SQLAlchemy's form), and what errors call the two."""

    url: str = field(repr=False)
    query: str
    url_name: str
    query_name: str

    @contextmanager
    def result(self) -> Iterator[CursorResult[Any]]:
        """What the query selects, streamed within the block.

        Raises `ConfigurationError` for a database that cannot be reached and a query that fails, also while its rows
        are read.
        """
        engine = self._engine()
        try:
            with engine.connect() as connection:
                yield connection.execution_options(stream_results=True).execute(sqlalchemy.text(self.query))
        except (OperationalError, InterfaceError) as error:
            raise ConfigurationError(self._sentence(engine, error)) from None
        except SQLAlchemyError as error:
            raise ConfigurationError(f"{self.query_name} fails: {_cause(engine, error)}. Correct the query.") from None
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        try:
            url = sqlalchemy.make_url(self.url)
            if url.drivername == "postgresql":
                url = url.set(drivername=_POSTGRES)
            return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                f"{self.url_name} needs a driver that is not installed ({error}): install it, or name another one."
            ) from None
        except ArgumentError:
            raise ConfigurationError(
                f"{self.url_name} is not a database URL: write it as dialect://user:password@host/database."
            ) from None

    def _sentence(self, engine: Engine, error: DBAPIError) -> str:
        cause = _cause(engine, error)
        if error.statement is not None:
            return f"{self.query_name} fails: {cause}. Correct the query, or check {self.url_name}."
        return f"The database in {self.url_name} cannot be reached: {cause}. Check the URL."


def _cause(engine: Engine, error: SQLAlchemyError) -> str:
    """The driver's own words, one line without the password; of an error about values only its kind."""
    if isinstance(error, DataError):  # whose words quote the value, which may be somebody's
        return f"a value is not as it has to be ({type(error.orig).__name__})"
    words = str(error.orig if isinstance(error, DBAPIError) else error).strip() or type(error).__name__
    return redact(words.splitlines()[0].rstrip("."), [engine.url.password or ""])
