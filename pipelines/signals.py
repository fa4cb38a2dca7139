"""SIGTERM and Ctrl-C, for as long as a command has something to bring to an end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_termination(stop: Callable[[int], None]) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C call `stop` with the signal's number.

    Signals reach the main thread alone: in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda number, _: stop(number)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
