"""Flatteners: whatever an answer holds, no scalar is lost and nothing raises; free text never becomes a column."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sources.braze import flatten
from sources.braze.fields import click_key, column_name
from sources.braze.joining import Piece, joined
from sources.braze.rows import Row, Rows
from sources.braze.tables import TABLES
from sources.braze.windows import Span

DAY = date(2026, 3, 1)
SPAN = Span(DAY, DAY + timedelta(days=9))
KEY = {"campaign_id": "c1"}
CANVAS_KEY = {"canvas_id": "v1"}
BERLIN = ZoneInfo("Europe/Berlin")

COUNTER_NAMES = st.one_of(
    st.sampled_from(["sent", "opens", "unique_clicks", "conversions", "conversions7_by_send_time", "newCounter"]),
    st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True).filter(lambda name: not name.endswith(("click", "clicks"))),
)
# Of titles that are empty, `-` stands in: both in one answer would be one row.
FREE_TEXT = st.one_of(
    st.sampled_from(
        [
            "carousel_slide_1_Été & Co._click",
            "notif_button_2_100% später_click",
            "carousel_slide_3__click",
            "7f3c9f1e-1111-4222-8333-444455556666",
            "user 12345",
            "",
        ]
    ),
    st.text(max_size=30).filter(lambda name: column_name(name) is None and name != "-"),
)
NUMBERS = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9), st.none())
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def day_row(offset: int, **fields: Any) -> dict[str, Any]:
    return {"time": (DAY + timedelta(days=offset)).isoformat(), **fields}


def tables(rows: Rows) -> dict[str, list[Row]]:
    """The rows by table, in the order of their keys."""
    return {
        table: sorted(sheet, key=lambda row: [str(row.get(name)) for name in TABLES[table].key])
        for table, sheet in rows.items()
    }


def column(name: str) -> str:
    found = column_name(name)
    assert found
    return found


# Message statistics


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12),
        st.lists(st.dictionaries(COUNTER_NAMES | FREE_TEXT, NUMBERS, max_size=6), max_size=3),
        max_size=4,
    )
)
def test_every_figure_of_every_message_is_in_a_column_or_a_click_row(messages: dict[str, Any]) -> None:
    rows = flatten.message_series("campaign", {"data": [day_row(0, messages=messages)]}, KEY, SPAN, BERLIN).rows
    stored = {(row["channel"], row["position"]): row for row in rows["campaign_message_daily"]}
    clicks = {
        (row["channel"], row["position"], row["kind"], row["number"], row["title"]): row["clicks"]
        for row in rows["campaign_message_click_daily"]
    }
    assert len(stored) == sum(map(len, messages.values()))
    for channel, variations in messages.items():
        for position, figures in enumerate(variations):
            for name, value in figures.items():
                if click_key(name)[0] == "other" and column_name(name):
                    assert stored[channel, position][column(name)] == value
                else:
                    assert clicks[channel, position, *click_key(name)] == value


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("carousel_slide_2_Sale_click", ("carousel_slide", 2, "Sale")),
        ("carousel_slide_12_Été & Co._click", ("carousel_slide", 12, "Été & Co.")),
        ("carousel_slide_1__click", ("carousel_slide", 1, "-")),
        ("carousel_slide_1_click", ("carousel_slide", 1, "-")),
        ("notif_button_1_Open\napp_click", ("notif_button", 1, "Open\napp")),
        ("notif_button_1_2_clicks", ("notif_button", 1, "2")),
        ("Some title", ("other", 0, "Some title")),
        ("", ("other", 0, "-")),
    ],
)
def test_a_key_with_free_text_becomes_kind_number_and_title(key: str, expected: tuple[str, int, str]) -> None:
    assert click_key(key) == expected


@pytest.mark.parametrize(
    "key",
    [
        "7f3c9f1e-1111-4222-8333-444455556666",
        "variant_7f3c9f1e11114222",
        "5f3c9f1e1111422283334444",
        "user_123456",
        "Größe",
        "with space",
        "UPPER-CASE",
        "",
        "x" * 64,
        "1 st",
        "42",
        "7-day",
        "7d" + "x" * 61,
        "title\n",
    ],
)
def test_free_text_and_identifiers_are_no_columns(key: str) -> None:
    assert column_name(key) is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("unique_opens", "unique_opens"),
        ("conversions12_by_send_time", "conversions12_by_send_time"),
        ("newCounter", "new_counter"),
        ("first_button_clicks", "first_button_clicks"),
        ("1st", "_1st"),
        ("7day_conversions", "_7day_conversions"),
        ("30DayOpens", "_30_day_opens"),
    ],
)
def test_counters_are_columns(key: str, name: str) -> None:
    assert column_name(key) == name


def test_an_unknown_channel_is_rows_and_an_empty_one_is_none() -> None:
    messages = {"hologram": [{"beams": 3}], "sms": [], "email": None}
    rows = flatten.message_series("campaign", {"data": [day_row(0, messages=messages)]}, KEY, SPAN, BERLIN).rows
    assert list(rows["campaign_message_daily"]) == [
        {"campaign_id": "c1", "date": DAY, "channel": "hologram", "position": 0, "beams": 3}
    ]


def test_figures_cannot_overwrite_the_keys_of_their_row() -> None:
    figures = {"channel": None, "position": 9, "date": "x", "campaign_id": "", "sent": 1}
    source = day_row(0, campaign_id="other", date=None, messages={"email": [figures]})
    rows = flatten.message_series("campaign", {"data": [source]}, KEY, SPAN, BERLIN).rows
    assert list(rows["campaign_daily"]) == [{"campaign_id": "c1", "date": DAY}]
    assert list(rows["campaign_message_daily"]) == [
        {"campaign_id": "c1", "date": DAY, "channel": "email", "position": 0, "sent": 1}
    ]


def test_control_groups_and_missing_variation_ids_keep_their_place() -> None:
    variations = [{"variation_name": "A", "sent": 5}, {"variation_name": "Control", "enrolled": 2}]
    source = day_row(0, messages={"trigger_in_app_message": variations})
    rows = flatten.message_series("campaign", {"data": [source]}, KEY, SPAN, BERLIN).rows
    assert [(row["position"], row["variation_name"]) for row in rows["campaign_message_daily"]] == [
        (0, "A"),
        (1, "Control"),
    ]


# Days


@given(st.lists(st.integers(-3, 13), max_size=20), st.data())
def test_days_outside_the_span_are_left_out_and_each_day_counts_once_in_any_order(
    offsets: list[int], data: st.DataObject
) -> None:
    sources = data.draw(st.permutations([day_row(offset, sent=offset + 3) for offset in offsets]))
    series = flatten.message_series("campaign", {"data": sources}, KEY, SPAN, BERLIN)
    wanted = {DAY + timedelta(days=offset) for offset in offsets if 0 <= offset <= 9}
    assert series.days == wanted
    assert sorted(row["date"] for row in series.rows["campaign_daily"]) == sorted(wanted)
    assert series.last_active == max(wanted, default=None)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=20))
def test_the_last_active_day_is_the_last_with_a_figure_above_zero(figures: list[tuple[int, int]]) -> None:
    by_day = dict(figures)
    sources = [day_row(offset, messages={"email": [{"opens": count}]}) for offset, count in by_day.items()]
    series = flatten.message_series("campaign", {"data": sources}, KEY, SPAN, BERLIN)
    active = [DAY + timedelta(days=offset) for offset, count in by_day.items() if count]
    assert series.last_active == max(active, default=None)


@given(st.dictionaries(COUNTER_NAMES, NUMBERS, max_size=8))
def test_a_plain_series_keeps_every_counter(figures: dict[str, Any]) -> None:
    rows = flatten.flat_series("kpi_daily", {"data": [day_row(0, **figures)]}, {"app_id": "*"}, SPAN, BERLIN).rows
    assert tables(rows) == {
        "kpi_daily": [{column(name): value for name, value in figures.items()} | {"app_id": "*", "date": DAY}]
    }


@given(st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=3), st.integers(-1, 9))
def test_a_row_of_several_series_lacks_only_those_that_had_not_begun(offsets: list[set[int]], until: int) -> None:
    names, key = ("mau", "dau", "new_users"), {"app_id": "*"}
    pieces = [
        Piece(
            flatten.flat_series(
                "kpi_daily", {"data": [day_row(day, **{name: day}) for day in days]}, key, SPAN, BERLIN
            ),
            DAY + timedelta(days=until),
        )
        for name, days in zip(names, offsets, strict=False)
    ]
    series = joined("kpi_daily", "date", pieces, BERLIN)
    expected = {
        day: {name: day for name, days in zip(names, offsets, strict=False) if day in days}
        for day in set().union(*offsets)
        if all(day in days or (day < min(days, default=10) and day <= until) for days in offsets)
    }
    assert {row["date"]: row for row in series.rows["kpi_daily"]} == {
        DAY + timedelta(days=day): {**key, "date": DAY + timedelta(days=day), **figures}
        for day, figures in expected.items()
    }
    assert series.days == {DAY + timedelta(days=day) for day in expected}


@pytest.mark.parametrize("keys", [("uniqueOpens", "unique_opens"), ("unique_opens", "uniqueOpens")])
def test_of_two_spellings_of_one_column_that_of_the_column_counts_and_the_other_is_kept(keys: tuple[str, str]) -> None:
    values = {"uniqueOpens": 9, "unique_opens": 1}
    statistics = {key: values[key] for key in keys}
    answer = {"data": [{"time": "2026-03-01", "messages": {"email": [statistics]}}]}
    rows = flatten.message_series("campaign", answer, {"campaign_id": "c"}, SPAN, BERLIN).rows
    assert [row["unique_opens"] for row in rows["campaign_message_daily"]] == [1]
    (click,) = rows["campaign_message_click_daily"]
    assert (click["kind"], click["title"], click["clicks"]) == ("other", "uniqueOpens", 9)


def test_the_hour_that_clocks_repeat_counts_twice_also_without_an_offset() -> None:
    day = date(2026, 10, 25)
    texts = ["2026-10-25T01:00:00", "2026-10-25T02:00:00", "2026-10-25T02:00:00", "2026-10-25T03:00:00"]
    answer = {"data": [{"time": text, "count": count} for count, text in enumerate(texts)]}
    series = flatten.hourly_series("event_hourly", answer, {"event": "e"}, Span(day, day), BERLIN)
    first = datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert [(row["hour"], row["count"]) for row in series.rows["event_hourly"]] == [
        (first + timedelta(hours=count), count) for count in range(4)
    ]


def test_a_day_whose_last_hours_are_missing_is_not_complete() -> None:
    days = Span(date(2026, 3, 1), date(2026, 3, 2))
    hours = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(34)]
    answer = {"data": [{"time": hour.isoformat(), "count": 1} for hour in hours]}
    series = flatten.hourly_series("event_hourly", answer, {"event": "e"}, days, ZoneInfo("UTC"))
    assert series.days == {date(2026, 3, 1)}
    assert len(series.rows["event_hourly"]) == 34


def test_hours_are_instants_and_belong_to_the_workspaces_day() -> None:
    day = date(2026, 10, 25)  # 25 hours in Berlin
    starts = [datetime(2026, 10, 24, 21, tzinfo=UTC) + timedelta(hours=hour) for hour in range(28)]
    answer = {"data": [{"time": start.isoformat(), "count": 1} for start in starts]}
    series = flatten.hourly_series("event_hourly", answer, {"event": "e"}, Span(day, day), BERLIN)
    assert [row["hour"] for row in series.rows["event_hourly"]] == starts[1:26]
    assert series.days == {day}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01 10:00:00.000 UTC", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 10:00:00 +0000", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00-5:00", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01T10:00:00", datetime(2026, 3, 1, 9, tzinfo=UTC)),
    ],
)
def test_timestamps_are_read_as_braze_writes_them(written: str, meant: datetime) -> None:
    assert flatten.parse_instant(written, BERLIN) == meant


@pytest.mark.parametrize(
    ("written", "zone", "day"),
    [
        ("2026-03-02", "Pacific/Apia", "2026-03-02"),
        ("2026-03-01T11:00:00Z", "Pacific/Apia", "2026-03-02"),
        ("2026-03-01 11:00:00.000 UTC", "Pacific/Apia", "2026-03-02"),
        ("2026-03-01T12:00:00+01:00", "Pacific/Apia", "2026-03-02"),
        ("2026-03-02T08:00:00Z", "America/Los_Angeles", "2026-03-02"),
        ("2026-04-23T22:00:00+00:00", "Africa/Cairo", "2026-04-24"),  # its clocks skip that midnight
        ("2026-03-02T00:00:00Z", "Pacific/Apia", "2026-03-02"),
        ("2026-03-02T00:00:00+00:00", "America/Los_Angeles", "2026-03-02"),
        ("2026-03-02T00:00:00", "Pacific/Apia", "2026-03-02"),
        ("2026-03-02T11:30:00Z", "Pacific/Apia", "2026-03-02"),
        ("2026-03-02T11:00:00", "Pacific/Apia", "2026-03-02"),
    ],
)
def test_the_day_of_a_row_is_the_date_it_names_or_that_begins_at_its_instant(written: str, zone: str, day: str) -> None:
    span, place = Span(DAY - timedelta(days=1), DAY + timedelta(days=60)), ZoneInfo(zone)
    row = {"time": written, "total_stats": {}, "messages": {}}
    for series in (
        flatten.flat_series("kpi_daily", {"data": [row]}, {"app_id": "*"}, span, place),
        flatten.message_series("campaign", {"data": [row]}, KEY, span, place),
        flatten.canvas_series({"data": {"stats": [row]}}, CANVAS_KEY, span, place),
    ):
        assert series.days == {date.fromisoformat(day)}


# Canvases

STATISTICS = st.dictionaries(COUNTER_NAMES, NUMBERS, max_size=5)


@given(
    STATISTICS,
    st.dictionaries(st.uuids().map(str), STATISTICS, max_size=3),
    st.dictionaries(
        st.uuids().map(str),
        st.tuples(
            STATISTICS, st.dictionaries(st.text(min_size=1, max_size=8), st.lists(STATISTICS, max_size=2), max_size=2)
        ),
        max_size=3,
    ),
)  # fmt: skip
def test_every_figure_of_a_canvas_is_in_its_table(
    total: dict[str, Any], variants: dict[str, Any], steps: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    step_stats = {step: {**figures, "messages": messages} for step, (figures, messages) in steps.items()}
    source = day_row(0, total_stats=total, variant_stats=variants, step_stats=step_stats)
    rows = flatten.canvas_series({"data": {"stats": [source]}}, CANVAS_KEY, SPAN, BERLIN).rows
    key = {**CANVAS_KEY, "date": DAY}

    def figures(values: dict[str, Any]) -> dict[str, Any]:
        return {column(name): value for name, value in values.items()}

    assert tables(rows) == {
        "canvas_daily": [figures(total) | key],
        "canvas_variant_daily": [
            figures(values) | key | {"variant_id": variant} for variant, values in sorted(variants.items())
        ],
        "canvas_step_daily": [figures(values) | key | {"step_id": step} for step, (values, _) in sorted(steps.items())],
        "canvas_step_message_daily": [
            figures(values) | key | {"step_id": step, "channel": channel, "position": position}
            for step, (_, messages) in sorted(steps.items())
            for channel, variations in sorted(messages.items())
            for position, values in enumerate(variations)
        ],
        "canvas_step_message_click_daily": [],
    }


def test_what_stands_beside_the_totals_of_a_canvas_is_columns_if_it_has_no_parts() -> None:
    beside = {
        "unique_entries": 4,
        "entries": 9,
        "7day_entries": 3,
        "canvas_id": "x",
        "app_stats": {"a": {}},
        "log": [1],
    }
    totals = {"total_stats": {"entries": 5}, "name": "Welcome", **beside}
    expected = {**CANVAS_KEY, "entries": 5, "unique_entries": 4, "_7day_entries": 3}
    rows = flatten.canvas_series({"data": {"stats": [day_row(0, **totals)]}}, CANVAS_KEY, SPAN, BERLIN).rows
    assert list(rows["canvas_daily"]) == [{**expected, "date": DAY}]
    rows = flatten.canvas_summary({"data": totals}, CANVAS_KEY, SPAN).rows
    assert list(rows["canvas_summary"]) == [{**expected, "start_date": SPAN.first, "end_date": SPAN.last}]


@pytest.mark.parametrize(
    "breakdowns", [{}, {"variant_stats": None, "step_stats": None}, {"variant_stats": {}, "step_stats": {}}]
)
def test_a_canvas_without_breakdowns_has_its_totals(breakdowns: dict[str, Any]) -> None:
    source = day_row(0, total_stats={"entries": 4}, **breakdowns)
    rows = flatten.canvas_series({"data": {"stats": [source]}}, CANVAS_KEY, SPAN, BERLIN).rows
    assert {name: len(table_rows) for name, table_rows in rows.items() if table_rows} == {"canvas_daily": 1}


def test_a_summary_is_keyed_by_its_window() -> None:
    answer = {"data": {"name": "x", "total_stats": {"entries": 4}, "variant_stats": {"a": {"entries": 4}}}}
    rows = flatten.canvas_summary(answer, CANVAS_KEY, SPAN).rows
    window = {**CANVAS_KEY, "start_date": SPAN.first, "end_date": SPAN.last}
    assert list(rows["canvas_summary"]) == [{"entries": 4, **window}]
    assert list(rows["canvas_variant_summary"]) == [{"entries": 4, **window, "variant_id": "a"}]


# Catalogs

CATALOG_FLATTENERS: list[tuple[Callable[[Any, Any], Rows], dict[str, Any]]] = [
    (
        flatten.campaign,
        {"tags": [], "channels": [], "teams": [], "messages": {}, "conversion_behaviors": []},
    ),
    (flatten.canvas, {"tags": [], "channels": [], "teams": [], "variants": [], "steps": []}),
    (flatten.segment, {"tags": [], "teams": []}),
    (flatten.card, {"tags": []}),
]
NESTED = (
    "tags", "channels", "teams", "messages", "conversion_behaviors", "variants", "steps", "next_paths",
    "next_step_ids", "first_step_ids", "first_step_id", "app_ids", "from", "extras", "headers", "id", "name", "type",
    "product", "unheard_of",
)  # fmt: skip
DETAILS = st.recursive(
    JUNK,
    lambda inner: (
        st.dictionaries(st.sampled_from(NESTED) | st.uuids().map(str), inner, max_size=5) | st.lists(inner, max_size=3)
    ),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(NESTED), DETAILS, max_size=8))
@example({"messages": {"a": None}, "conversion_behaviors": [None, 3], "tags": [None, ""]})
@example({"variants": [None, "x", {}], "steps": [None, {"messages": [], "next_paths": None}]})
@example({"messages": ["x"], "variants": {"id": "v"}, "steps": 5})
def test_no_shape_of_details_makes_a_flattener_raise_or_leaves_a_key_empty(
    details: dict[str, Any],
) -> None:
    for flattener, _ in CATALOG_FLATTENERS:
        rows = flattener({"id": "e1"}, details)
        assert set(rows) <= set(TABLES)
        for name, table_rows in rows.items():
            for row in table_rows:
                assert all(row[key] not in (None, "") for key in TABLES[name].key), (name, row)


MESSAGE_JUNK = st.dictionaries(st.sampled_from(["email", "sms", ""]), JUNK | st.lists(JUNK, max_size=3), max_size=3)


@given(MESSAGE_JUNK | JUNK)
@example({"email": [None, 5, "x", {"sent": 1}]})
@example({"email": {"sent": 1}})
def test_no_shape_of_messages_makes_a_series_raise(messages: Any) -> None:
    step = {"messages": messages}
    campaign = flatten.message_series("campaign", {"data": [day_row(0, messages=messages)]}, KEY, SPAN, BERLIN)
    canvas = flatten.canvas_series({"data": {"stats": [day_row(0, step_stats={"s": step})]}}, CANVAS_KEY, SPAN, BERLIN)
    assert campaign.days == canvas.days == {DAY}
    for name, table_rows in {**campaign.rows, **canvas.rows}.items():
        for row in table_rows:
            assert all(row[key] not in (None, "") for key in TABLES[name].key), (name, row)


@pytest.mark.parametrize(("flattener", "nothing"), CATALOG_FLATTENERS)
def test_null_absent_and_empty_lists_are_the_same(
    flattener: Callable[[Any, Any], Rows], nothing: dict[str, Any]
) -> None:
    listed = {"id": "e1", "name": "x"}
    absent, null, empty = (flattener(listed, details) for details in ({}, dict.fromkeys(nothing), nothing))
    assert tables(absent) == tables(null) == tables(empty)


def test_null_and_repeated_tags_are_left_out() -> None:
    rows = flatten.campaign({"id": "c1"}, {"tags": ["a", None, "", "a", "b"]})
    assert list(rows["campaign_tags"]) == [{"campaign_id": "c1", "tag": "a"}, {"campaign_id": "c1", "tag": "b"}]


def test_unknown_fields_of_details_become_columns_and_the_details_win_over_the_list() -> None:
    details = {"name": "new", "someNewFlag": True, "id": "ignored", "message": "success"}
    (row,) = flatten.campaign({"id": "c1", "name": "old", "is_api_campaign": False}, details)["campaigns"]
    assert row == {"id": "c1", "name": "new", "is_api_campaign": False, "some_new_flag": True}


def test_message_bodies_can_be_left_out() -> None:
    details = {"messages": {"m1": {"channel": "email", "subject": "Hi", "body": "<html>", "amp_body": "x"}}}
    rows = flatten.campaign({"id": "c1", "data": "of the campaign"}, details)
    (message,) = rows["campaign_messages"]
    assert message["body"] == "<html>"
    without = flatten.without_bodies(rows)
    (bare,) = without["campaign_messages"]
    assert set(message) - set(bare) == {"body", "amp_body"}
    assert list(without["campaigns"]) == list(rows["campaigns"])


def test_the_edges_of_a_step_are_its_paths_and_then_the_steps_no_path_names() -> None:
    paths = [{"name": "Yes", "next_step_id": "b"}, {"name": "No", "next_step_id": None}]
    details = {"steps": [{"id": "a", "next_paths": paths, "next_step_ids": ["b", "c"]}]}
    rows = flatten.canvas({"id": "v1"}, details)["canvas_step_paths"]
    assert [(row["position"], row["name"], row["next_step_id"]) for row in rows] == [
        (0, "Yes", "b"),
        (1, "No", None),
        (2, None, "c"),
    ]


def test_variants_and_steps_without_an_id_stay_apart_when_they_share_a_name() -> None:
    variants = [
        {"name": "A", "first_step_ids": ["s"]},
        {"id": "i", "name": "A"},
        {"name": "A", "first_step_ids": ["t"]},
        {"first_step_ids": []},
    ]
    rows = flatten.canvas({"id": "v1"}, {"variants": variants, "steps": [{"name": "x"}, {"name": "x"}]})
    assert [row["variant_id"] for row in rows["canvas_variants"]] == ["A", "i", "A 2", "3"]
    assert [(row["variant_id"], row["step_id"]) for row in rows["canvas_variant_first_steps"]] == [
        ("A", "s"),
        ("A 2", "t"),
    ]
    assert [row["step_id"] for row in rows["canvas_steps"]] == ["x", "x 1"]


def test_a_lone_first_step_and_a_list_of_them_are_the_same_rows() -> None:
    one = flatten.canvas({"id": "v1"}, {"variants": [{"id": "a", "first_step_id": "s"}]})
    many = flatten.canvas({"id": "v1"}, {"variants": [{"id": "a", "first_step_ids": ["s"]}]})
    assert list(one["canvas_variant_first_steps"]) == list(many["canvas_variant_first_steps"]) != []


def test_events_by_entry_and_by_bare_name() -> None:
    assert tables(flatten.event({"name": "e", "description": None, "tag_names": ["t", None]})) == {
        "events": [{"name": "e", "description": None}],
        "event_tags": [{"event": "e", "tag": "t"}],
    }
    assert tables(flatten.event({"name": "e"})) == {"events": [{"name": "e"}], "event_tags": []}


@pytest.mark.parametrize("flattened", [flatten.campaign, flatten.canvas, flatten.segment, flatten.card])
def test_a_null_in_the_details_hides_nothing_that_the_list_says(flattened: Any) -> None:
    listed = {"id": "e-1", "name": "from the list", "tags": ["t"]}
    rows = flattened(listed, {"name": None, "tags": None, "description": None})
    entity, tags = next(iter(rows.values())), next(rows[table] for table in rows if table.endswith("_tags"))
    assert [(row["name"], row["description"]) for row in entity] == [("from the list", None)]
    assert [row["tag"] for row in tags] == ["t"]
    (gone,) = (rows for table, rows in flattened(listed, {"tags": []}).items() if table.endswith("_tags"))
    assert not list(gone)
