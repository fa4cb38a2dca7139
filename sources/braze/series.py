"""Every series the API has, as data: which endpoint, how many days a request, how its answer becomes rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum, auto
from functools import cached_property
from zoneinfo import ZoneInfo

from sources.braze import endpoints, flatten
from sources.braze.endpoints import Endpoint, Json, Param
from sources.braze.flatten import Series
from sources.braze.model import Table
from sources.braze.rows import Row
from sources.braze.tables import tables_of
from sources.braze.windows import ONE_DAY, Span, Unit, days_per_request, missing, request_parameters

Flatten = Callable[[Json, Row, Span, ZoneInfo], Series]
SUMMARY_DAYS = 14
"""Days that one row of `canvas_summary` sums up."""


class Gaps(Enum):
    """Which closed days may be absent from an answer without anything being wrong."""

    NONE = auto()
    LEADING = auto()
    """Days before the first one returned: Braze keeps segment sizes only from when tracking was switched on."""
    ANY = auto()
    """Braze keeps send figures for 14 days only."""


@dataclass(frozen=True)
class Part:
    """One request of a series: its endpoint and what flattens its answer."""

    endpoint: Endpoint
    flatten: Flatten
    parameters: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesSpec:
    """A series of one resource. Several `parts` are requests whose columns make up one row of the single `table`.

    `of` names the catalog whose entities it is asked for (None: the workspace itself, see `walks.py`).
    `dormant` series may skip entities that the catalog says are at rest. Braze answers zero for days
    older than `retention_days`; such zeros are ignored. A `summary` answers one total of all days that are asked for:
    it is asked for fixed blocks of `SUMMARY_DAYS`.
    """

    resource: str
    parts: tuple[Part, ...]
    of: str | None = None
    unit: Unit = Unit.DAY
    gaps: Gaps = Gaps.NONE
    dormant: bool = False
    summary: bool = False
    retention_days: int | None = None
    table: str = ""

    @property
    def days_per_request(self) -> int:
        """Days that one request of this series covers."""
        cap = self.parts[0].endpoint.cap
        assert cap
        return days_per_request(cap, self.unit)

    @property
    def moment(self) -> str:
        """The column that says when, in all tables of this series."""
        if self.summary:
            return "start_date"
        return "date" if self.unit is Unit.DAY else "hour"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables of this series, that of the entity's own figures first."""
        tables = [table for table in tables_of(self.resource) if self.moment in table.key]
        return tuple(sorted(tables, key=lambda table: len(table.key)))

    def cursor(self, entity: str, part: Part) -> str:
        """The name under which the cursor of `entity` is kept: parts may be granted and denied on their own."""
        suffix = part.endpoint.path if len(self.parts) > 1 else ""
        return " ".join(filter(None, (entity, suffix, "" if self.unit is Unit.DAY else "hourly")))

    def parameters(self, part: Part, entity: Mapping[str, str], span: Span, zone: ZoneInfo) -> dict[str, Param]:
        """The query that asks `part` for `span` of the entity that the parameters `entity` name."""
        query: dict[str, Param] = {**part.parameters, **entity, **request_parameters(span, self.unit, zone)}
        if self.unit is Unit.HOUR:
            query["unit"] = "hour"
        if self.summary:
            query["length"] = len(span)
        return query

    def may_begin_late(self, begins: date | None) -> bool:
        """Whether days before the first one returned may be absent: an entity `begins` on a day that is not known."""
        return self.gaps is Gaps.LEADING or (self.gaps is Gaps.NONE and begins is None)

    def absent(
        self, span: Span, series: Series, through: date, begun: date | None = None, may_begin_late: bool = False
    ) -> Span | None:
        """The days of `span` up to `through` that an answer ought to hold and does not; None if none is missing.

        `begun` is the day up to which the entity has had days before: none after it counts as a leading gap.
        """
        if self.gaps is Gaps.ANY:
            return None
        if may_begin_late:
            present = [*series.days, begun + ONE_DAY] if begun else list(series.days)
            if not present and (self.gaps is Gaps.LEADING or through not in span):
                return None
            span = Span(max(span.first, min(present, default=span.first)), span.last)
        return missing(span, series.days, through)


def _flat(table: str, **rename: str) -> Flatten:
    return lambda answer, key, span, zone: flatten.flat_series(table, answer, key, span, zone, rename)


def _hourly(table: str, **rename: str) -> Flatten:
    return lambda answer, key, span, zone: flatten.hourly_series(table, answer, key, span, zone, rename)


def _messages(table: str) -> Flatten:
    return lambda answer, key, span, zone: flatten.message_series(table, answer, key, span, zone)


