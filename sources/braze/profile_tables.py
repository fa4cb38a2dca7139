"""The tables of exported profiles, as data: their columns, and where in a profile their rows come from.

Profile fields and their oddities: Braze's pages of `users/export/segment`, `users/export/ids` and
`users/export/global_control_group`. Braze leaves out what is empty, so any field may be missing.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from sources.braze.columns import flag, instant, text
from sources.braze.model import TOMBSTONE, Column, Table, Type

USERS_RESOURCE = "users"
GLOBAL_CONTROL_GROUP = "global_control_group"
"""Stands for the segment in `global_control_group_members`: Braze does not tell the group's own id."""

_BRAZE_ID = Column("braze_id", Type.TEXT, "Profile (`users.braze_id`).")
_POSITION = Column("position", Type.BIGINT, "Place in the profile's list, from 0; not stable between exports.")
_EXPORTED_AT = Column("exported_at", Type.TIMESTAMP, "When the export that listed the profile was requested.")


@dataclass(frozen=True)
class ProfileRows:
    """Where the rows of a table sit in a profile: one row per element of the list `field`.

    `inner` names a list within each element; then a row is one of its elements. `entries` names an object
    with free keys within each element; then a row is one of its keys, as `<entries>.key` and
    `<entries>.value`. `paths` gives, for columns not named like their JSON field, the dotted paths within the
    element: the first that holds something counts. `newest` is the column that decides between two rows of
    one key in one profile.
    """

    table: Table
    field: str
    inner: str | None = None
    entries: str | None = None
    paths: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    newest: str = ""

    def sources(self, column: str) -> tuple[str, ...]:
        """The dotted paths, within an element, of a column's value."""
        return self.paths.get(column, (column,))

    @property
    def value_columns(self) -> tuple[Column, ...]:
        """The columns that are read from the element: all but the profile's id, position and tombstone."""
        return tuple(c for c in self.table.columns if c.name not in ("braze_id", "position", TOMBSTONE.name))


def _replaced(name: str, description: str, *columns: Column) -> Table:
    return Table(
        name,
        USERS_RESOURCE,
        f"{description}. Replaced as a whole whenever the profile is exported.",
        ("braze_id", "position"),
        (_BRAZE_ID, _POSITION, *columns, TOMBSTONE),
        parent=("braze_id",),
    )


def _kept(name: str, key: tuple[str, ...], description: str, *columns: Column) -> Table:
    return Table(
        name,
        USERS_RESOURCE,
        f"{description}. Braze lists the last 90 days; what was loaded before is kept.",
        ("braze_id", *key),
        (_BRAZE_ID, *columns),
        history=True,
    )


USERS = Table(
    "users",
    USERS_RESOURCE,
    "One row per exported profile, as it was when last exported; profiles that leave all exports stay.",
    ("braze_id",),
    (
        text("braze_id", "Braze's id of the profile; the only one that every profile has."),
        text("external_id", "The customer's own id; missing for anonymous profiles."),
        text("appboy_id", "Older name of `braze_id`, with the same value, where Braze still sends it."),
        instant("created_at", "When the profile was created."),
        text(
            "created_from",
            "How it was created, such as SDK, REST API or CSV import (segment exports only).",
        ),
        Column("random_bucket", Type.BIGINT, "Random number from 0 to 9999, fixed per profile, for even splits."),
        text("first_name", "First name."),
        text("last_name", "Last name."),
        text("email", "E-mail address."),
        Column("dob", Type.DATE, "Date of birth."),
        text("home_city", "Home city."),
        text("country", "Country, ISO 3166-1 alpha-2."),
        text("phone", "Phone number; in segment exports as it was imported, by id in E.164."),
        text("language", "Language, ISO 639-1."),
        text("time_zone", "Time zone, by IANA or Rails name."),
        Column(
            "last_coordinates",
            Type.JSON,
            "Last known place, a pair as Braze sent it: both longitude first and latitude first are seen.",
        ),
        text("gender", "M, F, O (other), N (not applicable) or P (prefers not to say)."),
        Column("total_revenue", Type.DOUBLE, "Money attributed to the profile, in US dollars."),
        text("attributed_campaign", "Campaign of the install attribution partner."),
        text("attributed_source", "Source of the install attribution partner."),
        text("attributed_adgroup", "Ad group of the install attribution partner."),
        text("attributed_ad", "Ad of the install attribution partner."),
        text("push_subscribe", "Push subscription state: opted_in, subscribed or unsubscribed."),
        instant("push_opted_in_at", "When the profile opted in to push; comes with `push_subscribe`."),
        instant("push_unsubscribed_at", "When the profile unsubscribed from push; comes with `push_subscribe`."),
        text("email_subscribe", "E-mail subscription state: opted_in, subscribed or unsubscribed."),
        instant("email_opted_in_at", "When the profile opted in to e-mail; comes with `email_subscribe`."),
        instant("email_unsubscribed_at", "When the profile unsubscribed from e-mail; comes with `email_subscribe`."),
        instant("uninstalled_at", "When the app was last uninstalled; missing while it is installed."),
    ),
)

