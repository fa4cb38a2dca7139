"""How rows reach a destination: by replacing those of their parent, or by standing beside them.

A destination that can delete and insert in one merge gets tables as they are. One that cannot (files in a bucket, also
as Delta or Iceberg: they match rows one by one, so a row that vanished would stay) is only ever appended to. What is
current then follows from the rows themselves, see `ADDED`.
"""

from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema.typing import TWriteDispositionConfig

ADDED = False
"""What the removal mark of an appended row says if the row stands beside its siblings of earlier loads.

Where it is null, the row's load holds all rows of its parent: those of earlier loads are out of date. Where it is true,
the parent has no rows any more.
"""

_MERGE: TWriteDispositionConfig = {"disposition": "merge", "strategy": "delete-insert"}


def merges() -> bool:
    """Whether the destination of the current extraction replaces rows by parent; asked within a dlt resource."""
    container = Container()
    if DestinationCapabilitiesContext not in container:
        return True
    return can_merge(container[DestinationCapabilitiesContext])


def can_merge(capabilities: DestinationCapabilitiesContext) -> bool:
    """Whether a destination with these capabilities deletes and inserts in one merge, in its preferred table format."""
    strategies = capabilities.supported_merge_strategies or []
    if capabilities.merge_strategies_selector:
        preferred = capabilities.preferred_table_format
        strategies = list(
            capabilities.merge_strategies_selector(
                strategies, table_schema={"table_format": preferred} if preferred else {}
            )
        )
    return "delete-insert" in strategies


def disposition() -> TWriteDispositionConfig:
    """Dlt's write disposition for every table of the current extraction."""
    return _MERGE if merges() else "append"
