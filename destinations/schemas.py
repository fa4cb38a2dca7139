"""The dlt schema that a dataset holds."""

from typing import Any

from dlt.common import json
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema


def stored_schema(client: Any) -> Schema | None:
    """The newest schema in the dataset of dlt's destination client, or None before the first load."""
    try:
        if not client.is_storage_initialized():
            return None
        stored = client.get_stored_schema(None)
    except DestinationUndefinedEntity:
        return None
    return Schema.from_stored_schema(json.loads(stored.schema)) if stored else None
