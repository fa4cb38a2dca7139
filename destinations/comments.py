"""What tables and columns mean, written into the warehouse where it has comments."""

from collections.abc import Iterator, Mapping

import dlt

from destinations.location import DUCKDB, POSTGRES, sql_client

Descriptions = Mapping[str, tuple[str, Mapping[str, str]]]

DLT_COLUMNS = {
    "_dlt_load_id": "The load that wrote this row; refers to _dlt_loads.load_id.",
    "_dlt_id": "dlt's own identifier of the row.",
}

DLT_TABLES: Descriptions = {
    "_dlt_loads": (
        "One row per completed load; rows whose load is not listed belong to one that is under way.",
        {
            "load_id": "The load's identifier: the second it began, as Unix time.",
            "schema_name": "The dlt schema that was loaded.",
            "status": "0 once the load is complete.",
            "inserted_at": "When the load was completed.",
            "schema_version_hash": "The version of the schema; refers to _dlt_version.version_hash.",
        },
    ),
    "_dlt_version": (
        "One row per version of the schema that dlt has applied to this dataset.",
        {
            "version": "Counts the versions of a schema.",
            "engine_version": "The format of the schema document.",
            "inserted_at": "When this version was applied.",
            "schema_name": "The schema's name.",
            "version_hash": "Identifies the version by its content.",
            "schema": "The schema as a JSON document.",
        },
    ),
    "_dlt_pipeline_state": (
        "The newest states of each pipeline: its cursors, from which the next run goes on.",
        {
            "version": "Counts the states of a pipeline.",
            "engine_version": "The format of the state document.",
            "pipeline_name": "The pipeline's name.",
            "state": "The state as a compressed JSON document.",
            "created_at": "When the state was made.",
            "version_hash": "Identifies the state by its content.",
        },
    ),
}

_READ = {
    DUCKDB: """
        SELECT table_name, NULL AS column_name, comment FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name = %s
        UNION ALL
        SELECT table_name, column_name, comment FROM duckdb_columns()
        WHERE database_name = current_database() AND schema_name = %s
    """,
    POSTGRES: """
        SELECT c.relname, NULL, obj_description(c.oid, 'pg_class')
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT c.relname, a.attname, col_description(c.oid, a.attnum)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p')
    """,
}


def write(pipeline: dlt.Pipeline, descriptions: Descriptions) -> None:
    """Comment the tables and columns that exist: by table name, its meaning and that of its columns.

    dlt's own tables and columns are commented as well. Comments that are right already are left alone, so
    that an unchanged dataset costs one query. Does nothing where the destination is neither DuckDB nor
    Postgres.
    """
    read = _READ.get(pipeline.destination.destination_type)
    if read is None:
        return
    with sql_client(pipeline) as client:
        present = client.execute_sql(read, pipeline.dataset_name, pipeline.dataset_name) or []
        current = {(table, column): comment for table, column, comment in present}
        wanted = dict(_wanted({**DLT_TABLES, **descriptions}, {table for table, _ in current}))
        statements = [
            _comment(client.make_qualified_table_name(table), column and client.escape_column_name(column), text)
            for (table, column), text in wanted.items()
            if (table, column) in current and current[table, column] != text
        ]
        if statements:
            with client.begin_transaction():
                client.execute_sql(";\n".join(statements))


def _wanted(descriptions: Descriptions, tables: set[str]) -> Iterator[tuple[tuple[str, str | None], str]]:
    for table in tables:
        yield from (((table, column), text) for column, text in DLT_COLUMNS.items())
        if table in descriptions:
            meaning, columns = descriptions[table]
            yield (table, None), meaning
            yield from (((table, column), text) for column, text in columns.items())


def _comment(table: str, column: str | None, text: str) -> str:
    target = f"COLUMN {table}.{column}" if column else f"TABLE {table}"
    literal = text.replace("'", "''")
    return f"COMMENT ON {target} IS '{literal}'"
