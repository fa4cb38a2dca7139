"""Cassettes: replayed through the real client without a network, their answers flattened as the source does it."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
import vcr
import yaml
from requests.adapters import HTTPAdapter

from sources.braze import endpoints, flatten
from sources.braze.arrow import to_arrow, union
from sources.braze.catalog import CATALOGS
from sources.braze.client import Client
from sources.braze.endpoints import Endpoint
from sources.braze.fields import column_name
from sources.braze.model import ALL, Type
from sources.braze.rows import Row, Sheet
from sources.braze.series import Part, SeriesSpec, specs
from sources.braze.tables import RESOURCES, TABLES, tables_of
from sources.braze.windows import ONE_DAY, Span, Unit

CASSETTES = Path(__file__).parent / "cassettes"
LIVE = CASSETTES / "live"
ROWS = CASSETTES / "rows"
Tables = dict[str, list[Row]]
HOST = "https://rest.example.com"
KEY = "cassette-key"
ZONE = ZoneInfo("Europe/Berlin")
T = TypeVar("T")
MATCH_ON = ("method", "path", "query", "body")
ENDPOINTS = {endpoint.path: endpoint for endpoint in vars(endpoints).values() if isinstance(endpoint, Endpoint)}

_LISTINGS = {catalog.listing: catalog for catalog in CATALOGS}
_DETAILS = {catalog.details: catalog for catalog in CATALOGS}
SERIES: dict[tuple[Endpoint, Unit], tuple[SeriesSpec, Part]] = {
    (part.endpoint, spec.unit): (spec, part)
    for resource in RESOURCES
    for spec in specs(resource, hourly=True)
    for part in spec.parts
}
_TIMES = {"date", "hour", "start_date", "end_date"}


@dataclass(frozen=True)
class Question:
    """A request of a cassette: `fields` are its query parameters or, for POST, its body."""

    endpoint: Endpoint
    fields: dict[str, Any]
    status: int


@dataclass(frozen=True)
class Exchange(Question):
    """A question and the answer the client gave; `cursor` is that of the next page."""

    answer: dict[str, Any]
    cursor: str | None = None


def cassette(name: str) -> Path:
    return CASSETTES / f"{name}.yaml"


def hand_made() -> list[Path]:
    """The cassettes made by hand from the documented shapes."""
    return sorted(CASSETTES.glob("*.yaml"))


def recorded() -> list[Path]:
    """The cassettes recorded from a live workspace, if there are any."""
    return sorted(LIVE.glob("*.yaml"))


def of_success(paths: Iterable[Path]) -> list[Path]:
    """Those cassettes that hold answers, not refusals."""
    return [path for path in paths if not path.stem.startswith("errors.4")]


@contextmanager
def replaying(path: Path) -> Iterator[Any]:
    """Answer from the cassette alone, from any thread; each interaction once."""
    send, lock = HTTPAdapter.send, threading.Lock()

    def one_at_a_time(*args: Any, **options: Any) -> Any:  # vcrpy opens a way to the network while two threads send
        with lock:
            return send(*args, **options)

    with (
        pytest.MonkeyPatch.context() as patch,
        vcr.use_cassette(str(path), record_mode="none", match_on=MATCH_ON) as played,
    ):
        patch.setattr(HTTPAdapter, "send", one_at_a_time)
        yield played


def with_client(path: Path, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """What `work` makes of a client that the cassette answers; every interaction must be used."""

    async def run() -> T:
        client = Client(HOST, KEY, concurrency=1)
        try:
            return await work(client)
        finally:
            await client.aclose()

    with replaying(path) as played:
        result = asyncio.run(run())
    assert played.all_played
    return result


def joined(paths: Iterable[Path], into: Path) -> Path:
    """One cassette with the interactions of several."""
    interactions = [entry for path in paths for entry in read_yaml(path)["interactions"]]
    into.write_text(json.dumps({"interactions": interactions, "version": 1}, ensure_ascii=False))
    return into


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, read by the fast reader where there is one."""
    return yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def questions(path: Path) -> list[Question]:
    """What the cassette was asked."""
    found = []
    for entry in read_yaml(path)["interactions"]:
        url, body = urlsplit(entry["request"]["uri"]), entry["request"]["body"]
        fields = json.loads(body) if body else dict(parse_qsl(url.query))
        found.append(Question(ENDPOINTS[url.path.lstrip("/")], fields, entry["response"]["status"]["code"]))
    return found


def exchanges(path: Path) -> list[Exchange]:
    """Put every question of the cassette that was answered with success through the client again."""

    async def ask() -> list[Exchange]:
        client = Client(HOST, KEY, concurrency=1)
        try:
            return [await _ask(client, question) for question in questions(path) if question.status < 300]
        finally:
            await client.aclose()

    with replaying(path):
        return asyncio.run(ask())


async def _ask(client: Client, question: Question) -> Exchange:
    endpoint, cursor = question.endpoint, None
    if endpoint.method == "POST":
        answer = await client.post(endpoint, question.fields)
    elif endpoint is endpoints.EVENTS:
        answer, cursor = await client.get_page(endpoint, question.fields)
    else:
        answer = await client.get(endpoint, question.fields)
    return Exchange(endpoint, question.fields, question.status, answer, cursor)


