"""What a verification found: counted in full, kept up to a limit, printed as text or JSON without secrets."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from hashlib import blake2b
from typing import Any

import orjson
from rich.table import Table as Grid

from pipelines.terminal import stdout
from sources.braze.catalog import entity_named
from sources.braze.comparison import Difference
from sources.braze.errors import BrazeError, redact
from sources.braze.model import MOMENTS, Table, Type
from sources.braze.tables import TABLES
from sources.braze.windows import Span

MOST_KEPT = 1_000
"""Differences that are named; the others are counted."""
LONGEST_TEXT = 80


@dataclass(frozen=True)
class Finding:
    """One difference: what kind, where, and both values. `row` is what the key holds beside entity and day."""

    kind: str
    resource: str
    table: str
    entity: str
    day: str | None
    row: str | None
    column: str | None
    warehouse: Any
    api: Any


@dataclass
class Tally:
    """What was compared of one resource: entities, their days, rows; `differences` counts all of them."""

    entities: int = 0
    days: int = 0
    rows: int = 0
    differences: int = 0
    gone: set[str] = field(default_factory=set)
    behind: dict[str, int] = field(default_factory=dict)


class Report:
    """Everything found. `secrets` never appear in it; `unanswered` says what could not be compared, and why."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.findings: list[Finding] = []
        self.tallies: dict[str, Tally] = {}
        self.unanswered: Counter[tuple[str, str, str]] = Counter()
        self.not_loaded: list[str] = []
        self.changed: Span | None = None
        self._secrets = secrets

    @property
    def differences(self) -> int:
        """How many differences there are in all."""
        return sum(tally.differences for tally in self.tallies.values())

    @property
    def clean(self) -> bool:
        """Whether nothing differs and everything that was asked was answered."""
        return not (self.differences or self.unanswered)

    @property
    def verdict(self) -> str:
        """How many differences there are, as a sentence."""
        if self.clean:
            return "No differences found."
        return "1 difference." if self.differences == 1 else f"{self.differences:,} differences."

    def tally(self, resource: str) -> Tally:
        """The counts of a resource."""
        return self.tallies.setdefault(resource, Tally())

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it if there is room."""
        table = TABLES[difference.table]
        self.tally(table.resource).differences += 1
        self._remember(difference)
        if len(self.findings) < MOST_KEPT:
            self.findings.append(self._finding(table, difference))

    def fail(self, resource: str, entity: str, error: BrazeError) -> None:
        """Say that something of `entity` could not be compared."""
        self.unanswered[resource, entity, str(error)] += 1

    def late(self, resource: str, entity: str, days: int) -> None:
        """Say that the warehouse does not have the last `days` closed days of `entity` yet."""
        behind = self.tally(resource).behind
        behind[entity] = max(days, behind.get(entity, 0))

    def lose(self, resource: str, entity: str) -> None:
        """Say that Braze does not have `entity` any more: its rows stay, and it is not behind."""
        self.tally(resource).gone.add(entity)
        self.tally(resource).behind.pop(entity, None)

    def _remember(self, difference: Difference) -> None:
        days = [value for name in ("date", "start_date", "end_date") if (value := difference.key.get(name))]
        if days:
            known = [self.changed.first, self.changed.last] if self.changed else []
            self.changed = Span(min(*days, *known, days[0]), max(*days, *known, days[0]))

    def _finding(self, table: Table, difference: Difference) -> Finding:
        key = difference.key
        entity = [name for name in table.entity if name in key]
        rest = [f"{name}={value}" for name, value in key.items() if name not in (*entity, *MOMENTS)]
        days = [str(key[name]) for name in MOMENTS if name in key]
        column = table.column(difference.column) if difference.column else None
        private = column is not None and column.type is Type.JSON
        return Finding(
            kind=difference.kind.value,
            resource=table.resource,
            table=table.name,
            entity=entity_named({name: str(key[name]) for name in entity}).id,
            day=" to ".join(days) or None,
            row=self._shown(", ".join(rest)) or None,
            column=difference.column,
            warehouse=self._shown(difference.warehouse, private),
            api=self._shown(difference.api, private),
        )

    def _shown(self, value: Any, private: bool = False) -> Any:
        """A value fit for a terminal: long texts and JSON, which may hold anything, by length and fingerprint."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, date | datetime):
            return value.isoformat()
        text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
        if private or len(text) > LONGEST_TEXT:
            return f"{len(text):,} characters ({blake2b(text.encode(), digest_size=4).hexdigest()})"
        return redact(text, self._secrets)


def print_json(report: Report, requests: int) -> None:
    """Print everything as one JSON object."""
    document = {
        "clean": report.clean,
        "requests": requests,
        "resources": {
            name: {
                "entities": tally.entities,
                "days": tally.days,
                "rows": tally.rows,
                "differences": tally.differences,
                "gone": len(tally.gone),
                "behind": {"entities": len(tally.behind), "days": sum(tally.behind.values())},
            }
            for name, tally in report.tallies.items()
        },
        "differences": [asdict(finding) for finding in report.findings],
        "unanswered": [
            {"resource": resource, "entity": entity, "message": message, "requests": count}
            for (resource, entity, message), count in report.unanswered.items()
        ],
        "not_loaded": report.not_loaded,
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def print_text(report: Report, requests: int, settled: date) -> None:
    """Print a line per difference, the counts per resource, and what to do; `settled` days no sync reads again."""
    console = stdout()
    for line in (*map(_line, report.findings), *_notes(report)):
        console.print(line, soft_wrap=True)
    grid = Grid("resource", "entities", "days", "rows compared", "differences", "behind", "gone from Braze")
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, tally in report.tallies.items():
        behind = f"{len(tally.behind):,} ({sum(tally.behind.values()):,} days)" if tally.behind else ""
        counts = (tally.entities, tally.days, tally.rows, tally.differences)
        grid.add_row(name, *(f"{count:,}" for count in counts), behind, f"{len(tally.gone):,}" if tally.gone else "")
    console.print(grid)
    console.print(f"{report.verdict} {requests:,} requests.")
    for hint in _hints(report, settled):
        console.print(hint, soft_wrap=True)


def _line(finding: Finding) -> str:
    place = [finding.table, finding.entity, finding.day, finding.row and f"({finding.row})", finding.column]
    both = f"warehouse {_said(finding.warehouse)}, API {_said(finding.api)}"
    return f"{finding.kind}: {' '.join(filter(None, place))}: {both}"


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _notes(report: Report) -> Iterator[str]:
    more = report.differences - len(report.findings)
    if more:
        yield f"… and {more:,} more."
    for (resource, entity, message), count in list(report.unanswered.items())[:20]:
        yield f"not compared: {resource} {entity}: {message}" + (f" ({count} times)" if count > 1 else "")
    if len(report.unanswered) > 20:
        yield f"… and {len(report.unanswered) - 20:,} more that could not be compared."
    if report.not_loaded:
        yield f"Not loaded, so not compared: {', '.join(report.not_loaded)}."


def _hints(report: Report, settled: date) -> Iterator[str]:
    if not report.differences:
        return
    if report.changed is None or report.changed.last > settled:
        yield "Figures that Braze has restated since the last run are read again by the next one: braze-elt sync."
    if report.changed and report.changed.first <= settled:
        last = min(report.changed.last, settled)
        yield (
            "To reload days older than the lookback, run:"
            f" braze-elt backfill --start {report.changed.first} --end {last}"
        )
