"""Peak memory of a first load, which must not grow with the workspace."""

import tempfile
from pathlib import Path

from tests.benchmarks.measuring import braze_elt, environment, print_table, requests_of, sandbox


def memory(campaigns: tuple[int, ...], days: int) -> None:
    """First loads of so many campaigns with so many days each."""
    rows = []
    for number in campaigns:
        options = (
            "--campaigns",
            str(number),
            "--canvases",
            "0",
            "--segments",
            "0",
            "--users",
            "0",
            "--days",
            str(days),
        )
        with sandbox(*options) as url, tempfile.TemporaryDirectory() as folder:
            env = environment(Path(folder), url)
            run = braze_elt("sync", "--select", "campaigns,campaign_series", cwd=Path(folder), env=env)
        loaded = next(line for line in run.output.splitlines() if line.startswith("│ all"))
        count = loaded.split("│")[2].strip()
        rows.append((f"{number:,}", days, f"{requests_of(run):,}", count, f"{run.seconds:.0f}", f"{run.peak:.0f}"))
    print_table("Memory of a first load", ("campaigns", "days", "requests", "rows", "wall s", "peak MB"), rows)
