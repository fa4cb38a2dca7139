"""Parquet files: how DuckDB reads some, and how those are written that one load reads once, on the same machine.

These are uncompressed, and plain where that is faster. dlt has no setting for dictionaries and statistics, which are
half of what writing takes; the method that is replaced for it is private: checked with dlt 1.31.0.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlt.common.data_writers.writers import ArrowToParquetWriter, ParquetDataWriter
from dlt.common.destination.configuration import ParquetFormatConfiguration

if TYPE_CHECKING:  # commands that only read do without Arrow
    import pyarrow as pa
    import pyarrow.parquet as pq

READ_ONCE = ParquetFormatConfiguration(compression="none")
"""For destinations that merge from such files."""


def write_plain_numbers() -> None:
    """Let dlt write dictionaries for texts only, and no statistics, into files that it does not compress.

    Replaces `ArrowToParquetWriter._create_writer`.
    """
    setattr(ArrowToParquetWriter, "_create_writer", _create_writer)  # noqa: B010 - mypy allows no other way


def parquet(files: Sequence[str]) -> str:
    """The SQL by which DuckDB reads `files` as one relation; columns that a file lacks are null.

    A folder on the way to them that is called like `date=2026-03-01` is none of their columns.
    """
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _create_writer(writer: ArrowToParquetWriter, schema: "pa.Schema") -> "pq.ParquetWriter":
    if writer.parquet_format.compression != READ_ONCE.compression:
        return ParquetDataWriter._create_writer(writer, schema)
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return pq.ParquetWriter(
        writer._f, schema, compression=READ_ONCE.compression, use_dictionary=texts, write_statistics=False
    )
