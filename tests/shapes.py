"""The shape of answers: which keys objects have, which of them always, and what their values are."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

FREE = frozenset(["extras", "headers", "email_headers", "custom_attributes", "multiple_converted"])
"""Objects whose keys and values are the customer's own."""
_KEY = re.compile(r"^[a-z][a-z0-9_]*$")
_CLICK = re.compile(r"^(carousel_slide|notif_button)_\d+_.*_click$", re.DOTALL)
_IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|^[0-9a-f]{24}$")
_CONVERSIONS = re.compile(r"^conversions\d+")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_INSTANT = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")


@dataclass
class Objects:
    """The objects found in one place: how many, how often each key, and the kinds of the values of each key."""

    count: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, set[str]] = field(default_factory=dict)

    @property
    def always(self) -> set[str]:
        """The keys that every object has, but for those in a number that differs, such as conversion events."""
        return {key for key, times in self.keys.items() if times == self.count and "<" not in key}


Shape = dict[str, Objects]
"""Objects by place: `data[].messages.email[]`; the kinds of messages and the like are places of their own."""


def shape_of(answers: Iterable[Any]) -> Shape:
    """The shape that these answers have together."""
    shape: Shape = {}
    for answer in answers:
        _see(answer, "", shape)
    return shape


def differences(documented: Shape, other: Shape) -> Iterator[str]:
    """What `other` has that is not documented, and what it lacks although every documented object has it."""
    for place, objects in sorted(other.items()):
        known = documented.get(place)
        if known is None:
            yield f"{place or 'the answer'} is not documented"
            continue
        for key in sorted(objects.keys.keys() - known.keys.keys()):
            yield f"{place}.{key} is not documented"
        for key in sorted(known.always - objects.always):
            yield f"{place}.{key} is always there"
        for key in sorted(objects.kinds.keys() & known.kinds.keys()):
            if strange := objects.kinds[key] - _allowed(known.kinds[key]):
                yield f"{place}.{key} is {', '.join(sorted(known.kinds[key]))}, not {', '.join(sorted(strange))}"


def _allowed(kinds: set[str]) -> set[str]:
    return kinds | {"whole number"} if "number" in kinds else kinds


def _see(value: Any, place: str, shape: Shape) -> None:
    if isinstance(value, list):
        for item in value:
            _see(item, f"{place}[]", shape)
    elif isinstance(value, dict) and place.rpartition(".")[2] not in FREE:
        _see_object(value, place, shape)


def _see_object(value: dict[str, Any], place: str, shape: Shape) -> None:
    place += _variety(value)
    objects = shape.setdefault(place, Objects())
    objects.count += 1
    for name in dict.fromkeys(map(_name, value)):
        objects.keys[name] = objects.keys.get(name, 0) + 1
    for key, content in value.items():
        objects.kinds.setdefault(_name(key), set()).add(_kind(content))
        _see(content, f"{place}.{_name(key)}", shape)


def _name(key: str) -> str:
    if _CLICK.match(key):
        return "<click>"
    if _CONVERSIONS.match(key):
        return _CONVERSIONS.sub("conversions<n>", key)
    return key if _KEY.match(key) and not _IDENTIFIER.search(key) else "<id>"


def _variety(value: dict[str, Any]) -> str:
    """What an object is one of: messages have the fields of their channel, control groups those of none."""
    if "enrolled" in value:
        return "<control>"
    if value.get("type") in ("control", "survey") or "window" in value:
        return f"<{value['type']}>"
    if value.get("channel") == "whats_app":
        return "<whats_app template>" if "template_name" in value else "<whats_app response>"
    return f"<{value['channel']}>" if isinstance(value.get("channel"), str) else ""


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "flag"
        case int():
            return "whole number"
        case float():
            return "number"
        case list():
            return "list"
        case dict():
            return "object"
        case str() if _DAY.match(value):
            return "day"
        case str() if _INSTANT.match(value):
            return "instant"
    return "text"
