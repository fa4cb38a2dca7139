"""Measuring commands as processes of their own, against a sandbox in another one."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What a process took: wall seconds, CPU seconds of its own and its children, peak memory in MB, its output."""

    seconds: float
    cpu: float
    peak: float
    output: str


def measured(*command: str, cwd: Path, env: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end. Raises `RuntimeError` with its output if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}:\n{output}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def braze_elt(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Measured:
    """Run `braze-elt` with these arguments."""
    return measured(sys.executable, "-m", "pipelines", *arguments, cwd=cwd, env=env)


def environment(folder: Path, endpoint: str = "", **settings: object) -> dict[str, str]:
    """An environment with nothing set but a warehouse and a working directory in `folder`, and these settings."""
    outside = ("SOURCES__", "DESTINATION__", "DLT_", "RUNTIME__", "PYTHONDONTWRITEBYTECODE")
    given = {f"SOURCES__BRAZE__{name.upper()}": str(value) for name, value in settings.items()}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(outside)},
        "PYTHONPATH": str(REPOSITORY),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "DESTINATION__DUCKDB__CREDENTIALS": str(folder / "warehouse.duckdb"),
        "SOURCES__BRAZE__API_KEY": "benchmark",
        "SOURCES__BRAZE__ENDPOINT": endpoint,
        **given,
    }


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """A stand-in workspace in a process of its own, as its URL."""
    command = (sys.executable, "-m", "pipelines", "sandbox", "--port", "0", *options)
    env = environment(Path.cwd())
    with subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            url = re.search(r"http://\S+", said)
            assert url, said
            yield url[0]
        finally:
            process.terminate()


def requests_of(run: Measured) -> int:
    """The number of requests that the closing line of a run states."""
    *_, stated = re.findall(r"([\d,]+) requests", run.output)  # lines of progress come before
    return int(stated.replace(",", ""))


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)
