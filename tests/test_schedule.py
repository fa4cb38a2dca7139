"""`braze-elt schedule`: when it is due, what it makes up for, how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.job import Job
from pipelines.run import run
from pipelines.schedule import arguments, follow
from pipelines.timetable import Timetable
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.commands import braze_elt, process, sentence, waited_for
from tests.loopback import Loopback, Reply
from tests.nights import quick_client
from tests.warehouses import Warehouse
from tests.workspaces import configure

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
SIZES = {"campaigns": 2, "canvases": 0, "segments": 0, "cards": 0, "events": 0, "products": 0, "users": 0, "days": 10}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# When


@settings(max_examples=25)
@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    start=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),
)
def test_a_daily_time_is_due_once_a_day_whatever_the_clocks_do(
    zone: str, hour: int, minute: int, start: datetime
) -> None:
    timetable = Timetable(f"{minute} {hour} * * *", ZoneInfo(zone))
    moment, days = start.replace(tzinfo=UTC), []
    for _ in range(370):
        due = timetable.after(moment)
        assert due > moment
        days.append(due.astimezone(ZoneInfo(zone)).date())
        moment = due
    assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(days=1)] * 369


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("15 3 * * *", BERLIN, "2026-07-01T00:00", ["2026-07-01T01:15", "2026-07-02T01:15"]),
        ("30 2 * * *", NEW_YORK, "2026-03-08T00:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),  # no 02:30 on the 8th
        ("30 1 * * *", NEW_YORK, "2026-11-01T00:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),  # 01:30 twice
        ("30 1 * * *", NEW_YORK, "2026-11-01T06:10", ["2026-11-02T06:30"]),  # the clocks say 01:10 once more
        ("0 9 * * 1", UTC, "2026-11-22T00:00", ["2026-11-23T09:00"]),  # 1 is Monday
        ("0 9 * * 0", UTC, "2026-11-23T00:00", ["2026-11-29T09:00"]),  # 0 is Sunday
        ("0 9 * * 7", UTC, "2026-11-23T00:00", ["2026-11-29T09:00"]),  # and so is 7
        ("0 9 * * MON-FRI", UTC, "2026-11-20T10:00", ["2026-11-23T09:00"]),
        ("0 */6 * * *", BERLIN, "2026-06-30T23:00", ["2026-07-01T04:00", "2026-07-01T10:00"]),
    ],
)
def test_when_it_is_due(cron: str, zone: ZoneInfo, after: str, due: list[str]) -> None:
    timetable, moment = Timetable(cron, zone), utc(after)
    for expected in due:
        moment = timetable.after(moment)
        assert moment == utc(expected)


@pytest.mark.parametrize("cron", ["", "3 * *", "61 3 * * *", "15 3 * * FUN", "0 0 31 2 *", "@daily", "15 3 * * * ; rm"])
def test_what_is_no_cron_expression_is_one_sentence(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, cron: str
) -> None:
    for name, value in {"API_KEY": "key", "ENDPOINT": "US-01"}.items():
        monkeypatch.setenv(f"SOURCES__BRAZE__{name}", value)
    result = braze_elt("schedule", "--cron", cron)
    assert result.exit_code == 2
    assert f"--cron {cron!r}" in sentence(result)
    assert '"15 3 * * *"' in sentence(result)


# What runs


class Clock:
    """Time that passes when it is waited for, or when a run takes it."""

    def __init__(self, start: str, end: str) -> None:
        self.time, self.end = utc(start), utc(end)
        self.runs: list[str] = []

    def wait(self, due: datetime) -> bool:
        self.time = max(self.time, due)
        return self.time < self.end

    def run(self, hours: float = 0.1) -> None:
        self.runs.append(f"{self.time:%dT%H:%M}")
        self.time += timedelta(hours=hours)


NIGHTLY = Timetable("15 3 * * *", UTC)


def test_every_night_once() -> None:
    clock = Clock("2026-03-01T12:00", "2026-03-05T00:00")
    follow(NIGHTLY, clock.time, clock.run, clock.wait, lambda: clock.time)
    assert clock.runs == ["02T03:15", "03T03:15", "04T03:15"]


def test_nights_that_were_missed_are_made_up_for_by_one_run() -> None:
    clock = Clock("2026-03-10T12:00", "2026-03-12T00:00")
    follow(NIGHTLY, utc("2026-03-06T03:15"), clock.run, clock.wait, lambda: clock.time)
    assert clock.runs == ["10T12:00", "11T03:15"]


def test_a_night_that_was_not_missed_is_not_run_again() -> None:
    clock = Clock("2026-03-10T03:16", "2026-03-12T00:00")
    follow(NIGHTLY, utc("2026-03-10T03:15:20"), clock.run, clock.wait, lambda: clock.time)
    assert clock.runs == ["11T03:15"]


def test_a_run_that_takes_longer_than_the_interval_is_followed_by_one() -> None:
    clock = Clock("2026-03-01T00:30", "2026-03-01T09:00")
    took = iter([3.5, *[0.1] * 9])
    follow(Timetable("0 * * * *", UTC), clock.time, lambda: clock.run(next(took)), clock.wait, lambda: clock.time)
    assert clock.runs == ["01T01:00", "01T04:30", "01T05:00", "01T06:00", "01T07:00", "01T08:00"]


def test_the_options_of_sync_are_passed_on() -> None:
    job = Job("sync", "kpis,events", "postgres", "marts", "json", summary=Path("s.md"), metrics=Path("/m/b.prom"))
    assert arguments(job) == [
        *("sync", "--select=kpis,events", "--destination=postgres", "--dataset=marts", "--log-format=json"),
        *("--summary=s.md", "--metrics=/m/b.prom"),
    ]
    assert arguments(Job("sync")) == ["sync", "--destination=duckdb", "--dataset=braze", "--log-format=text"]


# Real processes

SELECT = ("--select", "campaigns,kpis")
AN_HOUR_AGO = ("schedule", "--cron", f"{datetime.now(tz=UTC) - timedelta(hours=1):%M %H * * *}", *SELECT)
"""Due since the load, and not again within this test run."""
EVERY_SECOND = ("schedule", "--cron", "* * * * * *", *SELECT)


@pytest.fixture(scope="module")
def loaded_two_hours_ago(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    folder = tmp_path_factory.mktemp("loaded")
    with (
        Sandbox(WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SIZES)) as sandbox,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        configure(patch, sandbox, start_date=date.today() - timedelta(days=3), time_zone="UTC")
        job = Job("sync", SELECT[1], client=quick_client, now=datetime.now(tz=UTC) - timedelta(hours=2))
        assert run(job) == 0
        yield sandbox, folder


@pytest.fixture
def company(
    loaded_two_hours_ago: tuple[Sandbox, Path], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sandbox]:
    """A workspace, and the current folder with a copy of what was loaded two hours ago."""
    sandbox, folder = loaded_two_hours_ago
    shutil.copy(folder / "warehouse.duckdb", workplace)
    configure(monkeypatch, sandbox, start_date=date.today() - timedelta(days=3), time_zone="UTC")
    sandbox.log.reset()
    yield sandbox
    assert waited_for(lambda: not sandbox.log.open), "what a killed sync asked is not in the log of the next test"
    sandbox.set(latency=0)
    sandbox.mend()


def statuses(folder: Path) -> list[str]:
    warehouse = Warehouse("duckdb", str(folder / "warehouse.duckdb"))
    return [status for (status,) in warehouse.query("SELECT status FROM braze.sync_runs ORDER BY started_at")]


def told(running: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line on stderr that matches."""
    assert running.stderr
    seen = []
    for line in running.stderr:
        if match := re.search(pattern, line):
            return match
        seen.append(line)
    raise AssertionError(f"{pattern!r} is not in {seen}")


