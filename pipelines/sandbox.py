"""`braze-elt sandbox`: the stand-in workspace as a process."""

from datetime import date
from typing import Any

import click
import orjson

from sources.braze_sandbox import RateLimit, Workspace, WorkspaceOptions, serve


def run_sandbox(port: int, host: str, totals: tuple[date, date] | None, options: dict[str, Any]) -> None:
    """Serve until interrupted or terminated, or print the right sums of a range of days.

    Raises `click.UsageError` for a port that cannot be served at.
    """
    workspace_options = _options(options)
    if totals:
        sums = Workspace(workspace_options).totals(*totals)
        click.echo(orjson.dumps(sums, option=orjson.OPT_INDENT_2).decode())
        return

    def ready(url: str) -> None:
        click.echo(f"Serving a Braze workspace at {url} until interrupted (set it as `endpoint`, with any key).")

    try:
        serve(workspace_options, port, host, ready)
    except OSError as error:
        raise click.UsageError(
            f"--port {port} at --host {host} cannot be used ({error.strerror}): name another."
        ) from None


def _options(options: dict[str, Any]) -> WorkspaceOptions:
    given = {name: value for name, value in options.items() if value is not None}
    given["denied"] = frozenset(given.pop("deny"))
    given["limits"] = dict(_limit(text) for text in given.pop("limit"))
    return WorkspaceOptions(**given)


def _limit(text: str) -> tuple[str, RateLimit]:
    try:
        pool, _, rate = text.partition("=")
        requests, _, seconds = rate.partition("/")
        return pool, RateLimit(int(requests), int(seconds))
    except ValueError:
        raise click.UsageError(f"--limit {text!r}: write it as POOL=REQUESTS/SECONDS, such as shared=500/60.") from None
