"""`--plan`: what a run would ask, before it asks."""

from collections import Counter
from collections.abc import Sequence
from math import ceil

from rich.table import Table

from pipelines.terminal import stdout
from sources.braze import endpoints
from sources.braze.endpoints import Bucket, Endpoint
from sources.braze.settings import Settings

HEADER = ("endpoint", "requests", "days", "time at the rate limit")


def planned_rows(
    planned: Counter[str], planned_days: Counter[str], settings: Settings
) -> list[tuple[str, str, str, str]]:
    """What would be asked, as text under `HEADER`: a row per endpoint (by path), the last one for all together.

    `planned` are requests and `planned_days` the days they cover, both by path; the time is what the rate limits take.
    """
    by_path = {value.path: value for value in vars(endpoints).values() if isinstance(value, Endpoint)}
    rows = []
    per_bucket: dict[Bucket, int] = {}
    for path, count in sorted(planned.items()):
        bucket = by_path[path].bucket
        per_bucket[bucket] = per_bucket.get(bucket, 0) + count
        days = planned_days.get(path)
        rows.append((path, f"{count:,}", f"{days:,}" if days else "", _duration(bucket, count, settings)))
    slowest = max((_seconds(bucket, count, settings) for bucket, count in per_bucket.items()), default=0)
    return [*rows, ("all", f"{planned.total():,}", "", _text(slowest))]


def print_plan(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows of a plan."""
    table = Table(*HEADER, title="Planned requests")
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1])
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
