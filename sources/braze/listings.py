"""The lists of a workspace, page by page.

Archived entities are included. Entries may shift between pages while the workspace changes, so each counts once.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sources.braze import endpoints, flatten
from sources.braze.catalog import Catalog
from sources.braze.endpoints import Endpoint, Json
from sources.braze.errors import BadAnswer, BrazeError, InvalidKey, NotAvailable, PermissionDenied

Get = Callable[..., Any]


def entries(answer: Json, items: str, endpoint: Endpoint) -> list[Any]:
    """What `answer` lists under `items`. Raises `BadAnswer` if it has no list: that is no empty workspace."""
    found = answer.get(items)
    if not isinstance(found, list):
        raise BadAnswer(endpoint, "", 200, f"it holds no list of {items}")
    return found


def named(found: Iterable[Any], name: str) -> list[Json]:
    """The objects among `found` that have a `name`, as text, the last one of each."""
    objects = [{**entry, name: str(entry[name])} for entry in found if isinstance(entry, Mapping) and entry.get(name)]
    return list({entry[name]: entry for entry in objects}.values())


async def listed(get: Get, catalog: Catalog) -> AsyncIterator[list[Json]]:
    """The entries of a list endpoint, page by page, each id once."""
    seen: set[str] = set()
    page = 0
    while True:
        answer = await get(catalog.listing, {"page": page, **catalog.list_parameters})
        found = entries(answer, catalog.items, catalog.listing)
        fresh = [entry for entry in named(found, "id") if entry["id"] not in seen]
        seen.update(entry["id"] for entry in fresh)
        if fresh:
            yield fresh
        if len(found) < catalog.page_size or not fresh:
            return
        page += 1


async def names(get: Get, endpoint: Endpoint, items: str, page_size: int | None) -> AsyncIterator[list[str]]:
    """The bare names that `events/list` and `purchases/product_list` give, page by page, each once.

    With `page_size` None (undocumented) only a page without anything new is the last. Then it is not known either that
    pages begin at 0: where they begin at 1, page 0 is empty or the same as page 1, so one more is asked for.
    """
    seen: set[str] = set()
    page = 0
    while True:
        answer = await get(endpoint, {"page": page})
        found = entries(answer, items, endpoint)
        fresh = [name for name in flatten.words(found) if name not in seen]
        seen.update(fresh)
        if fresh:
            yield fresh
        from_one = page_size is None and ((page == 0 and not found) or (page == 1 and bool(found)))
        if (not fresh and not from_one) or (page_size and len(found) < page_size):
            return
        page += 1


@dataclass(frozen=True)
class EventPage:
    """Some custom events; bare names, without anything else known of them, if `denial` is set."""

    entries: list[Json]
    denial: BrazeError | None = None


async def event_pages(get: Get, get_page: Get) -> AsyncIterator[EventPage]:
    """Pages of `GET /events`, each event once: pages shift while events are added.

    Keys made before that endpoint existed fall back to the names of `events/list`.
    """
    seen: set[str] = set()
    cursors: set[str | None] = {None}
    cursor: str | None = None
    try:
        while True:
            answer, cursor = await get_page(endpoints.EVENTS, {"cursor": cursor})
            found = named(entries(answer, "events", endpoints.EVENTS), "name")
            fresh = [entry for entry in found if entry["name"] not in seen]
            seen.update(entry["name"] for entry in fresh)
            if fresh:
                yield EventPage(fresh)
            if cursor in cursors:
                return
            cursors.add(cursor)
    except (PermissionDenied, NotAvailable, InvalidKey) as error:
        async for bare in names(get, endpoints.EVENTS_LIST, "events", 250):
            yield EventPage([{"name": name} for name in bare if name not in seen], error)
