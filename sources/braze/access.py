"""Which endpoints a key may use, asked with one small request each.

Not asked are the export of the global control group, which any accepted request would start, and the cancellation of
exports, whose permission is that of `segments/list`.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from sources.braze import endpoints
from sources.braze.catalog import CATALOGS
from sources.braze.client import Client
from sources.braze.endpoints import Endpoint
from sources.braze.errors import (
    BrazeError,
    ExportRunning,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    Unreachable,
)
from sources.braze.series import specs
from sources.braze.tables import RESOURCES

_OTHERWISE_LISTED: Mapping[str, tuple[Endpoint, ...]] = {
    "events": (endpoints.EVENTS, endpoints.EVENTS_LIST),
    "purchases": (endpoints.PURCHASES_PRODUCT_LIST,),
    "users": (
        endpoints.USERS_EXPORT_SEGMENT,
        endpoints.USERS_EXPORT_IDS,
        endpoints.USERS_EXPORT_GLOBAL_CONTROL_GROUP,
    ),
}
"""What a resource asks beside its catalog and its series."""
_NOT_TRIED = frozenset({endpoints.USERS_EXPORT_GLOBAL_CONTROL_GROUP})
_EVENT_NAMES = frozenset({endpoints.EVENTS, endpoints.EVENTS_LIST})
"""Either will do: older keys read events by `events/list`."""
_DISPENSABLE = frozenset(
    {endpoints.FEED_LIST, endpoints.FEED_DETAILS, endpoints.FEED_DATA_SERIES, endpoints.USERS_EXPORT_IDS}
)
"""A sync goes on without the News Feed, which newer workspaces do not have, and looks up nobody by id."""
_NOBODY = "braze-elt-access-check"
"""An identifier that no entity has, as those of Braze are UUIDs: a 400 or 404 for it still proves the permission."""
_BODIES: Mapping[Endpoint, Mapping[str, Any]] = {
    # No segment has this id, and without `fields_to_export` Braze refuses a second time: nothing is ever exported.
    endpoints.USERS_EXPORT_SEGMENT: {"segment_id": _NOBODY},
    endpoints.USERS_EXPORT_IDS: {"external_ids": [_NOBODY], "fields_to_export": ["braze_id"]},
}


@dataclass(frozen=True)
class Access:
    """Whether `resource` may use `endpoint`; `error` says why not, None if it may.

    `optional` says that the resource can be loaded all the same.
    """

    resource: str
    endpoint: Endpoint
    error: BrazeError | None
    optional: bool


async def endpoint_access(client: Client) -> list[Access]:
    """Ask one small request per permission; the answers come in the order of the tables.

    Raises `InvalidKey` if all of them refuse the key, `Unreachable` if the host does not answer.
    """
    probes = [
        (resource, endpoint) for resource in RESOURCES for endpoint in asked_by(resource) if endpoint not in _NOT_TRIED
    ]
    answers = await asyncio.gather(*(_probe(client, endpoint) for _, endpoint in probes))
    refused = [error for error in answers if isinstance(error, InvalidKey)]
    if refused and not client.traffic.succeeded and not any(error is None for error in answers):
        raise refused[0]
    errors = {endpoint: _permission(error) for (_, endpoint), error in zip(probes, answers, strict=True)}
    return [
        Access(resource, endpoint, errors[endpoint], _is_optional(endpoint, errors)) for resource, endpoint in probes
    ]


def asked_by(resource: str) -> Iterator[Endpoint]:
    """The endpoints that a load of `resource` asks: of its list, its details, and its series by day."""
    for catalog in CATALOGS:
        if catalog.resource == resource:
            yield from (catalog.listing, catalog.details)
    yield from _OTHERWISE_LISTED.get(resource, ())
    for spec in specs(resource, hourly=False):
        yield from (part.endpoint for part in spec.parts)


async def _probe(client: Client, endpoint: Endpoint) -> BrazeError | None:
    try:
        if endpoint.method == "POST":
            await client.post(endpoint, _BODIES[endpoint])
        else:
            await client.get(endpoint, _parameters(endpoint))
    except Unreachable:
        raise
    except ExportRunning:
        return None  # too many exports are under way, but the key may start one
    except NotAvailable as error:
        return None if endpoint.identifiers and endpoint not in _DISPENSABLE else error
    except (PermissionDenied, InvalidKey) as error:
        return error
    except BrazeError as error:
        return None if error.status == HTTPStatus.BAD_REQUEST else error
    return None


def _parameters(endpoint: Endpoint) -> dict[str, Any]:
    parameters: dict[str, Any] = dict.fromkeys(endpoint.identifiers, _NOBODY)
    if endpoint.cap:
        parameters |= {"length": 1, "ending_at": datetime.now(tz=UTC).isoformat(timespec="seconds")}
    return parameters


def _permission(error: BrazeError | None) -> BrazeError | None:
    """A 401 while other endpoints answer is about the permission, not the key."""
    if isinstance(error, InvalidKey) and error.endpoint:
        return PermissionDenied(error.endpoint, HTTPStatus.UNAUTHORIZED, error.detail)
    return error


def _is_optional(endpoint: Endpoint, errors: Mapping[Endpoint, BrazeError | None]) -> bool:
    """Whether a sync goes on although `endpoint` is refused or not there; any other error is one to it too."""
    if not isinstance(errors[endpoint], PermissionDenied | NotAvailable):
        return False
    if endpoint in _EVENT_NAMES:
        return any(errors[other] is None for other in _EVENT_NAMES)
    return endpoint in _DISPENSABLE
