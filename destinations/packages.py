"""Load packages: from dlt's extract to its load, and those that a killed run left behind."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import dlt
import duckdb
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.extract import DltSource

from destinations.location import duckdb_file, is_sql, sql_client

_STATE = "_dlt_pipeline_state"


def load_package(pipeline: dlt.Pipeline, source: DltSource, before_load: Callable[[], None] | None = None) -> None:
    """Load what `source` yields, as one package; `before_load` is called once all of it is there.

    Raises dlt's PipelineStepFailed.
    """
    pipeline.extract(source)
    pipeline.normalize()
    if before_load:
        before_load()
    with kept_open(pipeline):
        pipeline.load()


def complete(pipeline: dlt.Pipeline) -> None:
    """Load what an earlier run left pending, if anything; to be called after `adopt`.

    `pipeline.run()` throws packages away that are a dataset's first ones. Raises dlt's PipelineStepFailed.
    """
    if not pipeline.has_pending_data:
        return
    _drop_normalized(pipeline)
    if pipeline.list_extracted_load_packages():
        pipeline.normalize()
    _take_back_states(pipeline)
    with kept_open(pipeline):
        pipeline.load()
    # The killed run may not have lived to note in the working directory the state that its package holds.
    pipeline.sync_destination()


def _drop_normalized(pipeline: dlt.Pipeline) -> None:
    """Delete extracted packages of which a killed run had made normalized ones: dlt would stumble over these."""
    extracted = pipeline._get_normalize_storage().extracted_packages  # dlt has no public way to it
    for load_id in set(pipeline.list_extracted_load_packages()) & set(pipeline.list_normalized_load_packages()):
        extracted.delete_package(load_id)


def _take_back_states(pipeline: dlt.Pipeline) -> None:
    """Delete states that a killed load may have stored without noting it.

    They are appended, and Postgres refuses the same row a second time; all other tables are merged.
    """
    begun = [load_id for load_id in pipeline.list_normalized_load_packages() if _began_state(pipeline, load_id)]
    if not (begun and is_sql(pipeline.destination)):
        return
    with sql_client(pipeline) as client, suppress(DatabaseUndefinedRelation):
        state = client.make_qualified_table_name(_STATE)
        for load_id in begun:
            client.execute_sql(f"DELETE FROM {state} WHERE _dlt_load_id = %s", load_id)  # noqa: S608 - dlt's own name


def _began_state(pipeline: dlt.Pipeline, load_id: str) -> bool:
    packages = pipeline._get_load_storage().normalized_packages  # dlt has no public way to its notes
    started = [ParsedLoadJobFileName.parse(file) for file in packages.list_started_jobs(load_id)]
    states = [job.file_name() for job in started if job.table_name == _STATE]
    return any(packages.load_pending_transition(load_id, file) is None for file in states)


@contextmanager
def kept_open(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Keep DuckDB's file open for the block: dlt opens it for each job of a load, and closing it writes a checkpoint.

    Nobody else can open the file in the meantime. Does nothing for other destinations.
    """
    file = duckdb_file(pipeline.destination, pipeline.dataset_name)
    with ExitStack() as held:
        if file:
            with suppress(duckdb.Error):  # what is in the way dlt will say
                held.enter_context(duckdb.connect(str(file)))
        yield
