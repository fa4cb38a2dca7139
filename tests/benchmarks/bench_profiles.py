"""Profiles from JSON lines on disk to committed tables: the connector, dlt's normalizer, bare DuckDB SQL.

    python -m tests.benchmarks.bench_profiles [--profiles 100000] [--rounds 3] [--postgres URL]
        [--memory 50000 500000]

Every measurement is a process of its own, the sides take turns, and medians are reported. Sides:

- `connector`: the file through shredder, parcels and dlt (merge) into a new DuckDB file, or an empty Postgres dataset
- `normalizer`: the same lines as dicts through dlt's own JSON normalizer, as Parquet into a new DuckDB file
- `bare`: the same typed tables by DuckDB alone, with the hand-written SQL of `bare_profiles.sql`
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import dlt
import duckdb
import orjson
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.extract import DltSource

from destinations.factory import DUCKDB_LIMITS, destination
from destinations.settings import apply_loader_defaults
from pipelines.job import CHUNK_ROWS
from sources.braze import open_client
from sources.braze.extraction import Extraction
from sources.braze.parcels import Parcel
from sources.braze.profiles import ProfileShredder
from sources.braze.resources import Chunk, resources
from sources.braze.settings import resolve
from sources.braze.users import ProfileRequest

BARE_SQL = Path(__file__).with_name("bare_profiles.sql")
SIDES = ("connector", "normalizer", "bare")


def generate(path: Path, profiles: int, seed: int = 1) -> None:
    """Write that many profiles of about 5 KB, with every nested list."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for number in range(profiles):
            file.write(orjson.dumps(profile(number, chance)) + b"\n")


def profile(number: int, chance: random.Random) -> dict[str, Any]:
    """Make a profile; the same number and state of chance give the same one."""

    def instant() -> str:
        day, second = chance.randrange(1, 29), chance.randrange(60)
        month = f"202{chance.randrange(3, 7)}-0{chance.randrange(1, 10)}"
        return f"{month}-{day:02}T12:34:{second:02}.{number % 1000:03}Z"

    def uuid() -> str:
        digits = f"{chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def times(name: str, count: int) -> list[dict[str, Any]]:
        return [
            {"name": f"{name} {k}", "first": instant(), "last": instant(), "count": chance.randrange(99)}
            for k in range(count)
        ]

    braze_id = f"{number:024x}"
    phone = f"+4915{number:09}"
    return {
        "created_at": instant(),
        "created_from": "SDK",
        "external_id": f"user-{number:08}",
        "user_aliases": [{"alias_name": f"ga-{number}", "alias_label": "ga_id"}],
        "braze_id": braze_id,
        "appboy_id": braze_id,
        "random_bucket": number % 10000,
        "first_name": "Zoë",
        "last_name": f"Müller {number}",
        "email": f"person{number}@example.com",
        "dob": "1980-12-21",
        "home_city": "Köln",
        "country": "DE",
        "phone": phone,
        "language": "de",
        "time_zone": "Europe/Berlin",
        "last_coordinates": [7.1, 50.1],
        "gender": "F",
        "total_revenue": chance.randrange(100000) / 100,
        "attributed_campaign": "summer",
        "attributed_source": "Adjust",
        "push_subscribe": "opted_in",
        "push_opted_in_at": instant(),
        "email_subscribe": "subscribed",
        "email_opted_in_at": instant(),
        "custom_attributes": {
            "points": chance.randrange(1000),
            "tier": chance.choice(["gold", "silver"]),
            "vip": number % 7 == 0,
            "score": round(chance.random(), 6),
            "address": {"city": "Köln", "geo": {"lat": 50.1, "lon": 7.1}},
            "favourites": ["sushi", "Müsli"],
            "phone": phone,
            "last visit": instant(),
            "pets": [{"id": 1, "type": "cat"}],
            "note": "a longer text that an import left behind " * 3,
        },
        "custom_events": times("event", 5),
        "purchases": times("item", 3),
        "devices": [
            {
                "model": "iPhone 15",
                "os": "iOS 18.5",
                "carrier": None,
                "device_id": uuid(),
                "idfv": uuid(),
                "idfa": uuid(),
                "ad_tracking_enabled": True,
            }
            for _ in range(2)
        ],
        "push_tokens": [
            {
                "app": "Demo iOS",
                "platform": "iOS",
                "token": uuid() + uuid(),
                "device_id": uuid(),
                "notifications_enabled": True,
                "provisionally_opted_in": None,
            }
            for _ in range(2)
        ],
        "apps": [
            {
                "name": "Demo iOS",
                "platform": "iOS",
                "version": "10.0.1",
                "sessions": chance.randrange(500),
                "first_used": instant(),
                "last_used": instant(),
            }
            for _ in range(2)
        ],
        "campaigns_received": [
            {
                "name": f"Campaign {k}",
                "api_campaign_id": f"d72fdc84-ddda-44f1-a0d5-{k:012}",
                "last_received": instant(),
                "engaged": {"opened_email": True},
                "converted": True,
                "multiple_converted": {"Primary Conversion Event - A": True},
                "in_control": False,
                "variation_name": "Variant 1",
                "variation_api_id": "1bddc73a-a134-4784-9134-5b5574a9e0b8",
            }
            for k in range(3)
        ],
        "canvases_received": [
            {
                "name": f"Canvas {k}",
                "api_canvas_id": f"46972a9d-dc81-473f-aa03-{k:012}",
                "last_received_message": instant(),
                "last_entered": instant(),
                "variation_name": "Variant 1",
                "in_control": False,
                "last_exited": instant(),
                "steps_received": [
                    {
                        "name": f"Step {s}",
                        "api_canvas_step_id": f"43d1a349-c3c8-4be1-9fbe-{k:06}{s:06}",
                        "last_received": instant(),
                    }
                    for s in range(2)
                ],
            }
            for k in range(2)
        ],
        "cards_clicked": [{"name": "Loyalty Promo"}],
    }


