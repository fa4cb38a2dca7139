"""What MkDocs calls: adds the generated pages to the written ones."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[2]))  # the `mkdocs` command does not start in the repository

from docs.generate import commands, diagram, permissions, recipes, settings, tables

PAGES = {
    "recipes/index.md": recipes.page,
    "reference/commands.md": commands.page,
    "reference/diagram.md": diagram.page,
    "reference/permissions.md": permissions.page,
    "reference/settings.md": settings.page,
    "reference/tables.md": tables.page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page to the files of the site."""
    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    return files
