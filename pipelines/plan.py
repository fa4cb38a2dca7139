"""`--plan`: what a run would ask, before it asks."""

from collections import Counter
from math import ceil

from rich.table import Table

from pipelines.terminal import stdout
from sources.braze import endpoints
from sources.braze.endpoints import Bucket, Endpoint
from sources.braze.settings import Settings


def print_plan(planned: Counter[str], planned_days: Counter[str], settings: Settings) -> None:
    """Print requests per endpoint (by path), the days they cover, and the time that the rate limits allow them in."""
    by_path = {value.path: value for value in vars(endpoints).values() if isinstance(value, Endpoint)}
    table = Table("endpoint", "requests", "days", "time at the rate limit", title="Planned requests")
    per_bucket: dict[Bucket, int] = {}
    for path, count in sorted(planned.items()):
        bucket = by_path[path].bucket
        per_bucket[bucket] = per_bucket.get(bucket, 0) + count
        days = planned_days.get(path)
        table.add_row(path, f"{count:,}", f"{days:,}" if days else "", _duration(bucket, count, settings))
    table.add_section()
    slowest = max((_seconds(bucket, count, settings) for bucket, count in per_bucket.items()), default=0)
    table.add_row("all", f"{planned.total():,}", "", _text(slowest))
    stdout().print(table)


def _duration(bucket: Bucket, count: int, settings: Settings) -> str:
    return _text(_seconds(bucket, count, settings))


def _seconds(bucket: Bucket, count: int, settings: Settings) -> float:
    """Whole periods that must pass before the last request may be sent: the first allowance is there at once."""
    allowance = max(1, int(bucket.limit * (1 - settings.rate_reserve if bucket.reserved else 1)))
    return (ceil(count / allowance) - 1) * bucket.period if count else 0


def _text(seconds: float) -> str:
    if not seconds:
        return "no wait"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