def test_what_was_missed_is_made_up_for_once_and_signals_end_it_cleanly(company: Sandbox, workplace: Path) -> None:
    """SIGTERM in the middle of a sync, then while it waits, then Ctrl-C."""
    company.set(latency=0.3)
    with process(*AN_HOUR_AGO) as running:
        told(running, "A sync was due at .* UTC: it starts now")
        assert waited_for(lambda: company.log.paths["/campaigns/details"])
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert statuses(workplace) == ["ok", "interrupted"]
    company.set(latency=0)
    with process(*AN_HOUR_AGO) as running:
        told(running, "A sync was due at")
        told(running, r"Next sync: \d{4}-\d\d-\d\d \d\d:\d\d UTC")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    with process(*AN_HOUR_AGO) as running:
        told(running, "Next sync")
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    assert statuses(workplace) == ["ok", "interrupted", "ok"], "nothing was missed the third time"


def test_a_sync_that_fails_does_not_end_it_and_none_overlap(
    company: Sandbox, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second one is due, and each takes longer."""
    company.set(denied=frozenset(["campaigns.details"]))
    with process(*EVERY_SECOND, "--now", "--log-format", "json") as running:
        for _ in range(2):
            assert running.stderr
            lines = (json.loads(line)["message"] for line in running.stderr)
            assert next(line for line in lines if "ended with exit code" in line) == "The sync ended with exit code 3."
        running.send_signal(signal.SIGTERM)
        rest = running.communicate(timeout=60)[1]
        assert running.returncode == 0
    company.set(denied=frozenset())
    assert "Another run" not in rest
    assert statuses(workplace)[:3] == ["ok", "partial", "partial"]


def test_a_sync_that_is_killed_cannot_tell_so_the_schedule_does(
    company: Sandbox, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.set(latency=0.5)
    with Loopback(lambda _: Reply()) as chat:
        monkeypatch.setenv("SOURCES__BRAZE__ALERT_WEBHOOK", f"{chat.url}/hook")
        with process(*AN_HOUR_AGO) as running:
            assert waited_for(lambda: company.log.requests)
            (child,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            told(running, "Next sync")
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0
    (request,) = chat.received
    text = json.loads(request.body)["text"]
    assert "What failed: The process was killed by signal 9" in text
    assert "Last sync that loaded: 20" in text


def test_nothing_is_made_up_for_where_nothing_was_loaded(company: Sandbox, workplace: Path) -> None:
    (workplace / "warehouse.duckdb").unlink()
    with process(*AN_HOUR_AGO) as running:
        told(running, "Next sync")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert not company.log.requests


def test_what_can_never_work_is_said_at_once(company: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Did you mean campaigns?" in sentence(braze_elt("schedule", "--cron", "0 * * * *", "--select", "campains"))
    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", "")
    result = braze_elt("schedule", "--cron", "0 * * * *")
    assert result.exit_code == 2
    assert "`api_key` is not set" in sentence(result)
