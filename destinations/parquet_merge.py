"""DuckDB merges straight from the Parquet files of a load, so that no row is written twice.

By itself dlt copies each file into a table of the staging dataset, and from there into the warehouse's. DuckDB reads
Parquet as it reads a table, so here the files themselves are what is staged: their jobs do nothing, and dlt's own
merge statements read them. Columns that a file lacks are null.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from dlt.common.destination.client import FollowupJobRequest, LoadJob
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.utils import get_nested_tables, is_nested_table
from dlt.common.storages.load_package import LoadJobInfo, ParsedLoadJobFileName
from dlt.destinations import duckdb
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.job_impl import FinalizedLoadJobWithFollowupJobs
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from destinations.location import DUCKDB

OBJECT_FORMATS = ("jsonl", "insert_values")


class ParquetMergingDuckDb(duckdb):
    """dlt's DuckDB destination, merging from Parquet files; to all others it is the `duckdb` destination."""

    @property
    def destination_type(self) -> str:
        """Return the type by which dlt's state and settings know it."""
        return DUCKDB

    @property
    def client_class(self) -> type[DuckDbClient]:
        """Return the client that loads."""
        return _Client


class _Client(DuckDbClient):
    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        if self._merges_files(self.prepare_load_table(table_name)):
            return False
        staged: bool = super().should_load_data_to_staging_dataset(table_name)
        return staged

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        file_format = ParsedLoadJobFileName.parse(file_path).file_format
        if self._merges_files(table) and file_format == "parquet":
            return FinalizedLoadJobWithFollowupJobs(file_path)
        if self._merges_files(table) and file_format in OBJECT_FORMATS:
            raise DestinationTerminalException(
                f"{table['name']} is merged, which DuckDB does here from Parquet files only, not from {file_format}:"
                " leave loader_file_format unset."
            )
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        jobs = [job for job in completed_table_chain_jobs or () if job.job_file_info.file_format == "parquet"]
        if not (jobs and self._merges_files(table_chain[0])):
            return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        return [_merge_job([job.file_path for job in jobs]).from_table_chain(table_chain, self.sql_client)]

    def _merges_files(self, table: PreparedTableSchema) -> bool:
        """Whether a table is merged by its own keys alone: it is not one of those that dlt nests, and has none."""
        name = str(table["name"])
        alone = not is_nested_table(self.schema.tables[name]) and len(get_nested_tables(self.schema.tables, name)) == 1
        return table["write_disposition"] == "merge" and alone


def _merge_job(files: Sequence[str]) -> type[SqlMergeFollowupJob]:
    class ParquetMerge(SqlMergeFollowupJob):
        @classmethod
        def generate_sql(cls, table_chain: Sequence[PreparedTableSchema], sql_client: Any) -> list[str]:
            target, staged = sql_client.get_qualified_table_names(table_chain[0]["name"])
            listed = ", ".join(sql_client.capabilities.escape_literal(file) for file in files)
            # No row of the table, but its types, and its columns that the files lack.
            shape = f"(FROM {target} LIMIT 0)"
            rows = f"({shape} UNION ALL BY NAME FROM read_parquet([{listed}], union_by_name => true))"
            return [sql.replace(staged, rows) for sql in super().generate_sql(table_chain, sql_client)]

        @classmethod
        def gen_select_from_dedup_sql(
            cls,
            table_name: str,
            primary_keys: Sequence[str],
            columns: Sequence[str],
            dedup_sort: Any = None,
            condition: Any = None,
            condition_columns: Any = None,
            skip_dedup: bool = False,
        ) -> str:
            # Numbering all rows costs more than loading them: only those are numbered whose key's hash is there twice.
            key = f"hash({', '.join(primary_keys)})"
            twice = f"SELECT {key} FROM {table_name} GROUP BY 1 HAVING count(*) > 1"  # noqa: S608 - dlt's own identifiers
            select = partial(
                super().gen_select_from_dedup_sql,
                primary_keys=primary_keys,
                columns=columns,
                dedup_sort=dedup_sort,
                condition=condition,
                condition_columns=condition_columns,
            )
            once = select(f"(FROM {table_name} WHERE {key} NOT IN (FROM twice))", skip_dedup=True)
            first = select(f"(FROM {table_name} WHERE {key} IN (FROM twice))", skip_dedup=skip_dedup)
            return f"WITH twice AS MATERIALIZED ({twice}) {once} UNION ALL {first}"

    return ParquetMerge
