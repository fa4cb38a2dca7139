"""The documented answers, field by field: what each becomes in the warehouse.

The cassettes are made by hand from the documentation, so that the sandbox and the flatteners cannot err together.
"""

import asyncio
import json
import socket
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import yaml

from sources.braze import braze, endpoints, flatten
from sources.braze.catalog import CATALOGS, listed, names
from sources.braze.client import Client
from sources.braze.errors import (
    BrazeError,
    ExportRunning,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    UnknownEntity,
)
from sources.braze.export_fields import REQUESTABLE, ExportFields
from sources.braze.export_ids import export_ids
from sources.braze.export_jobs import Audience, find_job
from sources.braze.exports import Exports, ExportSettings
from sources.braze.model import Type
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP
from sources.braze.profiles import ProfileShredder
from sources.braze.tables import TABLES
from tests import wire

ROWS = wire.CASSETTES / "rows"
NOW = datetime(2026, 9, 13, 10, 30, tzinfo=UTC)
APP = "e21d128b-a8cf-58a0-8387-1dcdcf1b3c09"
API_CAMPAIGN = "3edbe5a1-6525-5d2e-b0d3-b04c7980e363"
SEGMENT = "b5cd0945-82c6-5266-a4e7-e0e5d39d5517"
BY_THE_DAY = """
    campaigns.list campaigns.details campaigns.data_series sends.data_series
    canvas.list canvas.details canvas.data_series canvas.data_summary
    segments.list segments.details segments.data_series
    feed.list feed.details feed.data_series
    kpi.mau.data_series kpi.dau.data_series kpi.new_users.data_series kpi.uninstalls.data_series
    sessions.data_series events events.data_series
    purchases.product_list purchases.revenue_series purchases.quantity_series
""".split()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def within_the_machine(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith("127."):
            raise AssertionError(f"a connection to {address[0]} from a test that replays cassettes")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", within_the_machine)


def expected(name: str) -> flatten.Rows:
    rows: flatten.Rows = yaml.safe_load((ROWS / f"{name}.yaml").read_text())
    return rows


def exact(rows: flatten.Rows) -> dict[str, list[dict[str, tuple[str, Any]]]]:
    """Rows in which 1, 1.0 and True differ."""
    return {
        table: [{name: (type(value).__name__, value) for name, value in row.items()} for row in of_table]
        for table, of_table in rows.items()
    }


def with_client(path: Path, work: Any) -> Any:
    async def run() -> Any:
        client = Client(wire.HOST, wire.KEY, concurrency=1)
        try:
            return await work(client)
        finally:
            await client.aclose()

    with wire.replaying(path) as played:
        result = asyncio.run(run())
    assert played.all_played
    return result


@pytest.mark.parametrize("name", sorted(path.stem for path in ROWS.glob("*.yaml") if "users" not in path.stem))
def test_every_field_of_an_answer_lands_in_a_typed_column_or_a_row(name: str) -> None:
    found = wire.typed(map(wire.rows_of, wire.exchanges(wire.cassette(name))))
    assert exact(found) == exact(expected(name))


@pytest.mark.parametrize("path", [*wire.hand_made(), *wire.recorded()], ids=lambda path: path.stem)
def test_every_field_has_a_place(path: Path) -> None:
    for exchange in wire.exchanges(path):
        if rows := wire.rows_of(exchange):
            assert not wire.unplaced(exchange, rows)


def test_documented_fields_are_declared() -> None:
    undocumented = {"conversions4", "conversions5", "html", "placements"}
    for path in ROWS.glob("*.yaml"):
        for table, rows in expected(path.stem).items():
            names_ = {name.removesuffix("_by_send_time").removesuffix("_by_entry_time") for row in rows for name in row}
            declared = {column.name for column in TABLES[table].columns}
            assert names_ - declared <= undocumented, table


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.resource)
def test_lists_are_read_to_their_last_page(catalog: Any) -> None:
    async def read(client: Client) -> list[Any]:
        return [entry["id"] async for page in listed(client.get, catalog) for entry in page]

    ids = with_client(wire.cassette(f"{catalog.listing.path.replace('/', '.')}.pages"), read)
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

    found = with_client(wire.cassette(endpoint.path.replace("/", ".")), read)
    assert (len(found), found[-1]) == (count, last)


def test_links_lead_from_page_to_page() -> None:
    pages = wire.exchanges(wire.cassette("events"))
    assert [page.cursor for page in pages] == [page.fields["cursor"] for page in pages[1:]] + [None]


def test_the_source_asks_what_is_documented_and_loads_all_of_it(workplace: Path) -> None:
    cassettes = [wire.cassette(name) for name in BY_THE_DAY]
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
    assert played.all_played

    wanted: flatten.Rows = {}
    for name in BY_THE_DAY:
        for table, rows in expected(name).items():
            wanted.setdefault(table, []).extend(rows)
    wanted = {table: wire.by_key(table, rows) for table, rows in wanted.items()}
    assert exact(loaded("wire.duckdb")) == exact(wanted)


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
    assert loaded("hours.duckdb")["session_hourly"] == expected("sessions.data_series.hour")["session_hourly"]


