"""Rows → Arrow: declared types, nothing lost when a value is of another kind, nothing that a warehouse refuses."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sources.braze.arrow import ARROW_TYPES, conform, infer, to_arrow, tombstones, union
from sources.braze.model import TOMBSTONE, Column, Table, Type
from sources.braze.rows import Sheet
from sources.braze.tables import TABLES

TYPES = Table(
    "types",
    "types",
    "One column of every type.",
    ("id",),
    (Column("id", Type.TEXT, "Key."), *(Column(f"a_{kind.value}", kind, "Any.") for kind in Type)),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    | st.sampled_from(["", "true", "12", "-3.5", "2026-03-01", "2026-03-01 10:00:00 UTC", "0001-01-01T00:00:00+14:00"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def stored(table: pa.Table, name: str, row: int) -> list[Any]:
    """What column `name` and its variants hold in `row`, nulls left out."""
    names = [column for column in table.column_names if column == name or column.startswith(f"{name}__v_")]
    return [value for column in names if (value := table.column(column)[row].as_py()) is not None]


@given(st.sampled_from(list(Type)), st.lists(JSON, min_size=1, max_size=6))
@example(Type.BIGINT, ["", 1.5])
@example(Type.TIMESTAMP, [1700000000, "2026-03-01T00:00:00Z"])
@example(Type.TIMESTAMP, ["0001-01-01T00:00:00+14:00"])
@example(Type.BOOL, [{}, [], 1, "false"])
@example(Type.DATE, [True, 5, None])
@example(Type.DOUBLE, ["x", True, 1])
def test_a_declared_column_takes_any_value_and_a_variant_what_it_cannot_hold(kind: Type, values: list[Any]) -> None:
    name = f"a_{kind.value}"
    table = union([to_arrow(TYPES, Sheet([{"id": "k", name: value} for value in values]), {})])
    if name in table.column_names:
        assert table.schema.field(name).type == ARROW_TYPES[kind]
    for row, value in enumerate(values):
        empty = value is None or (kind is not Type.JSON and isinstance(value, str) and value.strip("\x00") == "")
        assert len(stored(table, name, row)) == (0 if empty else 1), (value, table.to_pydict())


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (Type.BIGINT, 5, {"": 5}),
        (Type.BIGINT, 5.0, {"": 5}),
        (Type.BIGINT, "5", {"": 5}),
        (Type.BIGINT, "5.0", {"": 5}),
        (Type.BIGINT, "5.5", {"__v_text": "5.5"}),
        (Type.BIGINT, 5.5, {"__v_double": 5.5}),
        (Type.BIGINT, "many", {"__v_text": "many"}),
        (Type.BIGINT, 2**63, {"__v_text": str(2**63)}),
        (Type.BIGINT, [1], {"__v_text": "[1]"}),
        (Type.DOUBLE, 65, {"": 65.0}),
        (Type.DOUBLE, "65.25", {"": 65.25}),
        (Type.DOUBLE, "n/a", {"__v_text": "n/a"}),
        (Type.DOUBLE, "NaN", {"__v_text": "NaN"}),
        (Type.DOUBLE, "-Infinity", {"__v_text": "-Infinity"}),
        (Type.DOUBLE, "1e400", {"__v_text": "1e400"}),
        (Type.BOOL, "true", {"": True}),
        (Type.BOOL, "maybe", {"__v_text": "maybe"}),
        (Type.TEXT, 12, {"": "12"}),
        (Type.TEXT, {"a": 1}, {"": '{"a":1}'}),
        (Type.TEXT, "", {}),
        (Type.TEXT, "a\x00b", {"": "ab"}),
        (Type.JSON, {"a": [1, None]}, {"": '{"a":[1,null]}'}),
        (Type.JSON, "text", {"": '"text"'}),
        (Type.DATE, "2026-03-01", {"": date(2026, 3, 1)}),
        (Type.TIMESTAMP, "2026-03-01T10:00:00+02:00", {"": datetime(2026, 3, 1, 8, tzinfo=UTC)}),
        (Type.TIMESTAMP, "2026-03-01 10:00:00.000 UTC", {"": datetime(2026, 3, 1, 10, tzinfo=UTC)}),
        (Type.TIMESTAMP, "soon", {"__v_text": "soon"}),
    ],
)
def test_values_as_columns_hold_them(kind: Type, value: Any, held: dict[str, Any]) -> None:
    name = f"a_{kind.value}"
    (row,) = union([to_arrow(TYPES, Sheet([{"id": "k", name: value}]), {})]).to_pylist()
    assert {key: cell for key, cell in row.items() if key != "id" and cell is not None} == {
        f"{name}{suffix}": cell for suffix, cell in held.items()
    }


@pytest.mark.parametrize("name", ["", "\x00", "\x00\x00"])
def test_no_key_is_empty(name: str) -> None:
    """A column of a key is not nullable: a null in it would end the load."""
    table = union([to_arrow(TYPES, Sheet([{"id": name}, {"id": "k\x00"}]), {})])
    assert table.column("id").to_pylist() == ["-", "k"]
    table.validate(full=True)


def test_texts_of_a_discovered_column_are_the_same_every_night() -> None:
    mixed = Sheet([{"id": "a", "new": "text"}, {"id": "b", "new": ["listed\x00"]}])
    listed = Sheet([{"id": "c", "new": ["too\x00"]}])
    known: dict[str, Type] = {}
    first, later = (
        conform(TYPES, union([to_arrow(TYPES, rows, known) for rows in (mixed, listed)]), known) for _ in range(2)
    )
    texts = {"a": "text", "b": '["listed"]', "c": '["too"]'}
    assert first.to_pylist() == later.to_pylist() == [{"id": name, "new": text} for name, text in texts.items()]


@given(JSON)
@example("\\u0000")
@example("\\\x00\\\\\x00")
@example({"\x00a": ["\x00", "\\u0000"]})
def test_json_columns_hold_valid_json_without_nul(value: Any) -> None:
    (row,) = union([to_arrow(TYPES, Sheet([{"id": "k", "a_json": value}]), {})]).to_pylist()
    if value is None:
        assert row.get("a_json") is None
        return

    def clean(part: Any) -> Any:
        if isinstance(part, str):
            return part.replace("\x00", "")
        if isinstance(part, list):
            return [clean(item) for item in part]
        return {clean(key): clean(item) for key, item in part.items()} if isinstance(part, dict) else part

    assert orjson.loads(row["a_json"]) == clean(value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None], None),
        ([1, None], Type.BIGINT),
        ([1, 2.5], Type.DOUBLE),
        ([True, None], Type.BOOL),
        ([True, 1], Type.TEXT),
        ([1, "a"], Type.TEXT),
        ([1, {"a": 1}], Type.JSON),
        (["a", {"a": 1}], Type.TEXT),
        ([[], None], Type.JSON),
    ],
)
def test_the_type_of_a_discovered_column(values: list[Any], kind: Type | None) -> None:
    assert infer(values) is kind


def test_what_is_nested_very_deep_is_json_all_the_same() -> None:
    deep = orjson.loads("[" * 500 + '"ü"' + "]" * 500)
    table = to_arrow(
        Table("t", "r", "", ("id",), (Column("id", Type.TEXT, ""),)), Sheet([{"id": "a", "new": deep}]), {}
    )
    assert table.column("new").to_pylist() == ["[" * 500 + '"ü"' + "]" * 500]


def test_a_discovered_column_of_nulls_is_left_out() -> None:
    assert to_arrow(TYPES, Sheet([{"id": "k", "new": None}]), {}).column_names == ["id"]


@pytest.mark.parametrize(
    ("tonight", "held"),
    [
        (8, {"new": 8}),
        (8.0, {"new": 8}),
        (8.5, {"new__v_double": 8.5}),
        ("x", {"new__v_text": "x"}),
        (True, {"new": 1}),
        ({"a": 1}, {"new__v_text": '{"a":1}'}),
    ],
)
def test_a_discovered_column_keeps_the_type_it_has_in_the_warehouse(tonight: Any, held: dict[str, Any]) -> None:
    (row,) = to_arrow(TYPES, Sheet([{"id": "k", "new": tonight}]), {"new": Type.BIGINT}).to_pylist()
    assert {key: cell for key, cell in row.items() if key != "id" and cell is not None} == held


@given(st.lists(st.lists(JSON, min_size=1, max_size=3), min_size=1, max_size=4), st.sampled_from([None, *Type]))
@example([[1], ["x"]], None)
@example([[1], ["x"]], Type.BIGINT)
@example([[True], [1], [{"a": 1}]], Type.BOOL)
@example([[2.5], ["x"]], Type.TEXT)
def test_answers_that_disagree_on_the_type_of_a_discovered_column_lose_nothing(
    answers: list[list[Any]], in_warehouse: Type | None
) -> None:
    """Answers are packed at the same time: none knows what type another has found."""
    known = {"new": in_warehouse} if in_warehouse and in_warehouse is not Type.JSON else {}
    packed = [to_arrow(TYPES, Sheet([{"id": "k", "new": value} for value in values]), {}) for values in answers]
    item = conform(TYPES, union(packed), known)
    assert len(set(item.column_names)) == len(item.column_names)
    for row, value in enumerate(value for values in answers for value in values):
        empty = value is None or (isinstance(value, str) and value.replace("\x00", "") == "")
        assert empty or len(stored(item, "new", row)) == 1
    for column in item.column_names[1:]:
        assert item.schema.field(column).type == ARROW_TYPES[known[column]]


def test_a_variant_that_one_answer_made_and_another_needs_is_one_column() -> None:
    before = to_arrow(TYPES, Sheet([{"id": "a", "new": "x"}]), {"new": Type.BIGINT})
    unaware = to_arrow(TYPES, Sheet([{"id": "b", "new": "y"}, {"id": "c", "new": 3}]), {})
    item = conform(TYPES, union([before, unaware]), {"new": Type.BIGINT})
    assert sorted(item.to_pylist(), key=lambda row: row["id"]) == [
        {"id": "a", "new": None, "new__v_text": "x"},
        {"id": "b", "new": None, "new__v_text": "y"},
        {"id": "c", "new": 3, "new__v_text": None},
    ]


def test_numbers_widen_when_no_type_is_known_yet() -> None:
    item = union(
        [to_arrow(TYPES, Sheet([{"id": "a", "new": 0}]), {}), to_arrow(TYPES, Sheet([{"id": "b", "new": 0.5}]), {})]
    )
    assert item.column("new").to_pylist() == [0.0, 0.5]


@pytest.mark.parametrize("table", [table for table in TABLES.values() if table.parent], ids=lambda table: table.name)
def test_a_tombstone_has_every_key_and_is_marked(table: Table) -> None:
    assert table.parent
    kinds = {
        Type.TEXT: "x",
        Type.DATE: date(2026, 3, 1),
        Type.BIGINT: 1,
        Type.TIMESTAMP: datetime(2026, 3, 1, tzinfo=UTC),
    }
    parent = {name: kinds[column.type] for name in table.parent if (column := table.column(name))}
    (row,) = tombstones(table, [parent]).to_pylist()
    assert row.pop(TOMBSTONE.name) is True
    assert {name: row[name] for name in table.parent} == parent
    assert set(row) == set(table.key)
    assert all(value not in (None, "") for value in row.values())


def test_keys_are_not_nullable_and_all_else_is() -> None:
    rows = [{"campaign_id": "c", "date": date(2026, 3, 1) + timedelta(days=day), "revenue": None} for day in range(2)]
    schema = to_arrow(TABLES["campaign_daily"], Sheet(rows), {}).schema
    assert {column.name: column.nullable for column in schema} == {"campaign_id": False, "date": False, "revenue": True}
