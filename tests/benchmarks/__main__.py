"""Every benchmark, as Markdown tables: `python -m tests.benchmarks [--size tiny|quick|full] [name …]`.

`quick` takes about a quarter of an hour on two cores, `full` (what BENCHMARKS.md states) some hours, `tiny` seconds: it
shows that they still run.
"""

import argparse
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version

from tests.benchmarks.bench_idle import idle
from tests.benchmarks.bench_memory import memory
from tests.benchmarks.bench_profiles import compare, grown
from tests.benchmarks.bench_requests import at_the_limit, under_a_rate_limit
from tests.benchmarks.bench_rows import by_stage, rows

Sizes = Mapping[str, Callable[[], None]]

BENCHMARKS: Mapping[str, Sizes] = {
    "requests": {
        "tiny": lambda: at_the_limit(4, 2, (0.01,), 1),
        "quick": lambda: at_the_limit(600, 60, (0.2,), 1),
        "full": lambda: at_the_limit(2000, 300, (0.05, 0.2, 0.5), 3),
    },
    "rate-limit": {
        "tiny": lambda: under_a_rate_limit(2, 100, 2),
        "quick": lambda: under_a_rate_limit(60, 100, 5),
        "full": lambda: under_a_rate_limit(300, 250, 10),
    },
    "idle": {
        "tiny": lambda: idle(2, 1),
        "quick": lambda: idle(24, 3),
        "full": lambda: idle(24, 9),
    },
    "stages": {
        "tiny": lambda: by_stage(5_000),
        "quick": lambda: by_stage(500_000),
        "full": lambda: by_stage(5_000_000),
    },
    "rows": {
        "tiny": lambda: rows(5_000, (5_000,), 1),
        "quick": lambda: rows(1_000_000, (1_000_000, 4_000_000), 1),
        "full": lambda: rows(5_000_000, (5_000_000, 20_000_000), 3),
    },
    "memory": {
        "tiny": lambda: memory((2,), 20),
        "quick": lambda: memory((100, 200), 1000),
        "full": lambda: memory((2000, 4000), 1000),
    },
    "profiles": {
        "tiny": lambda: compare(50, 1),
        "quick": lambda: compare(20_000, 1),
        "full": lambda: compare(100_000, 3),
    },
    "profiles-memory": {
        "tiny": lambda: grown((50,)),
        "quick": lambda: grown((20_000, 60_000)),
        "full": lambda: grown((50_000, 500_000)),
    },
}


def main() -> None:
    """Run the named benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--size", choices=("tiny", "quick", "full"), default="quick")
    given = parser.parse_args()
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # as the commands set it
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"  # the development environment has Airflow, users' has not
    versions = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pyarrow"))
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}; load average {load}", flush=True)
    for name in given.names or BENCHMARKS:
        BENCHMARKS[name][given.size]()


if __name__ == "__main__":
    main()
