"""Tables that somebody dropped by hand: made again, and loaded as if for the first time."""

import logging
from collections.abc import Collection
from itertools import chain

import dlt
from dlt.extract import DltSource

from destinations.lost import lost, make_again
from destinations.packages import load_package
from destinations.state import discard_pending
from sources.braze import SOURCE
from sources.braze.resources import forgotten
from sources.braze.series import expires
from sources.braze.tables import LEDGER_TABLES, tables_of

logger = logging.getLogger(__name__)


def restore(pipeline: dlt.Pipeline, resources: Collection[str], hourly: bool) -> None:
    """Make what is lost of the tables of `resources` again, those by hour if `hourly`, and have them loaded anew.

    Rows that are left stay until newer ones replace them; figures that Braze does not keep are read again only as far
    as the lookback. To be called after `adopt`. Raises what dlt raises if the warehouse does not take it.
    """
    loads = {name: [table.name for table in tables_of(name) if hourly or "hour" not in table.key] for name in resources}
    wanted = {*chain(*loads.values()), *(table.name for table in LEDGER_TABLES)}
    gone = wanted.intersection(lost(pipeline, SOURCE))
    if not gone:
        return
    anew = [name for name, tables in loads.items() if gone.intersection(tables) and not expires(name)]
    logger.warning(
        "Somebody dropped these tables, or a column of them: %s. They are made again%s.",
        ", ".join(sorted(gone)),
        f", and {', '.join(anew)} loaded from the beginning" if anew else "",
    )
    discard_pending(pipeline)
    # In this order: had a killed run made the tables only, nobody would know what they lack.
    if SOURCE in pipeline.schemas:  # otherwise no load was ever complete, and there is nothing to forget
        load_package(pipeline, DltSource(dlt.Schema(SOURCE), SOURCE, [forgotten(anew)]))
    make_again(pipeline, SOURCE, gone)
