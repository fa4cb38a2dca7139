"""What Braze means by the `ending_at` of `canvas/data_summary`: a summary does not say which days it sums.

Every other series names its days, so that it can be asked for in a way that holds under either reading (`windows.py`).
"""

import asyncio
from datetime import date
from zoneinfo import ZoneInfo

from sources.braze import flatten
from sources.braze.counted_client import CountedClient
from sources.braze.endpoints import CANVAS_DATA_SERIES
from sources.braze.errors import InvalidKey, PermissionDenied, documented_shape
from sources.braze.windows import ONE_DAY, Span, midnight

CANVASES_ASKED = 10
"""Canvases without figures that are asked in vain; then an answer is taken to end as the recorded ones do."""


class EndingDay:
    """Finds out, with the daily series of a Canvas, whether the day of `ending_at` is among those that an answer holds.

    Canvases are asked one after the other until one of them tells, at most `CANVASES_ASKED` that do not.
    """

    def __init__(self, api: CountedClient, zone: ZoneInfo) -> None:
        self._api = api
        self._zone = zone
        self._asking = asyncio.Lock()
        self._counts: bool | None = None
        self._silent = 0
        self._planned = False

    def plan(self) -> None:
        """Count the one request that is needed."""
        if not self._planned:
            self._api.plan(CANVAS_DATA_SERIES)
            self._planned = True

    async def after(self, last: date, canvas_id: str) -> str:
        """The `ending_at` of a summary of `canvas_id` whose last day is `last`, a closed one.

        Raises the exceptions of `sources.braze.errors` for a Canvas that cannot be asked.
        """
        async with self._asking:
            if self._counts is None and self._silent < CANVASES_ASKED:
                self._counts = await self._read(last, canvas_id)
                self._silent += self._counts is None
        return midnight(last if self._counts else last + ONE_DAY, self._zone).isoformat()

    async def _read(self, last: date, canvas_id: str) -> bool | None:
        """Whether a request for one day by the midnight of `last` brings `last`; None if it brings no day at all.

        A closed day is surely there if it counts, as the current one may not be.
        """
        parameters = {"canvas_id": canvas_id, "length": 1, "ending_at": midnight(last, self._zone).isoformat()}
        try:
            answer = await self._api.get(CANVAS_DATA_SERIES, parameters)
        except (PermissionDenied, InvalidKey):
            return False  # the recorded behaviour
        with documented_shape(CANVAS_DATA_SERIES, canvas_id):
            days = flatten.canvas_series(answer, {"canvas_id": canvas_id}, Span(last - ONE_DAY, last), self._zone).days
        return last in days if days else None
