"""The sends to load, from a SQL query: the API has no list of them, but whoever sends keeps their identifiers."""

from typing import Any

from sources.braze.errors import ConfigurationError
from sources.braze.user_query import UserQuery

COLUMNS = ("campaign_id", "send_id")


def read_sends(url: str, query: str) -> list[tuple[str, str]]:
    """The distinct (campaign_id, send_id) that `query` selects from the database at `url` (SQLAlchemy's form).

    Raises `ConfigurationError`, naming the setting, for a database that cannot be reached, a query that fails, and
    rows that are not such pairs.
    """
    with UserQuery(url, query, "`sends_query_url`", "`sends_query`").result() as result:
        missing = [name for name in COLUMNS if name not in result.keys()]  # noqa: SIM118 - not a dict
        if missing:
            raise ConfigurationError(f"`sends_query` must select {' and '.join(COLUMNS)}: it lacks {missing[0]}.")
        return list(dict.fromkeys(_pair(row) for row in result.mappings()))


def _pair(row: Any) -> tuple[str, str]:
    campaign_id, send_id = (str(row[name] or "").strip() for name in COLUMNS)
    if not (campaign_id and send_id):
        raise ConfigurationError("`sends_query` selects a row without campaign_id or send_id: leave such rows out.")
    return campaign_id, send_id
