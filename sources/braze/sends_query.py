"""The sends to load, from a SQL query: the API has no list of them, but whoever sends keeps their identifiers."""

from typing import Any

import sqlalchemy
from sqlalchemy.engine import Engine
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from sources.braze.errors import ConfigurationError, redact

COLUMNS = ("campaign_id", "send_id")


def read_sends(url: str, query: str) -> list[tuple[str, str]]:
    """The distinct (campaign_id, send_id) that `query` selects from the database at `url` (SQLAlchemy's form).

    Raises `ConfigurationError`, naming the setting, for a database that cannot be reached, a query that fails, and
    rows that are not such pairs.
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(query))
            missing = [name for name in COLUMNS if name not in result.keys()]  # noqa: SIM118 - not a dict
            if missing:
                raise ConfigurationError(f"`sends_query` must select {' and '.join(COLUMNS)}: it lacks {missing[0]}.")
            rows = result.mappings().all()
    except (OperationalError, InterfaceError) as error:
        raise ConfigurationError(_sentence(engine, error)) from None
    except SQLAlchemyError as error:
        raise ConfigurationError(f"`sends_query` fails: {_cause(engine, error)}. Correct the query.") from None
    finally:
        engine.dispose()
    return list(dict.fromkeys(_pair(row) for row in rows))


def _engine(url: str) -> Engine:
    try:
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigurationError(
            f"`sends_query_url` needs a driver that is not installed ({error}): install it, or name another one."
        ) from None
    except ArgumentError:
        raise ConfigurationError(
            "`sends_query_url` is not a database URL: write it as dialect://user:password@host/database."
        ) from None


def _sentence(engine: Engine, error: DBAPIError) -> str:
    if error.statement is not None:
        return f"`sends_query` fails: {_cause(engine, error)}. Correct the query, or check `sends_query_url`."
    return f"The database in `sends_query_url` cannot be reached: {_cause(engine, error)}. Check the setting."


def _cause(engine: Engine, error: SQLAlchemyError) -> str:
    """The driver's own words, one line without the password."""
    words = str(error.orig if isinstance(error, DBAPIError) else error).strip() or type(error).__name__
    return redact(words.splitlines()[0].rstrip("."), [engine.url.password or ""])


def _pair(row: Any) -> tuple[str, str]:
    campaign_id, send_id = (str(row[name] or "").strip() for name in COLUMNS)
    if not (campaign_id and send_id):
        raise ConfigurationError("`sends_query` selects a row without campaign_id or send_id: leave such rows out.")
    return campaign_id, send_id
