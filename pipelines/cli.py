"""The `braze-elt` command line: options, exit codes, and nothing else.

The commands' modules are imported when a command runs: dlt alone takes longer than `--help` may.
"""

import gc
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

import click

GARBAGE_THRESHOLD = 50_000
"""Rows and JSON answers are many objects without cycles: looking for some every 700 objects takes a tenth of a run."""
F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """Turns what a user can fix into a sentence and an exit code; everything else is a bug and shows itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            _end_at_once()
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            from pipelines.logs import report

            report(error)
            ctx.exit(code)


def _end_at_once() -> NoReturn:
    """End as a kill does, which loses nothing: Python would wait for the threads that wait for an answer."""
    click.echo("Aborted!", err=True)
    sys.stdout.flush()
    os._exit(1)


def _exit_code(error: Exception) -> int | None:
    from destinations import DestinationBusy, DestinationError, DestinationLost
    from pipelines.errors import RunFailed
    from pipelines.outcome import ExitCode
    from sources.braze.errors import BrazeError, ConfigurationError

    if isinstance(error, RunFailed | DestinationBusy | DestinationLost):
        return ExitCode.FAILED
    if isinstance(error, ConfigurationError | DestinationError):
        return ExitCode.USAGE
    return ExitCode.FAILED if isinstance(error, BrazeError) else None


class Day(click.ParamType[date]):
    """A day as YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse, or fail with a sentence."""
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date: write it as YYYY-MM-DD.", param, ctx)


class OutputFile(click.ParamType[Path]):
    """A file to write, in a folder that exists."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check before anything is done, or fail with a sentence."""
        file = Path(value)
        if file.is_dir() or not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
            self.fail(f"{value} cannot be written: name a file in a folder that exists and is yours.", param, ctx)
        return file


_log_format = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How logs are written."
)
_format = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the result is printed.",
)


def _spelt(_: click.Context, __: click.Parameter, name: str) -> str:
    from destinations.location import dataset_name

    return dataset_name(name)


