"""Table declarations as dlt's hints, and rows as items of the tables that they belong to."""

from typing import Any

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TColumnSchema
from dlt.extract.items import DataItemWithMeta

from sources.braze.columns import describe_discovered
from sources.braze.disposition import disposition
from sources.braze.model import TOMBSTONE, Column, Table, Type
from sources.braze.tables import TABLES

_LOAD_ID = pa.field("_dlt_load_id", pa.string(), nullable=False)


def hints(table: Table) -> Any:
    """Dlt's hints for `table`: types, descriptions, and delete-insert by grain and parent where that works."""
    columns = (*table.columns, TOMBSTONE) if table.parent else table.columns
    return dlt.mark.make_hints(
        table_name=table.name,
        write_disposition=disposition(),
        primary_key=table.key,
        merge_key=table.parent,
        columns={column.name: _column_hint(table, column) for column in columns},
    )


def with_table(table: Table, rows: pa.Table) -> DataItemWithMeta:
    """`rows` as an item of a dlt resource, with the hints of the table that they belong to."""
    return dlt.mark.with_hints(stamped(rows), hints(table), create_table_variant=True)


def stamped(rows: pa.Table) -> pa.Table:
    """`rows` with the load that they belong to.

    dlt can add it, but to the end: where columns were discovered after it, dlt then writes every file a second time.
    """
    load_id = dlt.current.load_package_state()["load_id"]
    return rows.append_column(_LOAD_ID, pa.repeat(load_id, rows.num_rows))


def merge_keys() -> dict[str, tuple[str, ...]]:
    """The columns by which a merge finds the rows it replaces, by table."""
    return {name: table.parent or table.key for name, table in TABLES.items()}


def _column_hint(table: Table, column: Column) -> TColumnSchema:
    hint: TColumnSchema = {
        "name": column.name,
        "data_type": column.type.value,
        "nullable": column.name not in table.key,
        "description": column.description,
    }
    if column.type is Type.TIMESTAMP:
        hint["timezone"] = True
    if not table.parent and column.name in (TABLES[table.name].parent or ()):
        hint["merge_key"] = False  # the schema remembers it from loads that replaced the parent's rows
    if column.name == TOMBSTONE.name:
        hint["hard_delete"] = True
    return hint


def descriptions(schema: dlt.Schema) -> dict[str, tuple[str, dict[str, str]]]:
    """Table and column descriptions of all our tables in `schema`, those of discovered columns included."""
    described = {}
    for name, stored in schema.tables.items():
        if declared := TABLES.get(name):
            columns = {column: _describe(declared, column) for column in stored["columns"]}
            described[name] = (declared.description, columns)
    return described


def _describe(table: Table, name: str) -> str:
    column = table.column(name)
    if column:
        return column.description
    return TOMBSTONE.description if name == TOMBSTONE.name else describe_discovered(name)
