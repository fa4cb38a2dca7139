"""The setting `fields`: which profile fields an export asks Braze for, per endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sources.braze.endpoints import (
    USERS_EXPORT_GLOBAL_CONTROL_GROUP,
    USERS_EXPORT_IDS,
    USERS_EXPORT_SEGMENT,
    Endpoint,
)
from sources.braze.errors import ConfigurationError
from sources.braze.profile_tables import CUSTOM_ATTRIBUTES, USERS

DEFAULT_FIELDS = (
    "braze_id",
    "external_id",
    "created_at",
    "uninstalled_at",
    "push_subscribe",
    "email_subscribe",
)

REQUESTABLE = frozenset(
    {
        "apps",
        "attributed_campaign",
        "attributed_source",
        "attributed_adgroup",
        "attributed_ad",
        "braze_id",
        "campaigns_received",
        "canvases_received",
        "cards_clicked",
        "country",
        "created_at",
        "created_from",
        "custom_attributes",
        "custom_events",
        "devices",
        "dob",
        "email",
        "email_subscribe",
        "external_id",
        "first_name",
        "gender",
        "home_city",
        "language",
        "last_coordinates",
        "last_name",
        "phone",
        "purchases",
        "push_subscribe",
        "push_tokens",
        "random_bucket",
        "time_zone",
        "total_revenue",
        "uninstalled_at",
        "user_aliases",
    }
)
"""What the endpoints' pages list for `fields_to_export`."""

_NOT_AT = {
    USERS_EXPORT_SEGMENT: frozenset[str](),
    USERS_EXPORT_IDS: frozenset({"created_from"}),
    USERS_EXPORT_GLOBAL_CONTROL_GROUP: frozenset({"created_from", "email_subscribe", "push_subscribe", "push_tokens"}),
}
_COMES_WITH = {
    "email_opted_in_at": "email_subscribe",
    "email_unsubscribed_at": "email_subscribe",
    "push_opted_in_at": "push_subscribe",
    "push_unsubscribed_at": "push_subscribe",
    "appboy_id": "braze_id",
}
_MOST_ATTRIBUTES = 500
"""What `custom_attributes_to_export` takes."""


@dataclass(frozen=True)
class ExportFields:
    """Checked `fields`: the top-level ones, and single custom attributes."""

    names: tuple[str, ...]
    attributes: tuple[str, ...] = ()

    def body(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return what the endpoint's request says about fields.

        Only segment exports can send single custom attributes; the other endpoints send none of them then.
        """
        body: dict[str, Any] = {"fields_to_export": [name for name in self.names if name not in _NOT_AT[endpoint]]}
        if self.attributes and endpoint == USERS_EXPORT_SEGMENT:
            body["custom_attributes_to_export"] = list(self.attributes)
        return body

    def lacking(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the fields that are columns of `users` and that the endpoint cannot give."""
        return tuple(name for name in self.names if name in _NOT_AT[endpoint] and USERS.column(name))

    def left_out(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the single custom attributes that the endpoint cannot send.

        It could send all of them, but then what nobody chose would leave Braze, too.
        """
        return () if endpoint == USERS_EXPORT_SEGMENT else self.attributes

    def loaded(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the top-level fields that the endpoint's profiles can have."""
        body = self.body(endpoint)
        single = (CUSTOM_ATTRIBUTES,) if "custom_attributes_to_export" in body else ()
        return (*body["fields_to_export"], *single)


def export_fields(fields: Sequence[str]) -> ExportFields:
    """Check the setting `fields`; none means the default ones. `braze_id` is always among them.

    `custom_attributes.tier` asks for a single attribute, `custom_attributes` for all. Names that are not
    known are passed on, since Braze may know them, unless they look like a known one. Raises
    ConfigurationError.
    """
    chosen = list(dict.fromkeys(("braze_id", *(fields or DEFAULT_FIELDS))))
    prefix = CUSTOM_ATTRIBUTES + "."
    attributes = [name.removeprefix(prefix) for name in chosen if name.startswith(prefix)]
    names = [name for name in chosen if not name.startswith(prefix)]
    for name in names:
        _check(name)
    if CUSTOM_ATTRIBUTES in names:
        attributes = []
    if len(attributes) > _MOST_ATTRIBUTES:
        raise ConfigurationError(
            f"`fields` names {len(attributes)} custom attributes, and Braze takes {_MOST_ATTRIBUTES}:"
            " name fewer, or `custom_attributes` for all."
        )
    return ExportFields(tuple(names), tuple(attributes))


def _check(name: str) -> None:
    if name in REQUESTABLE:
        return
    if name in _COMES_WITH:
        raise ConfigurationError(f"`fields` names `{name}`, which comes with `{_COMES_WITH[name]}`: name that.")
    field, _, inner = name.partition(".")
    if inner:
        raise ConfigurationError(
            f"`fields` names `{name}`, but Braze sends `{field}` as a whole:"
            " name that, and `drop` parts of it in `pii`."
        )
    near = get_close_matches(name, sorted(REQUESTABLE), 1, cutoff=0.8)
    if near:
        raise ConfigurationError(f"`fields` names `{name}`, which is not known: did you mean `{near[0]}`?")
