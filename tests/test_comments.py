"""Descriptions in the warehouse."""

import dlt
import pyarrow as pa
import pytest

from destinations import comments
from destinations.factory import destination
from destinations.settings import apply_loader_defaults

READ = {
    "duckdb": """
        SELECT table_name, NULL, comment FROM duckdb_tables() WHERE schema_name = 'braze' UNION ALL
        SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'braze'
    """,
    "postgres": """
        SELECT relname, NULL, obj_description(oid) FROM pg_class
        WHERE relnamespace = 'braze'::regnamespace AND relkind = 'r' UNION ALL
        SELECT relname, attname, col_description(c.oid, attnum)
        FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
        WHERE relnamespace = 'braze'::regnamespace AND relkind = 'r' AND attnum > 0
    """,
}

DESCRIPTIONS = {
    "campaigns": (
        'A row is a campaign; it\'s "the" list; DROP TABLE x; 100 %s sure, 50% off \\ é',
        {"id": "The campaign's id.", "name": "O'Brien''s", "absent": "Not there."},
    ),
    "absent": ("Not there.", {"id": "Not there."}),
}


@pytest.fixture
def pipeline(warehouse):
    apply_loader_defaults()
    made = dlt.pipeline("notes", destination=destination(warehouse.name), dataset_name="braze")
    made.run(pa.table({"id": ["a"], "name": ["A"], "undescribed": [1]}), table_name="campaigns")
    return made


def present(warehouse):
    return {(table, column): comment for table, column, comment in warehouse.query(READ[warehouse.name])}


def test_tables_and_columns_carry_their_descriptions_word_for_word(warehouse, pipeline):
    comments.write(pipeline, DESCRIPTIONS)
    found = present(warehouse)
    meaning, columns = DESCRIPTIONS["campaigns"]
    assert found["campaigns", None] == meaning
    assert found["campaigns", "id"] == columns["id"]
    assert found["campaigns", "name"] == columns["name"]
    assert found["campaigns", "undescribed"] is None


def test_what_dlt_adds_is_described_as_well(warehouse, pipeline):
    comments.write(pipeline, DESCRIPTIONS)
    bare = {name for name, comment in present(warehouse).items() if not comment}
    assert bare == {("campaigns", "undescribed")}


def test_a_changed_description_replaces_the_old_one_and_a_removed_one_stays(warehouse, pipeline):
    comments.write(pipeline, DESCRIPTIONS)
    comments.write(pipeline, {"campaigns": ("New.", {})})
    found = present(warehouse)
    assert found["campaigns", None] == "New."
    assert found["campaigns", "id"] == "The campaign's id."


def test_comments_that_are_right_are_not_written_again(warehouse, pipeline, monkeypatch):
    comments.write(pipeline, DESCRIPTIONS)
    sent = []
    client_class = type(pipeline.sql_client())
    execute = client_class.execute_sql
    monkeypatch.setattr(
        client_class, "execute_sql", lambda self, sql, *args: sent.append(sql) or execute(self, sql, *args)
    )
    comments.write(pipeline, DESCRIPTIONS)
    assert len(sent) == 1
    assert "COMMENT ON" not in sent[0]


def test_destinations_without_comments_are_left_alone(workplace, monkeypatch):
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(workplace / "files"))
    pipeline = dlt.pipeline("notes", destination=destination("filesystem"), dataset_name="braze")
    comments.write(pipeline, DESCRIPTIONS)
