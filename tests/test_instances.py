"""The setting `endpoint`: names of instances, hosts and base URLs."""

import pytest

from sources.braze.errors import ConfigurationError
from sources.braze.instances import INSTANCES, base_url


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("US-01", "https://rest.iad-01.braze.com"),
        ("us-08", "https://rest.iad-08.braze.com"),
        (" US-10 ", "https://rest.us-10.braze.com"),
        ("eu-02", "https://rest.fra-02.braze.eu"),
        ("rest.iad-09.braze.com", "https://rest.iad-09.braze.com"),
        ("https://rest.iad-01.braze.com/", "https://rest.iad-01.braze.com"),
        ("http://127.0.0.1:8123", "http://127.0.0.1:8123"),
        ("http://localhost:8123/braze/", "http://localhost:8123/braze"),
        ("http://[::1]:8123", "http://[::1]:8123"),
    ],
)
def test_names_hosts_and_urls_are_endpoints(setting: str, url: str) -> None:
    assert base_url(setting) == url


@pytest.mark.parametrize(
    ("setting", "cure"),
    [
        ("US-99", "US-01, US-02"),
        ("", "KR-01"),
        ("dashboard-03.braze.com", "https://rest.iad-03.braze.com"),
        ("https://dashboard-01.braze.eu", "https://rest.fra-01.braze.eu"),
        ("https://dashboard.us-10.braze.com/sign_in", "https://rest.us-10.braze.com"),
        ("sdk.fra-02.braze.eu", "https://rest.fra-02.braze.eu"),
        ("http://rest.iad-01.braze.com", "https://rest.iad-01.braze.com"),
        ("ftp://rest.iad-01.braze.com", "base URL"),
        ("https://rest..com", "base URL"),
        ("https://", "base URL"),
        ("https://host.example:port", "base URL"),
        ("https://me:pw@rest.iad-01.braze.com", "base URL"),
        ("https://rest.iad-01.braze.com?api_key=1", "base URL"),
    ],
)
def test_what_is_no_endpoint_gets_a_cure(setting: str, cure: str) -> None:
    with pytest.raises(ConfigurationError, match="`endpoint`") as raised:
        base_url(setting)
    assert cure in str(raised.value)
    assert "pw" not in str(raised.value)


def test_there_are_fifteen_instances() -> None:
    assert len(INSTANCES) == 15
