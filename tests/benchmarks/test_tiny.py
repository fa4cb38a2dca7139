import subprocess
import sys


def test_the_profiles_benchmark_runs():
    command = [sys.executable, "-m", "tests.benchmarks.bench_profiles", "--profiles", "50", "--rounds", "1"]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert all(f"| {side} |" in table for side in ("connector", "normalizer", "bare"))
