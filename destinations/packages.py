"""Load packages: from dlt's extract to its load, and those that a killed run left behind."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import dlt
import duckdb
from dlt.common.pipeline import LoadInfo
from dlt.extract import DltSource

from destinations.location import duckdb_file


def load_package(pipeline: dlt.Pipeline, source: DltSource) -> None:
    """Load what `source` yields, as one package. Raises dlt's PipelineStepFailed."""
    pipeline.extract(source)
    pipeline.normalize()
    with kept_open(pipeline):
        pipeline.load()


def complete(pipeline: dlt.Pipeline) -> LoadInfo | None:
    """Load what an earlier run left pending, to be called after `adopt`; None if there is nothing.

    `pipeline.run()` throws packages away that are a dataset's first ones. Raises dlt's PipelineStepFailed.
    """
    if not pipeline.has_pending_data:
        return None
    if pipeline.list_extracted_load_packages():
        pipeline.normalize()
    with kept_open(pipeline):
        loaded = pipeline.load()
    # The killed run may not have lived to note in the working directory the state that its package holds.
    pipeline.sync_destination()
    return loaded


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
