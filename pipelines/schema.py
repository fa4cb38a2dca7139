"""`braze-elt schema`: the tables as Markdown, DBML, Mermaid or JSON, from their one declaration."""

import orjson

from sources.braze.model import Table
from sources.braze.relations import references
from sources.braze.tables import TABLES

SQL_TYPES = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "json": "JSON",
}


def render(output: str) -> str:
    """All tables in the format `markdown`, `dbml`, `mermaid` or `json`."""
    return {"markdown": _markdown, "dbml": _dbml, "mermaid": _mermaid, "json": _json}[output]()


def _markdown() -> str:
    return "\n".join(_markdown_table(table) for table in TABLES.values())


def _markdown_table(table: Table) -> str:
    lines = [f"## {table.name}", "", table.description, ""]
    lines.append(f"Resource `{table.resource}`. A row is one {', '.join(f'`{name}`' for name in table.key)}.")
    lines += ["", "| column | type | meaning |", "|---|---|---|"]
    lines += [
        f"| `{column.name}` | {SQL_TYPES[column.type]} | {column.description.replace('|', chr(92) + '|')} |"
        for column in table.columns
    ]
    return "\n".join([*lines, ""])


def _dbml() -> str:
    lines = []
    for table in TABLES.values():
        lines.append(f"Table {table.name} {{")
        for column in table.columns:
            required = "not null, " if column.name in table.key else ""
            lines.append(f'  "{column.name}" {SQL_TYPES[column.type]} [{required}note: {_quoted(column.description)}]')
        keys = ", ".join(f'"{name}"' for name in table.key)
        lines += ["  indexes {", f"    ({keys}) [pk]", "  }", f"  Note: {_quoted(table.description)}", "}", ""]
    lines += [f'Ref: {one.child}."{one.columns[0]}" > {one.parent}."{one.key[0]}"' for one in references()]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _mermaid() -> str:
    lines = ["erDiagram"]
    for table in TABLES.values():
        lines.append(f"  {table.name} {{")
        for column in table.columns:
            key = " PK" if column.name in table.key else ""
            lines.append(f"    {SQL_TYPES[column.type]} {column.name}{key}")
        lines.append("  }")
    lines += [f"  {one.parent} ||--o{{ {one.child} : {one.columns[0]}" for one in references()]
    return "\n".join(lines)


def _json() -> str:
    tables = [
        {
            "name": table.name,
            "resource": table.resource,
            "description": table.description,
            "key": list(table.key),
            "columns": [
                {
                    "name": column.name,
                    "type": column.type.value,
                    "nullable": column.name not in table.key,
                    "description": column.description,
                }
                for column in table.columns
            ],
        }
        for table in TABLES.values()
    ]
    return orjson.dumps(tables, option=orjson.OPT_INDENT_2).decode()
