"""Refusals: a status and the message of its JSON body."""


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class BadRequest(Refusal):
    """400: a parameter is missing or wrong; unknown ids are answered this way too."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class NotFound(Refusal):
    """404: no such path."""

    def __init__(self) -> None:
        super().__init__(404, "Invalid URL")