def _where(command: F) -> F:
    """Options of every command that opens the warehouse."""
    options = (
        click.option("--destination", default="duckdb", show_default=True, help="Any dlt destination by name."),
        click.option(
            "--dataset", default="braze", show_default=True, callback=_spelt, help="Schema, in dlt's spelling."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _loading(command: F) -> F:
    """Options of every command that works on resources."""
    options = (
        click.option("--select", metavar="NAME[,NAME]", help="Resources; the default is all that apply."),
        _where,
        _log_format,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _publishing(command: F) -> F:
    """Options of the commands whose runs are published."""
    return _summary(
        click.option("--metrics", type=OutputFile(), help="Write the run's figures, for Prometheus.")(command)
    )


_summary = click.option("--summary", type=OutputFile(), help="Append a Markdown summary of the run to FILE.")
_plan = click.option("--plan", is_flag=True, help="Print what would be asked, and stop.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="braze-elt")
def cli() -> None:
    """Load a Braze workspace into DuckDB, Postgres or any other dlt destination.

    Settings come from the environment (SOURCES__BRAZE__API_KEY, SOURCES__BRAZE__ENDPOINT, …) or from .dlt/secrets.toml
    and .dlt/config.toml. Exit codes: 0 all loaded, 1 the run failed, 2 wrong usage or configuration, 3 loaded with
    failures recorded in sync_failures.
    """


@cli.command()
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    default=Path("braze_demo.duckdb"),
    show_default=True,
    help="DuckDB file to load into.",
)
def demo(file: Path) -> None:
    """Load a stand-in workspace into a DuckDB file and try some queries. Needs no account and no network."""
    from pipelines.demo import run_demo

    sys.exit(run_demo(file))


@cli.command()
@_where
def check(destination: str, dataset: str) -> None:
    """Check key, host, permissions and warehouse, and say how to fix each problem."""
    from pipelines.check import run_check

    sys.exit(run_check(destination, dataset))


@cli.command()
@_loading
@_publishing
@_plan
def sync(plan: bool, **asked: Any) -> None:
    """Load what is new since the last run, and read the last days again: the nightly job."""
    from pipelines.job import Job
    from pipelines.run import run

    sys.exit(run(Job("sync", **asked), plan=plan))


@cli.command()
@click.option("--cron", required=True, metavar="EXPRESSION", help='When, as cron has it: "15 3 * * *" is 03:15 daily.')
@click.option("--now", "at_once", is_flag=True, help="Sync at once as well.")
@_loading
@_publishing
def schedule(cron: str, at_once: bool, **asked: Any) -> None:
    """Sync at the times of a cron expression, by the clocks of the workspace, until SIGTERM or Ctrl-C."""
    from pipelines.job import Job
    from pipelines.schedule import run_schedule

    sys.exit(run_schedule(Job("sync", **asked), cron, at_once))


@cli.command()
@click.option("--start", type=Day(), required=True, help="First day, included.")
@click.option("--end", type=Day(), required=True, help="Last day, included.")
@_loading
@_publishing
@_plan
def backfill(start: date, end: date, plan: bool, **asked: Any) -> None:
    """Load a closed range of days without touching the nightly cursors; if interrupted, rerun it to resume."""
    from pipelines.job import Job
    from pipelines.run import run
    from sources.braze.windows import Span

    if start > end:
        raise click.UsageError(f"--start {start} is after --end {end}: swap them.")
    sys.exit(run(Job("backfill", only=Span(start, end), **asked), plan=plan))


@cli.command("export-users")
@click.option("--segment", "segments", multiple=True, metavar="ID", help="Segment to export; repeatable.")
@click.option("--global-control-group", is_flag=True, help="Export the global control group.")
@click.option(
    "--external-ids",
    type=click.File("r", encoding="utf-8-sig"),
    metavar="FILE",
    help="External ids, one a line; - for stdin.",
)
@click.option("--external-ids-query", metavar="SQL", help="A query whose first column holds external ids.")
@click.option("--external-ids-url", metavar="URL", help="SQLAlchemy URL for the query; the default is the warehouse.")
@click.option("--cancel", is_flag=True, help="Cancel the running exports of the segments instead.")
@click.option("--select", type=click.Choice(["users"]), default="users", help="The resource that this command loads.")
@_where
@_log_format
@_publishing
def export_users(
    segments: tuple[str, ...],
    global_control_group: bool,
    external_ids: TextIO | None,
    external_ids_query: str | None,
    external_ids_url: str | None,
    cancel: bool,
    **asked: Any,
) -> None:
    """Load profiles: of segments, of the global control group, or by external id."""
    from pipelines.export_users import cancel_exports, run_export
    from pipelines.job import Job

    if cancel and global_control_group:
        raise click.UsageError("Braze cancels exports of segments only: leave --global-control-group out.")
    if cancel:
        sys.exit(cancel_exports(segments, asked["destination"], asked["dataset"]))
    job = Job("export-users", **asked)
    sys.exit(run_export(job, segments, global_control_group, external_ids, external_ids_query, external_ids_url))


@cli.command()
@click.option("--sample", type=click.IntRange(min=1), default=20, show_default=True, help="Entities per resource.")
@click.option("--all", "everything", is_flag=True, help="Compare everything instead of a sample.")
@_format
@_loading
@_summary
@_plan
def verify(sample: int, everything: bool, output: str, plan: bool, **asked: Any) -> None:
    """Ask Braze again and compare with the warehouse, which is only read. Exit 3 if anything differs."""
    from pipelines.job import Job
    from pipelines.verify import run_verify

    sys.exit(run_verify(Job("verify", **asked), None if everything else sample, output, plan))


@cli.command()
@_where
@_format
@click.option(
    "--max-age-hours",
    type=click.FloatRange(min=0),
    help="Exit 3 if the last good sync, or what it should have loaded, is older.",
)
def status(destination: str, dataset: str, output: str, max_age_hours: float | None) -> None:
    """Show the last runs, how fresh each table is, entities behind and open failures."""
    from pipelines.status import run_status

    sys.exit(run_status(destination, dataset, output, max_age_hours))


@cli.command()
@click.option(
    "--format",
    "output",
    type=click.Choice(["markdown", "dbml", "mermaid", "json"]),
    default="markdown",
    show_default=True,
    help="How the tables are printed.",
)
def schema(output: str) -> None:
    """Print the tables, their grains and columns."""
    from pipelines.schema import render

    click.echo(render(output))


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at.")
@click.option("--api-key", help="Accept this key only; without it any key will do.")
@click.option("--seed", type=int, default=1, show_default=True, help="Other seeds make other workspaces.")
@click.option("--campaigns", type=click.IntRange(min=0), help="How many campaigns there are.")
@click.option("--canvases", type=click.IntRange(min=0), help="How many Canvases there are.")
@click.option("--segments", type=click.IntRange(min=0), help="How many segments there are.")
@click.option("--events", type=click.IntRange(min=0), help="How many custom events there are.")
@click.option("--users", type=click.IntRange(min=0), help="How many user profiles there are.")
@click.option("--days", type=click.IntRange(min=1), help="Days of history.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Seconds per answer.")
@click.option(
    "--fault-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of requests that fail."
)
@click.option(
    "--ending-at",
    type=click.Choice(["exclusive", "inclusive"]),
    default="exclusive",
    show_default=True,
    help="Whether a series includes the day of its `ending_at`.",
)
@click.option("--time-zone", default="UTC", show_default=True, help="The workspace's time zone.")
@click.option("--deny", multiple=True, metavar="PERMISSION", help="A permission the key lacks; repeatable.")
@click.option("--limit", multiple=True, metavar="POOL=REQUESTS/SECONDS", help="A rate limit; repeatable.")
@click.option("--totals", nargs=2, type=Day(), metavar="START END", help="Print the right sums as JSON, and stop.")
def sandbox(port: int, host: str, totals: tuple[date, date] | None, **options: Any) -> None:
    """Serve a stand-in Braze workspace until interrupted."""
    from pipelines.sandbox import run_sandbox

    run_sandbox(port, host, totals, options)


def main() -> None:
    """The console script."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Arrow's own allocator keeps what many threads have freed: a third of a load's memory.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Where Airflow is installed dlt asks its database for every setting; outside a DAG that is slow and to no purpose.
    os.environ.setdefault("PROVIDERS__ENABLE_AIRFLOW_SECRETS", "false")
    cli(prog_name="braze-elt")
