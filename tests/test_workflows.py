"""The GitHub workflows: their own commands, run on runners that are empty each time, against a real Postgres."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests import postgres
from tests.repository import REPOSITORY, SECRET
from tests.warehouses import Warehouse
from tests.workspaces import differences, doubled, orphans

FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS: dict[str, dict[str, Any]] = {file.stem: yaml.safe_load(file.read_text()) for file in FOLDER.glob("*.yml")}
SIZES = {"campaigns": 4, "canvases": 2, "segments": 2, "cards": 1, "events": 2, "products": 1, "users": 1, "days": 60}


def step(workflow: str, job: str, name: str) -> dict[str, Any]:
    """The step of that name."""
    (found,) = (step for step in WORKFLOWS[workflow]["jobs"][job]["steps"] if step.get("name") == name)
    return dict(found)


class Runner:
    """A machine that has the connector installed, and nothing of earlier runs."""

    def __init__(self, folder: Path, values: dict[str, str]) -> None:
        self.folder, self._values = folder, values
        (folder / "bin").mkdir(parents=True)
        command = folder / "bin" / "braze-elt"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -P -m pipelines "$@"\n')
        command.chmod(0o755)
        self.summary = folder / "summary.md"

    def run(self, step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a step's command as GitHub does, with what its expressions stand for."""
        environment = {name: self._value(text) for name, text in step["env"].items()}
        own = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DLT_DATA_DIR": str(self.folder / "dlt"),  # for root it is not in the home folder
        }
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={**own, **environment, "GITHUB_STEP_SUMMARY": str(self.summary)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _value(self, text: str) -> str:
        expression = re.fullmatch(r"\$\{\{ (?:secrets|vars|inputs)\.(\w+)(?: \|\| '(\w+)')? \}\}", text)
        assert expression, text
        return self._values.get(expression[1], expression[2] or "")


class Company:
    """A workspace and a warehouse; every runner is a new one."""

    def __init__(self, sandbox: Sandbox, warehouse: Warehouse, folder: Path) -> None:
        self.sandbox, self.warehouse, self._folder = sandbox, warehouse, folder
        self._runners = 0

    def runner(self, **inputs: str) -> Runner:
        self._runners += 1
        self.sandbox.log.reset()
        values = {
            "BRAZE_API_KEY": "key",
            "BRAZE_ENDPOINT": self.sandbox.url,
            "POSTGRES_URL": self.warehouse.credentials,
        }
        return Runner(self._folder / str(self._runners), {**values, **inputs})

    def days_asked(self) -> list[int]:
        """The lengths of the requests for daily users."""
        return [int(r.params["length"]) for r in self.sandbox.log.requests if r.path == "/kpi/dau/data_series"]

    def wrong(self) -> list[str]:
        totals = self.sandbox.totals(self.sandbox.workspace.opened, self.sandbox.workspace.now().date())
        stated = {table: totals[table] for table in ("campaign_daily", "canvas_daily", "segment_daily")}
        return [
            *map(str, differences(self.warehouse, stated).items()),
            *doubled(self.warehouse),
            *orphans(self.warehouse),
        ]


@pytest.fixture(scope="module")
def company(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    options = WorkspaceOptions(today=datetime.now(tz=UTC).date(), **SIZES)
    with postgres.database(postgres_server) as url, Sandbox(options) as sandbox:
        yield Company(sandbox, Warehouse("postgres", url), tmp_path_factory.mktemp("runners"))


def test_the_second_night_goes_on_where_the_first_was_on_an_empty_runner(company: Company) -> None:
    sync = step("nightly", "sync", "Sync")
    first = company.runner()
    done = first.run(sync)
    assert done.returncode == 0, done.stderr
    everything = len(company.sandbox.log.requests)
    assert (first.folder / "dlt" / "pipelines" / "braze").is_dir()
    assert sum(company.days_asked()) > 365, "without a start date the workspace's series begin two years ago"
    assert "**All loaded.**" in first.summary.read_text()

    second = company.runner()
    assert not (second.folder / "dlt").exists()
    done = second.run(sync)
    assert done.returncode == 0, done.stderr
    assert len(company.days_asked()) == 1, "the lookback, no more"
    assert len(company.sandbox.log.requests) < everything
    assert "**All loaded.**" in second.summary.read_text()
    assert company.wrong() == []
    statuses = company.warehouse.query("SELECT command, status FROM braze.sync_runs ORDER BY started_at")
    assert statuses == [("sync", "ok"), ("sync", "ok")]


def test_a_backfill_shows_its_plan_before_it_loads(company: Company) -> None:
    today = datetime.now(tz=UTC).date()
    inputs = {"start": str(today - timedelta(days=20)), "end": str(today - timedelta(days=11)), "select": "kpis"}
    plan = company.runner(**inputs)
    done = plan.run(step("backfill", "plan", "Plan"))
    assert done.returncode == 0, done.stderr
    assert "## braze-elt backfill --plan" in plan.summary.read_text()
    assert re.search(r"^\| /?kpi/dau/data_series \| 1 \| \d+ \|", plan.summary.read_text(), re.MULTILINE)
    assert company.days_asked() == []

    load = company.runner(**inputs)
    done = load.run(step("backfill", "backfill", "Backfill"))
    assert done.returncode == 0, done.stderr
    assert "**All loaded.**" in load.summary.read_text()
    assert len(company.days_asked()) == 1
    jobs = WORKFLOWS["backfill"]["jobs"]
    assert (jobs["approve"]["needs"], jobs["backfill"]["needs"]) == ("plan", "approve")


@pytest.mark.parametrize("text", ['2026-01-01"; touch injected; "', "$(touch injected)", "--help", "`touch injected`"])
def test_what_is_typed_into_a_form_is_no_command(company: Company, text: str) -> None:
    runner = company.runner(start=text, end="2026-01-02", select=text)
    done = runner.run(step("backfill", "plan", "Plan"))
    assert done.returncode == 2
    assert "is not a date" in done.stderr
    assert not (runner.folder / "injected").exists()


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_every_workflow_may_only_read_ends_in_time_and_gives_expressions_to_the_environment_alone(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 360
        assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def test_nights_and_backfills_wait_for_each_other() -> None:
    jobs = WORKFLOWS["backfill"]["jobs"]
    groups = [WORKFLOWS["nightly"], jobs["plan"], jobs["backfill"]]
    assert [group["concurrency"] for group in groups] == [{"group": "warehouse", "cancel-in-progress": False}] * 3


def test_a_backfill_that_waits_for_its_reviewer_holds_nobody_up() -> None:
    workflow = WORKFLOWS["backfill"]
    reviewed = [job for job in workflow["jobs"].values() if "environment" in job]
    assert [job["environment"] for job in reviewed] == ["backfill"]
    assert "warehouse" not in [owner.get("concurrency", {}).get("group") for owner in (workflow, *reviewed)]


@pytest.mark.parametrize(
    "environment",
    [
        step("nightly", "sync", "Sync")["env"],
        step("backfill", "backfill", "Backfill")["env"],
        yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["nightly"]["environment"],
    ],
    ids=["nightly", "backfill", "compose"],
)
def test_every_secret_of_the_source_can_be_given(environment: dict[str, Any]) -> None:
    assert {f"SOURCES__BRAZE__{name.upper()}" for name in SECRET} <= set(environment)


def test_the_tests_are_what_ci_runs() -> None:
    assert ".ci/run" in [step.get("run") for step in WORKFLOWS["test"]["jobs"]["test"]["steps"]]
