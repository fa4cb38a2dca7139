"""What the API says now: entries, details and series as rows in the warehouse's types, to compare with."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sources.braze import endpoints
from sources.braze.catalog import Catalog, Entity
from sources.braze.client import Client
from sources.braze.comparison import typed
from sources.braze.counted_client import CountedClient
from sources.braze.endpoints import Endpoint, Json
from sources.braze.errors import BadAnswer, InvalidKey, PermissionDenied, documented_shape
from sources.braze.flatten import Series
from sources.braze.joining import Piece, joined
from sources.braze.listings import event_pages, listed, names
from sources.braze.record import Progress
from sources.braze.rows import Row
from sources.braze.series import Part, SeriesSpec
from sources.braze.series_client import SeriesClient
from sources.braze.settings import Settings
from sources.braze.tables import TABLES
from sources.braze.windows import Span

T = TypeVar("T")


@dataclass(frozen=True)
class Reread:
    """A series read again: its rows by table and the days it holds; `ignored` columns could not be asked for."""

    rows: dict[str, list[Row]]
    days: frozenset[Any]
    ignored: frozenset[str] = frozenset()


class Rereading:
    """Asks the API again; `counted` says what.

    A `dry` one reads the lists only: details and series are counted and come back as None. All methods raise the
    exceptions of `sources.braze.errors`.
    """

    def __init__(self, settings: Settings, client: Client, dry: bool = False) -> None:
        self.settings = settings
        self.client = client
        self.counted = CountedClient(client)
        self.dry = dry
        self.progress: dict[str, Progress] = defaultdict(Progress)
        self._series = SeriesClient(self.counted, settings.zone)

    async def entries(self, catalog: Catalog) -> list[Json]:
        """Everything that the list endpoint of `catalog` lists."""
        return [entry async for page in listed(self._get, catalog) for entry in page]

    async def events(self) -> list[Json]:
        """Every custom event, as `GET /events` describes it."""
        return [entry async for page in event_pages(self._get, self.counted.get_page) for entry in page.entries]

    async def products(self) -> list[str]:
        """The names of all products."""
        pages: AsyncIterator[list[str]] = names(self._get, endpoints.PURCHASES_PRODUCT_LIST, "products", None)
        return [name async for page in pages for name in page]

    async def details(self, catalog: Catalog, entity_id: str) -> Json | None:
        """The details of one entity."""
        if self.dry:
            self.counted.plan(catalog.details)
            return None
        asked = self.counted.get(catalog.details, {catalog.parameter: entity_id})
        details: Json = await self._counted(catalog.resource, catalog.details, asked)
        return details

    async def series(self, spec: SeriesSpec, entity: Entity, span: Span) -> Reread | None:
        """What `spec` says of `entity` in `span`: all of its tables, the days that came back.

        Raises `BadAnswer` if days are missing that should be there.
        """
        answers: list[tuple[Part, Series]] = []
        denied: list[PermissionDenied] = []
        for part in spec.parts:
            try:
                answer = await self._part(spec, part, entity, span)
            except PermissionDenied as error:
                denied.append(error)
                continue
            if answer:
                answers.append((part, answer))
        if self.dry:
            return None
        if not answers:
            raise denied[0]
        series = self._joined(spec, [answer for _, answer in answers])
        absent = spec.absent(span, series, span.last)
        if absent:
            detail = f"the days {absent.first} to {absent.last} are missing in it"
            raise BadAnswer(_lacking(spec, answers, span), entity.id, 200, detail)
        with documented_shape(spec.parts[0].endpoint, entity.id):
            rows = {name: typed(TABLES[name], table_rows) for name, table_rows in series.rows.items()}
        return Reread(rows, frozenset(series.days), _unasked(spec, rows) if denied else frozenset())

    def _joined(self, spec: SeriesSpec, answers: Sequence[Series]) -> Series:
        if len(spec.parts) == 1:
            return answers[0]
        return joined(spec.table, spec.moment, map(Piece, answers), self.settings.zone)

    async def _part(self, spec: SeriesSpec, part: Part, entity: Entity, span: Span) -> Series | None:
        if self.dry:
            self._series.plan(spec, part, [span])
            return None
        return await self._counted(spec.resource, part.endpoint, self._series.ask(spec, part, entity, span))

    async def _counted(self, resource: str, endpoint: Endpoint, answer: Awaitable[T]) -> T:
        progress = self.progress[resource]
        progress.known += 1
        try:
            return await self._granted(endpoint, answer)
        finally:
            progress.done += 1

    async def _get(self, endpoint: Endpoint, parameters: Mapping[str, Any]) -> Any:
        return await self._granted(endpoint, self.counted.get(endpoint, parameters))

    async def _granted(self, endpoint: Endpoint, answer: Awaitable[T]) -> T:
        """Await `answer`; a refused key is about its `endpoint` once others have answered."""
        try:
            return await answer
        except InvalidKey as error:
            if not self.client.traffic.succeeded:
                raise
            raise PermissionDenied(endpoint, 401, error.detail) from None


def _lacking(spec: SeriesSpec, answers: Iterable[tuple[Part, Series]], span: Span) -> Endpoint:
    """The endpoint of the first part that lacks days of `span` after its own first one; else that of the series."""
    lacking = (part for part, answer in answers if spec.absent(span, answer, span.last, may_begin_late=True))
    return next(lacking, spec.parts[0]).endpoint


def _unasked(spec: SeriesSpec, rows: Mapping[str, Iterable[Row]]) -> frozenset[str]:
    """The columns of a table made of several answers that none of those that came has."""
    seen = {name for row in rows[spec.table] for name in row}
    return frozenset(column.name for column in TABLES[spec.table].columns if column.name not in seen)
