"""`braze-elt sandbox`: the stand-in workspace as a process."""

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import orjson

from sources.braze_sandbox import RateLimit, Workspace, WorkspaceOptions, serve
from sources.braze_sandbox.options import DOCUMENTED_LIMITS


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
    _check_zone(given["time_zone"])
    given["denied"] = frozenset(given.pop("deny"))
    given["limits"] = dict(_limit(text) for text in given.pop("limit"))
    return WorkspaceOptions(**given)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.UsageError(f"--time-zone {name!r}: give it an IANA name, such as Europe/Berlin.") from None


def _limit(text: str) -> tuple[str, RateLimit]:
    wanted = re.fullmatch(r"(\w+)=([1-9]\d*)/([1-9]\d*)", text)
    if not wanted or wanted[1] not in DOCUMENTED_LIMITS:
        pools = ", ".join(DOCUMENTED_LIMITS)
        raise click.UsageError(
            f"--limit {text!r}: write it as POOL=REQUESTS/SECONDS, such as shared=500/60. Pools are {pools}."
        )
    return wanted[1], RateLimit(int(wanted[2]), int(wanted[3]))
