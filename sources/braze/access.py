"""Which endpoints a key may use, asked with one small request each."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sources.braze import endpoints
from sources.braze.client import Client
from sources.braze.endpoints import Endpoint
from sources.braze.errors import BrazeError, InvalidKey, NotAvailable, PermissionDenied, Unreachable

_PROBES: tuple[tuple[str, Endpoint], ...] = (
    ("campaigns", endpoints.CAMPAIGNS_LIST),
    ("campaigns", endpoints.CAMPAIGNS_DETAILS),
    ("campaign_series", endpoints.CAMPAIGNS_DATA_SERIES),
    ("sends", endpoints.SENDS_DATA_SERIES),
    ("canvases", endpoints.CANVAS_LIST),
    ("canvases", endpoints.CANVAS_DETAILS),
    ("canvas_series", endpoints.CANVAS_DATA_SERIES),
    ("canvas_summary", endpoints.CANVAS_DATA_SUMMARY),
    ("segments", endpoints.SEGMENTS_LIST),
    ("segments", endpoints.SEGMENTS_DETAILS),
    ("segment_series", endpoints.SEGMENTS_DATA_SERIES),
    ("cards", endpoints.FEED_LIST),
    ("kpis", endpoints.KPI_MAU),
    ("kpis", endpoints.KPI_DAU),
    ("kpis", endpoints.KPI_NEW_USERS),
    ("kpis", endpoints.KPI_UNINSTALLS),
    ("sessions", endpoints.SESSIONS_DATA_SERIES),
    ("events", endpoints.EVENTS),
    ("event_series", endpoints.EVENTS_DATA_SERIES),
    ("purchases", endpoints.PURCHASES_PRODUCT_LIST),
    ("purchases", endpoints.PURCHASES_REVENUE_SERIES),
    ("purchases", endpoints.PURCHASES_QUANTITY_SERIES),
    ("users", endpoints.USERS_EXPORT_IDS),
)
_OPTIONAL = {endpoints.FEED_LIST, endpoints.EVENTS}
"""Newer workspaces have no News Feed; older keys read events by `events/list`."""
_NOBODY = "braze-elt-access-check"
"""An identifier that no entity has: a 400 for it still proves the permission."""
_IDENTIFIERS = ("campaign_id", "canvas_id", "segment_id", "send_id", "event")


@dataclass(frozen=True)
class Access:
    """Whether `resource` may use `endpoint`; `error` says why not, None if it may."""

    resource: str
    endpoint: Endpoint
    error: BrazeError | None
    optional: bool


async def endpoint_access(client: Client) -> list[Access]:
    """Ask one small request per permission, in the order of the tables.

    Raises `InvalidKey` if all of them refuse the key, `Unreachable` if the host does not answer.
    """
    errors = await asyncio.gather(*(_probe(client, endpoint) for _, endpoint in _PROBES))
    refused = [error for error in errors if isinstance(error, InvalidKey)]
    if refused and not client.traffic.succeeded and not any(error is None for error in errors):
        raise refused[0]
    return [
        Access(resource, endpoint, _permission(error), endpoint in _OPTIONAL)
        for (resource, endpoint), error in zip(_PROBES, errors, strict=True)
    ]


async def _probe(client: Client, endpoint: Endpoint) -> BrazeError | None:
    try:
        if endpoint.method == "POST":
            await client.post(endpoint, {"external_ids": [_NOBODY], "fields_to_export": ["braze_id"]})
        else:
            await client.get(endpoint, _parameters(endpoint))
    except Unreachable:
        raise
    except (PermissionDenied, NotAvailable, InvalidKey) as error:
        return error
    except BrazeError as error:
        return None if error.status == 400 else error
    return None


def _parameters(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.cap is None and not endpoint.path.endswith("/details"):
        return {}
    owner = endpoint.path.split("/")[0].rstrip("s")
    wanted = {"campaign": ["campaign_id"], "send": ["campaign_id", "send_id"], "event": ["event"]}
    named = wanted.get(owner, [f"{owner}_id"] if f"{owner}_id" in _IDENTIFIERS else [])
    parameters: dict[str, Any] = dict.fromkeys(named, _NOBODY)
    if endpoint.cap:
        parameters |= {"length": 1, "ending_at": datetime.now(tz=UTC).isoformat(timespec="seconds")}
    return parameters


def _permission(error: BrazeError | None) -> BrazeError | None:
    """A 401 while other endpoints answer is about the permission, not the key."""
    if isinstance(error, InvalidKey) and error.endpoint:
        return PermissionDenied(error.endpoint, 401, error.detail)
    return error
