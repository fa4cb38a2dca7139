"""Sheets: whatever the fields of their rows, every value stays where it was."""

from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sources.braze.rows import ROWS_WORTH_A_GROUP, Columns, Row, Sheet

FIELDS = st.sampled_from(["sent", "opens", "clicks", "revenue"])
ROWS = st.lists(st.dictionaries(FIELDS, st.integers(0, 9) | st.none(), max_size=4), max_size=12)


def counted(rows: Any) -> Counter[frozenset[tuple[str, Any]]]:
    return Counter(frozenset(row.items()) for row in rows)


def rows_of(columns: Columns) -> list[Row]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@given(ROWS, ROWS)
def test_rows_of_any_fields_come_out_as_they_went_in_and_are_shared_with_nobody(
    first: list[Row], second: list[Row]
) -> None:
    sheet, other = Sheet(first), Sheet(second)
    sheet.extend(other)
    sheet.add(("sent", "opens"), (1, 2))
    assert counted(sheet) == counted([*first, *second, {"sent": 1, "opens": 2}])
    assert len(sheet) == len(first) + len(second) + 1
    assert counted(other) == counted(second)
    assert all(row in sheet for row in second)
    assert {"sent": 1} not in Sheet([{"sent": 1, "opens": 2}])


@given(ROWS.filter(bool))
@example([{"sent": 1}, {"opens": 2, "sent": 3}, {"clicks": None}])
def test_rows_of_many_kinds_are_one_set_of_columns_in_which_nothing_is_null(rows: list[Row]) -> None:
    (columns,) = Sheet(rows).columns()
    names = {name for row in rows for name in row}
    assert counted(rows_of(columns)) == (
        counted({name: row.get(name) for name in names} for row in rows) if names else Counter()
    )


def test_rows_of_few_kinds_are_columns_of_their_own() -> None:
    emails = [{"channel": "email", "opens": number} for number in range(ROWS_WORTH_A_GROUP)]
    texts = [{"channel": "sms", "sent": number} for number in range(ROWS_WORTH_A_GROUP)]
    groups = Sheet([*emails, *texts]).columns()
    assert [list(group) for group in groups] == [["channel", "opens"], ["channel", "sent"]]
    assert [rows_of(group) for group in groups] == [emails, texts]


@given(st.lists(st.tuples(st.integers(), st.integers(), ROWS.map(len)), max_size=9))
def test_columns_are_selected_in_the_order_they_are_asked_for(values: list[tuple[int, int, int]]) -> None:
    rows = [{"a": a, **({"x": x} if x % 2 else {}), "b": b} for a, b, x in values]
    assert Counter(Sheet(rows).select(("b", "a"))) == Counter((row["b"], row["a"]) for row in rows)
    assert counted(Sheet(rows).without({"a", "x"})) == counted({"b": row["b"]} for row in rows)
