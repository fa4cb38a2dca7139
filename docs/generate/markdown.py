"""Pieces of Markdown that several pages are made of."""

from collections.abc import Iterable, Sequence


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what would end a cell is escaped. Cells hold no pipes in backticks: see `code`."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line([_cell(text) for text in row]) for row in rows)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """`text` as inline code; nothing for no text."""
    if "|" in text:  # in a table of GitHub's Markdown it ends the cell, even in backticks
        return f"<code>{text.replace('|', '&#124;')}</code>"
    return f"`{text}`" if text else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