BREAKDOWNS = {
    "include_variant_breakdown": True,
    "include_step_breakdown": True,
    "include_deleted_step_data": True,
}
CAMPAIGN_SERIES = SeriesSpec(
    "campaign_series",
    (Part(endpoints.CAMPAIGNS_DATA_SERIES, _messages("campaign")),),
    of="campaigns",
    dormant=True,
)
SENDS = SeriesSpec("sends", (Part(endpoints.SENDS_DATA_SERIES, _messages("send")),), gaps=Gaps.ANY, retention_days=14)
CANVAS_SERIES = SeriesSpec(
    "canvas_series",
    (
        Part(
            endpoints.CANVAS_DATA_SERIES,
            flatten.canvas_series,
            BREAKDOWNS,
        ),
    ),
    of="canvases",
    dormant=True,
)
CANVAS_SUMMARY = SeriesSpec(
    "canvas_summary",
    (
        Part(
            endpoints.CANVAS_DATA_SUMMARY,
            lambda answer, key, span, zone: flatten.canvas_summary(answer, key, span),
            BREAKDOWNS,
        ),
    ),
    of="canvases",
    dormant=True,
    summary=True,
)
SEGMENT_SERIES = SeriesSpec(
    "segment_series",
    (Part(endpoints.SEGMENTS_DATA_SERIES, _flat("segment_daily")),),
    of="segments",
    gaps=Gaps.LEADING,
)
CARD_SERIES = SeriesSpec("card_series", (Part(endpoints.FEED_DATA_SERIES, _flat("card_daily")),), of="cards")
KPIS = SeriesSpec(
    "kpis",
    tuple(
        Part(endpoint, _flat("kpi_daily"))
        for endpoint in (
            endpoints.KPI_MAU,
            endpoints.KPI_DAU,
            endpoints.KPI_NEW_USERS,
            endpoints.KPI_UNINSTALLS,
        )
    ),
    table="kpi_daily",
)
SESSIONS = SeriesSpec("sessions", (Part(endpoints.SESSIONS_DATA_SERIES, _flat("session_daily")),))
EVENT_SERIES = SeriesSpec("event_series", (Part(endpoints.EVENTS_DATA_SERIES, _flat("event_daily")),))
PURCHASES = SeriesSpec(
    "purchases",
    (
        Part(endpoints.PURCHASES_REVENUE_SERIES, _flat("purchase_daily")),
        Part(endpoints.PURCHASES_QUANTITY_SERIES, _flat("purchase_daily", purchase_quantity="quantity")),
    ),
    table="purchase_daily",
)
HOURLY = (
    SeriesSpec("card_series", (Part(endpoints.FEED_DATA_SERIES, _hourly("card_hourly")),), of="cards", unit=Unit.HOUR),
    SeriesSpec("sessions", (Part(endpoints.SESSIONS_DATA_SERIES, _hourly("session_hourly")),), unit=Unit.HOUR),
    SeriesSpec("event_series", (Part(endpoints.EVENTS_DATA_SERIES, _hourly("event_hourly")),), unit=Unit.HOUR),
    SeriesSpec(
        "purchases",
        (
            Part(endpoints.PURCHASES_REVENUE_SERIES, _hourly("purchase_hourly")),
            Part(endpoints.PURCHASES_QUANTITY_SERIES, _hourly("purchase_hourly", purchase_quantity="quantity")),
        ),
        unit=Unit.HOUR,
        table="purchase_hourly",
    ),
)  # fmt: skip
DAILY = (
    CAMPAIGN_SERIES, SENDS, CANVAS_SERIES, CANVAS_SUMMARY, SEGMENT_SERIES, CARD_SERIES, KPIS, SESSIONS, EVENT_SERIES,
    PURCHASES,
)  # fmt: skip


def specs(resource: str, hourly: bool) -> tuple[SeriesSpec, ...]:
    """The series that `resource` loads: by day, and by hour where the API has it and `hourly` is set."""
    return tuple(spec for spec in (*DAILY, *(HOURLY if hourly else ())) if spec.resource == resource)


def expires(resource: str) -> bool:
    """Whether Braze keeps the figures of `resource` for some days only: what is loaded must not be taken for new."""
    return any(spec.retention_days for spec in specs(resource, hourly=True))


def summary_blocks(span: Span, through: date) -> list[Span]:
    """The 14-day blocks that touch `span` and end by `through`; fixed on the calendar, so that keys never move."""
    blocks = []
    first = span.first - timedelta(days=span.first.toordinal() % SUMMARY_DAYS)
    while first <= span.last:
        block = Span(first, first + timedelta(days=SUMMARY_DAYS - 1))
        if block.last <= through:
            blocks.append(block)
        first = block.last + timedelta(days=1)
    return blocks
