"""`--plan`: what a run would ask, before it asks."""

from collections.abc import Sequence
from math import ceil

from rich.table import Table

from pipelines.terminal import stdout
from sources.braze.counted_client import CountedClient
from sources.braze.endpoints import Pool
from sources.braze.settings import Settings

HEADER = ("endpoint", "requests", "days", "time at the rate limit")


def planned_rows(api: CountedClient, settings: Settings) -> list[tuple[str, str, str, str]]:
    """What `api` has counted, as text under `HEADER`: a row per endpoint (by path), the last one for all together.

    The time is what the rate limits take.
    """
    rows = []
    per_pool: dict[Pool, int] = {}
    for endpoint, count in sorted(api.requests.items(), key=lambda item: item[0].path):
        pool, days = endpoint.pool, api.days[endpoint]
        per_pool[pool] = per_pool.get(pool, 0) + count
        rows.append((endpoint.path, f"{count:,}", f"{days:,}" if days else "", _duration(pool, count, settings)))
    slowest = max((_seconds(pool, count, settings) for pool, count in per_pool.items()), default=0)
    return [*rows, ("all", f"{api.requests.total():,}", "", _text(slowest))]


def print_plan(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows of a plan."""
    table = Table(*HEADER, title="Planned requests")
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1])
    stdout().print(table)


def _duration(pool: Pool, count: int, settings: Settings) -> str:
    return _text(_seconds(pool, count, settings))


def _seconds(pool: Pool, count: int, settings: Settings) -> float:
    """Whole periods that must pass before the last request may be sent: the first allowance is there at once."""
    allowance = max(1, int(pool.limit * (1 - settings.rate_reserve if pool.reserved else 1)))
    return (ceil(count / allowance) - 1) * pool.period if count else 0


def _text(seconds: float) -> str:
    if not seconds:
        return "no wait"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
