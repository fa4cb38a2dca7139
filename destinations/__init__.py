"""Everything that knows a warehouse: opening it, checking it, describing it, keeping a pipeline true to it.

The modules know dlt and the warehouses; none of them knows Braze or the commands. Importing this package is
cheap; its modules import dlt, so commands import them where they use them.
"""

from destinations.errors import DestinationBusy, DestinationError, DestinationLost, DestinationUnavailable

__all__ = ["DestinationBusy", "DestinationError", "DestinationLost", "DestinationUnavailable"]
