"""The warehouse as the pipeline's only memory: cursors and rows through loss, exchange and death."""

import os
import shutil
import signal
from pathlib import Path

import dlt
import pyarrow as pa
import pytest

from destinations.factory import destination
from destinations.location import fingerprint
from destinations.packages import complete, load_package
from destinations.settings import apply_loader_defaults
from destinations.state import adopt, prune_state
from tests.warehouses import Warehouse

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("version", pa.int64())])

ALL = "SELECT id, version FROM braze.numbers ORDER BY id"


@dlt.source(name="counting")
def counting(step: int = 1):
    """Numbers up to the cursor, which moves by `step`: the last two ids again, and one new one."""

    @dlt.resource(name="numbers", primary_key="id", merge_key="id", write_disposition="merge")
    def numbers():
        state = dlt.current.resource_state()
        state["cursor"] = state.get("cursor", 0) + step
        ids = list(range(max(1, state["cursor"] - 2), state["cursor"] + 1))
        yield pa.table({"id": ids, "version": [state["cursor"]] * len(ids)}, schema=SCHEMA)

    return numbers


def a_pipeline(name: str) -> dlt.Pipeline:
    apply_loader_defaults()
    return dlt.pipeline("nights", destination=destination(name), dataset_name="braze")


def adopted(name: str) -> dlt.Pipeline:
    pipeline = a_pipeline(name)
    adopt(pipeline, fingerprint(pipeline.destination, "braze"))
    return pipeline


def night(name: str) -> dlt.Pipeline:
    """What the commands do: adopt the warehouse, complete what is pending, then load."""
    pipeline = adopted(name)
    complete(pipeline)
    load_package(pipeline, counting())
    return pipeline


def delete(warehouse: Warehouse) -> None:
    if warehouse.name == "duckdb":
        Path(warehouse.credentials).unlink()
    else:
        warehouse.execute("DROP SCHEMA braze CASCADE")


def cursor(pipeline: dlt.Pipeline) -> int:
    resources = pipeline.state.get("sources", {}).get("counting", {}).get("resources", {})
    return resources.get("numbers", {}).get("cursor", 0)


def rows_of(last: int) -> list[tuple[int, int]]:
    """The rows after `last` nights: each id as the last night that loaded it left it."""
    return [(number, min(number + 2, last)) for number in range(1, last + 1)]


def killed_night(name: str, moment: str) -> None:
    """A night in another process that is killed by SIGKILL at the given moment of its load."""
    child = os.fork()
    if child == 0:
        try:
            die_at(moment)
            night(name)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def die_at(moment: str) -> None:
    """Have this process kill itself when it comes to that moment of a load."""
    from dlt.common.storages.load_package import PackageStorage
    from dlt.common.storages.load_storage import LoadStorage
    from dlt.load.load import Load

    noting = {"the state is stored": "save_pending_transition", "its storing is noted": "complete_job"}.get(moment)
    if noting:
        note = getattr(PackageStorage, noting)

        def unless_it_is_the_state(storage: PackageStorage, load_id: str, file_name: str, *more: object) -> object:
            if file_name.startswith("_dlt_pipeline_state"):
                os.kill(os.getpid(), signal.SIGKILL)
            return note(storage, load_id, file_name, *more)

        setattr(PackageStorage, noting, unless_it_is_the_state)
        return
    if moment == "extracted and normalized":
        commit = LoadStorage.commit_new_load_package

        def commit_and_die(storage: LoadStorage, load_id: str) -> None:
            commit(storage, load_id)
            os.kill(os.getpid(), signal.SIGKILL)

        LoadStorage.commit_new_load_package = commit_and_die
        return
    place, method = {
        "extracted": (dlt.Pipeline, "normalize"),
        "normalized": (Load, "load_single_package"),
        "rows are there": (Load, "complete_package"),
        "load is complete": (LoadStorage, "complete_load_package"),
    }[moment]
    setattr(place, method, lambda *_args, **_more: os.kill(os.getpid(), signal.SIGKILL))


MOMENTS = [
    "extracted",
    "extracted and normalized",
    "normalized",
    "the state is stored",
    "its storing is noted",
    "rows are there",
    "load is complete",
]


def test_a_lost_working_directory_costs_nothing(warehouse):
    night(warehouse.name)
    shutil.rmtree(night(warehouse.name).working_dir)
    pipeline = adopted(warehouse.name)
    assert cursor(pipeline) == 2
    pipeline.run(counting())
    assert cursor(pipeline) == 3
    assert warehouse.query(ALL) == rows_of(3)


def test_each_warehouse_has_its_own_cursors_though_they_share_a_working_directory(warehouse, monkeypatch, workplace):
    night(warehouse.name)
    setting = "DESTINATION__DUCKDB__CREDENTIALS"
    monkeypatch.setenv(setting, str(workplace / "other.duckdb"))
    for expected in (1, 2):  # gets ahead of the first one
        assert cursor(night("duckdb")) == expected
    if warehouse.name == "duckdb":
        monkeypatch.setenv(setting, warehouse.credentials)
    assert warehouse.query(ALL) == rows_of(1)
    assert cursor(night(warehouse.name)) == 2
    assert warehouse.query(ALL) == rows_of(2)


def test_a_deleted_warehouse_is_loaded_from_the_start(warehouse):
    for _ in range(2):
        night(warehouse.name)
    delete(warehouse)
    assert cursor(night(warehouse.name)) == 1
    assert warehouse.query(ALL) == rows_of(1)


