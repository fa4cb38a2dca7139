"""Pieces of Markdown that several pages are made of."""

import re
from collections.abc import Iterable, Sequence

_CODE_OR_PIPE = re.compile(r"`[^`]*`|\|")


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what would end a cell is escaped, except in code, where nothing does."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line([_cell(text) for text in row]) for row in rows)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """`text` as inline code; nothing for no text."""
    return f"`{text}`" if text else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return _CODE_OR_PIPE.sub(lambda found: found[0] if found[0] != "|" else "\\|", text).replace("\n", " ")
