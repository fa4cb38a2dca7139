"""The Braze REST endpoints this source reads, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Param = str | int | bool | None
"""The value of a parameter; None leaves the parameter out."""
Json = Mapping[str, Any]
"""The JSON object that an endpoint answers, or one in it."""

HOUR = 3600
MINUTE = 60


@dataclass(frozen=True, eq=False)
class Pool:
    """A rate-limit pool: `limit` requests per clock `period` (seconds), common to all endpoints that name it.

    `reserved` pools are shared with the customer's own traffic: `rate_reserve` of them stays free. There is one object
    of each, as of each endpoint.
    """

    name: str
    limit: int
    period: int
    reserved: bool = False


SHARED = Pool("shared", 250_000, HOUR, reserved=True)
"""Counts the workspace's production sends as well."""
CATALOGUE = Pool("catalogue", 1_000, HOUR, reserved=True)
CAMPAIGN_SERIES = Pool("campaigns/data_series", 50_000, MINUTE)
USERS_BY_ID = Pool("users/export/ids", 250, MINUTE)


@dataclass(frozen=True, eq=False)
class Endpoint:
    """An endpoint: `path` without a leading slash, the key `permission` it needs, its rate-limit `pool`.

    `cap` is the largest `length` (days, or hours where `unit` says so) of one series request. `identifiers` are the
    parameters without which it answers nothing: they say which entity is meant. `starts_job` marks what must not be
    sent twice: it starts an export, of which Braze runs one at a time. `bodiless` ones say all by their status: what
    else they answer is not documented.
    """

    path: str
    permission: str
    pool: Pool
    method: Literal["GET", "POST"] = "GET"
    cap: int | None = None
    identifiers: tuple[str, ...] = ()
    starts_job: bool = False
    bodiless: bool = False


CAMPAIGNS_LIST = Endpoint("campaigns/list", "campaigns.list", SHARED)
CAMPAIGNS_DETAILS = Endpoint("campaigns/details", "campaigns.details", SHARED, identifiers=("campaign_id",))
CAMPAIGNS_DATA_SERIES = Endpoint(
    "campaigns/data_series", "campaigns.data_series", CAMPAIGN_SERIES, cap=100, identifiers=("campaign_id",)
)
SENDS_DATA_SERIES = Endpoint(
    "sends/data_series", "sends.data_series", SHARED, cap=100, identifiers=("campaign_id", "send_id")
)

CANVAS_LIST = Endpoint("canvas/list", "canvas.list", SHARED)
CANVAS_DETAILS = Endpoint("canvas/details", "canvas.details", SHARED, identifiers=("canvas_id",))
CANVAS_DATA_SERIES = Endpoint("canvas/data_series", "canvas.data_series", SHARED, cap=14, identifiers=("canvas_id",))
CANVAS_DATA_SUMMARY = Endpoint("canvas/data_summary", "canvas.data_summary", SHARED, cap=14, identifiers=("canvas_id",))

SEGMENTS_LIST = Endpoint("segments/list", "segments.list", SHARED)
SEGMENTS_DETAILS = Endpoint("segments/details", "segments.details", SHARED, identifiers=("segment_id",))
SEGMENTS_DATA_SERIES = Endpoint(
    "segments/data_series", "segments.data_series", SHARED, cap=100, identifiers=("segment_id",)
)

KPI_MAU = Endpoint("kpi/mau/data_series", "kpi.mau.data_series", SHARED, cap=100)
KPI_DAU = Endpoint("kpi/dau/data_series", "kpi.dau.data_series", SHARED, cap=100)
KPI_NEW_USERS = Endpoint("kpi/new_users/data_series", "kpi.new_users.data_series", SHARED, cap=100)
KPI_UNINSTALLS = Endpoint("kpi/uninstalls/data_series", "kpi.uninstalls.data_series", SHARED, cap=100)
SESSIONS_DATA_SERIES = Endpoint("sessions/data_series", "sessions.data_series", SHARED, cap=100)

EVENTS_LIST = Endpoint("events/list", "events.list", CATALOGUE)
EVENTS = Endpoint("events", "events.get", CATALOGUE)
EVENTS_DATA_SERIES = Endpoint("events/data_series", "events.data_series", SHARED, cap=100, identifiers=("event",))

PURCHASES_PRODUCT_LIST = Endpoint("purchases/product_list", "purchases.product_list", CATALOGUE)
PURCHASES_REVENUE_SERIES = Endpoint("purchases/revenue_series", "purchases.revenue_series", CATALOGUE, cap=100)
PURCHASES_QUANTITY_SERIES = Endpoint("purchases/quantity_series", "purchases.quantity_series", CATALOGUE, cap=100)

USERS_EXPORT_SEGMENT = Endpoint(
    "users/export/segment", "users.export.segment", SHARED, method="POST", starts_job=True, identifiers=("segment_id",)
)
USERS_EXPORT_IDS = Endpoint("users/export/ids", "users.export.ids", USERS_BY_ID, method="POST")
USERS_EXPORT_GLOBAL_CONTROL_GROUP = Endpoint(
    "users/export/global_control_group",
    "users.export.global_control_group",
    SHARED,
    method="POST",
    starts_job=True,
)
EXPORT_SEGMENT_CANCEL = Endpoint(
    "export/segment/cancel", "segments.list", SHARED, method="POST", identifiers=("segment_id",), bodiless=True
)

FEED_LIST = Endpoint("feed/list", "feed.list", SHARED)
FEED_DETAILS = Endpoint("feed/details", "feed.details", SHARED, identifiers=("card_id",))
FEED_DATA_SERIES = Endpoint("feed/data_series", "feed.data_series", SHARED, cap=100, identifiers=("card_id",))
