"""The documented answers, field by field: what each becomes in the warehouse.

The cassettes are made by hand from the documentation, so that the sandbox and the flatteners cannot err together.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from sources.braze import braze, endpoints, flatten
from sources.braze.catalog import CATALOGS
from sources.braze.client import Client
from sources.braze.errors import (
    BrazeError,
    ExportRunning,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    UnknownEntity,
)
from sources.braze.listings import listed, names
from sources.braze.tables import TABLES
from tests import wire

NOW = datetime(2026, 9, 13, 10, 30, tzinfo=UTC)
APP = "e21d128b-a8cf-58a0-8387-1dcdcf1b3c09"
API_CAMPAIGN = "3edbe5a1-6525-5d2e-b0d3-b04c7980e363"
SEGMENT = "b5cd0945-82c6-5266-a4e7-e0e5d39d5517"
BY_THE_DAY = [
    "campaigns.list", "campaigns.details", "campaigns.data_series", "sends.data_series", "canvas.list",
    "canvas.details", "canvas.data_series", "canvas.data_summary", "segments.list", "segments.details",
    "segments.data_series", "feed.list", "feed.details", "feed.data_series", "kpi.mau.data_series",
    "kpi.dau.data_series", "kpi.new_users.data_series", "kpi.uninstalls.data_series", "sessions.data_series",
    "events", "events.data_series", "purchases.product_list", "purchases.revenue_series",
    "purchases.quantity_series",
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("name", sorted(path.stem for path in wire.ROWS.glob("*.yaml") if "users" not in path.stem))
def test_every_field_of_an_answer_lands_in_a_typed_column_or_a_row(name: str) -> None:
    found = wire.typed(map(wire.rows_of, wire.exchanges(wire.cassette(name))))
    assert wire.exact(found) == wire.exact(wire.expected(name))


@pytest.mark.parametrize("path", wire.of_success([*wire.hand_made(), *wire.recorded()]), ids=lambda path: path.stem)
def test_every_field_has_a_place(path: Path) -> None:
    exchanges = list(wire.exchanges(path))
    assert exchanges
    for exchange in exchanges:
        if rows := wire.rows_of(exchange):
            assert not wire.unplaced(exchange, rows)


def test_documented_fields_are_declared() -> None:
    undocumented = {"conversions4", "conversions5", "html", "placements"}
    paths = list(wire.ROWS.glob("*.yaml"))
    assert paths
    for path in paths:
        for table, rows in wire.expected(path.stem).items():
            names_ = {name.removesuffix("_by_send_time").removesuffix("_by_entry_time") for row in rows for name in row}
            declared = {column.name for column in TABLES[table].columns}
            assert names_ - declared <= undocumented, table


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.resource)
def test_lists_are_read_to_their_last_page(catalog: Any) -> None:
    async def read(client: Client) -> list[Any]:
        return [entry["id"] async for page in listed(client.get, catalog) for entry in page]

    ids = wire.with_client(wire.cassette(f"{catalog.listing.path.replace('/', '.')}.pages"), read)
    assert len(ids) == len(set(ids)) == 101


@pytest.mark.parametrize(
    ("endpoint", "items", "page_size", "count", "last"),
    [
        (endpoints.EVENTS_LIST, "events", 250, 251, "été / 購入"),
        (endpoints.PURCHASES_PRODUCT_LIST, "products", None, 3, "商品A & mehr"),
    ],
)
def test_lists_of_names_are_read_to_their_last_page(
    endpoint: endpoints.Endpoint, items: str, page_size: int | None, count: int, last: str
) -> None:
    async def read(client: Client) -> list[str]:
        return [name async for page in names(client.get, endpoint, items, page_size) for name in page]

    found = wire.with_client(wire.cassette(endpoint.path.replace("/", ".")), read)
    assert (len(found), found[-1]) == (count, last)


def test_links_lead_from_page_to_page() -> None:
    pages = wire.exchanges(wire.cassette("events"))
    assert [page.cursor for page in pages] == [page.fields["cursor"] for page in pages[1:]] + [None]


def test_the_source_asks_what_is_documented_and_loads_all_of_it(workplace: Path) -> None:
    cassettes = [wire.cassette(name) for name in (*BY_THE_DAY, "canvas.data_series.reading")]
    source = braze(
        now=NOW,
        api_key=wire.KEY,
        endpoint=wire.HOST,
        time_zone=str(wire.ZONE),
        start_date="2026-09-12",
        app_ids=[APP],
        products=["商品A & mehr"],
        sends=[f"{API_CAMPAIGN}:versand-2026-09"],
    )
    source.canvas_summary.selected = True
    with wire.replaying(wire.joined(cassettes, workplace / "all.yaml")) as played:
        pipeline = dlt.pipeline("wire", destination=dlt.destinations.duckdb("wire.duckdb"), dataset_name="braze")
        pipeline.run(source)
    (unasked,) = [request for place, request in enumerate(played.requests) if not played.play_counts[place]]
    assert unasked.path == "/canvas/data_series"
    assert ("length", "1") in unasked.query, "how `ending_at` is read is asked once, of either Canvas"

    wanted: flatten.Rows = {}
    for name in BY_THE_DAY:
        for table, rows in wire.expected(name).items():
            wanted.setdefault(table, []).extend(rows)
    wanted = {table: wire.by_key(table, rows) for table, rows in wanted.items()}
    assert wire.exact(loaded("wire.duckdb")) == wire.exact(wanted)


def loaded(database: str) -> flatten.Rows:
    """The rows of all our tables, without nulls and what the run itself adds."""
    added = {"_dlt_load_id", "_deleted", "synced_at"}
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        filled = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = {}
        for table in sorted(set(filled) & set(TABLES)):
            found = connection.execute(f"SELECT * FROM braze.{table}")
            columns = [column[0] for column in found.description]
            values = [
                {name: value for name, value in zip(columns, row, strict=True) if name not in added}
                for row in found.fetchall()
            ]
            if values:
                rows[table] = wire.by_key(table, [wire.plain(table, row) for row in values])
        return rows


def test_the_source_by_the_hour(workplace: Path) -> None:
    source = braze(
        now=NOW,
        api_key=wire.KEY,
        endpoint=wire.HOST,
        time_zone=str(wire.ZONE),
        start_date="2026-09-13",
        hourly=True,
        app_ids=[APP],
    ).with_resources("sessions")
    cassettes = [wire.cassette("sessions.data_series.hour"), today_only(workplace)]
    with wire.replaying(wire.joined(cassettes, workplace / "all.yaml")) as played:
        dlt.pipeline("hours", destination=dlt.destinations.duckdb("hours.duckdb"), dataset_name="braze").run(source)
    assert played.all_played
    assert loaded("hours.duckdb")["session_hourly"] == wire.expected("sessions.data_series.hour")["session_hourly"]


def today_only(folder: Path) -> Path:
    """The daily sessions as they are asked for a single day."""
    text = wire.cassette("sessions.data_series").read_text().replace("length=3", "length=2")
    path = folder / "today.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("errors.400", UnknownEntity, "must be a string of the Canvas api identifier"),
        ("errors.401", InvalidKey, "[redacted]"),
        ("errors.403", PermissionDenied, "kpi.dau.data_series"),
        ("errors.404", NotAvailable, "Invalid URL"),
        ("errors.429.export", ExportRunning, "running"),
    ],
)
def test_refusals(name: str, error: type[BrazeError], said: str) -> None:
    (question,) = wire.questions(wire.cassette(name))

    async def ask(client: Client) -> None:
        if question.endpoint.method == "POST":
            await client.post(question.endpoint, question.fields)
        else:
            await client.get(question.endpoint, question.fields)

    with pytest.raises(error) as raised:
        wire.with_client(wire.cassette(name), ask)
    assert said in f"{raised.value} {raised.value.detail}"
    assert wire.KEY not in f"{raised.value} {raised.value.detail}"


def test_a_refusal_for_want_of_allowance_is_asked_again() -> None:
    async def ask(client: Client) -> tuple[Any, int, float]:
        answer = await client.get(endpoints.EVENTS_LIST, {"page": 0})
        return answer["events"], client.traffic.refused, client.traffic.waited

    events, refused, waited = wire.with_client(wire.cassette("errors.429"), ask)
    assert (events, refused) == (["alt_ping"], 1)
    assert waited > 0


def test_problems_beside_the_data_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    (exchange,) = wire.exchanges(wire.cassette("errors.200"))
    (segment,) = wire.rows_of(exchange)["segments"]
    assert (segment["name"], "errors" in segment) == ("Seit gestern verfolgt", False)
    assert "something minor" in caplog.text


def test_the_days_of_the_cassettes_are_those_of_the_run() -> None:
    answers = wire.exchanges(wire.cassette("kpi.mau.data_series"))
    assert [row["time"] for row in answers[0].answer["data"]] == [f"2026-09-{day}" for day in (11, 12, 13)]
    assert date(2026, 9, 11) not in {row["date"] for row in wire.expected("kpi.mau.data_series")["kpi_daily"]}
