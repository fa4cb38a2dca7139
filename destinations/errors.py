"""What can be wrong with a destination, each as one sentence that says what to do."""


class DestinationError(Exception):
    """The destination is named or configured wrongly."""


class DestinationUnavailable(DestinationError):
    """The destination is configured, but cannot be used now."""


class DestinationLost(DestinationUnavailable):
    """The destination could be reached, and then went away."""


class DestinationBusy(DestinationUnavailable):
    """Another run is loading the same dataset."""
