"""A stand-in workspace that runs: in a background thread of a test, or as a process of its own."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, time
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from sources.braze_sandbox.exports import Exports
from sources.braze_sandbox.faults import Faults
from sources.braze_sandbox.limits import Limiter
from sources.braze_sandbox.options import RateLimit, WorkspaceOptions
from sources.braze_sandbox.request_log import RequestLog
from sources.braze_sandbox.server import Server
from sources.braze_sandbox.totals import Scope, Totals
from sources.braze_sandbox.workspace import Workspace

_READY_SECONDS = 30


class Sandbox:
    """A workspace behind HTTP.

    `workspace` holds the content and takes changes, `faults` the faults, `log` what was asked, `exports` the export
    jobs. All of it may be used from other threads while the server runs, and over HTTP by `command` names.
    """

    def __init__(self, options: WorkspaceOptions | None = None) -> None:
        self.workspace = Workspace(options)
        self.faults = Faults(self.workspace.options.seed)
        self.log = RequestLog()
        self.limiter = Limiter()
        self.exports = Exports(self.workspace)
        self.url = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None

    # running

    def start(self, port: int = 0, host: str = "127.0.0.1") -> Self:
        """Serve in a background thread; `url` is then the base URL. Port 0 takes any free one."""
        ready = threading.Event()
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self.serve(port, host, lambda _: ready.set()))
            except OSError as error:
                failures.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name="braze-sandbox", daemon=True)
        self._thread.start()
        if not ready.wait(_READY_SECONDS):
            raise TimeoutError("the sandbox did not start")
        if failures:
            raise failures[0]
        return self

    async def serve(self, port: int, host: str, ready: Callable[[str], None]) -> None:
        """Serve until stopped or cancelled, and call `ready` with the base URL once it can be reached."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(Server(self).handle, access_log=None), shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, backlog=1024)
            await site.start()
            self.url = f"http://{host}:{runner.addresses[0][1]}"
            ready(self.url)
            await self._stopped.wait()
        finally:
            self.exports.close()
            await runner.cleanup()

    def stop(self) -> None:
        """Stop serving and remove what exports left on disk."""
        if self._loop and self._stopped and self._thread and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(_READY_SECONDS)

    def __enter__(self) -> Self:
        return self if self.url else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # steering

    def set(self, **options: Any) -> None:
        """Change options while running; see `Workspace.set_options`."""
        self.workspace.set_options(**options)

    def fail(
        self,
        path: str,
        kind: str,
        params: Mapping[str, str] | None = None,
        times: int | None = None,
        days: tuple[str, ...] = (),
    ) -> int:
        """Let requests to a path with these parameters meet a fault; returns the rule's id. See `Faults.fail`."""
        return self.faults.fail(kind, path, params, times, days)

    def mend(self, rule_id: int | None = None) -> None:
        """Take a rule back, or all of them."""
        self.faults.mend(rule_id)

    def totals(self, start: date, end: date, app_ids: tuple[str, ...] = (), products: tuple[str, ...] = ()) -> Totals:
        """The right sums for a range of days; see `totals`."""
        return self.workspace.totals(start, end, Scope(tuple(app_ids), tuple(products)))

    def command(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a steering command with arguments that came as JSON, and return what JSON can hold.

        Raises KeyError for an unknown command or id, TypeError or ValueError for wrong arguments.
        """
        commands: dict[str, Callable[..., Any]] = {
            "set": self.set,
            "fail": self.fail,
            "mend": self.mend,
            "totals": self.totals,
            "add": self.workspace.add,
            "remove": self.workspace.remove,
            "update": self.workspace.update,
            "stop": self.workspace.stop,
            "wake": self.workspace.wake,
            "delete_step": self.workspace.delete_step,
            "restate": self._restate,
            "edit_profile": self._edit_profile,
            "requests": self._requests,
            "reset": self._reset,
            "entities": self._entities,
        }
        return commands[name](**{key: parsed(key, value) for key, value in arguments.items()})

    def _restate(self, target: str, day: date, deltas: Mapping[str, int]) -> None:
        self.workspace.restate(target, day, **deltas)

    def _edit_profile(self, number: int, fields: Mapping[str, Any]) -> None:
        self.workspace.edit_profile(number, **fields)

    def _requests(self, listed: bool | str = False) -> dict[str, Any]:
        return self.log.as_json(listed in (True, "true", "1"))

    def _reset(self) -> None:
        self.log.reset()
        self.faults.reset()

    def _entities(self) -> dict[str, Any]:
        workspace = self.workspace
        return {
            "campaigns": list(workspace.campaigns),
            "canvases": list(workspace.canvases),
            "segments": {segment.id: segment.tracked for segment in workspace.segments.values()},
            "cards": list(workspace.cards),
            "events": list(workspace.events),
            "products": workspace.products,
            "apps": workspace.apps,
            "sends": [asdict(send) for send in workspace.sends.values()],
            "opened": workspace.opened,
            "today": workspace.now().date(),
        }


_DATES = frozenset({"start", "end", "day", "on", "live_from", "today", "opened", "frozen_on"})


def parsed(name: str, value: Any) -> Any:
    """An argument or option as Python wants it: dates and times from text, tuples and sets from lists."""
    if name == "limits":
        return {pool: RateLimit(**limit) for pool, limit in value.items()}
    if not isinstance(value, str | list):
        return value
    if isinstance(value, list):
        return frozenset(value) if name in ("denied", "export_flaws", "deleted") else tuple(value)
    if name in _DATES:
        return date.fromisoformat(value)
    return time.fromisoformat(value) if name == "time_of_day" else value


def serve(
    options: WorkspaceOptions, port: int, host: str = "127.0.0.1", announce: Callable[[str], None] = print
) -> None:
    """Serve a workspace until interrupted or terminated; `announce` gets the base URL once it can be reached.

    Raises OSError when the port is taken. Must be called on the main thread.
    """
    sandbox = Sandbox(options)

    async def until_signalled() -> None:
        serving = asyncio.ensure_future(sandbox.serve(port, host, announce))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_signalled())
