"""Profile exports."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from sources.braze_sandbox.endpoints import Endpoint
    from sources.braze_sandbox.workspace import Workspace


class Exports:
    """Export jobs."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace

    def endpoints(self) -> "Mapping[str, Endpoint]":
        """The POST endpoints."""
        return {}

    async def download(self, request: web.BaseRequest) -> web.StreamResponse:
        """A file."""
        return web.Response(status=404)

    def close(self) -> None:
        """End."""