USER_CUSTOM_ATTRIBUTES = Table(
    "user_custom_attributes",
    USERS_RESOURCE,
    "One row per profile and custom attribute. Replaced as a whole whenever the profile is exported.",
    ("braze_id", "name"),
    (
        _BRAZE_ID,
        text("name", "Name of the attribute, as sent: any text."),
        text(
            "type",
            "JSON type of the value: string, number, boolean, object, array or null; profiles may differ.",
        ),
        Column("value", Type.JSON, "The value, as JSON."),
        TOMBSTONE,
    ),
    parent=("braze_id",),
)

USER_ALIASES = _replaced(
    "user_aliases",
    "One row per alias of a profile",
    text("alias_name", "The alias; unique within its label."),
    text("alias_label", "What kind of alias it is."),
)

USER_DEVICES = _replaced(
    "user_devices",
    "One row per device of a profile",
    text("model", "Model of the device."),
    text("os", "Operating system with version."),
    text("carrier", "Mobile carrier."),
    text("device_id", "Braze's id of the device."),
    text("idfv", "Apple's id of the device for the vendor."),
    text("idfa", "Apple's advertising id."),
    text("google_ad_id", "Google's advertising id."),
    text("roku_ad_id", "Roku's advertising id."),
    text("windows_ad_id", "Windows' advertising id, in old profiles."),
    flag("ad_tracking_enabled", "Whether the device allows ad tracking."),
)

USER_PUSH_TOKENS = _replaced(
    "user_push_tokens",
    "One row per push token of a profile",
    text("app", "Name of the app."),
    text("platform", "Platform of the app."),
    text("token", "The push token."),
    text("device_id", "Device it belongs to (`user_devices.device_id`)."),
    flag("notifications_enabled", "Whether the device shows notifications; not the subscription state."),
    flag("provisionally_opted_in", "Whether iOS delivers quietly, without having asked the person."),
)

USER_APPS = _replaced(
    "user_apps",
    "One row per app that a profile has used",
    text("name", "Name of the app."),
    text("platform", "Platform of the app."),
    text("version", "Version last used."),
    Column("sessions", Type.BIGINT, "Sessions so far."),
    instant("first_used", "First session."),
    instant("last_used", "Last session."),
)

USER_CARDS_CLICKED = _replaced(
    "user_cards_clicked",
    "One row per News Feed card that a profile has clicked",
    text("name", "Name of the card."),
)

USER_CUSTOM_EVENTS = _kept(
    "user_custom_events",
    ("name",),
    "One row per profile and custom event that it has logged",
    text("name", "Name of the event (`events.name`)."),
    instant("first", "First time ever."),
    instant("last", "Last time."),
    Column("count", Type.BIGINT, "Lifetime count."),
)

USER_PURCHASES = _kept(
    "user_purchases",
    ("name",),
    "One row per profile and product that it has bought",
    text("name", "Id of the product (`products.product`)."),
    instant("first", "First time ever."),
    instant("last", "Last time."),
    Column("count", Type.BIGINT, "Lifetime count."),
)

USER_CAMPAIGNS_RECEIVED = _kept(
    "user_campaigns_received",
    ("api_campaign_id",),
    "One row per profile and campaign that it has received, or was held back from as control group",
    text("api_campaign_id", "Campaign (`campaigns.id`); its name where Braze sends no id."),
    text("name", "Name of the campaign."),
    instant("last_received", "Last time it was received."),
    flag("opened_email", "Opened an e-mail of it."),
    flag("opened_push", "Opened a push message of it."),
    flag("clicked_email", "Clicked in an e-mail of it."),
    flag("clicked_triggered_in_app_message", "Clicked a triggered in-app message of it."),
    flag("clicked_in_app_message", "Clicked an in-app message of it, in old profiles."),
    flag("converted", "Converted; per conversion event see `user_campaign_conversions`."),
    flag("in_control", "Was in the control group."),
    text("variation_name", "Name of the variation."),
    text("variation_api_id", "Variation (`campaign_messages.message_variation_id`)."),
)

