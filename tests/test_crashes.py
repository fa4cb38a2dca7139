"""Killed, interrupted, out of disk, out of warehouse, twice at once: run again, and all is as after one clean run."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from destinations.factory import destination
from destinations.locks import lock
from pipelines.errors import RunFailed
from pipelines.job import Job
from pipelines.run import run
from sources.braze_sandbox import RateLimit, Sandbox, WorkspaceOptions
from tests.children import (
    Child,
    command,
    command_killed_before,
    command_that_notes_its_stop,
    command_with_little_disk,
    sync_in_chunks,
)
from tests.lakes import copied, lake
from tests.nights import quick_client
from tests.warehouses import Warehouse
from tests.workspaces import configure, mistakes

SIZES = {"campaigns": 8, "canvases": 0, "segments": 2, "cards": 0, "events": 1, "products": 1, "users": 1, "days": 60}
SELECT = "campaigns,campaign_series,kpis"
LITTLE_DISK = 900_000
"""Bytes: more than any file on the way into the warehouse takes, less than the warehouse."""
TABLES = ("campaign_daily", "campaign_message_daily", "campaign_message_click_daily", "kpi_daily")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Iterator[Sandbox]:
    """A workspace on the real clock, which is that of the commands; a failed load is not tried five times."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    with Sandbox(WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SIZES)) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        yield sandbox


def sync(warehouse: Warehouse, select: str = SELECT) -> int:
    return run(Job("sync", select, warehouse.name, client=quick_client))


def wrong(warehouse: Warehouse, sandbox: Sandbox, tables: tuple[str, ...] = TABLES) -> list[str]:
    return mistakes(warehouse, sandbox, tables)


def statuses(warehouse: Warehouse) -> list[str]:
    """How the runs ended, oldest first."""
    return [status for (status,) in warehouse.query("SELECT status FROM braze.sync_runs ORDER BY started_at")]


def requests_sent(sandbox: Sandbox) -> int:
    return sum(sandbox.log.paths.values())


def test_killed_six_times_and_then_one_clean_run(warehouse: Warehouse, sandbox: Sandbox) -> None:
    moments = random.Random(warehouse.name)
    for kill in range(6):
        sandbox.log.reset()
        child = Child(sync_in_chunks, 500, warehouse.name, SELECT)
        asked = moments.choice([3, 12, 20])
        child.when(lambda asked=asked: requests_sent(sandbox) >= asked)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.5 * kill))
        child.signal(signal.SIGKILL)
        assert child.wait() in (-signal.SIGKILL, 0), child.log.read_text()
    assert sync(warehouse) == 0
    assert wrong(warehouse, sandbox) == []
    assert set(statuses(warehouse)) <= {"ok", "failed"}
    assert statuses(warehouse)[-1] == "ok"


