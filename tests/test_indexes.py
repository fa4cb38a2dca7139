"""Indexes for merges."""

import dlt
import pyarrow as pa
import pytest

from destinations import indexes
from destinations.factory import destination

KEYS = {"campaign_daily": ("campaign_id", "date"), "absent": ("id",)}

INDEXES = {
    "duckdb": "SELECT table_name, sql FROM duckdb_indexes()",
    "postgres": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'braze' AND tablename !~ '^_'",
}


@pytest.fixture
def pipeline(warehouse):
    made = dlt.pipeline("nights", destination=destination(warehouse.name), dataset_name="braze")
    load(made, 1)
    return made


def load(pipeline, sent):
    rows = pa.table(
        {"campaign_id": ["a"], "date": ["2026-01-01"], "channel": ["email"], "sent": [sent]},
        schema=pa.schema(
            [
                *(pa.field(name, pa.string(), nullable=False) for name in ("campaign_id", "date", "channel")),
                pa.field("sent", pa.int64()),
            ]
        ),
    )
    hints = {name: {"merge_key": True, "nullable": False} for name in KEYS["campaign_daily"]}
    pipeline.run(rows, table_name="campaign_daily", write_disposition="merge", columns=hints)


def test_postgres_finds_the_rows_that_a_merge_replaces_by_an_index(warehouse, pipeline):
    indexes.ensure(pipeline, KEYS)
    found = warehouse.query(INDEXES[warehouse.name])
    if warehouse.name == "duckdb":
        assert found == []
    else:
        ((table, definition),) = found
        assert table == "campaign_daily"
        assert definition.endswith("(campaign_id, date)")


def test_merges_go_on_as_before(warehouse, pipeline):
    indexes.ensure(pipeline, KEYS)
    load(pipeline, 2)
    indexes.ensure(pipeline, KEYS)
    assert warehouse.query("SELECT sent FROM braze.campaign_daily") == [(2,)]
    assert len(warehouse.query(INDEXES[warehouse.name])) == (warehouse.name == "postgres")


def test_indexes_that_are_there_cost_one_query(warehouse, pipeline, monkeypatch):
    indexes.ensure(pipeline, KEYS)
    sent = []
    client_class = type(pipeline.sql_client())
    execute = client_class.execute_sql
    monkeypatch.setattr(
        client_class, "execute_sql", lambda self, sql, *args: sent.append(sql) or execute(self, sql, *args)
    )
    indexes.ensure(pipeline, KEYS)
    assert len(sent) == (warehouse.name == "postgres")
