"""Requests for series: from a declaration to the request, from its answer to rows."""

import asyncio
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from sources.braze.catalog import Entity
from sources.braze.counted_client import CountedClient
from sources.braze.ending_at import EndingDay
from sources.braze.endpoints import Json
from sources.braze.errors import documented_shape
from sources.braze.flatten import Series
from sources.braze.series import Part, SeriesSpec
from sources.braze.windows import Span


class SeriesClient:
    """Asks `api` for series by the days of `zone`."""

    def __init__(self, api: CountedClient, zone: ZoneInfo) -> None:
        self._api = api
        self._zone = zone
        self._ending_day = EndingDay(api, zone)

    def plan(self, spec: SeriesSpec, part: Part, spans: Sequence[Span]) -> None:
        """Count the requests for `spans` instead of sending them."""
        self._api.plan(part.endpoint, len(spans), sum(map(len, spans)))
        if spec.summary and spans:
            self._ending_day.plan()

    async def ask(
        self, spec: SeriesSpec, part: Part, entity: Entity, span: Span, lane: asyncio.Semaphore | None = None
    ) -> Series:
        """What `part` of `spec` says of `entity` in `span`, flattened in the client's worker thread.

        The held `lane` is given up while the request waits. Raises the exceptions of `sources.braze.errors`.
        """
        parameters = spec.parameters(part, entity.parameters, span, self._zone)
        if spec.summary:
            parameters["ending_at"] = await self._ending_day.after(span.last, entity.id)

        def read(answer: Json) -> Series:
            with documented_shape(part.endpoint, entity.id):
                return part.flatten(answer, entity.key, span, self._zone)

        series: Series = await self._api.get(part.endpoint, parameters, then=read, lane=lane)
        return series
