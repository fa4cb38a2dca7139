"""One message to a chat or another webhook when a run has failed or left something out."""

import logging
import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, tzinfo

import dlt
import requests

from pipelines.errors import sentence_of
from pipelines.history import History
from pipelines.job import Job
from pipelines.outcome import Outcome, Status
from sources.braze.failures import Failure

logger = logging.getLogger(__name__)
TIMEOUT = (5, 10)
"""Seconds to connect, and to wait for the answer."""
MOST_FAILURES = 5
LONGEST_TEXT = 300
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "＠"})
"""Names and messages come from Braze: they must not ping a channel, nor be taken for links."""


def webhook(job: Job) -> str | None:
    """Where to send alerts; read by itself, since a run also fails when its other settings are wrong."""
    given = job.overrides
    # Without a type it is a secret to dlt, whose trace, a file, keeps the values of everything else.
    url = given["alert_webhook"] if "alert_webhook" in given else dlt.secrets.get("sources.braze.alert_webhook")
    return str(url) if url else None


def alert(url: str, job: Job, outcome: Outcome, history: History) -> None:
    """Send one message about a run that failed, wholly or in part. A webhook that does not take it is only logged.

    The body is `{"text": …}`, which Slack, Mattermost and Google Chat understand; the latter refuses any other field.
    """
    try:
        answer = requests.post(
            url, json={"text": message(job, outcome, history)}, timeout=TIMEOUT, allow_redirects=False
        )
        trouble = f"HTTP {answer.status_code}" if answer.status_code >= 300 else None
    except (requests.RequestException, ValueError) as error:
        trouble = type(error).__name__  # its text holds the URL, which is a secret
    if trouble:
        logger.warning("The alert was not delivered to `alert_webhook`: %s.", trouble)


def message(job: Job, outcome: Outcome, history: History) -> str:
    """What failed, since when, what it means, and the command that shows more."""
    return "\n".join(_lines(job, outcome, history))


def _lines(job: Job, outcome: Outcome, history: History) -> Iterator[str]:
    where = f"braze-elt {job.command} into {job.destination}, dataset {job.dataset}"
    good = history.loaded
    if outcome.error:
        yield f"{where}: the run failed."
        yield f"What failed: {_harmless(sentence_of(outcome.error))}"
        meaning = "the tables hold what was loaded before the failure; the next run resumes from there."
    elif outcome.status is Status.INTERRUPTED:
        yield f"{where}: the run was interrupted by a signal."
        meaning = "what had arrived is loaded; the next run goes on from there."
    else:
        good = history.ok
        yield f"{where}: loaded, but not everything."
        yield from _failures(outcome, history)
        meaning = "everything else is loaded; the next run asks again for what failed."
    kind = "without failures" if outcome.status is Status.PARTIAL else "that loaded"
    yield f"Last {job.command} {kind}: {_moment(good, outcome.zone) if good else 'none known'}"
    yield f"What it means: {meaning}"
    more = ["braze-elt", "status", "--destination", job.destination, "--dataset", job.dataset]
    yield f"More: {shlex.join(more)}"


def _failures(outcome: Outcome, history: History) -> Iterator[str]:
    by_resource = Counter(failure.resource for failure in outcome.failures)
    yield "What failed: " + ", ".join(f"{resource} ({count:,})" for resource, count in by_resource.items())
    for failure in outcome.failures[:MOST_FAILURES]:
        since = history.since.get((failure.resource, failure.entity_id), failure.failed_at)
        yield f"• {_named(failure)}, since {_moment(since, outcome.zone)}: {_harmless(failure.message)}"
    if len(outcome.failures) > MOST_FAILURES:
        yield f"… and {len(outcome.failures) - MOST_FAILURES:,} more."


def _named(failure: Failure) -> str:
    return f"{failure.resource} {_harmless(failure.entity_id)}"


def _moment(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _harmless(text: str) -> str:
    text = " ".join(text.split()).translate(_HARMLESS)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
