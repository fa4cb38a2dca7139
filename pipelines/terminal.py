"""Where output goes: results to stdout, progress and logs to stderr; wide and plain where nobody looks on."""

import sys

from rich.console import Console

_PLAIN_WIDTH = 160


def stdout() -> Console:
    """The console for results."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)


def stderr() -> Console:
    """The console for progress."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False)
