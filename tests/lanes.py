"""What is free in a lane of requests, told without a look inside the semaphore."""

import asyncio


async def places(lane: asyncio.Semaphore) -> int:
    """How many requests it has room for; they are taken, and the lane is of no use afterwards."""
    count = 0
    while not lane.locked():
        await lane.acquire()
        count += 1
    return count
