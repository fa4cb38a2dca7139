"""Which fields of an object become columns, under which name, and which carry free text and become rows. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sources.braze.rows import Fields, Values

_CLICK_KEY = re.compile(r"^([a-z][a-z_]*?)_(\d+)(?:_(.*))?_clicks?$", re.DOTALL)
_COLUMN_NAME = re.compile(r"(?=.{1,63}$)(?:[a-z]|_\d[0-9_]*[a-z])[a-z0-9_]*")
_IDENTIFIER = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}|[0-9a-f]{16}|\d{5}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=10_000)
def column_name(key: str) -> str | None:
    """The column that holds field `key`, or None where `key` carries free text or an identifier and must be a row.

    A name that begins with a digit gets a `_` before it, as dlt names it.
    """
    name = _CAMEL.sub("_", key).lower() if f"_{key}".isidentifier() and key.isascii() else key
    name = f"_{name}" if name[:1].isdigit() else name
    return name if _COLUMN_NAME.fullmatch(name) and not _IDENTIFIER.search(name) else None


@lru_cache(maxsize=10_000)
def click_key(key: str) -> tuple[str, int, str]:
    """`carousel_slide_2_Sale_click` → (`carousel_slide`, 2, `Sale`); other free text → (`other`, 0, key)."""
    match = _CLICK_KEY.match(key)
    return (match[1], int(match[2]), match[3] or "-") if match else ("other", 0, key or "-")


@lru_cache(maxsize=1_000)
def columns_of(keys: tuple[str, ...], skip: frozenset[str]) -> dict[str, str]:
    """The fields among `keys` that become columns, with the columns' names.

    Of two spellings of one column that of the column counts. Most objects have the keys of others, so that this is
    worked out once for thousands of them.
    """
    chosen: dict[str, str] = {}
    for key in keys:
        name = None if key in skip else column_name(key)
        if name and (name == key or name not in chosen):
            chosen[name] = key
    return {key: name for name, key in chosen.items()}


@dataclass(frozen=True)
class Shape:
    """What objects with the same keys become: a row of `fields`, whose values `read` finds, and `clicks` by title."""

    fields: Fields
    read: Callable[[Mapping[str, Any]], Values]
    clicks: Mapping[tuple[str, int, str], str] = field(default_factory=dict)


@lru_cache(maxsize=1_000)
def shape_of(keys: tuple[str, ...], own: Fields, skip: frozenset[str] = frozenset()) -> Shape:
    """The shape of objects with `keys` in rows whose key is the fields `own`, which no figure overwrites."""
    chosen = {key: name for key, name in columns_of(keys, skip).items() if name not in own}
    return Shape((*own, *chosen.values()), _reader(tuple(chosen)))


@lru_cache(maxsize=1_000)
def message_shape_of(keys: tuple[str, ...], own: Fields) -> Shape:
    """The same of message statistics, whose keys may hold the title of what was clicked."""
    titled = frozenset(filter(_CLICK_KEY.match, keys))
    columns = columns_of(keys, titled)
    return replace(shape_of(keys, own, titled), clicks={click_key(key): key for key in keys if key not in columns})


def _reader(keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Values]:
    """What reads the values of `keys` from an object: `itemgetter`, which gives a tuple of several only."""
    return itemgetter(*keys) if len(keys) > 1 else lambda source: tuple(map(source.__getitem__, keys))
