"""Braze's instances: the setting `endpoint` → the base URL of the REST API."""

import re
from urllib.parse import SplitResult, urlsplit

from sources.braze.errors import ConfigurationError

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
