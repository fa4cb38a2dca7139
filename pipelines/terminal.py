"""Where output goes: results to stdout, progress and logs to stderr; wide and plain where nobody looks on.

Text is printed as it is: names and messages come from Braze, and may hold what rich takes for markup.
"""

import sys
from typing import TextIO

from rich.console import Console

_PLAIN_WIDTH = 160


def stdout() -> Console:
    """The console for results."""
    return _console(sys.stdout)


def stderr() -> Console:
    """The console for progress."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else _PLAIN_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)
