"""Keeping a pipeline's working directory true to its warehouse.

dlt commits cursors with the data and keeps a copy in its working directory. That copy is a cache, but dlt
trusts it whenever its version number is the higher one: wrong as soon as the warehouse was deleted, restored
from a backup, exchanged for another one, or loaded from another machine.
"""

from pathlib import Path
from typing import NamedTuple

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from destinations.location import exists, is_lake, is_sql, sql_client

_MARK = "braze_elt_working_directory"
_NEWEST_LOAD = "SELECT max(load_id) FROM {loads} WHERE status = 0"
_PRUNE = """
    DELETE FROM {state} WHERE pipeline_name = %s AND _dlt_load_id < (
        SELECT min(load_id) FROM (
            SELECT DISTINCT s._dlt_load_id AS load_id
            FROM {state} AS s JOIN {loads} AS l ON l.load_id = s._dlt_load_id
            WHERE s.pipeline_name = %s AND l.status = 0
            ORDER BY load_id DESC LIMIT {keep}
        ) AS kept
    )
"""


class _Mark(NamedTuple):
    """What a working directory goes with: warehouse and rules, the newest load; whether it was left as that is."""

    fingerprint: str
    load: str | None
    settled: bool


def adopt(pipeline: dlt.Pipeline, fingerprint: str) -> None:
    """Make the warehouse the pipeline's only memory: to be called before every run, under its lock.

    Afterwards the pipeline has the state and schemas that the warehouse holds, or none if it holds none.
    Packages that an earlier run left pending stay, for `complete`, if they were made for this warehouse as it is now
    and by the same rules (`fingerprint` tells both). Otherwise they are dropped, which loses no data: the cursors that
    go with them were never committed, so the same data will be asked for again.

    Everything else in the pipeline's working directory goes, unless `settle` noted that it is what the warehouse
    holds. Makes no DuckDB file.
    """
    _mend(pipeline)
    newest = _newest_load(pipeline)
    _archive(pipeline, newest)
    if pipeline.has_pending_data:
        usable = _continues(pipeline, fingerprint, newest)
    else:
        usable = newest is not None and _mark(pipeline) == _Mark(fingerprint, newest, settled=True)
    if not usable:
        pipeline.drop()
        if newest:
            pipeline.sync_destination()
    _set_mark(pipeline, _Mark(fingerprint, newest, settled=False))


def discard_pending(pipeline: dlt.Pipeline) -> None:
    """Drop what an earlier run left pending, after `adopt`: as there, it will be asked for again."""
    mark = _mark(pipeline)
    if mark and pipeline.has_pending_data:
        pipeline.drop()
        pipeline.sync_destination()
        _set_mark(pipeline, mark)


def settle(pipeline: dlt.Pipeline) -> None:
    """Note that a run has ended well: its working directory is as the warehouse is, and the next run may rely on it.

    To be called at the end of a run that began with `adopt`.
    """
    mark = _mark(pipeline)
    if mark and not pipeline.has_pending_data:
        _set_mark(pipeline, mark._replace(load=_newest_done(pipeline, mark), settled=True))


def prune_state(pipeline: dlt.Pipeline, keep: int = 10) -> None:
    """Delete the pipeline's old states from the warehouse, where dlt adds one whenever a cursor moves.

    The newest `keep` completed ones stay, and all that is newer. Does nothing for destinations without SQL.
    """
    if not is_sql(pipeline.destination):
        return
    with sql_client(pipeline) as client:
        delete = _PRUNE.format(
            state=client.make_qualified_table_name("_dlt_pipeline_state"),
            loads=client.make_qualified_table_name("_dlt_loads"),
            keep=keep,
        )
        client.execute_sql(delete, pipeline.pipeline_name, pipeline.pipeline_name)


def _mend(pipeline: dlt.Pipeline) -> None:
    """Finish or undo what a killed run had half done in the working directory, where dlt does neither.

    It takes its folder for loads for whole once that is there, and every file among the schemas for one of them.
    """
    load_storage = pipeline._get_load_storage()  # dlt has no public way to it
    if load_storage.is_storage_ready():
        load_storage.initialize_storage()
    for file in Path(pipeline.working_dir, "schemas").glob("*"):
        if not file.name.endswith(".schema.json"):
            file.unlink()


def _archive(pipeline: dlt.Pipeline, newest: str | None) -> None:
    """Put the package away that the warehouse counts as loaded, if a run was killed before it did so.

    dlt would count it twice, or refuse to load it again.
    """
    if newest and newest in pipeline.list_normalized_load_packages():
        storage = pipeline._get_load_storage()
        loaded = storage.get_loaded_package_path(newest)
        storage.storage.rename_tree(storage.get_normalized_package_path(newest), loaded)


def _continues(pipeline: dlt.Pipeline, fingerprint: str, newest: str | None) -> bool:
    """Say whether the pending packages follow directly on what the warehouse holds."""
    mark = _mark(pipeline)
    if mark is None or mark.fingerprint != fingerprint:
        return False
    return newest == _newest_done(pipeline, mark)


def _newest_done(pipeline: dlt.Pipeline, mark: _Mark) -> str | None:
    """Return the id of the newest load that was completed from this working directory or noted in its mark."""
    return max((*pipeline.list_completed_load_packages(), *filter(None, [mark.load])), default=None)


def _mark(pipeline: dlt.Pipeline) -> _Mark | None:
    try:
        return _Mark(**pipeline.get_local_state_val(_MARK))
    except KeyError:
        return None


def _set_mark(pipeline: dlt.Pipeline, mark: _Mark) -> None:
    pipeline.set_local_state_val(_MARK, mark._asdict())


def _newest_load(pipeline: dlt.Pipeline) -> str | None:
    """Return the id of the newest load that the warehouse counts as complete; ids sort by time."""
    if is_lake(pipeline.destination):
        from destinations import lake

        lake.remove_torn(pipeline)
        return lake.newest_load(lake.client_of(pipeline))
    if not exists(pipeline.destination, pipeline.dataset_name) or not is_sql(pipeline.destination):
        return None
    try:
        with sql_client(pipeline) as client:
            loads = client.make_qualified_table_name("_dlt_loads")
            rows = client.execute_sql(_NEWEST_LOAD.format(loads=loads))
    except DatabaseUndefinedRelation:
        return None
    return rows[0][0] if rows else None
