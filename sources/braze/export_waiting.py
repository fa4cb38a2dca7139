"""How exports are waited for, and what is said meanwhile: pauses that grow, until `export_timeout_minutes` are over."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sources.braze.audience import Audience
from sources.braze.errors import BrazeError

logger = logging.getLogger(__name__)

SAID_EVERY = 60.0
"""Seconds after which a log says again that an export is waited for."""


class ExportTimeoutError(BrazeError):
    """An export was not there in time. Its job stays on disk, unless it has expired: the next run waits for it."""


@dataclass(frozen=True)
class ExportSettings:
    """How exports are waited for and fetched; times in seconds unless said otherwise.

    `bucket`, `quiet_seconds`, `timeout_minutes` and `parallel` are the settings `export_…`. `first_poll` is
    the first pause between two looks, which grows by half up to `longest_poll`.
    """

    bucket: str | None = None
    quiet_seconds: float = 300
    timeout_minutes: float = 240
    parallel: int = 4
    first_poll: float = 0.25
    longest_poll: float = 60


class Waiting:
    """Pauses that grow, until the time is up. `hindrance` is what the latest try to fetch ended with, if not well."""

    def __init__(self, audience: Audience, settings: ExportSettings, clock: Callable[[], float]) -> None:
        self._audience = audience
        self._settings = settings
        self._clock = clock
        self.paused = False
        self.hindrance = ""
        self._warned = False
        self.restart()
        self._began = self._said = self._started

    def restart(self) -> None:
        """Start the time anew."""
        self._started = self._clock()
        self.quicken()

    def quicken(self) -> None:
        """Make the next pause a short one."""
        self._next = self._settings.first_poll

    def warn(self) -> None:
        """Say once that the storage does not let the archive be fetched."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "The export of %s cannot be fetched (%s): trying again.", self._audience.segment_id, self.hindrance
            )

    def check_time_left(self) -> None:
        """Raise ExportTimeoutError if `export_timeout_minutes` are over, for an export that has expired."""
        if self._is_over(self._clock()):
            raise self._timeout("Its link has expired: the next run requests it anew")

    async def pause(self, at_most: float = float("inf")) -> None:
        """Wait. Raises ExportTimeoutError once `export_timeout_minutes` are over."""
        now = self._clock()
        if self._is_over(now):
            raise self._timeout("The next run looks for it again before it requests another")
        self.paused = True
        self._say(now)
        await asyncio.sleep(min(self._next, at_most))
        self._next = min(self._next * 1.5, self._settings.longest_poll)

    def _is_over(self, now: float) -> bool:
        return now - self._started >= self._settings.timeout_minutes * 60

    def _timeout(self, then: str) -> ExportTimeoutError:
        where = f" in {self._settings.bucket}" if self._settings.bucket else ""
        why = f"; the latest try to fetch it ended with {self.hindrance}" if self.hindrance else ""
        return ExportTimeoutError(
            f"The export of {self._audience.segment_id} did not arrive{where} within"
            f" {self._settings.timeout_minutes:g} minutes (`export_timeout_minutes`){why}. {then}; Braze reports a"
            " failed export by e-mail only, to the key's owner."
        )

    def _say(self, now: float) -> None:
        if now - self._said >= SAID_EVERY:
            self._said = now
            minutes = (now - self._began) / 60
            logger.info("Waiting for the export of %s for %.0f minutes.", self._audience.segment_id, minutes)
