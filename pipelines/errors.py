"""What ends a command with exit code 1."""


class RunFailed(Exception):
    """The run could not be completed; the sentence says why and what happens next."""