def test_a_warehouse_whose_tables_were_emptied_of_everything_is_loaded_from_the_start(warehouse):
    for _ in range(2):
        night(warehouse.name)
    for table in ("numbers", "_dlt_loads", "_dlt_pipeline_state", "_dlt_version"):
        warehouse.execute(f"DELETE FROM braze.{table}")
    assert cursor(night(warehouse.name)) == 1
    assert warehouse.query(ALL) == rows_of(1)


def test_a_backup_of_the_warehouse_goes_on_from_its_own_cursors(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "warehouse.duckdb")
    night("duckdb")
    shutil.copy("warehouse.duckdb", "backup")
    night("duckdb")
    shutil.copy("backup", "warehouse.duckdb")
    assert cursor(night("duckdb")) == 2


def test_a_warehouse_loaded_from_another_machine_goes_on_from_there(warehouse, monkeypatch, workplace):
    night(warehouse.name)
    monkeypatch.setenv("DLT_DATA_DIR", str(workplace / "elsewhere"))
    night(warehouse.name)
    monkeypatch.setenv("DLT_DATA_DIR", str(workplace / "dlt"))
    assert cursor(adopted(warehouse.name)) == 2


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_completed_and_nothing_doubled(warehouse, moment):
    for killed in (1, 2):  # the first night, which makes the tables, and one that finds them
        killed_night(warehouse.name, moment)
        pipeline = adopted(warehouse.name)
        assert pipeline.has_pending_data is (moment != "load is complete")
        complete(pipeline)
        assert cursor(pipeline) == killed
        assert warehouse.query(ALL) == rows_of(killed)
        assert warehouse.query("SELECT count(*), count(DISTINCT load_id) FROM braze._dlt_loads") == [(killed, killed)]
    assert cursor(night(warehouse.name)) == 3
    assert warehouse.query(ALL) == rows_of(3)


def test_a_schema_that_was_being_written_when_the_run_was_killed_is_none(warehouse):
    schemas = Path(night(warehouse.name).working_dir, "schemas")
    killed_night(warehouse.name, "normalized")
    (schemas / "0123456789abcdef").write_text("{")
    complete(adopted(warehouse.name))
    assert night(warehouse.name).schema_names == ["counting"]
    assert warehouse.query(ALL) == rows_of(3)


def test_pending_packages_of_another_warehouse_are_dropped(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "one.duckdb")
    night("duckdb")
    killed_night("duckdb", "normalized")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "other.duckdb")
    assert not adopted("duckdb").has_pending_data
    assert cursor(night("duckdb")) == 1
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "one.duckdb")
    assert cursor(night("duckdb")) == 2


def test_pending_packages_are_dropped_once_the_warehouse_has_moved_on_without_them(warehouse, monkeypatch, workplace):
    night(warehouse.name)
    killed_night(warehouse.name, "normalized")
    monkeypatch.setenv("DLT_DATA_DIR", str(workplace / "elsewhere"))
    night(warehouse.name)
    monkeypatch.setenv("DLT_DATA_DIR", str(workplace / "dlt"))
    pipeline = adopted(warehouse.name)
    assert not pipeline.has_pending_data
    assert cursor(pipeline) == 2
    assert warehouse.query(ALL) == rows_of(2)


def test_pending_packages_for_a_deleted_warehouse_are_dropped(warehouse):
    night(warehouse.name)
    killed_night(warehouse.name, "normalized")
    delete(warehouse)
    assert cursor(night(warehouse.name)) == 1
    assert warehouse.query(ALL) == rows_of(1)


def test_the_working_directory_does_not_grow_with_the_nights(warehouse):
    def files() -> int:
        return sum(1 for _ in Path(night(warehouse.name).working_dir).rglob("*"))

    files()
    second = files()
    assert files() == second


def test_adopting_makes_no_duckdb_file(workplace):
    assert cursor(adopted("duckdb")) == 0
    assert not (workplace / "warehouse.duckdb").exists()


def test_old_states_are_deleted_and_the_newest_is_restored(warehouse):
    for _ in range(3):
        pipeline = night(warehouse.name)
    prune_state(pipeline, keep=2)
    assert warehouse.query("SELECT count(*) FROM braze._dlt_pipeline_state") == [(2,)]
    prune_state(pipeline, keep=2)
    assert warehouse.query("SELECT count(*) FROM braze._dlt_pipeline_state") == [(2,)]
    shutil.rmtree(pipeline.working_dir)
    assert cursor(adopted(warehouse.name)) == 3


def test_states_of_other_pipelines_and_of_incomplete_loads_are_not_counted(warehouse):
    for _ in range(3):
        pipeline = night(warehouse.name)
    other = dlt.pipeline("other", destination=destination(warehouse.name), dataset_name="braze")
    for _ in range(2):
        other.run(counting())
    warehouse.execute(
        "DELETE FROM braze._dlt_loads WHERE load_id ="
        " (SELECT max(_dlt_load_id) FROM braze._dlt_pipeline_state WHERE pipeline_name = 'nights')"
    )
    prune_state(pipeline, keep=1)
    counts = "SELECT pipeline_name, count(*) FROM braze._dlt_pipeline_state GROUP BY 1 ORDER BY 1"
    assert warehouse.query(counts) == [("nights", 2), ("other", 2)]
    assert cursor(adopted(warehouse.name)) == 2


def test_a_destination_without_sql_keeps_its_cursors_too(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(workplace / "files"))
    night("filesystem")
    pipeline = night("filesystem")
    assert cursor(pipeline) == 2
    prune_state(pipeline)
    shutil.rmtree(pipeline.working_dir)
    assert cursor(night("filesystem")) == 3
