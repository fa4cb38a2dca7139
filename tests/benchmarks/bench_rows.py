"""Rows of `campaign_message_daily` by stage, and from Arrow into the warehouse against the bare statements.

Every measurement is a process of its own, the sides take turns, and medians are reported. `connector` is what `sync`
does with Arrow rows: dlt's extract, normalize and load with merge. `bare` is one statement that trusts its input:
INSERT from the same Parquet file in DuckDB, COPY from a CSV file of the same rows in Postgres.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dlt
import duckdb
import orjson
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq

from destinations.factory import DUCKDB_LIMITS, destination
from destinations.indexes import ensure
from destinations.settings import apply_loader_defaults
from pipelines.cli import GARBAGE_THRESHOLD
from sources.braze.hints import merge_keys
from sources.braze.known import Known
from sources.braze.packing import pack
from sources.braze.parcels import PACKED_ROWS, Parcel
from sources.braze.series import specs
from sources.braze.tables import TABLES
from sources.braze.windows import Span
from sources.braze.writer import BATCH_ROWS
from tests import postgres
from tests.benchmarks.feeding import load
from tests.benchmarks.measuring import REPOSITORY, environment, median, print_table

TABLE = TABLES["campaign_message_daily"]
COUNTERS = ("sent", "delivered", "opens", "unique_opens", "clicks", "unique_clicks", "unsubscribes", "bounces")
DAYS, MESSAGES = 100, 5
RESTATED_DAYS = 30
LAST = date(2026, 6, 30)
GENERATE = f"""
    COPY (
        SELECT
            format('{{:08x}}-0000-4000-8000-000000000000', n // {DAYS * MESSAGES}) AS campaign_id,
            DATE '{LAST}' - (n // {MESSAGES} % {DAYS})::int AS date,
            'email' AS channel,
            n % {MESSAGES} AS position,
            format('{{:08x}}-0000-4000-8000-{{:012x}}', n // {DAYS * MESSAGES}, n % {MESSAGES}) AS variation_api_id,
            'Variant ' || n % {MESSAGES} AS variation_name,
            {", ".join(f"(hash(n, '{name}') % 10000)::bigint AS {name}" for name in COUNTERS)},
            (hash(n) % 100000) / 100 AS revenue
        FROM range(?) AS numbers(n)
        WHERE n // {MESSAGES} % {DAYS} < ?
    ) TO '$file'
"""


def generate(file: Path, rows: int, days: int = DAYS) -> None:
    """Write the rows of the last `days` of so many message-days, `DAYS` per message."""
    with duckdb.connect() as connection:
        connection.execute(GENERATE.replace("$file", str(file)), [rows, days])


def by_stage(rows: int) -> None:
    """Rows per second of what comes before dlt: parsing and flattening answers, and making Arrow of the rows."""
    gc.set_threshold(GARBAGE_THRESHOLD)  # as the commands do
    first = LAST - timedelta(days=DAYS - 1)
    span = Span(first, LAST)
    message = {
        "variation_name": "Variant",
        "variation_api_id": "a" * 36,
        **dict.fromkeys(COUNTERS, 1234),
        "revenue": 1.5,
    }
    days = [
        {"time": str(day), "conversions": 5, "revenue": 9.75, "messages": {"email": [message] * MESSAGES}}
        for day in span.days()
    ]
    answer = orjson.dumps({"data": days, "message": "success"})
    answers = max(1, rows // (DAYS * MESSAGES))
    part = specs("campaign_series", hourly=False)[0].parts[0]
    known, seconds, waiting = Known(), {"parse and flatten": 0.0, "rows to Arrow": 0.0}, Parcel()
    for number in range(answers):
        started = time.perf_counter()
        series = part.flatten(orjson.loads(answer), {"campaign_id": str(number)}, span, ZoneInfo("UTC"))
        flattened = time.perf_counter()
        waiting.gather(Parcel(plain=series.rows))
        if waiting.rows >= PACKED_ROWS:
            pack(waiting.plain, waiting.parents, known)
            waiting = Parcel()
        seconds["parse and flatten"] += flattened - started
        seconds["rows to Arrow"] += time.perf_counter() - flattened
    total = answers * DAYS * MESSAGES
    table = [(stage, f"{total:,}", f"{spent:.1f}", f"{total / spent:,.0f}") for stage, spent in seconds.items()]
    print_table("Rows by stage, one core", ("stage", "message-day rows", "seconds", "rows/s"), table)


def connector(file: Path, folder: Path, url: str) -> float:
    """Load the file's rows as `sync` does; the seconds."""
    started = time.perf_counter()
    load(_pipeline(folder, url), "campaign_series", _parcels(file), folder)
    return time.perf_counter() - started


def bare(file: Path, folder: Path, url: str) -> float:
    """Load the file's rows by one statement into a table of the same columns; the seconds."""
    _pipeline_tables(folder, url)
    names = ", ".join(pq.read_schema(file).names)
    if not url:
        with duckdb.connect(str(folder / "loaded.duckdb"), config=DUCKDB_LIMITS) as connection:
            started = time.perf_counter()
            statement = (
                f"INSERT INTO braze.{TABLE.name} ({names}, _dlt_load_id) SELECT *, '1' FROM read_parquet('{file}')"
            )
            connection.execute(statement)
            connection.execute("CHECKPOINT")
            return time.perf_counter() - started
    csv = folder / "rows.csv"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT *, '1' FROM read_parquet('{file}')) TO '{csv}' (HEADER false)")
    with psycopg2.connect(url) as session, session.cursor() as cursor, csv.open() as lines:
        started = time.perf_counter()
        cursor.copy_expert(f"COPY braze.{TABLE.name} ({names}, _dlt_load_id) FROM STDIN (FORMAT csv)", lines)
        session.commit()
        return time.perf_counter() - started


def restated(file: Path, folder: Path, url: str, rows: int) -> float:
    """Merge the file's rows into a table that already holds `rows`, those among them; the seconds."""
    whole = folder / "whole.parquet"
    generate(whole, rows)
    bare(whole, folder, url)
    if url:
        ensure(_pipeline(folder, url), merge_keys())
        with psycopg2.connect(url) as session, session.cursor() as cursor:
            cursor.execute(f"ANALYZE braze.{TABLE.name}")
    return connector(file, folder, url)


def _pipeline(folder: Path, url: str) -> dlt.Pipeline:
    apply_loader_defaults()
    target = destination("postgres") if url else destination("duckdb", folder / "loaded.duckdb")
    return dlt.pipeline("bench", destination=target, dataset_name="braze", pipelines_dir=str(folder))


def _pipeline_tables(folder: Path, url: str) -> None:
    load(_pipeline(folder, url), "campaign_series", iter([Parcel()]), folder)


def _parcels(file: Path) -> Iterator[Parcel]:
    for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
        yield Parcel({TABLE.name: _with_keys(pa.Table.from_batches([batch]))})


def _with_keys(rows: pa.Table) -> pa.Table:
    fields = [field.with_nullable(field.name not in TABLE.key) for field in rows.schema]
    return rows.cast(pa.schema(fields))


SIDES = {"connector": connector, "bare": bare, "restated": restated}


def _measured(side: str, file: Path, url: str, *more: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder)) | ({"DESTINATION__POSTGRES__CREDENTIALS": url} if url else {})
        command = [sys.executable, "-m", "tests.benchmarks.bench_rows", "--side", side, "--file", str(file), *more]
        command += ["--folder", folder, "--url", url]
        done = subprocess.run(command, cwd=REPOSITORY, env=env, check=True, capture_output=True, text=True)
        seconds: float = json.loads(done.stdout.splitlines()[-1])
        return seconds


def rows(number: int, tables: tuple[int, ...], rounds: int) -> None:
    """Print what an append-sized load and a restatement take, in both warehouses."""
    with tempfile.TemporaryDirectory() as name, postgres.server() as server:
        file, month = Path(name) / "rows.parquet", Path(name) / "month.parquet"
        generate(file, number)
        generate(month, min(number, tables[0]) // 5, RESTATED_DAYS)
        count = pq.read_metadata(month).num_rows
        appended, merged = [], []
        for warehouse in ("DuckDB", "Postgres"):
            taken: dict[str, list[float]] = {"connector": [], "bare": []}
            for _ in range(rounds):
                for side, seconds in taken.items():
                    with _database(warehouse, server) as url:
                        seconds.append(_measured(side, file, url))
            ours, plain = median(taken["connector"]), median(taken["bare"])
            appended.append(
                (
                    warehouse,
                    f"{number:,}",
                    f"{ours:.1f}",
                    f"{number / ours:,.0f}",
                    f"{plain:.1f}",
                    f"{ours / plain:.2f}",
                )
            )
            for size in tables:
                with _database(warehouse, server) as url:
                    spent = _measured("restated", month, url, "--rows", str(size))
                merged.append((warehouse, f"{count:,}", f"{size:,}", f"{spent:.1f}"))
    head = ("warehouse", "rows", "connector s", "rows/s", "bare s", "connector / bare")
    print_table(f"Arrow to warehouse, an append-sized load, median of {rounds}", head, appended)
    head = ("warehouse", f"rows restated ({RESTATED_DAYS} days)", "rows in the table", "seconds")
    print_table("Merge of a restatement", head, merged)


def _database(warehouse: str, server: str) -> AbstractContextManager[str]:
    return postgres.database(server) if warehouse == "Postgres" else nullcontext("")


def main() -> None:
    """Run one side; `tests.benchmarks` runs all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url", default="")
    parser.add_argument("--rows", type=int, default=0)
    given = parser.parse_args()
    more = (given.rows,) if given.side == "restated" else ()
    print(json.dumps(SIDES[given.side](given.file, given.folder, given.url, *more)))


if __name__ == "__main__":
    main()
