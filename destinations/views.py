"""The current rows of a lake for readers of their own: `views.sql` beside the tables, in DuckDB's dialect."""

import dlt
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from destinations.current import Grain, current
from destinations.lake import client_of, iceberg_metadata, table_names
from destinations.location import DELTA, ICEBERG, is_lake, quoted

FILE = "views.sql"

_HEADER = """\
-- The current rows of every table: what was appended by later loads hides what it replaced.
-- Written anew by every run. Read it in DuckDB: duckdb -init {file} (from a copy of it, if it is in a bucket).
-- {needs}
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE OR REPLACE VIEW {loads} AS
SELECT load_id, schema_name, status, inserted_at FROM read_json('{place}', columns = {{load_id: 'VARCHAR',
    schema_name: 'VARCHAR', status: 'BIGINT', inserted_at: 'TIMESTAMPTZ', schema_version_hash: 'VARCHAR'}});
"""

_VIEW = """
CREATE OR REPLACE VIEW {view} AS
{select};
"""

_NEEDS = {
    DELTA: "It needs DuckDB's extension for Delta: INSTALL delta; LOAD delta;",
    ICEBERG: "It needs DuckDB's extension for Iceberg: INSTALL iceberg; LOAD iceberg;",
    None: "Parquet needs no extension; a bucket needs one and a secret: INSTALL httpfs; CREATE SECRET (TYPE s3, …);",
}


def write(pipeline: dlt.Pipeline) -> None:
    """Write `views.sql` into the pipeline's dataset. Does nothing for destinations that have tables of their own."""
    if is_lake(pipeline.destination):
        client = client_of(pipeline)
        path = f"{client.dataset_path.rstrip('/')}/{FILE}"
        client.fs_client.write_text(path, render(client), encoding="utf-8")


def render(client: FilesystemClient) -> str:
    """The statements that make a schema called like the dataset, with a view for each of its tables."""
    schema = quoted(client.dataset_name)
    loads = f"{schema}.{quoted(client.schema.loads_table_name)}"
    place = _readable(client, client.get_table_prefix(client.schema.loads_table_name)) + "*.jsonl"
    needs = _NEEDS[client.capabilities.preferred_table_format]
    views = [_HEADER.format(file=FILE, needs=needs, schema=schema, loads=loads, place=_text(place))]
    for name in table_names(client):
        grain = Grain.of(client.schema.get_table_columns(name))
        select = current(_rows(client, name), loads, grain, quoted)
        views.append(_VIEW.format(view=f"{schema}.{quoted(name)}", select=select))
    return "".join(views)


def _rows(client: FilesystemClient, name: str) -> str:
    table_format = client.prepare_load_table(name).get("table_format")
    if table_format == ICEBERG:
        return f"iceberg_scan('{_text(iceberg_metadata(client, name))}')"
    place = _text(_readable(client, client.get_table_prefix(name)))
    if table_format == DELTA:
        return f"delta_scan('{place.rstrip('/')}')"
    files = f"{place}{'**/' if place.endswith('/') else ''}*.parquet"
    return f"read_parquet('{files}', union_by_name = true, hive_partitioning = false)"


def _readable(client: FilesystemClient, path: str) -> str:
    return path if client.is_local_filesystem else str(client.make_remote_url(path))


def _text(text: str) -> str:
    return text.replace("'", "''")
