"""The Braze REST endpoints this source reads, as data, and the hosts they live on."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from sources.braze.errors import ConfigurationError

HOUR = 3600
MINUTE = 60


@dataclass(frozen=True)
class Bucket:
    """A rate-limit pool: `limit` requests per clock `period` (seconds), common to all endpoints that name it.

    `reserved` pools are shared with the customer's own traffic: `rate_reserve` of them stays free.
    """

    name: str
    limit: int
    period: int
    reserved: bool = False


SHARED = Bucket("shared", 250_000, HOUR, reserved=True)
"""Counts the workspace's production sends as well."""
CATALOGUE = Bucket("catalogue", 1_000, HOUR, reserved=True)
CAMPAIGN_SERIES = Bucket("campaigns/data_series", 50_000, MINUTE)
USERS_BY_ID = Bucket("users/export/ids", 250, MINUTE)


@dataclass(frozen=True)
class Endpoint:
    """An endpoint: `path` without a leading slash, the key `permission` it needs, its rate-limit `bucket`.

    `cap` is the largest `length` (days, or hours where `unit` says so) of one series request. `identifiers` are the
    parameters without which it answers nothing: they say which entity is meant. `starts_job` marks what must not be
    sent twice: it starts an export, of which Braze runs one at a time.
    """

    path: str
    permission: str
    bucket: Bucket
    method: Literal["GET", "POST"] = "GET"
    cap: int | None = None
    identifiers: tuple[str, ...] = ()
    starts_job: bool = False


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
    "export/segment/cancel", "segments.list", SHARED, method="POST", identifiers=("segment_id",)
)

FEED_LIST = Endpoint("feed/list", "feed.list", SHARED)
FEED_DETAILS = Endpoint("feed/details", "feed.details", SHARED, identifiers=("card_id",))
FEED_DATA_SERIES = Endpoint("feed/data_series", "feed.data_series", SHARED, cap=100, identifiers=("card_id",))


INSTANCES = {
    **{f"US-{number:02}": f"https://rest.iad-{number:02}.braze.com" for number in range(1, 9)},
    "US-10": "https://rest.us-10.braze.com",
    "EU-01": "https://rest.fra-01.braze.eu",
    "EU-02": "https://rest.fra-02.braze.eu",
    "AU-01": "https://rest.au-01.braze.com",
    "ID-01": "https://rest.id-01.braze.com",
    "JP-01": "https://rest.jp-01.braze.com",
    "KR-01": "https://rest.kr-01.braze.com",
}
"""REST base URL by instance name. New instances appear without notice: any base URL is accepted as well."""

_OTHER_HOSTS = (
    (re.compile(r"sdk\.(.+\.braze\.(?:com|eu))"), r"rest.\1"),
    (re.compile(r"dashboard-(\d+)\.braze\.com"), r"rest.iad-\1.braze.com"),
    (re.compile(r"dashboard-(\d+)\.braze\.eu"), r"rest.fra-\1.braze.eu"),
    (re.compile(r"dashboard\.(.+\.braze\.com)"), r"rest.\1"),
)


def base_url(endpoint_setting: str) -> str:
    """Return the REST base URL, without trailing slash, for a name, host or URL in `endpoint`.

    Raises `ConfigurationError` for an unknown name, a dashboard or SDK host, or what is no base URL.
    """
    setting = endpoint_setting.strip()
    known = INSTANCES.get(setting.upper())
    if known:
        return known
    if "." not in setting and "://" not in setting:
        raise ConfigurationError(
            f"`endpoint` is {setting!r}, which is no known instance: set one of {', '.join(INSTANCES)}"
            " or the base URL of your REST endpoint."
        )
    url = setting.rstrip("/") if "://" in setting else f"https://{setting}".rstrip("/")
    _check_base_url(url)
    return url


def _check_base_url(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    labels = host.rstrip(".").split(".")
    is_host = all(re.fullmatch(r"[\w:-]{1,63}", label) for label in labels) and _has_valid_port(parts)
    if parts.scheme not in ("http", "https") or not is_host or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            "`endpoint` must be an instance name such as US-01 or a base URL such as https://rest.iad-01.braze.com,"
            " without user, query or fragment."
        )
    for pattern, rest_host in _OTHER_HOSTS:
        match = pattern.fullmatch(host)
        if match:
            raise ConfigurationError(
                f"`endpoint` names {host}, which is not a REST host: set it to https://{match.expand(rest_host)}."
            )
    if parts.scheme == "http" and host.endswith((".braze.com", ".braze.eu")):
        raise ConfigurationError(f"`endpoint` would send the API key unencrypted: set it to https://{host}.")


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
