import subprocess
import sys

import pytest

from tests.benchmarks.__main__ import BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--size", "tiny", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "|---|" in done.stdout