USER_CAMPAIGN_CONVERSIONS = _kept(
    "user_campaign_conversions",
    ("api_campaign_id", "conversion_event"),
    "One row per profile, campaign and conversion event of the campaign",
    text("api_campaign_id", "Campaign (`campaigns.id`); its name where Braze sends no id."),
    text("conversion_event", "Label of the conversion event, such as `Primary Conversion Event - A`."),
    flag("converted", "Whether the profile performed it."),
    instant("last_received", "Last time the campaign was received."),
)

USER_CANVASES_RECEIVED = _kept(
    "user_canvases_received",
    ("api_canvas_id",),
    "One row per profile and Canvas that it has entered, or was held back from as control group",
    text("api_canvas_id", "Canvas (`canvases.id`); its name where Braze sends no id."),
    text("name", "Name of the Canvas."),
    instant("last_received_message", "Last message received from it."),
    instant("last_entered", "Last entry."),
    instant("last_exited", "Last exit."),
    instant("last_entered_control_at", "Last entry into its control group."),
    text("variation_name", "Name of the variant."),
    flag("in_control", "Was in the control group."),
)

USER_CANVAS_STEPS_RECEIVED = _kept(
    "user_canvas_steps_received",
    ("api_canvas_id", "api_canvas_step_id"),
    "One row per profile and Canvas step that it has received",
    text("api_canvas_id", "Canvas (`canvases.id`); its name where Braze sends no id."),
    text("api_canvas_step_id", "Step (`canvas_steps.step_id`); its name where Braze sends no id."),
    text("name", "Name of the step."),
    instant("last_received", "Last time it was received."),
)

SEGMENT_MEMBERS = Table(
    "segment_members",
    USERS_RESOURCE,
    "One row per segment and profile: exactly the profiles of the segment's last complete export.",
    ("segment_id", "braze_id"),
    (text("segment_id", "Segment (`segments.id`)."), _BRAZE_ID, _EXPORTED_AT),
    parent=("segment_id",),
)

GLOBAL_CONTROL_GROUP_MEMBERS = Table(
    "global_control_group_members",
    USERS_RESOURCE,
    "One row per profile in the global control group: exactly those of its last complete export.",
    ("segment_id", "braze_id"),
    (text("segment_id", f"Always `{GLOBAL_CONTROL_GROUP}`."), _BRAZE_ID, _EXPORTED_AT),
    parent=("segment_id",),
)

CUSTOM_ATTRIBUTES = "custom_attributes"

PROFILE_LISTS: tuple[ProfileRows, ...] = (
    ProfileRows(USER_ALIASES, "user_aliases"),
    ProfileRows(USER_DEVICES, "devices"),
    ProfileRows(USER_PUSH_TOKENS, "push_tokens"),
    ProfileRows(USER_APPS, "apps"),
    ProfileRows(USER_CARDS_CLICKED, "cards_clicked"),
    ProfileRows(USER_CUSTOM_EVENTS, "custom_events", newest="last"),
    ProfileRows(USER_PURCHASES, "purchases", newest="last"),
    ProfileRows(
        USER_CAMPAIGNS_RECEIVED,
        "campaigns_received",
        paths={
            "api_campaign_id": ("api_campaign_id", "name"),
            "opened_email": ("engaged.opened_email",),
            "opened_push": ("engaged.opened_push",),
            "clicked_email": ("engaged.clicked_email",),
            "clicked_triggered_in_app_message": ("engaged.clicked_triggered_in_app_message",),
            "clicked_in_app_message": ("engaged.clicked_in_app_message",),
        },
        newest="last_received",
    ),
    ProfileRows(
        USER_CAMPAIGN_CONVERSIONS,
        "campaigns_received",
        entries="multiple_converted",
        paths={
            "api_campaign_id": ("api_campaign_id", "name"),
            "conversion_event": ("multiple_converted.key",),
            "converted": ("multiple_converted.value",),
        },
        newest="last_received",
    ),
    ProfileRows(
        USER_CANVASES_RECEIVED,
        "canvases_received",
        paths={"api_canvas_id": ("api_canvas_id", "name")},
        newest="last_entered",
    ),
    ProfileRows(
        USER_CANVAS_STEPS_RECEIVED,
        "canvases_received",
        inner="steps_received",
        paths={
            "api_canvas_id": ("api_canvas_id", "name"),
            "api_canvas_step_id": ("steps_received.api_canvas_step_id", "steps_received.name"),
            "name": ("steps_received.name",),
            "last_received": ("steps_received.last_received",),
        },
        newest="last_received",
    ),
)

USER_TABLES: tuple[Table, ...] = (
    USERS,
    USER_CUSTOM_ATTRIBUTES,
    *(rows.table for rows in PROFILE_LISTS),
    SEGMENT_MEMBERS,
    GLOBAL_CONTROL_GROUP_MEMBERS,
)
"""Every table of the resource `users`."""
