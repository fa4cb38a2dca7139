"""The generated pages, which are committed: links to them work wherever the documentation is read."""

from pathlib import Path

from docs.generate import commands, diagram, permissions, recipes, settings, tables

DOCS = Path(__file__).parents[1]
PAGES = {
    "recipes/index.md": recipes.page,
    "reference/commands.md": commands.page,
    "reference/diagram.md": diagram.page,
    "reference/permissions.md": permissions.page,
    "reference/settings.md": settings.page,
    "reference/tables.md": tables.page,
}


def write() -> None:
    """Write every page anew."""
    for path, page in PAGES.items():
        (DOCS / path).write_text(page(), encoding="utf-8")
