"""The page of SQL recipes: a file each, whose comment says what it answers and how to read the result."""

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "recipes"
INTRODUCTION = """
# SQL recipes

Each is one file of plain SQL that runs unchanged in DuckDB and Postgres, against the schema `braze`. They count back
from the newest loaded day, not from today, and leave the current, unfinished day out where it would mislead.

Two things hold for all of them. Unique figures (`unique_recipients`, `dau`, …) count a user once a *day*: a sum over
days counts users again. And figures of the last 30 days may still change, because Braze
[restates](../explanation/restatement.md) them.
"""


class Recipe(NamedTuple):
    """A recipe: its file's name, title, what it answers and how to read it, and the SQL without that comment."""

    name: str
    title: str
    text: str
    sql: str


def recipes() -> list[Recipe]:
    """All recipes in the order of their titles. Raises ValueError for a file without a title and a text."""
    return sorted((_read(path) for path in FOLDER.glob("*.sql")), key=lambda recipe: recipe.title)


def page() -> str:
    """Every recipe under its title."""
    parts = [
        f"## {recipe.title}\n\n{recipe.text}\n\n[{recipe.name}]({recipe.name})\n\n```sql\n{recipe.sql}```\n"
        for recipe in recipes()
    ]
    return "\n".join([INTRODUCTION.strip(), "", *parts])


def _read(path: Path) -> Recipe:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    comment = [line[3:].strip() for line in lines if line.startswith("-- ")]
    head = len(comment)
    if head < 2 or any(not line.startswith("-- ") for line in lines[:head]):
        raise ValueError(f"{path.name} must begin with its only comment: a line of title, then what it answers")
    return Recipe(path.name, comment[0], " ".join(comment[1:]), "".join(lines[head:]).lstrip())
