"""`braze-elt check`: can this configuration work, and if not, how to fix it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from destinations.access import check
from destinations.errors import DestinationError
from destinations.location import location
from pipelines.job import PIPELINE, append_notice, make_pipeline
from pipelines.logs import configure_logging
from pipelines.outcome import ExitCode
from pipelines.terminal import stdout
from sources.braze import default_names, open_client
from sources.braze.access import Access, endpoint_access
from sources.braze.errors import BrazeError, ConfigurationError
from sources.braze.export_files import open_bucket
from sources.braze.sends_query import read_sends
from sources.braze.settings import Settings, resolve

_MARKS = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("–")}


@dataclass(frozen=True)
class Check:
    """A line of the table: what was checked, whether it is fine, and how to fix it."""

    subject: str
    fine: bool | None
    cure: str = ""


def run_check(destination: str, dataset: str) -> ExitCode:
    """Print what works and what does not; `OK` if everything that a sync needs works, `USAGE` otherwise."""
    configure_logging("text")  # a pool that is used up is worth a word here, too
    lines = [*_braze(), _warehouse(destination, dataset)]
    table = Table("", "checked", "what to do")
    for line in lines:
        table.add_row(_MARKS[line.fine], line.subject, line.cure)
    stdout().print(table)
    return ExitCode.USAGE if any(line.fine is False for line in lines) else ExitCode.OK


def _braze() -> Iterator[Check]:
    try:
        settings = resolve()
    except ConfigurationError as error:
        yield Check("settings", False, str(error))
        return
    yield Check("settings", True)
    try:
        answers: list[Access] = asyncio.run(_ask(settings))
    except ConfigurationError as error:
        yield Check(f"{settings.base_url} with this key", False, str(error))
        return
    yield Check(f"{settings.base_url} with this key", True)
    yield from _elsewhere(settings)
    wanted = default_names(settings)
    for answer in answers:
        needed = answer.resource in wanted
        subject = f"{answer.endpoint.path} ({answer.resource})"
        if answer.error is None:
            yield Check(subject, True)
        elif not needed or answer.optional:
            yield Check(subject, None, f"Not needed now: {answer.error}")
        else:
            yield Check(subject, False, str(answer.error))


def _elsewhere(settings: Settings) -> Iterator[Check]:
    """What a run reads beside the API."""
    bucket, query, url = settings.export_bucket, settings.sends_query, settings.sends_query_url
    if bucket:
        yield _tried(f"export_bucket {bucket}", lambda: open_bucket(bucket).check_readable())
    if query and url:
        yield _tried("sends_query", lambda: read_sends(url, query))


def _tried(subject: str, attempt: Callable[[], object]) -> Check:
    try:
        attempt()
    except BrazeError as error:
        return Check(subject, False, str(error))
    return Check(subject, True)


async def _ask(settings: Settings) -> list[Access]:
    client = open_client(settings)
    try:
        return await endpoint_access(client)
    finally:
        await client.aclose()


def _warehouse(destination: str, dataset: str) -> Check:
    try:
        pipeline = make_pipeline(PIPELINE, dataset, destination)
        assert pipeline.destination
        check(pipeline.destination, dataset)
        place = f"{destination} at {location(pipeline.destination, dataset)}, dataset {dataset}"
        return Check(place, True, append_notice(pipeline) or "")
    except DestinationError as error:
        return Check(f"{destination}, dataset {dataset}", False, str(error))
