"""The SQL recipes on warehouses of a few rows, in DuckDB and Postgres: the results can be computed by hand."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import duckdb
import psycopg2
import pytest

from docs.generate.recipes import FOLDER
from sources.braze.tables import TABLES
from tests import postgres
from tests.recipe_rows import Row, plain


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def tiny(request: pytest.FixtureRequest) -> Iterator[Callable[..., list[Row]]]:
    """A function that fills declared tables with rows and gives the result of a recipe; nothing is kept."""
    if request.param == "duckdb":
        with duckdb.connect() as connection:
            yield filler(connection)
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        connection = psycopg2.connect(url)
        yield filler(connection)
        connection.close()


SQL_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "double": "DOUBLE PRECISION", "bool": "BOOLEAN", "date": "DATE"}


def filler(connection: Any) -> Callable[..., list[Row]]:
    mark = "?" if isinstance(connection, duckdb.DuckDBPyConnection) else "%s"

    def result(name: str, **tables: list[Row]) -> list[Row]:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        try:
            cursor.execute("CREATE SCHEMA braze")
            for table in TABLES.values():
                kinds = ((one.name, SQL_TYPES.get(one.type, "TIMESTAMPTZ")) for one in table.columns)
                cursor.execute(f"CREATE TABLE braze.{table.name} ({', '.join(f'{quoted(n)} {k}' for n, k in kinds)})")
            for table_name, table_rows in tables.items():
                for row in table_rows:
                    columns = ", ".join(map(quoted, row))
                    marks = ", ".join([mark] * len(row))
                    cursor.execute(f"INSERT INTO braze.{table_name} ({columns}) VALUES ({marks})", list(row.values()))
            cursor.execute((FOLDER / name).read_text(encoding="utf-8"))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, map(plain, row), strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.execute("ROLLBACK")

    return result


def quoted(name: str) -> str:
    return f'"{name}"'


def test_lift_is_measured_against_the_control_group(tiny: Callable[..., list[Row]]) -> None:
    key = {"campaign_id": "c", "channel": "email", "variation_api_id": "a", "position": 0}
    found = tiny(
        "variant_performance.sql",
        campaigns=[{"id": "c", "name": "Sale"}, {"id": "other", "name": "No control"}],
        campaign_message_daily=[
            {**key, "date": date(2026, 1, 1), "unique_recipients": 600, "conversions_by_send_time": 20},
            {**key, "date": date(2026, 1, 2), "unique_recipients": 400, "conversions_by_send_time": 10},
            {
                **key,
                "variation_api_id": "b",
                "position": 1,
                "date": date(2026, 1, 1),
                "enrolled": 500,
                "conversions_by_send_time": 10,
            },
            {**key, "campaign_id": "other", "date": date(2026, 1, 1), "unique_recipients": 1},
        ],
    )
    (row,) = found
    assert (row["campaign"], row["recipients"], row["conversions"]) == ("Sale", 1000, 30)
    assert (row["conversion_percent"], row["control_percent"], row["lift_percent"]) == (3.0, 2.0, 50.0)


@pytest.mark.parametrize(
    ("conversions", "verdict", "points"),
    [
        ((100, 160), "other is better", (6.0, 3.064, 8.936)),
        ((160, 100), "first is better", (-6.0, -8.936, -3.064)),
        ((100, 110), "undecided", (1.0, -1.687, 3.687)),
    ],
)
def test_a_test_is_decided_where_the_interval_leaves_zero_out(
    tiny: Callable[..., list[Row]], conversions: tuple[int, int], verdict: str, points: tuple[float, float, float]
) -> None:
    variants = [
        {
            "campaign_id": "c",
            "date": date(2026, 1, 1),
            "channel": "email",
            "position": position,
            "variation_name": "AB"[position],
            "unique_recipients": 1000,
            "conversions_by_send_time": count,
        }
        for position, count in enumerate(conversions)
    ]
    control = {**variants[0], "position": 2, "variation_name": "Control", "enrolled": 1000}
    (row,) = tiny(
        "ab_test_confidence.sql", campaigns=[{"id": "c", "name": "Test"}], campaign_message_daily=[*variants, control]
    )
    assert (row["first_variation"], row["other_variation"], row["verdict"]) == ("A", "B", verdict)
    assert (row["difference_points"], row["from_points"], row["to_points"]) == pytest.approx(points, abs=0.001)


def test_a_journey_is_measured_against_the_variant_that_has_no_step(tiny: Callable[..., list[Row]]) -> None:
    day = {"canvas_id": "j", "date": date(2026, 1, 1)}
    (row,) = tiny(
        "canvas_lift.sql",
        canvases=[{"id": "j", "name": "Journey"}],
        canvas_variants=[
            {"canvas_id": "j", "variant_id": "v", "name": "V"},
            {"canvas_id": "j", "variant_id": "o", "name": "C"},
        ],
        canvas_variant_first_steps=[
            {"canvas_id": "j", "variant_id": "v", "step_id": "s1"},
            {"canvas_id": "j", "variant_id": "v", "step_id": "s2"},
        ],
        canvas_variant_daily=[
            {**day, "variant_id": "v", "entries": 900, "conversions_by_entry_time": 45, "revenue": 90.0},
            {**day, "variant_id": "o", "entries": 100, "conversions_by_entry_time": 4, "revenue": 1.0},
        ],
    )
    assert (row["variant"], row["entries"], row["conversions"]) == ("V", 900, 45)
    assert (row["lift_percent"], row["revenue_per_entry"]) == (25.0, 0.1)


def test_the_funnel_follows_every_path_and_ends_in_cycles(tiny: Callable[..., list[Row]]) -> None:
    def edge(step: str, position: int, name: str | None, following: str | None) -> Row:
        return {"canvas_id": "j", "step_id": step, "position": position, "name": name, "next_step_id": following}

    found = tiny(
        "canvas_funnel.sql",
        canvases=[{"id": "j", "name": "Journey"}],
        canvas_steps=[{"canvas_id": "j", "step_id": step, "name": step.upper()} for step in "abc"],
        canvas_variant_first_steps=[{"canvas_id": "j", "variant_id": variant, "step_id": "a"} for variant in "vw"],
        canvas_step_paths=[
            edge("a", 0, None, "b"),
            edge("b", 0, "Yes", "c"),
            edge("b", 1, "No", None),
            edge("c", 0, None, "a"),
        ],
        canvas_daily=[{"canvas_id": "j", "date": date(2026, 1, day), "entries": 50} for day in (1, 2)],
        canvas_step_daily=[
            {"canvas_id": "j", "date": date(2026, 1, day), "step_id": step, "unique_recipients": count}
            for step, count in (("a", 45), ("c", 10))
            for day in (1, 2)
        ],
    )
    assert [(row["path"], row["recipients"], row["percent_of_entries"]) for row in found] == [
        ("A", 90, 90.0),
        ("A > B", 0, 0.0),
        ("A > B > Yes: C", 20, 20.0),
    ]


def test_segments_are_compared_with_four_weeks_before_or_their_first_day(tiny: Callable[..., list[Row]]) -> None:
    newest = date(2026, 3, 31)
    sizes = [{"segment_id": "old", "date": newest - timedelta(days=n), "size": 1000 - n * 10} for n in range(60)]
    sizes += [{"segment_id": "new", "date": newest - timedelta(days=n), "size": 40 - n * 5} for n in range(5)]
    found = tiny(
        "segment_growth.sql",
        segments=[{"id": "old", "name": "Old"}, {"id": "new", "name": "New"}],
        segment_daily=sizes,
    )
    assert [(row["segment"], row["first_size"], row["last_size"], row["growth_percent"]) for row in found] == [
        ("Old", 710, 990, 39.44),
        ("New", 20, 35, 75.0),
    ][::-1]
    assert [row["first_day"] for row in found] == [date(2026, 3, 27), date(2026, 3, 2)]


def test_only_what_is_active_and_silent_is_dormant(tiny: Callable[..., list[Row]]) -> None:
    active = {"enabled": True, "archived": False, "draft": False, "created_at": "2025-06-01T00:00:00Z"}
    campaigns = [
        {**active, "name": "silent", "last_sent": "2026-01-01T10:00:00Z"},
        {**active, "name": "never"},
        {**active, "name": "busy", "last_sent": "2026-03-30T10:00:00Z"},
        {**active, "name": "archived", "archived": True},
        {**active, "name": "draft", "draft": True},
        {**active, "name": "off", "enabled": False},
        {**active, "name": "young", "created_at": "2026-03-20T00:00:00Z"},
    ]
    found = tiny(
        "dormant_campaigns.sql",
        campaigns=[{"id": campaign["name"], **campaign} for campaign in campaigns],
        campaign_daily=[
            {"campaign_id": "silent", "date": date(2025, 12, 31), "unique_recipients": 7},
            {"campaign_id": "busy", "date": date(2026, 3, 31), "unique_recipients": 9},
        ],
    )
    assert [(row["campaign"], row["last_sent"], row["recipients"]) for row in found] == [
        ("never", None, 0),
        ("silent", date(2026, 1, 1), 7),
    ]


def test_a_campaign_counts_under_each_of_its_tags(tiny: Callable[..., list[Row]]) -> None:
    sent = [("two", 30), ("none", 10), ("silent", 0)]
    found = tiny(
        "send_volume_by_tag.sql",
        campaign_tags=[{"campaign_id": "two", "tag": tag} for tag in ("promo", "vip")],
        campaign_message_daily=[
            {"campaign_id": name, "date": date(2026, 1, 5), "channel": "email", "position": 0, "sent": count}
            for name, count in sent
        ],
    )
    assert [(row["tag"], row["campaigns"], row["sent"], row["percent_of_month"]) for row in found] == [
        ("promo", 1, 30, 75.0),
        ("vip", 1, 30, 75.0),
        ("(without a tag)", 1, 10, 25.0),
    ]


def test_machine_opens_are_no_readers(tiny: Callable[..., list[Row]]) -> None:
    mail = {"campaign_id": "c", "channel": "email", "position": 0, "delivered": 200, "unique_clicks": 6}
    (row,) = tiny(
        "email_engagement.sql",
        campaigns=[{"id": "c", "name": "News"}],
        campaign_message_daily=[
            {**mail, "date": date(2026, 1, 10), "opens": 80, "unique_opens": 60, "machine_open": 30},
            {**mail, "date": date(2026, 1, 11), "opens": 9_999},
        ],
    )
    assert (row["delivered"], row["opens"], row["human_opens"]) == (200, 80, 50)
    assert (row["click_percent"], row["click_to_open_percent"]) == (3.0, 10.0)