def rows_of(exchange: Exchange) -> Tables:
    """The rows of an answer by table, as the source makes them; none for exports."""
    endpoint, answer = exchange.endpoint, exchange.answer
    if catalog := _LISTINGS.get(endpoint):
        return _together([catalog.flatten(entry, {}) for entry in answer[catalog.items]])
    if catalog := _DETAILS.get(endpoint):
        return _together([catalog.flatten({"id": exchange.fields[catalog.parameter]}, answer)])
    if endpoint is endpoints.EVENTS:
        return _together([flatten.event(entry) for entry in answer["events"]])
    if endpoint is endpoints.EVENTS_LIST:
        return _together([flatten.event({"name": name}) for name in answer["events"]])
    if endpoint is endpoints.PURCHASES_PRODUCT_LIST:
        return {"products": [{"product": name} for name in answer["products"]]}
    spec, part = SERIES.get((endpoint, Unit(exchange.fields.get("unit", "day"))), (None, None))
    if spec is None or part is None:
        return {}
    series = part.flatten(answer, entity_key(spec, exchange.fields), _span(spec, exchange.fields), ZONE)
    return _together([series.rows])


def entity_key(spec: SeriesSpec, fields: dict[str, Any]) -> Row:
    """The key columns that a series' entity fills, from the parameters it is asked with; `*` for those left out."""
    table = next(table for table in tables_of(spec.resource) if _TIMES & set(table.key))
    return {name: fields.get(name, ALL) for name in table.key if name not in _TIMES}


def _span(spec: SeriesSpec, fields: dict[str, Any]) -> Span:
    """The days that the question was put for: one unit more is asked than is needed."""
    end, length = datetime.fromisoformat(fields["ending_at"]).date(), int(fields["length"])
    days = length // 24 if spec.unit is Unit.HOUR else length if spec.summary else max(1, length - 1)
    return Span(end - days * ONE_DAY, end - ONE_DAY)


def _together(parts: Iterable[Mapping[str, Iterable[Row]]]) -> Tables:
    rows: Tables = {}
    for part in parts:
        for table, added in part.items():
            rows.setdefault(table, []).extend(added)
    return rows


def typed(parts: Iterable[Tables]) -> Tables:
    """Rows with the types they have in the warehouse, one per key, without nulls, in the order of their keys."""
    found: Tables = {}
    for table, rows in _together(parts).items():
        if rows:
            columns = union([to_arrow(TABLES[table], Sheet(rows), {})])
            found[table] = by_key(table, (plain(table, row) for row in columns.to_pylist()))
    return found


def plain(table: str, row: Row) -> Row:
    """The row without nulls, its JSON columns read."""
    json_columns = {column.name for column in TABLES[table].columns if column.type is Type.JSON}
    return {
        name: json.loads(value) if name in json_columns else value for name, value in row.items() if value is not None
    }


def by_key(table: str, rows: Iterable[Row]) -> list[Row]:
    """The rows in the order of their keys; rows of one key, such as those of a list and of details, become one."""
    merged: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        merged.setdefault(tuple(row[name] for name in TABLES[table].key), {}).update(row)
    return [merged[key] for key in sorted(merged)]


_PLACES = {
    "time": {"date", "hour"},
    "purchase_quantity": {"quantity"},
    "tags": {"tag"},
    "tag_names": {"tag"},
    "channels": {"channel"},
    "teams": {"team"},
    "first_step_ids": {"step_id"},
    "next_step_ids": {"next_step_id"},
    "events": {"name"},
    "products": {"product"},
}
"""Where fields go that do not become a column of their own name."""
_FREE_TEXT = {"title"}


def unplaced(exchange: Exchange, rows: Tables) -> set[str]:
    """The fields of an answer for which `rows` have neither a column nor rows."""
    columns = {name for of_table in rows.values() for row in of_table for name in row}
    content = {name: value for name, value in exchange.answer.items() if name not in ("message", "errors")}
    if isinstance(content.get("data"), dict):
        content["data"] = {name: value for name, value in content["data"].items() if name != "name"}
    return set(_unplaced(content, columns))


def _unplaced(value: Any, columns: set[str]) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        yield from _unplaced(item, columns)
    for key, content in value.items() if isinstance(value, dict) else []:
        name = column_name(key)
        if name in columns or content in ([], {}):
            continue
        if isinstance(content, dict) or (isinstance(content, list) and isinstance(content[0], dict)):
            yield from _unplaced(content, columns)
        elif not (_PLACES.get(key) or _FREE_TEXT) & columns:
            yield key


def expected(name: str) -> Tables:
    """What the answers of a cassette must become."""
    rows: Tables = read_yaml(ROWS / f"{name}.yaml")
    return rows


def exact(rows: Tables) -> dict[str, list[dict[str, tuple[str, Any]]]]:
    """Rows in which 1, 1.0 and True differ."""
    return {
        table: [{name: (type(value).__name__, value) for name, value in row.items()} for row in of_table]
        for table, of_table in rows.items()
    }