@pytest.mark.parametrize(
    ("destination", "step", "path"),
    [
        ("duckdb", "os.mkdir", "load/new"),
        ("duckdb", "os.mkdir", "load/normalized"),
        ("duckdb", "os.mkdir", "load/loaded"),
        ("duckdb", "os.rename", "load/loaded/"),
        ("filesystem", "os.rmdir", "lake/braze"),
        ("filesystem", "os.mkdir", "lake/braze/_dlt_loads"),
        ("filesystem", "os.mkdir", "lake/braze/_dlt_pipeline_state"),
    ],
)
def test_killed_between_two_steps_of_dlt_in_a_folder(
    destination: str, step: str, path: str, sandbox: Sandbox, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments that dlt itself does not recover from."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(workplace / "lake"))
    child = Child(command_killed_before, step, path, "sync", "--select", "kpis", "--destination", destination)
    assert child.wait() == -signal.SIGKILL, child.log.read_text()
    warehouse = Warehouse(destination, str(workplace / "warehouse.duckdb"))
    assert sync(warehouse, "kpis") == 0
    if destination == "filesystem":
        warehouse = copied(lake(workplace / "lake"), workplace / "copy.duckdb")
    assert statuses(warehouse)[-1] == "ok"
    assert wrong(warehouse, sandbox, tables=("kpi_daily",)) == []


def test_sigterm_loads_what_has_arrived_and_the_next_run_goes_on(warehouse: Warehouse, sandbox: Sandbox) -> None:
    sandbox.set(latency=0.1)
    child = Child(command, "sync", "--select", SELECT, "--destination", warehouse.name)
    child.when(lambda: sandbox.log.paths["/campaigns/data_series"] >= 2)
    child.signal(signal.SIGTERM)
    assert child.wait() == 1, child.log.read_text()
    assert statuses(warehouse) == ["interrupted"]
    assert warehouse.query("SELECT count(*) FROM braze.kpi_daily") > [(0,)]
    sandbox.set(latency=0)
    sandbox.log.reset()
    assert sync(warehouse) == 0
    assert wrong(warehouse, sandbox) == []
    assert statuses(warehouse) == ["interrupted", "ok"]


def test_sigterm_does_not_wait_for_the_rate_limit(sandbox: Sandbox, workplace: Path) -> None:
    """Nothing may be sent for the rest of the hour; what is in flight is finished all the same."""
    sandbox.set(limits={"shared": RateLimit(12, 3600)})
    child = Child(command, "sync", "--select", SELECT)
    child.when(lambda: "its requests resume in" in child.log.read_text())
    assert "its requests resume in" in child.log.read_text()
    assert requests_sent(sandbox) >= 9
    assert child.running
    child.signal(signal.SIGTERM)
    started = time.monotonic()
    assert child.wait(30) == 1, child.log.read_text()
    assert time.monotonic() - started < 20


def test_a_second_ctrl_c_ends_the_run_at_once_and_says_no_more(sandbox: Sandbox, workplace: Path) -> None:
    sandbox.set(latency=1.5)
    stopped = workplace / "stopped"
    child = Child(command_that_notes_its_stop, stopped, "sync", "--select", SELECT)
    child.when(lambda: requests_sent(sandbox) > 5)  # lists and KPIs have been answered, the details are asked for
    sandbox.set(latency=40)
    child.when(lambda: requests_sent(sandbox) > 9)
    child.signal(signal.SIGINT)
    child.when(stopped.exists)
    time.sleep(0.3)  # no hand is quicker; within the handler of the first, what the second raises may be lost
    assert child.running
    child.signal(signal.SIGINT)
    assert child.wait(10) == 1, child.log.read_text()
    assert child.log.read_text().strip() == "Aborted!"


@contextmanager
def gone(postgres_server: str, url: str) -> Iterator[None]:
    """The database lets nobody in and has thrown out those who were."""
    name = urlsplit(url).path.strip("/")
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        yield
        cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    connection.close()


def test_a_warehouse_that_goes_away_while_loading(
    sandbox: Sandbox, postgres_server: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    warehouse = Warehouse("postgres", postgres_url)
    assert sync(warehouse, "kpis") == 0
    back = threading.Event()
    cut = threading.Event()

    def take_away() -> None:
        while sandbox.log.paths["/campaigns/data_series"] < 4:
            time.sleep(0.002)
        with gone(postgres_server, postgres_url):
            cut.set()
            back.wait(60)

    sandbox.log.reset()
    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        with pytest.raises(RunFailed) as failed:
            sync(warehouse)
        assert cut.is_set()
    finally:
        back.set()
        thread.join()
    said = str(failed.value)
    assert "The warehouse did not take the load" in said
    assert urlsplit(postgres_url).password not in said  # type: ignore[operator]
    sandbox.log.reset()
    assert sync(warehouse) == 0
    assert wrong(warehouse, sandbox) == []
    assert warehouse.query("SELECT count(*) FROM braze.sync_failures") == [(0,)]


def test_a_full_disk_is_one_sentence_and_what_is_pending_is_loaded_first(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursors come with what was pending: the next run asks for no history again."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    with Sandbox(WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SIZES | {"days": 400})) as sandbox:
        configure(monkeypatch, sandbox, start_date=sandbox.workspace.opened, time_zone="UTC", api_key="key")
        child = Child(command_with_little_disk, LITTLE_DISK, "sync", "--select", SELECT)
        assert child.wait() == 1, child.log.read_text()
        said = child.log.read_text()
        assert said.splitlines()[-1].startswith("Error: The warehouse did not take the load")
        assert "Traceback" not in said
        assert sandbox.log.paths["/kpi/dau/data_series"] == 5
        assert list(workplace.glob("dlt/pipelines/braze/load/normalized/*"))
        sandbox.log.reset()
        assert sync(warehouse) == 0
        assert sandbox.log.paths["/kpi/dau/data_series"] == 1
        assert wrong(warehouse, sandbox) == []


def test_two_runs_at_once(warehouse: Warehouse, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says so and ends with 1: on the same working directory, and from another one."""
    sandbox.set(latency=0.5)
    first = Child(command, "sync", "--select", SELECT, "--destination", warehouse.name)
    first.when(lambda: requests_sent(sandbox) > 0)
    others = [Child(command, "sync", "--select", SELECT, "--destination", warehouse.name)]
    if warehouse.name == "postgres":
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("DLT_DATA_DIR", str(Path.cwd() / "elsewhere"))
            others.append(Child(command, "sync", "--select", SELECT, "--destination", warehouse.name))
    for other in others:
        assert other.wait() == 1, other.log.read_text()
        assert "Another run" in other.log.read_text()
    sandbox.set(latency=0)
    assert first.wait() == 0
    assert wrong(warehouse, sandbox) == []


@pytest.mark.parametrize("taken", [True, False], ids=["taken by another run", "free"])
def test_a_lock_that_is_lost_in_the_night(
    taken: bool, sandbox: Sandbox, workplace: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection goes while requests are under way: no two runs load, and one that is alone goes on."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    warehouse = Warehouse("postgres", postgres_url)
    sandbox.set(latency=0.3)
    child = Child(command, "sync", "--select", "kpis", "--destination", "postgres")
    child.when(lambda: requests_sent(sandbox) > 0)
    assert warehouse.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'") == [(True,)]
    with lock(destination("postgres"), "braze") if taken else nullcontext():
        assert child.wait() == (1 if taken else 0), child.log.read_text()
    if taken:
        said = child.log.read_text().splitlines()[-1]
        assert said.startswith("Error: The connection that held the dataset was lost. Another run is loading")
        assert warehouse.query("SELECT to_regclass('braze.kpi_daily')") == [(None,)]
        assert sync(warehouse, "kpis") == 0
    assert wrong(warehouse, sandbox, tables=("kpi_daily",)) == []


def test_the_working_directory_may_be_lost(sandbox: Sandbox, workplace: Path) -> None:
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    assert sync(warehouse) == 0
    shutil.rmtree(workplace / "dlt")
    sandbox.log.reset()
    assert sync(warehouse) == 0
    lengths = [int(r.params["length"]) for r in sandbox.log.requests if r.path == "/kpi/dau/data_series"]
    assert len(lengths) == 1
    assert wrong(warehouse, sandbox) == []
    assert statuses(warehouse) == ["ok", "ok"]


def test_a_failure_is_a_row_that_is_resolved(warehouse: Warehouse, sandbox: Sandbox) -> None:
    """From chunk to chunk and from run to run; with one campaign failing for good the exit code is 3."""
    campaign = next(c.id for c in sandbox.workspace.campaigns.values() if c.shape == "email")
    sandbox.fail("/campaigns/data_series", "500", {"campaign_id": campaign})

    def once() -> int:
        return run(Job("sync", SELECT, warehouse.name, client=quick_client, chunk_rows=1_500))

    assert once() == 3
    sandbox.mend()
    assert once() == 0
    assert wrong(warehouse, sandbox) == []
    rows = warehouse.query("SELECT resource, entity_id, status, resolved_at IS NULL FROM braze.sync_failures")
    assert rows == [("campaign_series", campaign, 500, False)]
    assert statuses(warehouse) == ["partial", "ok"]
