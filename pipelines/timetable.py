"""When a cron expression is due in a time zone."""

from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

from sources.braze.errors import ConfigurationError

_EXAMPLE = 'write minute, hour, day of month, month and day of week, such as "15 3 * * *"'


class Timetable:
    """The times of a cron expression, by the clocks of `zone`, as Debian's cron understands both.

    A time that the clocks leave out is due when they go on; one that they show twice is due the first time. An
    expression that repeats by the minute or the hour goes on as if the clocks had not changed.

    Raises `ConfigurationError` for what is no cron expression, or is never due.
    """

    def __init__(self, cron: str, zone: tzinfo) -> None:
        self._cron, self._zone = cron, zone
        try:
            self.after(datetime.now(tz=UTC))
        except CronSimError as error:
            raise ConfigurationError(f"--cron {cron!r} cannot be read ({str(error).lower()}): {_EXAMPLE}.") from None
        except StopIteration:
            raise ConfigurationError(f"--cron {cron!r} is never due: {_EXAMPLE}.") from None

    def after(self, moment: datetime) -> datetime:
        """The first time that is due after `moment`, in UTC."""
        times = CronSim(self._cron, moment.astimezone(self._zone))
        while (due := next(times).astimezone(UTC)) <= moment:
            pass  # CronSim starts from what clocks show, which may be the second time that they show it
        return due
