"""The entity-relationship diagrams: tables with their keys, and whose rows belong to whose."""

from collections.abc import Iterable

from pipelines.schema import SQL_TYPES
from sources.braze.model import Table
from sources.braze.relations import Reference, ownerships, references
from sources.braze.tables import LEDGER_TABLES, TABLES, tables_of

GROUPS = {
    "Campaigns": ("campaigns",),
    "Figures of campaigns and sends": ("campaign_series", "sends"),
    "Canvases": ("canvases",),
    "Figures of Canvases": ("canvas_series",),
    "Summaries of Canvases": ("canvas_summary",),
    "Segments and cards": ("segments", "segment_series", "cards", "card_series"),
    "Workspace, events, purchases": ("kpis", "sessions", "events", "event_series", "purchases"),
    "Profiles": ("users",),
    "Runs": ("sync_runs", "sync_failures"),
}
INTRODUCTION = """
# Diagram

Generated from the code by `make docs`. The tables show their key columns; all columns are under [tables](tables.md). A
line leads from the table whose row comes once to the one whose rows belong to it; join them by all columns of the first
one's key.
`braze-elt schema --format mermaid` and `--format dbml` print one diagram with all columns, for other tools.
"""


def page() -> str:
    """A diagram per group of resources."""
    parts = [INTRODUCTION.strip()]
    for title, resources in GROUPS.items():
        parts += [f"## {title}", f"```mermaid\n{_diagram(resources)}\n```"]
    return "\n\n".join(parts) + "\n"


def _diagram(resources: Iterable[str]) -> str:
    tables = [table for resource in resources for table in tables_of(resource)]
    edges = [edge for resource in resources for edge in _edges(resource)]
    owners = [TABLES[edge.parent] for edge in edges if TABLES[edge.parent] not in tables]
    lines = ["erDiagram", "  direction LR"]
    for table in dict.fromkeys((*owners, *tables)):
        lines += [f"  {table.name} {{", *_keys(table), "  }"]
    lines += [f"  {edge.parent} ||--o{{ {edge.child} : {edge.columns[0]}" for edge in edges]
    return "\n".join(lines)


def _edges(resource: str) -> list[Reference]:
    if resource in {table.resource for table in LEDGER_TABLES}:
        return [reference for reference in references() if TABLES[reference.child].resource == resource]
    return ownerships(resource)


def _keys(table: Table) -> list[str]:
    columns = {column.name: column for column in table.columns}
    return [f"    {SQL_TYPES[columns[name].type]} {name} PK" for name in table.key]
