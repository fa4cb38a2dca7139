"""A run, a plan or a verification as Markdown, for the job summary of a CI service or any other reader."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pipelines.errors import sentence_of
from pipelines.findings import Report
from pipelines.outcome import Outcome, Status
from pipelines.plan import HEADER
from sources.braze.failures import Failure

MOST_ROWS = 50
"""Failures or differences that are shown; a job summary has a limit."""


def append_summary(file: Path, text: str) -> None:
    """Add `text` to the end of `file`, which may not exist yet. Raises `OSError`."""
    with file.open("a", encoding="utf-8") as summary:
        summary.write(text + "\n")


def run_summary(outcome: Outcome) -> str:
    """How the run ended, how it asked, what it loaded and what failed; or what it would ask, if it was a plan."""
    if outcome.plan:
        return _lines(plan_summary(outcome.command, outcome.plan), _failures(outcome.failures))
    title = f"## braze-elt {outcome.command}"
    return _lines(title, _verdict(outcome), _traffic(outcome), _rows(outcome), _failures(outcome.failures))


def verification_summary(report: Report, requests: int) -> str:
    """What a verification compared, per resource, and what differs; values are left out."""
    title = "## braze-elt verify"
    tallies = [
        (name, f"{tally.entities:,}", f"{tally.days:,}", f"{tally.rows:,}", f"{tally.differences:,}")
        for name, tally in report.tallies.items()
    ]
    differing = [
        (finding.kind, finding.table, finding.entity, finding.day or "", finding.column or "")
        for finding in report.findings[:MOST_ROWS]
    ]
    unanswered = list(report.unanswered)[:MOST_ROWS]
    return _lines(
        title,
        f"**{report.verdict}** {requests:,} requests.",
        _table(("resource", "entities", "days", "rows compared", "differences"), tallies, numbers=4),
        _part("### Differences", ("kind", "table", "entity", "day", "column"), differing, report.differences),
        _part("### Not compared", ("resource", "entity", "message"), unanswered, len(report.unanswered)),
    )


def plan_summary(command: str, plan: Sequence[Sequence[str]]) -> str:
    """The requests that `command` would send, per endpoint; `plan` is text under `plan.HEADER`, all together last."""
    rows = [*plan[:-1], [f"**{cell}**" if cell else "" for cell in plan[-1]]]
    return _lines(f"## braze-elt {command} --plan", _table(HEADER, rows, numbers=3))


def _verdict(outcome: Outcome) -> str:
    if outcome.error:
        return f"**Failed.** {escape(sentence_of(outcome.error), quote=False)}"
    return {
        Status.OK: "**All loaded.**",
        Status.PARTIAL: f"**Loaded, with failures: {len(outcome.failures):,}.** The next run asks for them again.",
        Status.INTERRUPTED: "**Interrupted.** What had arrived is loaded; the next run goes on from there.",
    }[outcome.status]


def _traffic(outcome: Outcome) -> str:
    started = f"Started {outcome.started_at.astimezone(outcome.zone):%Y-%m-%d %H:%M %Z}, took {outcome.seconds:,.0f} s"
    if not (traffic := outcome.traffic):
        return f"{started}; Braze was not asked."
    return (
        f"{started}: {traffic.requests:,} requests, {traffic.retries:,} retries, {traffic.refused:,} refused (429),"
        f" {traffic.waited:,.0f} s waited for the rate limit."
    )


def _rows(outcome: Outcome) -> str:
    rows = [(name, f"{count:,}") for name, count in sorted(outcome.rows.items()) if count]
    return _table(("table", "rows"), [*rows, ("**all**", f"**{outcome.rows.total():,}**")], numbers=1) if rows else ""


def _failures(failures: Sequence[Failure]) -> str:
    rows = [
        (failure.resource, failure.entity_id, f"{failure.start_date} to {failure.end_date}", failure.message)
        for failure in failures[:MOST_ROWS]
    ]
    return _part("### Failures", ("resource", "entity", "days", "message"), rows, len(failures))


def _part(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> str:
    """A table of the first of `count` rows, titled; nothing if there are none."""
    more = f"\n\n… and {count - len(rows):,} more." if count > len(rows) else ""
    return f"{title}: {count:,}\n\n{_table(header, rows)}{more}" if rows else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A Markdown table; the last `numbers` columns are set to the right. HTML in cells is shown, never rendered."""
    rule = ["---"] * (len(header) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *(map(_cell, row) for row in rows)))


def _cell(text: str) -> str:
    return " ".join(escape(text, quote=False).replace("|", "\\|").split())


def _lines(*parts: str) -> str:
    """The parts that say anything, a blank line between them."""
    return "\n\n".join(filter(None, parts)) + "\n"
