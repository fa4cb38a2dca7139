"""Merging straight from the Parquet files of a load, in one transaction per table and without staging tables.

By itself dlt copies each file into a table of the staging dataset, and merges from there when all have come. Here the
files are what is staged: their own jobs do nothing, and one job per table reads them all and replaces rows. Killed at
any moment it has done nothing, and is repeated from the same files.
"""

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from threading import BoundedSemaphore
from typing import Any, cast

from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, JobClientBase, LoadJob, RunnableLoadJob
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.typing import TColumnProp, TTableSchema
from dlt.common.schema.utils import (
    get_columns_names_with_prop,
    get_nested_tables,
    is_nested_table,
)
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.common.typing import TLoaderFileFormat
from dlt.destinations.job_client_impl import SqlJobClientWithStagingDataset
from dlt.destinations.job_impl import ReferenceFollowupJobRequest
from dlt.destinations.sql_client import SqlClientBase
from duckdb import DuckDBPyConnection

from destinations.location import quoted
from destinations.refusals import without_values

_MERGED_FORMATS: list[TLoaderFileFormat] = ["reference"]
"""What such a destination takes beyond the formats that dlt knows of: lists of files."""

_STRATEGY = "delete-insert"


class MergingDestination(Destination[Any, Any]):
    """What a destination does differently whose client is a `MergingClient`: comes before dlt's own among the bases."""

    _partial: Any = None

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()  # type: ignore[safe-super]
        capabilities.supported_loader_file_formats = [*capabilities.supported_loader_file_formats, *_MERGED_FORMATS]
        return capabilities

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Resolve the settings. Those that say what the destination can do dlt asks for some 20 times a run."""
        if not accept_partial:
            return super().configuration(initial_config)
        if self._partial is None:
            self._partial = super().configuration(initial_config, accept_partial=True)
        return self._partial


class MergingClient(SqlJobClientWithStagingDataset):
    """What a client of a SQL database does differently: the base of those that merge from files."""

    @abstractmethod
    def merge_job(self, file_path: str) -> "MergeJob":
        """Return the job that merges the files that `file_path` lists."""

    @abstractmethod
    def copy_job(self, file_path: str) -> "CopyJob":
        """Return the job that adds the rows of a Parquet file to its table."""

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Make the dataset if there is none, and empty tables; a staging dataset is not made to empty none in it."""
        if truncate_tables is None or list(truncate_tables):
            super().initialize_storage(truncate_tables or ())

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """Whether dlt is to keep a staging table: only for tables that are not merged here."""
        if self._merges_files(self.prepare_load_table(table_name)):
            return False
        staged: bool = super().should_load_data_to_staging_dataset(table_name)
        return staged

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Return dlt's own job, but for Parquet files, and for all files of tables that are merged here."""
        file_format = ParsedLoadJobFileName.parse(file_path).file_format
        if not self._merges_files(table):
            if file_format == "parquet":
                return self.copy_job(file_path)
            return super().create_load_job(table, file_path, load_id, restore)
        if ReferenceFollowupJobRequest.is_reference_job(file_path):
            return self.merge_job(file_path)
        if file_format == "parquet":
            return _StagedJob(file_path)
        raise DestinationTerminalException(
            f"{table['name']} is merged, which is done here from Parquet files only, not from {file_format}:"
            " leave loader_file_format unset."
        )

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Return the job that merges a table when all of its files are there."""
        if not self._merges_files(table_chain[0]):
            return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        files = [job.file_path for job in completed_table_chain_jobs or ()]
        return [ReferenceFollowupJobRequest(os.path.basename(files[0]), files)] if files else []

    def _merges_files(self, table: PreparedTableSchema) -> bool:
        """Whether rows are replaced by their key or their parent's, and nothing else: dlt nests no tables in it."""
        name = str(table["name"])
        alone = not is_nested_table(self.schema.tables[name]) and len(get_nested_tables(self.schema.tables, name)) == 1
        key = _columns_with(table, "primary_key")
        by_key = key and set(_columns_with(table, "merge_key")) <= set(key) and not _columns_with(table, "dedup_sort")
        strategy = table.get("x-merge-strategy", _STRATEGY)
        return bool(table["write_disposition"] == "merge" and strategy == _STRATEGY and alone and by_key)


class _StagedJob(RunnableLoadJob, HasFollowupJobs):
    """The job of a file that a `MergeJob` will read: it does nothing but report that it is done.

    That report wakes dlt. A job that is finished from the start reports nothing: dlt would find it a second later.
    """

    def run_managed(self, job_client: JobClientBase, done_event: BoundedSemaphore, /) -> None:
        self._done_event = done_event
        self._release("completed")

    def run(self) -> None:
        """Never called."""


class DiscreetJob(RunnableLoadJob):
    """A job whose errors quote no value: dlt logs them, and keeps them in its working directory."""

    @abstractmethod
    def load(self) -> None:
        """Do the work."""

    def run(self) -> None:
        """Do the work. Raises what hindered it, without values."""
        if error := self._hindrance():
            raise error  # outside of the handler of the warehouse's own error, which would be its context

    def _hindrance(self) -> Exception | None:
        try:
            self.load()
        except Exception as error:
            return without_values(error, self.load_table_name, self._load_table["columns"])
        return None


class CopyJob(DiscreetJob, HasFollowupJobs):
    """Adds the rows of its Parquet file to its table."""


class MergeJob(DiscreetJob):
    """Merges the Parquet files that its own file lists."""

    @abstractmethod
    def merge(self, client: SqlClientBase[Any], files: Sequence[str]) -> None:
        """Replace rows by those of `files`, within the open transaction."""

    def load(self) -> None:
        """Replace rows of the table by those of the files, in one transaction."""
        import pyarrow.parquet as pq  # commands that only read do without it

        listed = ReferenceFollowupJobRequest.resolve_references(self._file_path)
        files = [file for file in listed if pq.read_metadata(file).num_rows]
        if files:
            assert isinstance(self._job_client, SqlJobClientWithStagingDataset)
            with self._job_client.sql_client.begin_transaction():
                self.merge(self._job_client.sql_client, files)

    def columns(self, hint: TColumnProp) -> list[str]:
        """The columns of the table that have a hint."""
        return _columns_with(self._load_table, hint)

    def has_twice(self, connection: DuckDBPyConnection, rows: str) -> bool:
        """Whether two rows of `rows`, a relation that `connection` knows, have the same key."""
        key = ", ".join(map(quoted, self.columns("primary_key")))
        query = f"SELECT count(*) > count(DISTINCT hash({key})) FROM {rows}"  # noqa: S608 - quoted
        ((found,),) = connection.execute(query).fetchall()
        return bool(found)


def _columns_with(table: PreparedTableSchema, hint: TColumnProp) -> list[str]:
    """The columns of `table` that have a hint."""
    return get_columns_names_with_prop(cast(TTableSchema, table), hint)
