"""User profiles in the shape of the export endpoints: deterministic by number, one JSON line each.

A profile is rendered from the template of its kind, in which only what differs between profiles is filled in, so that
a hundred thousand of them take seconds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson

from sources.braze_sandbox.entities import Segment
from sources.braze_sandbox.profile_kinds import Profile, templates

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

FIELDS = frozenset(
    [
        "apps",
        "attributed_campaign",
        "attributed_source",
        "attributed_adgroup",
        "attributed_ad",
        "push_subscribe",
        "email_subscribe",
        "braze_id",
        "country",
        "created_at",
        "created_from",
        "custom_attributes",
        "custom_events",
        "devices",
        "dob",
        "email",
        "external_id",
        "first_name",
        "gender",
        "home_city",
        "language",
        "last_coordinates",
        "last_name",
        "phone",
        "purchases",
        "push_tokens",
        "random_bucket",
        "time_zone",
        "total_revenue",
        "uninstalled_at",
        "user_aliases",
        "campaigns_received",
        "canvases_received",
        "cards_clicked",
    ]
)
"""The valid values of `fields_to_export`."""

_COME_ALONG: Mapping[str, tuple[str, ...]] = {
    "braze_id": ("appboy_id",),
    "push_subscribe": ("push_opted_in_at", "push_unsubscribed_at"),
    "email_subscribe": ("email_opted_in_at", "email_unsubscribed_at"),
}
_MIXED = ("full", "full", "full", "full", "full", "unicode", "minimal", "nulls", "legacy", "recorded")
_PLACE = re.compile(rb'"~#(\w+)~"|~(\w+)~')

GLOBAL_CONTROL_GROUP_SHARE = 5


class Renderer:
    """Renders profiles with the chosen fields, as of the workspace's version of them."""

    def __init__(
        self,
        workspace: "Workspace",
        fields: Sequence[str] | None = None,
        custom_attributes: Sequence[str] = (),
    ) -> None:
        self._workspace = workspace
        self._keys = None if fields is None else _keys(fields)
        self._attributes = None if fields is None or "custom_attributes" in fields else frozenset(custom_attributes)
        version = workspace.options.profile_version
        self._version = version
        self._seed = f"{workspace.options.seed % 2**64:016x}"
        self._days = [_day(workspace.today() - age) for age in range(90)]
        self._templates = {
            kind: _template(self._chosen(profile)) for kind, profile in templates(workspace, version).items()
        }

    def line(self, number: int) -> bytes:
        """The JSON of profile `number`, without a line break."""
        line = self._templates[kind_of(self._workspace, number)] % self._values(number)
        edits = self._workspace.profile_edits.get(number)
        if not edits:
            return line
        profile = orjson.loads(line) | self._chosen(dict(edits))
        return orjson.dumps({key: value for key, value in profile.items() if edits.get(key, "") is not None})

    def _chosen(self, profile: Profile) -> Profile:
        if self._keys is None:
            return profile
        chosen = {key: value for key, value in profile.items() if key in self._keys}
        if self._attributes and "custom_attributes" in profile:
            attributes = profile["custom_attributes"] or {}
            found = {key: value for key, value in attributes.items() if key in self._attributes}
            chosen |= {"custom_attributes": found} if found else {}
        return chosen

    def _values(self, number: int) -> dict[bytes, bytes]:
        days, version = self._days, self._version
        return {
            b"hex": f"{self._seed}{number:08x}".encode(),
            b"n": b"%d" % number,
            b"n8": b"%08d" % number,
            b"bucket": b"%d" % (number * 7919 % 10_000),
            b"count": b"%d" % (1 + number % 40 + version),
            b"money": b"%d.%02d" % (number * 13 % 900 + version, number % 100),
            b"coordinate": b"%d.%04d" % (number % 80, number % 9973),
            b"d1": days[number % 89],
            b"d2": days[number * 7 % 83],
            b"d3": days[number * 11 % 29],
            b"second": b"%02d" % (number % 60),
        }


def _keys(fields: Sequence[str]) -> frozenset[str]:
    return frozenset(key for field in fields for key in (field, *_COME_ALONG.get(field, ())))


def _day(ordinal: int) -> bytes:
    return date.fromordinal(ordinal).isoformat().encode()


def _template(profile: Profile) -> bytes:
    text = orjson.dumps(profile).replace(b"%", b"%%")
    return _PLACE.sub(lambda place: b"%%(%b)b" % (place[1] or place[2]), text)


def kind_of(workspace: "Workspace", number: int) -> str:
    """The kind of profile `number`; see `profile_kinds`."""
    mix = workspace.options.profile_mix
    return {"mixed": _MIXED[number % len(_MIXED)], "full": "full", "small": "minimal"}[mix]


def numbers_of(workspace: "Workspace", segment: Segment | None) -> Iterator[int]:
    """The numbers of a segment's members (None: of the global control group); another version has other members."""
    share = GLOBAL_CONTROL_GROUP_SHARE if segment is None else segment.share
    shift = 13 * workspace.options.profile_version + (sum(segment.id.encode()) if segment else 0)
    return (number for number in range(workspace.options.users) if (number * 37 + shift) % 100 < share)


def members(workspace: "Workspace", segment_id: str | None, fields: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """The members of a segment (None: of the global control group), each once, with the given fields (None: all)."""
    renderer = Renderer(workspace, fields)
    segment = None if segment_id is None else workspace.segments[segment_id]
    return (orjson.loads(renderer.line(number)) for number in numbers_of(workspace, segment))


def find(workspace: "Workspace", renderer: Renderer, key: str, value: Any) -> list[int]:
    """The numbers of the profiles that an identifier of users/export/ids names.

    `key` is "external_id", "braze_id", "email", "phone", "device_id", or "user_alias" with the alias object as `value`.
    The `renderer` must render all fields.
    """
    text = str(value.get("alias_name") if key == "user_alias" else value)
    candidates = {int(run) for run in re.findall(r"\d{1,9}", text)}
    if key == "braze_id" and re.fullmatch(r"[0-9a-f]{24}", text):
        candidates = {int(text[16:], 16)}
    return [
        number
        for number in sorted(candidates)
        if number < workspace.options.users and _named(orjson.loads(renderer.line(number)), key, value)
    ]


def _named(profile: Profile, key: str, value: Any) -> bool:
    if key == "user_alias":
        return value in (profile.get("user_aliases") or [])
    if key == "device_id":
        return any(device.get("device_id") == value for device in profile.get("devices") or [])
    return bool(profile.get(key) == value)
