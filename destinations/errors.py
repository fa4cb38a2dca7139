"""What can be wrong with a destination, each as one sentence that says what to do."""


class DestinationError(Exception):
    """The destination is named or configured wrongly."""


class DestinationUnavailable(DestinationError):  # noqa: N818 - reads as what is the matter
    """The destination is configured, but cannot be used now."""


class DestinationBusy(DestinationUnavailable):
    """Another run is loading the same dataset."""
