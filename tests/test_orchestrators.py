"""Dagster and Airflow, the real ones: what they run and what they show afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sources.braze.tables import RESOURCES
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.warehouses import Warehouse
from tests.workspaces import API_KEY, differences

TODAY = datetime.now(tz=UTC).date()
START = TODAY - timedelta(days=12)
SIZE = {"campaigns": 5, "canvases": 1, "segments": 2, "cards": 1, "events": 2, "products": 1, "users": 1, "days": 30}


@pytest.fixture
def sandbox(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A workspace of today, to which the environment points: orchestrators run by the real clock."""
    with Sandbox(WorkspaceOptions(**SIZE, api_key=API_KEY)) as running:
        for name, value in {"API_KEY": API_KEY, "ENDPOINT": running.url, "START_DATE": START.isoformat()}.items():
            monkeypatch.setenv(f"SOURCES__BRAZE__{name}", value)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        yield running


def rows(warehouse: Warehouse, table: str) -> int:
    return int(warehouse.query(f"SELECT count(*) FROM braze.{table}")[0][0])


def right(warehouse: Warehouse, sandbox: Sandbox, *tables: str) -> bool:
    totals = sandbox.totals(START, TODAY)
    return differences(warehouse, {name: totals[name] for name in tables}) == {}


def test_dagster_materializes_what_is_selected_in_one_run(sandbox: Sandbox, workplace: Path) -> None:
    dagster = pytest.importorskip("dagster")
    from pipelines.dagster_assets import braze_assets

    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    broken = next(iter(sandbox.workspace.segments))
    sandbox.fail("/segments/data_series", "404", {"segment_id": broken})
    selection = ["braze/campaigns", "braze/campaign_series", "braze/segments", "braze/segment_series", "braze/users"]
    result = dagster.materialize([braze_assets], selection=selection)
    assert result.success
    shown = {
        event.asset_key.path[-1]: event.materialization.metadata for event in result.get_asset_materialization_events()
    }
    assert set(shown) == {"campaigns", "campaign_series", "segments", "segment_series"}
    assert shown["campaigns"]["dagster/row_count"].value >= rows(warehouse, "campaigns") == 5
    assert shown["campaign_series"]["rows"].value["campaign_daily"] == rows(warehouse, "campaign_daily")
    assert shown["campaign_series"]["newest_day"].value == TODAY.isoformat()
    assert shown["campaign_series"]["open_failures"].value == 0
    assert shown["segment_series"]["open_failures"].value == 1
    assert rows(warehouse, "sync_runs") == 1
    assert right(warehouse, sandbox, "campaign_daily", "campaign_message_daily")


def test_dagster_says_what_made_a_run_fail(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    dagster = pytest.importorskip("dagster")
    from pipelines.dagster_assets import braze_assets

    monkeypatch.setenv("SOURCES__BRAZE__API_KEY", "wrong")
    result = dagster.materialize([braze_assets], selection=["braze/kpis"], raise_on_error=False)
    assert not result.success
    (failed,) = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
    assert "Braze does not know the key in `api_key`" in failed.event_specific_data.error.message


RUN = ("campaign_series", "segment_series", "kpis", "sends")

AIRFLOW = """
import json, sys
from airflow.utils import db
db.initdb()
from pipelines.airflow_dag import dag
names = list(dag.task_dict)
run = dag.partial_subset(sys.argv[2].split(",")).test(run_conf={"destination": "duckdb"})
shown = {}
for instance in run.get_task_instances():
    shown[instance.task_id] = [str(instance.state), instance.xcom_pull(task_ids=instance.task_id)]
with open(sys.argv[1], "w") as file:
    json.dump({"state": str(run.state), "tasks": shown, "names": names, "at once": dag.max_active_tasks}, file)
"""


def test_airflow_runs_a_task_per_resource(sandbox: Sandbox, workplace: Path) -> None:
    pytest.importorskip("airflow", reason="apache-airflow is an extra")
    broken = next(iter(sandbox.workspace.segments))
    sandbox.fail("/segments/data_series", "404", {"segment_id": broken})
    root = Path(__file__).parent.parent
    environment = os.environ | {
        "AIRFLOW_HOME": str(workplace / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "pipelines"),
        "PYTHONPATH": str(root),
    }
    command = [sys.executable, "-c", AIRFLOW, str(workplace / "shown.json"), ",".join(RUN)]
    done = subprocess.run(command, env=environment, cwd=workplace, capture_output=True, text=True, check=False)
    assert (workplace / "shown.json").is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    shown = json.loads((workplace / "shown.json").read_text())
    assert shown["state"].endswith("success"), done.stdout[-5000:]
    warehouse = Warehouse("duckdb", str(workplace / "warehouse.duckdb"))
    states = {name: state.rpartition(".")[2].lower() for name, (state, _) in shown["tasks"].items()}
    assert set(shown["names"]) == set(RESOURCES) - {"canvas_summary"}
    assert shown["at once"] == 1
    assert set(states) == set(RUN)  # every task costs seconds
    assert {name for name, state in states.items() if state == "skipped"} == {"sends"}
    assert {state for name, state in states.items() if name != "sends"} == {"success"}
    held = {name: returned for name, (_, returned) in shown["tasks"].items()}
    assert held["campaign_series"]["rows"]["campaign_daily"] == rows(warehouse, "campaign_daily")
    assert held["campaign_series"]["newest_day"] == TODAY.isoformat()
    assert held["segment_series"]["open_failures"] == 1
    assert rows(warehouse, "sync_runs") == len(RUN) - 1
    assert right(warehouse, sandbox, "campaign_daily", "kpi_daily")