class Feed(Extraction):
    """An extraction that brings the parcels of one file, and asks Braze for nothing."""

    def __init__(self, parcels: Iterator[Parcel], folder: Path) -> None:
        settings = resolve(api_key="none", endpoint="http://127.0.0.1:9")
        super().__init__(settings, open_client(settings), datetime.now(UTC), request=ProfileRequest(folder))
        self._parcels = parcels
        self._waiting = next(parcels, None)

    @property
    def finished(self) -> bool:
        """Whether all was taken."""
        return self._waiting is None

    @property
    def waits_for_commit(self) -> bool:
        """Never."""
        return False

    def start(self, *_: Any) -> None:
        """Begin nothing."""

    def take(self, resource: str) -> Parcel | None:
        """Give the next parcel."""
        parcel, self._waiting = self._waiting, next(self._parcels, None)
        return parcel


def connector(source: Path, folder: Path, postgres: str | None = None) -> None:
    """Load as `braze-elt sync` does: shredder, parcels, dlt resources, destination."""

    def parcels() -> Iterator[Parcel]:
        with ProfileShredder(folder / "work") as shredder:
            for group in shredder.groups([source]):
                tables = {table.name: rows for table, rows in group.tables if rows.num_rows}
                yield Parcel(tables, shapes={table.name: table for table, _ in group.tables})

    os.environ |= {"DESTINATION__POSTGRES__CREDENTIALS": postgres} if postgres else {}
    apply_loader_defaults()
    target = destination("postgres") if postgres else destination("duckdb", folder / "loaded.duckdb")
    pipeline = dlt.pipeline("bench", destination=target, dataset_name="braze", pipelines_dir=str(folder))
    feed = Feed(parcels(), folder)
    while not feed.finished:
        pipeline.run(DltSource(dlt.Schema("braze"), "braze", resources(feed, Chunk(CHUNK_ROWS), ["users"])))


def normalizer(source: Path, folder: Path) -> None:
    """Load dicts through dlt's normalizer, with the loader settings and limits that the connector has."""

    @dlt.resource(name="users", primary_key="braze_id", write_disposition="merge")
    def profiles() -> Iterator[Any]:
        with source.open("rb") as lines:
            while batch := [orjson.loads(line) for line in islice(lines, 1000)]:
                yield batch

    apply_loader_defaults()
    credentials = DuckDbCredentials(str(folder / "loaded.duckdb"))
    credentials.global_config = DUCKDB_LIMITS
    target = dlt.destinations.duckdb(credentials, preferred_loader_file_format="parquet")
    dlt.pipeline("bench", destination=target, dataset_name="braze", pipelines_dir=str(folder)).run(profiles())


def bare(source: Path, folder: Path) -> None:
    """Create the tables by hand-written SQL that trusts every field's type and keeps no promise beyond."""
    with duckdb.connect(str(folder / "bare.duckdb"), config={"temp_directory": str(folder)}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(BARE_SQL.read_text().replace("$source", str(source)))


def one(side: str, source: Path, postgres: str | None) -> tuple[float, float, float]:
    """Run one side in this process: seconds after imports, CPU seconds, and peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        if side == "connector":
            connector(source, Path(folder), postgres)
        else:
            {"normalizer": normalizer, "bare": bare}[side](source, Path(folder))
        seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    return seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(side: str, source: Path, postgres: str | None = None) -> tuple[float, float, float]:
    """Run one side in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_profiles",
        "--side",
        side,
        "--source",
        str(source),
    ]
    if postgres:
        command += ["--postgres", postgres]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, cpu, peak = json.loads(answer.splitlines()[-1])
    return seconds, cpu, peak


def compare(profiles: int, rounds: int, postgres: str | None, sides: tuple[str, ...]) -> None:
    """Print the table of medians."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "profiles.ndjson"
        generate(source, profiles)
        megabytes = source.stat().st_size / 1e6
        named: list[tuple[str, str, str | None]] = [(side, side, None) for side in sides]
        if postgres:
            named.append(("connector, Postgres", "connector", postgres))
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name, _, _ in named}
        for _ in range(rounds):
            for name, side, url in named:
                runs[name].append(measured(side, source, url))
    medians = {
        name: [statistics.median(values) for values in zip(*measures, strict=True)] for name, measures in runs.items()
    }
    print(f"{profiles:,} profiles, {megabytes:,.0f} MB, median of {rounds}")
    print("| side | seconds | CPU seconds | profiles/s | MB/s | peak MB | of connector: time | CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (seconds, cpu, peak) in medians.items():
        rates = f"{profiles / seconds:,.0f} | {megabytes / seconds:.0f}"
        ratios = f"{seconds / medians['connector'][0]:.2f} | {cpu / medians['connector'][1]:.2f}"
        print(f"| {name} | {seconds:.1f} | {cpu:.1f} | {rates} | {peak:.0f} | {ratios} |")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--source", type=Path)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(one(given.side, given.source, given.postgres)))
        return
    if given.rounds:
        compare(given.profiles, given.rounds, given.postgres, tuple(given.sides.split(",")))
    for profiles in given.memory:
        compare(profiles, 1, None, ("connector",))


if __name__ == "__main__":
    main()
