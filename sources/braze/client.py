"""HTTP with Braze: signatures."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from sources.braze.endpoints import Endpoint

Json = dict[str, Any]
Param = str | int | bool | None
T = TypeVar("T")


class Traffic:
    """What was sent so far; written by the event loop, safe to read from other threads."""

    requests: int
    retries: int
    refused: int
    succeeded: int
    in_flight: int
    waited: float
    by_path: Counter[str]


class Client:
    """One workspace's REST API."""

    traffic: Traffic

    def __init__(
        self,
        base_url: str,
        api_key: str,
        concurrency: int = 16,
        rate_reserve: float = 0.2,
    ) -> None:
        raise NotImplementedError

    @overload
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param],
        then: None = None,
        lane: asyncio.Semaphore | None = None,
    ) -> Json: ...
    @overload
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param],
        then: Callable[[Json], T],
        lane: asyncio.Semaphore | None = None,
    ) -> T: ...
    async def get(
        self,
        endpoint: Endpoint,
        params: Mapping[str, Param],
        then: Callable[[Json], Any] | None = None,
        lane: asyncio.Semaphore | None = None,
    ) -> Any:
        """The answer to a GET."""
        raise NotImplementedError

    async def post(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        then: Callable[[Json], Any] | None = None,
        lane: asyncio.Semaphore | None = None,
    ) -> Any:
        """The answer to a POST."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the connections."""
