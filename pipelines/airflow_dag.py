"""Braze in Airflow: a task per resource, one at a time, since a warehouse takes one run at a time.

    from pipelines.airflow_dag import dag

in a file of the DAGs folder is enough. Settings come from the environment, as for `braze-elt sync`; destination and
dataset are parameters of the DAG. Each task returns what the warehouse then holds of its resource: rows by table, the
newest day, open failures. A resource that the settings leave out (`sends`, `users`) is skipped, one with entities that
failed succeeds with the count of failures, and one that fails as a whole hinders no other.
"""

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowSkipException

from sources.braze import NIGHTLY


@task(retries=2, retry_delay=timedelta(minutes=10))
def load(resource: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Sync one resource; returns `rows` by table, `newest_day` (ISO or None) and `open_failures`."""
    from pipelines import freshness
    from sources.braze import default_names
    from sources.braze.settings import resolve

    assert params is not None
    if resource not in default_names(resolve()):
        raise AirflowSkipException(f"The settings leave {resource} out.")
    held = freshness.load([resource], params["destination"], params["dataset"])[resource]
    return {
        "rows": held.rows,
        "newest_day": held.newest.isoformat() if held.newest else None,
        "open_failures": held.failures,
    }


with DAG(
    "braze",
    description="Loads a Braze workspace into a warehouse.",
    schedule="15 3 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    params={"destination": Param("duckdb", type="string"), "dataset": Param("braze", type="string")},
) as dag:
    for name in NIGHTLY:
        load.override(task_id=name)(name)
