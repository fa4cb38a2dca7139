"""Which table's rows belong to which other's, derived from the grains: for diagrams, and to find orphans."""

from dataclasses import dataclass

from sources.braze.model import Table
from sources.braze.tables import TABLES

_ENTITIES = {
    "campaign_id": ("campaigns", "id"),
    "canvas_id": ("canvases", "id"),
    "segment_id": ("segments", "id"),
    "card_id": ("cards", "id"),
    "event": ("events", "name"),
    "braze_id": ("users", "braze_id"),
    "run_id": ("sync_runs", "run_id"),
}
"""The column that names an entity in every table, and where that entity's own row is."""


@dataclass(frozen=True)
class Reference:
    """`columns` of `child` name a row of `parent` by its `key`, in the same order."""

    child: str
    columns: tuple[str, ...]
    parent: str
    key: tuple[str, ...]


def references() -> list[Reference]:
    """Every reference to an entity's own row, in the order of the tables."""
    return [
        Reference(table.name, (name,), _ENTITIES[name][0], (_ENTITIES[name][1],))
        for table in TABLES.values()
        for name in table.key
        if name in _ENTITIES and _ENTITIES[name][0] != table.name
    ]


def ownerships(resource: str) -> list[Reference]:
    """Where each table of `resource` must have its parents.

    The parent is the table of the same resource with the next coarser grain (message days belong to a campaign day,
    step messages to a step), or else the entity itself. Profiles name campaigns and segments that Braze may have
    deleted long ago: of them only the profile itself counts.
    """
    tables = [table for table in TABLES.values() if table.resource == resource]
    owned = []
    for table in tables:
        coarser = [other for other in tables if not other.history and _is_coarser(other, table)]
        if coarser and not table.history:
            parent = max(coarser, key=lambda other: len(other.key))
            owned.append(Reference(table.name, parent.key, parent.name, parent.key))
        else:
            owned += [
                reference
                for reference in references()
                if reference.child == table.name and (resource != "users" or reference.columns == ("braze_id",))
            ]
    return owned


def _is_coarser(parent: Table, child: Table) -> bool:
    return len(parent.key) < len(child.key) and child.key[: len(parent.key)] == parent.key
