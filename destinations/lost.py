"""Tables and columns that dlt believes to be in the warehouse, and that somebody has dropped there by hand."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import dlt
import orjson
from dlt.common.schema import Schema
from dlt.destinations.job_client_impl import SqlJobClientBase

from destinations.location import configuration, exists, is_sql


def lost(pipeline: dlt.Pipeline, schema: str) -> list[str]:
    """The tables that earlier loads of `schema` made and that lack now, as a whole or in a column.

    Goes by the schema that the warehouse holds. Nothing is lost where there is none, and where tables are files.
    Makes no DuckDB file.
    """
    if not (is_sql(pipeline.destination) and exists(pipeline.destination, pipeline.dataset_name)):
        return []
    with _client(pipeline, schema) as client:
        client.schema = _stored(client, schema)
        made = client.schema.data_table_names(seen_data_only=True)
        exact = client.capabilities.generates_case_sensitive_identifiers()
        return [
            name
            for name, columns in client.get_storage_tables(made)
            if client.schema.get_new_table_columns(name, columns, case_sensitive=exact)
        ]


def make_again(pipeline: dlt.Pipeline, schema: str, tables: Collection[str]) -> None:
    """Make what lacks of `tables` once more, empty. The working directory has the warehouse's `schema`, or none."""
    with _client(pipeline, schema) as client:
        client.schema = pipeline.schemas[schema] if schema in pipeline.schemas else _stored(client, schema)
        client.update_stored_schema(only_tables=tables, force=True)


def _stored(client: SqlJobClientBase, schema: str) -> Schema:
    """The schema that the warehouse holds, one without tables if it holds none."""
    stored = client.get_stored_schema(schema)
    return Schema.from_stored_schema(orjson.loads(stored.schema)) if stored else Schema(schema)


@contextmanager
def _client(pipeline: dlt.Pipeline, schema: str) -> Iterator[SqlJobClientBase]:
    config = configuration(pipeline.destination, pipeline.dataset_name)
    with pipeline.destination.client(Schema(schema), config) as client:
        assert isinstance(client, SqlJobClientBase)
        yield client
