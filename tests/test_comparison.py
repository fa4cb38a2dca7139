"""The comparison of rows: arithmetic and shape, without HTTP or SQL."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.braze.arrow import to_arrow
from sources.braze.comparison import (
    Difference,
    Kind,
    comparable,
    compare,
    compare_steps,
    compare_sums,
    gaps,
    sampled,
    typed,
)
from sources.braze.relations import ownerships
from sources.braze.rows import Sheet
from sources.braze.tables import RESOURCES, TABLES

DAILY = TABLES["campaign_daily"]
MESSAGES = TABLES["campaign_messages"]
DAY = date(2026, 3, 1)

figures = st.dictionaries(
    st.sampled_from(["unique_recipients", "conversions", "conversions1", "brand_new"]), st.integers(0, 10**12)
)
days = st.dictionaries(st.dates(date(2026, 1, 1), date(2026, 12, 31)), figures, max_size=20)


def rows(by_day):
    return [{"campaign_id": "c", "date": day, **values} for day, values in by_day.items()]


@given(days)
def test_rows_equal_themselves_in_any_order_with_nulls_and_the_connectors_own_columns(by_day):
    stored = [
        comparable({**row, "revenue": None, "_dlt_load_id": "1.2", "synced_at": datetime.now(tz=UTC)})
        for row in reversed(rows(by_day))
    ]
    assert list(compare(DAILY, stored, typed(DAILY, Sheet(rows(by_day))))) == []


@given(days, days)
def test_every_cell_that_differs_is_named_once_with_both_values(ours, theirs):
    found = list(compare(DAILY, rows(ours), rows(theirs)))
    expected = {
        *((Kind.EXTRA, day, None, None, None) for day in ours.keys() - theirs.keys()),
        *((Kind.MISSING, day, None, None, None) for day in theirs.keys() - ours.keys()),
        *(
            (Kind.VALUE, day, name, ours[day].get(name), theirs[day].get(name))
            for day in ours.keys() & theirs.keys()
            for name in ours[day].keys() | theirs[day].keys()
            if ours[day].get(name) != theirs[day].get(name)
        ),
    }
    assert {(one.kind, one.key["date"], one.column, one.warehouse, one.api) for one in found} == expected
    assert len(found) == len(expected)


def values(table, ours, theirs):
    key = dict.fromkeys(table.key, "x")
    return [
        (one.column, one.warehouse, one.api)
        for one in compare(table, [comparable({**key, **ours})], typed(table, Sheet([{**key, **theirs}])))
    ]


def test_money_may_differ_by_half_a_cent_and_counters_by_nothing():
    key = {"campaign_id": "c", "date": DAY}
    close = [{**key, "revenue": 10.0049, "conversions": 5}]
    assert list(compare(DAILY, close, [{**key, "revenue": 10, "conversions": 5}])) == []
    apart = list(compare(DAILY, close, [{**key, "revenue": 10.01, "conversions": 6}]))
    assert [(one.column, one.warehouse, one.api) for one in apart] == [
        ("revenue", 10.0049, 10.01),
        ("conversions", 5, 6),
    ]


def test_json_is_compared_by_meaning_whether_the_driver_parses_it_or_not():
    extras = {"b": [1, {"c": None}], "a": "ü"}
    assert values(MESSAGES, {"extras": json.dumps(extras, indent=1)}, {"extras": extras}) == []
    assert values(MESSAGES, {"extras": extras}, {"extras": extras}) == []
    assert values(MESSAGES, {"extras": "plain"}, {"extras": "plain"}) == []
    assert values(MESSAGES, {"extras": {"a": "u"}}, {"extras": extras})[0][0] == "extras"


def test_a_value_too_odd_for_its_column_is_found_in_the_variant_column():
    key = {"campaign_id": "c", "date": DAY}
    stored = comparable({**key, "conversions": None, "conversions__v_text": "many"})
    assert list(compare(DAILY, [stored], typed(DAILY, Sheet([{**key, "conversions": "many"}])))) == []
    new = comparable({**key, "brand_new__v_text": "12"})
    assert list(compare(DAILY, [new], typed(DAILY, Sheet([{**key, "brand_new": 12}])))) == []


@pytest.mark.parametrize("value", [1.5, 2**70, True, "NaN", [1], {"a": 1}])
@pytest.mark.parametrize("name", ["conversions", "revenue", "brand_new"])
def test_a_value_among_texts_in_a_variant_column_is_the_apis(name, value):
    """What is loaded together shares a column: `1.5` is text there because another campaign said `many`."""
    keys = [{"campaign_id": campaign, "date": DAY} for campaign in ("c", "d")]
    rows = [{**keys[0], name: "many"}, {**keys[1], name: value}]
    stored = to_arrow(DAILY, Sheet(rows), {}).to_pylist()
    assert list(compare(DAILY, [comparable(stored[1])], typed(DAILY, Sheet([rows[1]])))) == []
    (difference,) = compare(DAILY, [comparable(stored[1])], typed(DAILY, Sheet([{**rows[1], name: 7}])))
    assert difference.column == name


def test_what_is_no_number_is_left_out_of_sums():
    key = {"canvas_id": "v", "date": DAY}
    odd = [{**key, "entries": 3, "conversions": "many", "revenue": float("nan")}]
    total = {"entries": 4, "conversions": 1, "revenue": float("nan")}
    assert [one.column for one in compare_sums(CANVAS, {}, odd, total)] == ["entries"]
    steps, parts = [{**odd[0], "step_id": "s"}], [{**odd[0], "step_id": "s", "entries": 1}]
    assert [one.column for one in compare_steps(TABLES["canvas_step_message_daily"], steps, parts)] == ["entries"]


def test_empty_texts_are_absent_as_they_are_in_the_warehouse():
    assert values(MESSAGES, {}, {"subject": "", "title": "\x00", "alert": None}) == []


def test_instants_are_compared_as_instants():
    local = datetime(2026, 3, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert values(MESSAGES, {"created_at": local}, {"created_at": "2026-03-01T00:00:00Z"}) == []


def test_ignored_columns_are_not_looked_at():
    key = {"campaign_id": "c", "message_variation_id": "m"}
    assert list(compare(MESSAGES, [{**key, "body": "x"}], [key], frozenset({"body"}))) == []


def test_every_copy_of_a_doubled_row_is_compared():
    key = {"campaign_id": "c", "date": DAY}
    found = list(compare(DAILY, [{**key, "conversions": 1}, {**key, "conversions": 2}], [{**key, "conversions": 2}]))
    assert [(one.warehouse, one.api) for one in found] == [(1, 2)]


CANVAS = TABLES["canvas_daily"]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**8)), min_size=1, max_size=14))
def test_daily_rows_add_up_to_the_total_of_their_days(per_day):
    daily = [{"entries": entries, "revenue": cents / 100} for entries, cents in per_day]
    total = {
        "name": "a Canvas",
        "entries": sum(row["entries"] for row in daily),
        "revenue": round(sum(row["revenue"] for row in daily), 2),
        "unique_recipients": 1,
    }
    assert compare_sums(CANVAS, {}, daily, total) == []
    wrong = {**total, "entries": 10**9}
    assert [one.column for one in compare_sums(CANVAS, {}, daily, wrong)] == ["entries"]


def test_a_sum_that_differs_comes_with_both_values():
    daily = [{"entries": 3, "conversions2_by_entry_time": 1}, {"entries": 4}]
    total = {"entries": 9, "conversions2_by_entry_time": 1, "conversions7": 0}
    key = {"canvas_id": "c"}
    assert compare_sums(CANVAS, key, daily, total) == [Difference(Kind.SUM, "canvas_daily", key, "entries", 7, 9)]


def test_step_messages_that_report_what_a_step_reports_add_up_to_it():
    key = {"canvas_id": "c", "date": DAY, "step_id": "s"}
    step = {**key, "conversions": 5, "revenue": 1.0, "unique_recipients": 9}
    table = TABLES["canvas_step_message_daily"]
    parts = [{**key, "sent": 4, "conversions": 2}, {**key, "sent": 4, "conversions": 3}]
    assert list(compare_steps(table, [step], parts)) == []
    parts[1]["conversions"] = 4
    found = list(compare_steps(table, [step], parts))
    assert [(one.column, one.warehouse, one.api) for one in found] == [("conversions", 6, 5)]
    assert list(compare_steps(table, [step], [{**key, "conversions": 1}, {**key, "sent": 1}])) == []


@given(st.sets(st.integers(0, 60)))
def test_gaps_are_exactly_the_days_between_that_are_not_there(present):
    dates = [DAY + timedelta(days=offset) for offset in present]
    holes = {
        first + timedelta(days=offset)
        for first, last in gaps(dates, timedelta(days=1))
        for offset in range((last - first).days + 1)
    }
    inside = set(range(min(present), max(present))) if present else set()
    assert holes == {DAY + timedelta(days=offset) for offset in inside - present}


@given(st.sets(st.text(max_size=5), min_size=1), st.integers(1, 30), st.dates(date(2020, 1, 1), date(2030, 1, 1)))
def test_a_sample_is_the_same_for_everybody_on_one_day(names, count, day):
    forward = sampled(sorted(names), str, count, day)
    assert forward == sampled(sorted(names, reverse=True), str, count, day)
    assert len(forward) == min(count, len(names))
    assert set(sampled(names, str, None, day)) == names


def test_samples_rotate_until_everything_was_looked_at():
    names = [f"campaign {number}" for number in range(100)]
    seen = {name for offset in range(40) for name in sampled(names, str, 20, DAY + timedelta(days=offset))}
    assert len(seen) == 100


def test_every_table_but_the_entities_own_has_a_parent():
    roots = {"campaigns", "canvases", "segments", "cards", "events", "products", "users", "kpi_daily"}
    parentless = set()
    for resource in RESOURCES:
        owned = {reference.child for reference in ownerships(resource)}
        parentless |= {table.name for table in TABLES.values() if table.resource == resource} - owned
    assert parentless == roots
    (step,) = [one for one in ownerships("canvas_series") if one.child == "canvas_step_message_daily"]
    assert (step.parent, step.key) == ("canvas_step_daily", ("canvas_id", "date", "step_id"))
