"""Profiles from JSON lines on disk to committed tables: the connector, dlt's normalizer, bare DuckDB SQL.

    python -m tests.benchmarks.bench_profiles [--profiles 100000] [--rounds 3] [--postgres URL]
        [--memory 50000 500000]

Every measurement is a process of its own, the sides take turns, and medians are reported. Sides:

- `connector`: the shredder's groups through dlt (merge) into a new DuckDB file, or an empty Postgres dataset
- `normalizer`: the same lines as dicts through dlt's own JSON normalizer, as Parquet into a new DuckDB file
- `bare`: DuckDB reads the file with the field types given and creates the same tables, typed, in a new file
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
from pathlib import Path
from typing import Any

import orjson

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


def connector(source: Path, folder: Path, postgres: str | None = None) -> None:
    """Load through the shredder and dlt."""
    import dlt

    from sources.braze.model import Table
    from sources.braze.profile_tables import TOMBSTONE
    from sources.braze.profiles import ProfileShredder

    def hints(table: Table) -> Any:
        columns: Any = {column.name: {"data_type": str(column.type)} for column in table.columns}
        if TOMBSTONE in columns:
            columns[TOMBSTONE]["hard_delete"] = True
        return dlt.mark.make_hints(
            table_name=table.name,
            primary_key=table.key,
            merge_key=table.parent,
            columns=columns,
            write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        )

    @dlt.resource(name="users")
    def profiles() -> Iterator[Any]:
        known: set[str] = set()
        with ProfileShredder(folder / "work") as shredder:
            for group in shredder.groups([source]):
                for table, rows in group.tables:
                    first = table.name not in known
                    known.add(table.name)
                    marked = dlt.mark.with_hints(rows, hints(table), create_table_variant=True)
                    yield marked if first else dlt.mark.with_table_name(rows, table.name)

    if postgres:
        destination: Any = dlt.destinations.postgres(postgres, preferred_loader_file_format="csv")
    else:
        from destinations.parquet_merge import ParquetMergingDuckDb as PM
        if os.environ.get("OLD"): PM = dlt.destinations.duckdb
        destination = PM(_duckdb_credentials(folder), preferred_loader_file_format="parquet")
    _pipeline(folder, destination).run(profiles())


def normalizer(source: Path, folder: Path) -> None:
    """Load dicts through dlt's normalizer."""
    import dlt

    @dlt.resource(name="users", primary_key="braze_id", write_disposition="merge")
    def profiles() -> Iterator[Any]:
        with source.open("rb") as lines:
            batch = []
            for line in lines:
                batch.append(orjson.loads(line))
                if len(batch) == 1000:
                    yield batch
                    batch = []
            yield batch

    destination = dlt.destinations.duckdb(_duckdb_credentials(folder), preferred_loader_file_format="parquet")
    _pipeline(folder, destination).run(profiles())


def bare(source: Path, folder: Path) -> None:
    """Create the same tables from the file with nothing but DuckDB."""
    import duckdb

    from sources.braze import profile_sql as sql
    from sources.braze.pii import PiiRules, install_hmac
    from sources.braze.profile_tables import PROFILE_LISTS, USERS

    rules = PiiRules()
    with duckdb.connect(str(folder / "bare.duckdb"), config={"temp_directory": str(folder)}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        for macro in sql.MACROS:
            connection.execute(macro)
        install_hmac(connection, b"")
        connection.execute(
            f"CREATE TEMP VIEW lines AS SELECT hash(json) AS seq, json AS line FROM read_ndjson_objects('{source}')"
        )
        connection.execute(sql.profiles_statement(rules))
        connection.execute(f"CREATE TABLE users AS {sql.users_query(USERS)}")
        connection.execute(f"CREATE TABLE user_custom_attributes AS {sql.attributes_query(rules)}")
        for rows in PROFILE_LISTS:
            connection.execute(f"CREATE TABLE {rows.table.name} AS {sql.rows_query(rows, rules)}")


def _duckdb_credentials(folder: Path) -> Any:
    from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

    credentials = DuckDbCredentials(str(folder / "loaded.duckdb"))
    credentials.global_config = {"memory_limit": "512MB", "threads": min(4, os.cpu_count() or 1)}
    return credentials


def _pipeline(folder: Path, destination: Any) -> Any:
    import dlt

    os.environ |= {
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "LOAD__DELETE_COMPLETED_JOBS": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    return dlt.pipeline("bench", destination=destination, dataset_name="braze", pipelines_dir=str(folder))


def one(side: str, source: Path, postgres: str | None) -> tuple[float, float, float]:
    """Run one side in this process: seconds after imports, CPU seconds, and peak memory in MB."""
    import dlt  # noqa: F401 - imported before the clock starts
    import duckdb  # noqa: F401

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
        named = [(side, side, None) for side in sides]
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
