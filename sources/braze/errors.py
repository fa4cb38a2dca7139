"""What can go wrong with a request, one exception per way of going on.

`ConfigurationError` and its kinds end the run; `PermissionDenied` and `NotAvailable` end a resource; the
others cost one entity. Texts are plain sentences and hold no secret: Braze's words pass through `redact`
first.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sources.braze.endpoints import Endpoint

_URL_SECRETS = re.compile(r"(?P<scheme>https?://)(?:[^\s/@\"'<>]+@)?(?P<place>[^\s?\"'<>]+)(?P<query>\?[^\s\"'<>]+)?")


def redact(text: str, secrets: Iterable[str], personal: Iterable[str] = ()) -> str:
    """`text` without the given secrets, and without the user names and query strings of any URL in it.

    `personal` values are left out where they are whole words: short ones are parts of many.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    if values := "|".join(map(re.escape, sorted(filter(None, personal), key=len, reverse=True))):
        text = re.sub(rf"(?<!\w)(?:{values})(?!\w)", "[redacted]", text)
    return _URL_SECRETS.sub(lambda url: url["scheme"] + url["place"] + ("?[redacted]" if url["query"] else ""), text)


class Stopped(Exception):
    """A request was not sent, or not sent again, because the client was stopped."""


class BrazeError(Exception):
    """Any failure of this source. `detail` is what Braze or the network said, redacted, or empty."""

    def __init__(
        self, sentence: str, *, endpoint: Endpoint | None = None, status: int | None = None, detail: str = ""
    ) -> None:
        super().__init__(sentence)
        self.endpoint = endpoint
        self.status = status
        self.detail = detail


class ConfigurationError(BrazeError):
    """A setting is missing or wrong; nothing can be loaded until it is fixed."""


class InvalidKey(ConfigurationError):
    """401 while no request has succeeded yet: the key or the host is wrong, or this endpoint's permission is missing.

    It is the permission if another endpoint answers later in the run (`client.traffic.succeeded`).
    """

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            "Braze does not know the key in `api_key` (401). Check the key, and that `endpoint` is the"
            " instance of your dashboard: a key at the wrong instance looks the same.",
            endpoint=endpoint,
            status=401,
            detail=detail,
        )


class Unreachable(ConfigurationError):
    """No connection to the host was ever established."""

    def __init__(self, host: str, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"No connection to {host}: {detail}. Check the setting `endpoint`, and the network or proxy.",
            endpoint=endpoint,
            detail=detail,
        )


class PermissionDenied(BrazeError):
    """403, or 401 on an endpoint while others answered: the key lacks the endpoint's permission.

    Braze also says "Forbidden" where it is not the key: of an account that is inactive, or has not bought this.
    """

    def __init__(self, endpoint: Endpoint, status: int, detail: str) -> None:
        perhaps = ""
        if "forbidden" in detail.lower():
            perhaps = " Ask Braze whether the account is inactive, or its plan lacks this; otherwise it is the key."
        super().__init__(
            f"The API key may not use {endpoint.path} ({status}: {detail}).{perhaps} Keys cannot be edited: create one"
            f" that also has the permission {endpoint.permission} and set it as `api_key`.",
            endpoint=endpoint,
            status=status,
            detail=detail,
        )


class NotAvailable(BrazeError):
    """404: this workspace does not have the endpoint, or not the entity that `subject` names."""

    def __init__(self, endpoint: Endpoint, subject: str, detail: str) -> None:
        super().__init__(
            f"Braze has no {endpoint.path} for {subject} (404: {detail})."
            if subject
            else f"This workspace has no {endpoint.path} (404: {detail}).",
            endpoint=endpoint,
            status=404,
            detail=detail,
        )


class UnknownEntity(BrazeError):
    """400: Braze does not accept what was asked for, mostly because it was deleted. `subject` names it."""

    def __init__(self, endpoint: Endpoint, subject: str, detail: str) -> None:
        super().__init__(
            f"Braze refused {endpoint.path}{subject and f' for {subject}'} (400: {detail}).",
            endpoint=endpoint,
            status=400,
            detail=detail,
        )


class BadAnswer(BrazeError):
    """No usable answer, even after retries; `status` is the last one, None if there was none."""

    def __init__(self, endpoint: Endpoint, subject: str, status: int | None, detail: str) -> None:
        super().__init__(
            f"No usable answer from {endpoint.path}{subject and f' for {subject}'}: {detail}.",
            endpoint=endpoint,
            status=status,
            detail=detail,
        )


class ExportRunning(BrazeError):
    """429 although the rate limit has room: Braze is still busy with an export of the same segment."""

    def __init__(self, endpoint: Endpoint, subject: str, detail: str) -> None:
        super().__init__(
            f"Braze is already running an export{subject and f' of {subject}'} (429: {detail}). Wait for it,"
            " or cancel it.",
            endpoint=endpoint,
            status=429,
            detail=detail,
        )


@contextmanager
def documented_shape(endpoint: Endpoint, entity: str) -> Iterator[None]:
    """Make a `BadAnswer` of what goes wrong in the block because an answer has another shape than it should."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        detail = f"its shape is not the documented one ({type(error).__name__}: {error})"
        raise BadAnswer(endpoint, entity, 200, detail) from error


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in a group of them, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
