"""The endpoint table."""

from sources.braze import endpoints
from sources.braze.endpoints import Endpoint

ENDPOINTS = [value for value in vars(endpoints).values() if isinstance(value, Endpoint)]


def test_every_endpoint_is_declared_once_and_consistently() -> None:
    assert len({endpoint.path for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    for endpoint in ENDPOINTS:
        assert not endpoint.path.startswith("/")
        assert (endpoint.cap is not None) == ("data_s" in endpoint.path or "_series" in endpoint.path)
        assert (endpoint.method == "POST") == ("export" in endpoint.path)
