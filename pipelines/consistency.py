"""Whether a warehouse agrees with itself: no holes in days, no grain twice, no child without its parent."""

from datetime import timedelta

from destinations import inspection
from pipelines.findings import Report
from pipelines.loaded_rows import Held
from sources.braze.catalog import entity_named
from sources.braze.comparison import Difference, Kind, gaps
from sources.braze.model import ALL
from sources.braze.relations import ownerships
from sources.braze.series import Gaps, SeriesSpec
from sources.braze.tables import tables_of
from sources.braze.windows import ONE_DAY, Unit

MOST_PER_TABLE = 1_000
"""Doubled rows, or orphans, that are fetched."""


def look_inside(held: Held, resource: str, report: Report) -> None:
    """Check all rows of `resource`, and report what contradicts itself and which entities are behind."""
    for spec in held.series(resource):
        if not spec.summary and spec.gaps is not Gaps.ANY:
            _find_holes(held, spec, report)
    tables = [table for table in tables_of(resource) if table.name in held.tables]
    for table in tables:
        for key, count in inspection.doubled(held.client, table.name, table.key, MOST_PER_TABLE):
            report.add(Difference(Kind.DOUBLED, table.name, key, None, f"{count} rows", "1 row"))
    for owned in ownerships(resource):
        if {owned.child, owned.parent} <= held.tables:
            child, parent = (owned.child, owned.columns), (owned.parent, owned.key)
            exempt = ALL if len(owned.columns) == 1 else None
            for key in inspection.orphans(held.client, child, parent, MOST_PER_TABLE, exempt):
                report.add(Difference(Kind.ORPHAN, owned.child, key, None, f"no such row in {owned.parent}"))


def _find_holes(held: Held, spec: SeriesSpec, report: Report) -> None:
    main = spec.tables[0]
    step = ONE_DAY if spec.unit is Unit.DAY else timedelta(hours=1)
    for extent in held.extents(spec).values():
        late = (held.calendar.yesterday - held.day(extent.last)).days
        if late > 0:
            report.late(spec.resource, entity_named(extent.key).id, late)
        if (extent.last - extent.first) / step + 1 == extent.count:
            continue
        for first, last in gaps(held.moments(spec, extent), step):
            key = {**extent.key, "start_date": held.day(first), "end_date": held.day(last)}
            report.add(Difference(Kind.GAP, main.name, key, None, "no rows for these days"))
