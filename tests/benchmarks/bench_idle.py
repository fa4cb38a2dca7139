"""What a command costs that has nothing to do: `--help`, `status`, and a night on which nothing is new."""

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measuring import Measured, braze_elt, environment, measured, median, print_table, sandbox


def idle(campaigns: int, rounds: int) -> None:
    """Wall seconds, medians, beside those of `import dlt` alone; the sandbox answers at once."""
    with sandbox("--campaigns", str(campaigns)) as url, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env = environment(folder, url)
        braze_elt("sync", cwd=folder, env=env)
        commands = {
            "`python -c 'import dlt'`, for comparison": lambda: measured(
                sys.executable, "-c", "import dlt", cwd=folder, env=env
            ),
            "`braze-elt --help`": lambda: braze_elt("--help", cwd=folder, env=env),
            "`braze-elt status`": lambda: braze_elt("status", cwd=folder, env=env),
            "`braze-elt sync --select kpis`, second night": lambda: braze_elt(
                "sync", "--select", "kpis", cwd=folder, env=env
            ),
            f"`braze-elt sync`, second night, {campaigns} campaigns": lambda: braze_elt("sync", cwd=folder, env=env),
        }
        runs: dict[str, list[Measured]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                runs[name].append(command())
    rows = [
        (name, f"{median(run.seconds for run in some):.2f}", f"{median(run.cpu for run in some):.2f}")
        for name, some in runs.items()
    ]
    print_table(f"Start-up and idle cost, median of {rounds}", ("command", "wall s", "CPU s"), rows)
