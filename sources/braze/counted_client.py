"""What a run asks of Braze, counted by endpoint; a dry run also counts here what it would ask."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sources.braze.client import Client
from sources.braze.endpoints import Endpoint


class CountedClient:
    """A `Client` whose GETs are counted in `requests`; `days` are those that planned series cover."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.requests: Counter[Endpoint] = Counter()
        self.days: Counter[Endpoint] = Counter()

    def plan(self, endpoint: Endpoint, requests: int = 1, days: int = 0) -> None:
        """Count requests that are not sent."""
        self.requests[endpoint] += requests
        self.days[endpoint] += days

    async def get(self, endpoint: Endpoint, parameters: Mapping[str, Any], **options: Any) -> Any:
        """`Client.get`, counted."""
        self.requests[endpoint] += 1
        return await self.client.get(endpoint, parameters, **options)

    async def get_page(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        """`Client.get_page`, counted."""
        self.requests[endpoint] += 1
        return await self.client.get_page(endpoint, parameters)