def today_only(folder: Path) -> Path:
    """The daily sessions as they are asked for a single day."""
    text = wire.cassette("sessions.data_series").read_text().replace("length=3", "length=2")
    path = folder / "today.yaml"
    path.write_text(text)
    return path


def test_profiles_by_id(tmp_path: Path) -> None:
    fields = ExportFields(("braze_id", *sorted(REQUESTABLE - {"braze_id", "created_from"})))

    async def read(client: Client) -> list[Any]:
        asked = (["kunde-1", "kunde-2", "wer?"], ["niemand"])
        return [
            file
            for number, ids in enumerate(asked)
            async for file in export_ids(client, ids, fields, tmp_path / str(number))
        ]

    files = with_client(wire.cassette("users.export.ids"), read)
    assert [file.unknown for file in files] == [((3, "wer?"),), ()]
    found: flatten.Rows = {}
    with ProfileShredder(tmp_path / "work", fields=fields.loaded(endpoints.USERS_EXPORT_IDS)) as shredder:
        for group in shredder.groups(file.path for file in files):
            for table, rows in group.tables:
                json_columns = {column.name for column in table.columns if column.type is Type.JSON}
                alive = [row for row in rows.to_pylist() if not row.get("_deleted")]
                found.setdefault(table.name, []).extend(
                    {
                        name: json.loads(value) if name in json_columns else value
                        for name, value in row.items()
                        if value is not None
                    }
                    for row in alive
                )
    found = {table: wire.by_key(table, rows) for table, rows in found.items() if rows}
    assert exact(found) == exact(expected("users.export.ids"))


async def _requested(client: Client, jobs: Path, audience: Audience) -> Any:
    """The job that an export's answer starts; what comes after the answer is not waited for."""
    fields = ExportFields(
        ("braze_id", "external_id", "created_at", "uninstalled_at", "push_subscribe", "email_subscribe")
    )
    exports = Exports(client, jobs, fields, ExportSettings(timeout_minutes=0))
    async for _ in exports.events([audience]):
        pass
    return find_job(jobs, audience)


@pytest.mark.parametrize(
    ("name", "segment", "url", "stamp"),
    [
        ("users.export.segment", SEGMENT, "https://exports.s3.example.com/Zf3nWq0bYk.zip", "1789295405"),
        ("users.export.global_control_group", GLOBAL_CONTROL_GROUP, "https://exports.s3.example.com/9hTTs2.zip", "1789295407"),
    ],
)  # fmt: skip
def test_an_export_behind_a_url(tmp_path: Path, name: str, segment: str, url: str, stamp: str) -> None:
    cassette = tmp_path / "archive.yaml"
    content = yaml.safe_load(wire.cassette(name).read_text())
    not_ready = {"status": {"code": 403, "message": "Forbidden"}, "headers": {}, "body": {"string": "AccessDenied"}}
    content["interactions"].append(
        {"request": {"method": "GET", "uri": url, "body": None, "headers": {}}, "response": not_ready}
    )
    cassette.write_text(yaml.safe_dump(content))
    job = with_client(cassette, lambda client: _requested(client, tmp_path / "jobs", Audience(segment)))
    assert job.url == url
    assert job.object_prefix.endswith(stamp)


@pytest.mark.parametrize("segment", [SEGMENT, "5e1c89e4-5024-54dd-b901-7baf7f81b199"], ids=["null", "absent"])
def test_an_export_into_a_bucket(tmp_path: Path, segment: str) -> None:
    async def request(client: Client) -> Any:
        answer = await client.post(endpoints.USERS_EXPORT_SEGMENT, question.fields)
        return answer.get("url"), answer["object_prefix"]

    questions = wire.questions(wire.cassette("users.export.segment.bucket"))
    question = next(question for question in questions if question.fields["segment_id"] == segment)
    with wire.replaying(wire.cassette("users.export.segment.bucket")):
        url, prefix = asyncio.run(request(Client(wire.HOST, wire.KEY)))
    assert url is None
    assert prefix.rpartition("-")[2].isdecimal()


def test_cancelling_an_export(tmp_path: Path) -> None:
    async def cancel(client: Client) -> None:
        await Exports(client, tmp_path, ExportFields(("braze_id",)), ExportSettings()).cancel(SEGMENT)

    with_client(wire.cassette("export.segment.cancel"), cancel)


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
        with_client(wire.cassette(name), ask)
    assert said in f"{raised.value} {raised.value.detail}"
    assert wire.KEY not in f"{raised.value} {raised.value.detail}"


def test_a_refusal_for_want_of_allowance_is_asked_again() -> None:
    async def ask(client: Client) -> tuple[Any, int, float]:
        answer = await client.get(endpoints.EVENTS_LIST, {"page": 0})
        return answer["events"], client.traffic.refused, client.traffic.waited

    events, refused, waited = with_client(wire.cassette("errors.429"), ask)
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
    assert date(2026, 9, 11) not in {row["date"] for row in expected("kpi.mau.data_series")["kpi_daily"]}
