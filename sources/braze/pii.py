"""Rules for personal data: which profile fields are hashed and which are dropped.

A rule names a field by its path in Braze's profile: `email`, `devices.idfa`, `custom_attributes.phone`.
`hash` puts the HMAC-SHA-256 of the value's text under `pii_key`, in hexadecimal, in its place: the same value
gives the same hash in every field, run and machine, so that joins keep working. `drop` leaves the field
empty.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum

from sources.braze.errors import ConfigurationError
from sources.braze.profile_tables import CUSTOM_ATTRIBUTES, PROFILE_LISTS, USERS


class Action(StrEnum):
    """What happens to a field."""

    HASH = "hash"
    DROP = "drop"


@dataclass(frozen=True)
class PiiRules:
    """Checked rules: an action per field path, and the key for `hash`."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    def action(self, path: str) -> Action | None:
        """What happens to the field at `path`: its own rule, or that of an object or list around it."""
        if path == "appboy_id":
            path = "braze_id"
        parts = path.split(".")
        around = (".".join(parts[:count]) for count in range(1, len(parts)))
        if any(self.actions.get(outer) is Action.DROP for outer in around):
            return Action.DROP
        return self.actions.get(path)

    def attributes(self, action: Action) -> list[str]:
        """The names of the custom attributes with a rule of their own."""
        prefix = CUSTOM_ATTRIBUTES + "."
        return [
            path.removeprefix(prefix)
            for path, chosen in self.actions.items()
            if chosen is action and path.startswith(prefix)
        ]

    def hashed(self, value: str) -> str:
        """The hash that a value gets, for callers that look up a known value."""
        return hmac.new(self.key, value.encode(), hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """What tells whether rules and key are those of another day, without telling the key."""
        return self.hashed("\n".join(sorted(f"{path}: {action}" for path, action in self.actions.items())))


def pii_rules(actions: Mapping[str, str], key: str | None, requested: Collection[str] = ()) -> PiiRules:
    """Check the settings `pii` and `pii_key`.

    `requested` names the fields to export, of which Braze may know some that this version does not.
    Raises ConfigurationError for an unknown field or action, for a field that cannot have the action, and for
    `hash` without a key.
    """
    checked = {path: _checked(path, action, requested) for path, action in actions.items()}
    if Action.HASH in checked.values() and not key:
        raise ConfigurationError(
            "`pii` hashes fields, but `pii_key` is not set: set it to a long random secret and keep it."
        )
    return PiiRules(checked, (key or "").encode())


def _checked(path: str, action: str, requested: Collection[str]) -> Action:
    if action not in list(Action):
        raise ConfigurationError(f"`pii` for `{path}` is neither `hash` nor `drop`.")
    attribute = path.startswith(CUSTOM_ATTRIBUTES + ".") and path != CUSTOM_ATTRIBUTES + "."
    if attribute and path.count(".") > 1:
        whole = ".".join(path.split(".")[:2])
        raise ConfigurationError(
            f"`pii` names `{path}`, but a custom attribute is hashed or dropped as a whole: name `{whole}`, or"
            f" `{CUSTOM_ATTRIBUTES}` if the attribute's own name has a dot."
        )
    if not attribute and path not in _LEAVES and path not in _CONTAINERS and path not in requested:
        near = get_close_matches(path, sorted(_LEAVES | _CONTAINERS), 1, cutoff=0.5)
        cure = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(_LEAVES))}."
        raise ConfigurationError(f"`pii` names the profile field `{path}`, which is not known: {cure}")
    if path in ("braze_id", "appboy_id") and action == Action.DROP:
        raise ConfigurationError(f"`pii` drops `{path}`, which every row is keyed by: `hash` it instead.")
    if path == "appboy_id":
        raise ConfigurationError("`pii` names `appboy_id`, which always goes with `braze_id`: name that instead.")
    if path in _CONTAINERS and action == Action.HASH:
        raise ConfigurationError(
            f"`pii` hashes `{path}`, which is no single value: `drop` it, or hash fields in it such as"
            f" `{_inside(path)}`."
        )
    return Action(action)


def _inside(container: str) -> str:
    return next((leaf for leaf in sorted(_LEAVES) if leaf.startswith(container + ".")), container)


def _nested_paths() -> set[str]:
    return {
        f"{rows.field}.{path}"
        for rows in PROFILE_LISTS
        for column in rows.value_columns
        for path in rows.sources(column.name)
        if not path.startswith(f"{rows.entries}.")
    }


_LEAVES = frozenset({column.name for column in USERS.columns} | {CUSTOM_ATTRIBUTES} | _nested_paths())
_CONTAINERS = frozenset(
    {rows.field for rows in PROFILE_LISTS}
    | {f"{rows.field}.{part}" for rows in PROFILE_LISTS for part in (rows.inner, rows.entries) if part}
    | {path.rpartition(".")[0] for path in _nested_paths() if path.count(".") > 1}
)
