"""`braze-elt verify`: does the warehouse hold what Braze says now."""

import asyncio
from collections.abc import Sequence

from destinations.errors import DestinationError
from destinations.reading import reading
from pipelines.findings import print_json, print_text
from pipelines.job import Job
from pipelines.loaded_rows import Held
from pipelines.logs import configure_logging
from pipelines.outcome import ExitCode
from pipelines.plan import planned_rows, print_plan
from pipelines.publishing import publish_summary
from pipelines.report import Reporter
from pipelines.summary import plan_summary, verification_summary
from pipelines.verification import Verification
from sources.braze import open_client
from sources.braze.errors import first_of
from sources.braze.planning import Calendar
from sources.braze.rereading import Rereading
from sources.braze.settings import resolve


def run_verify(job: Job, sample: int | None, output: str, plan: bool = False) -> ExitCode:
    """Compare `sample` entities per resource (None: all) and print what differs as `text` or `json`.

    Returns `OK` if everything compared is the same, `PARTIAL` if anything differs or could not be compared. With `plan`
    only the requests are printed. Raises `DestinationError` if nothing that is asked for was ever loaded.
    """
    configure_logging(job.log_format)
    settings = resolve(**job.overrides)
    names = job.names(settings)
    calendar = Calendar(job.now, settings.zone, settings.lookback_days, settings.start_date)
    with reading(job.destination, job.dataset) as dataset:
        held = Held(dataset, calendar)
        if not any(held.has(name) for name in names):
            raise DestinationError("None of the selected resources is loaded in this dataset yet: run braze-elt sync.")
        api = Rereading(settings, open_client(settings), dry=plan)
        verification = Verification(held, api, sample)
        asyncio.run(_run(verification, api, names, job.log_format))
        if plan:
            rows = planned_rows(api.counted, settings)
            print_plan(rows)
            publish_summary(job, plan_summary(job.command, rows))
            return ExitCode.OK
    report, requests = verification.report, api.client.traffic.requests
    if output == "json":
        print_json(report, requests)
    else:
        print_text(report, requests, calendar.settled)
    publish_summary(job, verification_summary(report, requests))
    return ExitCode.OK if report.clean else ExitCode.PARTIAL


async def _run(verification: Verification, api: Rereading, names: Sequence[str], log_format: str) -> None:
    try:
        with Reporter(api.progress, log_format):
            await verification.run(names)
    except BaseExceptionGroup as group:
        raise first_of(group) from None
    finally:
        await api.client.aclose()
