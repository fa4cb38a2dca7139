"""Fixtures for all tests: a private place for dlt, and the two warehouses."""

import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipelines.cli import GARBAGE_THRESHOLD
from tests import postgres
from tests.warehouses import Warehouse

# What the commands do for themselves; and commands in processes of their own need not compile everything each time.
gc.set_threshold(GARBAGE_THRESHOLD)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A test run in the background of a script ignores Ctrl-C, and so would the commands that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Where Airflow is installed dlt would ask its database for every setting.
os.environ.setdefault("PROVIDERS__ENABLE_AIRFLOW_SECRETS", "false")
settings.register_profile("suite", max_examples=60, deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres superuser: `POSTGRES_TEST_URL`, or a server of this test run's own."""
    if url := os.environ.get("POSTGRES_TEST_URL"):
        yield url
        return
    try:
        with postgres.server() as url:
            yield url
    except postgres.NoPostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"POSTGRES TESTS SKIPPED: {error}")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh, empty Postgres database."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with dlt's working directories in it and no settings from outside."""
    for name in list(os.environ):
        if name.startswith(("DESTINATION__", "SOURCES__")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def duck(workplace: Path) -> Warehouse:
    """The default warehouse."""
    return Warehouse("duckdb", str(workplace / "warehouse.duckdb"))


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Both destinations in turn, empty, with their credentials in the environment."""
    name = request.param
    credentials = str(workplace / "warehouse.duckdb") if name == "duckdb" else request.getfixturevalue("postgres_url")
    monkeypatch.setenv(f"DESTINATION__{name.upper()}__CREDENTIALS", credentials)
    return Warehouse(name, credentials)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every connection that leaves the machine fail."""
    connect = socket.socket.connect

    def within_the_machine(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith("127."):
            raise AssertionError(f"a connection to {address[0]} from a test that may not leave the machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", within_the_machine)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 of this machine, to which the environment points, with the bucket `exports`."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # they remember the server of another module
        client = boto3.client("s3")
        client.create_bucket(Bucket="exports")
        yield client
    server.stop()


@pytest.fixture(autouse=True)
def loggers_as_found() -> Iterator[None]:
    """The commands take the product's loggers over; the next test finds them untouched."""
    yield
    for name in ("sources", "destinations", "pipelines"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
