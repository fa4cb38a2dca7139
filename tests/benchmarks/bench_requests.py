"""How near a load comes to the limit that latency, concurrency and the rate limit set.

The ideal is `requests x latency / concurrency`. No client reaches it, since the stand-in workspace needs a moment for
each answer: a bare client, which asks the same on as many connections and forgets what it hears, says how near one
comes. Start-up is what the same command takes against a workspace that has nothing to load, less its requests.
"""

import http.client
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlencode, urlsplit

import duckdb
import requests

from tests.benchmarks.measuring import Measured, braze_elt, environment, median, print_table, requests_of, sandbox

CONCURRENCY = 16
CAMPAIGNS = "campaigns,campaign_series"
CANVASES = "canvases,canvas_series"


@dataclass(frozen=True)
class Load:
    """A workspace of one kind of entity, and what is loaded of it."""

    name: str
    select: str
    workspace: tuple[str, ...]


def loads(campaigns: int, canvases: int) -> tuple[Load, ...]:
    """The first loads that are measured; each is followed by a second night."""
    nothing = ("--segments", "0", "--events", "0", "--users", "0")
    return (
        Load(
            f"{campaigns:,} campaigns, 100 days",
            CAMPAIGNS,
            ("--campaigns", str(campaigns), "--canvases", "0", "--days", "99", *nothing),
        ),
        Load(
            f"{canvases:,} Canvases, 60 days",
            CANVASES,
            ("--canvases", str(canvases), "--campaigns", "0", "--days", "59", *nothing),
        ),
    )


def at_the_limit(campaigns: int, canvases: int, latencies: tuple[float, ...], rounds: int) -> None:
    """First load and second night of both workspaces, at every latency."""
    rows = []
    for latency in latencies:
        idle = median(_start_up(latency) for _ in range(rounds))
        for load in loads(campaigns, canvases):
            nights = [_two_nights(load, latency) for _ in range(rounds)]
            for night, name in enumerate(("first load", "second night")):
                runs = [both[night] for both in nights]
                seconds, asked = median(run.load.seconds for run in runs), requests_of(runs[0].load)
                ideal, bare = asked * latency / CONCURRENCY, median(run.bare for run in runs)
                rows.append(
                    (
                        f"{load.name}: {name}",
                        f"{latency * 1000:.0f} ms",
                        f"{asked:,}",
                        f"{ideal:.1f}",
                        f"{idle:.1f}",
                        f"{seconds:.1f}",
                        f"{(seconds - idle) / ideal:.2f}",
                        f"{bare / ideal:.2f}",
                        f"{median(run.load.cpu for run in runs):.1f}",
                    )
                )
    taken = ("(wall - start-up) / ideal", "bare client / ideal")
    head = ("load", "latency", "requests", "ideal s", "start-up s", "wall s", *taken, "CPU s")
    print_table(f"At the limit: concurrency {CONCURRENCY}, median of {rounds}", head, rows)


@dataclass(frozen=True)
class _Night:
    """A night of the connector, and the seconds that a bare client takes for its requests."""

    load: Measured
    bare: float


def _two_nights(load: Load, latency: float) -> list[_Night]:
    """Both sides begin with a workspace that has answered nothing yet."""
    options = ("--latency", str(latency), *load.workspace)
    with sandbox(*options) as url, tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder), url, concurrency=CONCURRENCY)
        nights = []
        for _ in range(2):
            requests.post(f"{url}/_sandbox/reset", timeout=10).raise_for_status()
            run = braze_elt("sync", "--select", load.select, cwd=Path(folder), env=env)
            nights.append((run, _asked(url)))
    with sandbox(*options) as url:
        return [_Night(run, _bare(url, asked)) for run, asked in nights]


def _asked(url: str) -> list[str]:
    """Path and query of all that was asked of a workspace."""
    log = requests.get(f"{url}/_sandbox/requests?listed=true", timeout=10).json()
    return [f"{one['path']}?{urlencode(one['params'])}" for one in log["requests"]]


def _bare(url: str, asked: list[str]) -> float:
    """The seconds it takes to ask this, and read each answer."""
    waiting: SimpleQueue[str] = SimpleQueue()
    for target in asked:
        waiting.put(target)

    def ask(_: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        while True:
            try:
                connection.request("GET", waiting.get_nowait(), headers={"Authorization": "Bearer benchmark"})
            except Empty:
                return connection.close()
            connection.getresponse().read()

    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        list(threads.map(ask, range(CONCURRENCY)))
    return time.perf_counter() - started


def _start_up(latency: float) -> float:
    empty = ("--campaigns", "0", "--canvases", "0", "--segments", "0", "--events", "0", "--users", "0")
    with sandbox("--latency", str(latency), *empty) as url, tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder), url, concurrency=CONCURRENCY)
        run = braze_elt("sync", "--select", "campaigns", cwd=Path(folder), env=env)
        return run.seconds - requests_of(run) * latency


def under_a_rate_limit(canvases: int, limit: int, period: int) -> None:
    """How much of an allowance that resets in windows is used, the reserve left alone, and how much is refused."""
    workspace, reserve = loads(0, canvases)[1].workspace, 0.2
    with sandbox(*workspace, "--limit", f"shared={limit}/{period}") as url, tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder), url, concurrency=CONCURRENCY, rate_reserve=reserve)
        started = time.time()
        run = braze_elt("sync", "--select", CANVASES, cwd=Path(folder), env=env)
        refused = _refused(Path(folder))
    asked, spendable, idle = requests_of(run), limit * (1 - reserve), _start_up(0)
    # The first and the last window are open for a part of the run only; as few windows as can be are counted.
    first = period - (started + idle) % period
    windows = 1 + max(0, run.seconds - idle - first) / period
    used = min(1.0, asked / (windows * spendable))
    print_table(
        f"Under a rate limit of {limit} requests in {period} s, reserve {reserve:.0%}",
        ("requests", "seconds", "windows", "allowance used", "refused"),
        [(f"{asked:,}", f"{run.seconds:.1f}", f"{windows:.1f}", f"{used:.0%}", f"{refused / asked:.2%}")],
    )


def _refused(folder: Path) -> int:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        refused: int = connection.execute("SELECT sum(rate_limited)::int FROM braze.sync_runs").fetchall()[0][0]
        return refused
