"""Lanes: a caller's place among those that work at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def aside(lane: asyncio.Semaphore | None) -> AsyncIterator[None]:
    """Give up the held `lane` for the block, so that who only waits in it does not keep others from working.

    The lane is held again afterwards, however the block ends.
    """
    if lane is None:
        yield
        return
    lane.release()
    try:
        yield
    finally:
        await _regain(lane)


async def _regain(lane: asyncio.Semaphore) -> None:
    cancelled = None
    while True:
        try:
            await lane.acquire()
            break
        except asyncio.CancelledError as error:  # the holder releases the lane in any case, so it must be held
            cancelled = error
    if cancelled:
        raise cancelled
