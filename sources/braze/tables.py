"""Every table of the analytics part and of the run ledger, as data.

The grain (`key`) is the merge key; `parent` is what is replaced as a whole.
"""

from dataclasses import replace

from sources.braze.columns import (
    APP_ID,
    CHANNEL,
    HOUR,
    MESSAGE_FIELDS,
    MESSAGE_STATISTICS,
    POSITION,
    REVENUE,
    SEGMENT_ID_OR_ALL,
    conversions,
    counters,
    day,
    flag,
    instant,
    json,
    number,
    text,
)
from sources.braze.model import Column, Table, Type
from sources.braze.profile_tables import USER_TABLES

_SEND_CONVERSIONS = conversions("send", 4)
_ENTRY_CONVERSIONS = conversions("entry", 4)
_CAMPAIGN_ID = text("campaign_id", "Campaign identifier (`campaigns.id`).")
_SEND_ID = text("send_id", "Send identifier, as given when the message was sent.")
_CANVAS_ID = text("canvas_id", "Canvas identifier (`canvases.id`).")
_VARIANT_ID = text("variant_id", "Canvas variant identifier (`canvas_variants.variant_id`).")
_STEP_ID = text("step_id", "Canvas step identifier (`canvas_steps.step_id`).")
_SEGMENT_ID = text("segment_id", "Segment identifier (`segments.id`).")
_CARD_ID = text("card_id", "News Feed card identifier (`cards.id`).")
_EVENT = text("event", "Custom event name (`events.name`).")
_PRODUCT = text("product", "Product identifier (`products.product`); `*` means all products together.")
_MESSAGE_VARIATION_ID = text("message_variation_id", "Message variation identifier.")
_NAME = text("name", "Name in the dashboard; not unique.")
_CREATED = instant("created_at", "When it was created.")
_UPDATED = instant("updated_at", "When it was last changed.")
_SYNCED = instant(
    "synced_at", "When last listed and loaded; older than in other rows if Braze no longer lists it or a load failed."
)
_CLICK_KEYS = (
    text("kind", "What was clicked: `carousel_slide`, `notif_button`, or `other`."),
    number("number", "Number of the slide or button."),
    text("title", "Title of the slide or button; `-` when it has none."),
    *counters("clicks"),
)
_LIFECYCLE = (
    flag("archived", "Whether it is archived."),
    flag("draft", "Whether it is a draft."),
    flag("enabled", "Whether it is active."),
    flag("has_post_launch_draft", "Whether unpublished changes exist."),
    text("schedule_type", "How it is scheduled, for example `time_based` or `action_based`."),
)


def _words(owner: str, resource: str, id_column: Column, word: str, meaning: str) -> Table:
    """A child table of one word per row: tags, channels, teams."""
    return Table(
        name=f"{owner}_{word}s",
        resource=resource,
        description=f"{meaning}; one row per {owner} and {word}.",
        key=(id_column.name, word),
        parent=(id_column.name,),
        columns=(id_column, text(word, f"Name of the {word}.")),
    )


def _messages(
    noun: str, span: str, resource: str, keys: tuple[Column, ...], booked: tuple[Column, ...], grain: str
) -> tuple[Table, Table]:
    """The pair of statistics tables per message: counters, and clicks on slides and buttons."""
    ids = tuple(column.name for column in keys)
    statistics = Table(
        name=f"{noun}_{span}",
        resource=resource,
        description=f"Message statistics: one row per {grain}, channel and message variation.",
        key=(*ids, "channel", "position"),
        parent=ids,
        columns=(*keys, CHANNEL, POSITION, *MESSAGE_STATISTICS, *booked),
    )
    clicks = Table(
        name=f"{noun}_click_{span}",
        resource=resource,
        description=f"Clicks on carousel slides and buttons: one row per {grain}, message variation and button.",
        key=(*ids, "channel", "position", "kind", "number", "title"),
        parent=ids,
        columns=(*keys, CHANNEL, POSITION, *_CLICK_KEYS),
    )
    return statistics, clicks


def _series(
    name: str,
    resource: str,
    description: str,
    keys: tuple[Column, ...],
    values: tuple[Column, ...],
    parent: tuple[str, ...] | None = None,
) -> Table:
    """A table of figures by day, hour or window; unknown counters become columns."""
    return Table(
        name,
        resource,
        description,
        tuple(column.name for column in keys),
        (*keys, *values),
        parent,
    )


def _canvas_statistics(span: str, resource: str, when: tuple[Column, ...], grain: str) -> tuple[Table, ...]:
    """The five Canvas tables (total, variants, steps, step messages and their clicks), by day or by window."""
    keys = (_CANVAS_ID, *when)
    parent = tuple(column.name for column in keys)
    named = (_NAME, REVENUE, *_ENTRY_CONVERSIONS)
    stem = "canvas_" + span
    return (
        _series(
            stem,
            resource,
            f"Canvas totals: one row per Canvas and {grain}.",
            keys,
            (*counters("entries"), REVENUE, *_ENTRY_CONVERSIONS),
        ),
        _series(
            f"canvas_variant_{span}",
            resource,
            f"Canvas variants: one row per Canvas, {grain} and variant.",
            (*keys, _VARIANT_ID),
            (*counters("entries"), *named),
            parent,
        ),
        _series(
            f"canvas_step_{span}",
            resource,
            f"Canvas steps, deleted ones included: one row per Canvas, {grain} and step.",
            (*keys, _STEP_ID),
            (*counters("unique_recipients"), *named),
            parent,
        ),
        *(
            replace(table, parent=parent)
            for table in _messages(
                "canvas_step_message", span, resource, (*keys, _STEP_ID), _ENTRY_CONVERSIONS, f"Canvas, {grain}, step"
            )
        ),
    )


_CAMPAIGN_TABLES = (
    Table(
        "campaigns",
        "campaigns",
        "Campaigns, archived ones included: list and details in one row.",
        ("id",),
        (
            text("id", "Campaign identifier."),
            _NAME,
            text("description", "Description in the dashboard."),
            flag("is_api_campaign", "Whether messages are composed by the API caller."),
            *_LIFECYCLE,
            _CREATED,
            _UPDATED,
            instant("last_edited", "When it was last edited, as the list says."),
            instant("first_sent", "Hour of the first send; null if never sent."),
            instant("last_sent", "Hour of the latest send; null if never sent."),
            _SYNCED,
        ),
    ),
    _words("campaign", "campaigns", _CAMPAIGN_ID, "tag", "Tags of campaigns"),
    _words("campaign", "campaigns", _CAMPAIGN_ID, "channel", "Channels of campaigns"),
    _words("campaign", "campaigns", _CAMPAIGN_ID, "team", "Teams of campaigns"),
    Table(
        "campaign_messages",
        "campaigns",
        "Messages of campaigns: one row per message variation.",
        ("campaign_id", "message_variation_id"),
        (_CAMPAIGN_ID, _MESSAGE_VARIATION_ID, *MESSAGE_FIELDS),
        ("campaign_id",),
    ),
    Table(
        "campaign_conversion_behaviors",
        "campaigns",
        "Conversion events of campaigns; position 0 counts as `conversions`, 1 as `conversions1`, and so on.",
        ("campaign_id", "position"),
        (
            _CAMPAIGN_ID,
            POSITION,
            text("type", "Kind of conversion event, for example `Opens Email`."),
            number("window", "Seconds after receipt within which it counts."),
            text("product", "Product whose purchase counts."),
            text("custom_event_name", "Custom event that counts."),
            text("app_ids", "Apps in which it counts, separated by commas; null means any app."),
        ),
        ("campaign_id",),
    ),
    _series(
        "campaign_daily",
        "campaign_series",
        "Campaign totals: one row per campaign and day.",
        (_CAMPAIGN_ID, day()),
        (*counters("unique_recipients"), REVENUE, *_SEND_CONVERSIONS),
    ),
    *_messages(
        "campaign_message", "daily", "campaign_series", (_CAMPAIGN_ID, day()), _SEND_CONVERSIONS, "campaign, day"
    ),
)
_SEND_TABLES = (
    _series(
        "send_daily",
        "sends",
        "Totals of tracked API sends: one row per campaign, send and day. Braze keeps them for 14 days.",
        (_CAMPAIGN_ID, _SEND_ID, day()),
        (*counters("unique_recipients"), REVENUE, *_SEND_CONVERSIONS),
    ),
    *_messages(
        "send_message",
        "daily",
        "sends",
        (_CAMPAIGN_ID, _SEND_ID, day()),
        _SEND_CONVERSIONS,
        "campaign, send, day",
    ),
)
_CANVAS_TABLES = (
    Table(
        "canvases",
        "canvases",
        "Canvases, archived ones included: list and details in one row.",
        ("id",),
        (
            text("id", "Canvas identifier."),
            _NAME,
            text("description", "Description in the dashboard."),
            *_LIFECYCLE,
            _CREATED,
            _UPDATED,
            instant("last_edited", "When it was last edited, as the list says."),
            instant("first_entry", "Hour of the first entry; null if nobody entered."),
            instant("last_entry", "Hour of the latest entry; null if nobody entered."),
            _SYNCED,
        ),
    ),
    _words("canvas", "canvases", _CANVAS_ID, "tag", "Tags of Canvases"),
    _words("canvas", "canvases", _CANVAS_ID, "channel", "Channels of Canvases"),
    _words("canvas", "canvases", _CANVAS_ID, "team", "Teams of Canvases"),
    Table(
        "canvas_variants",
        "canvases",
        "Variants of Canvases, control groups included.",
        ("canvas_id", "variant_id"),
        (
            _CANVAS_ID,
            _VARIANT_ID,
            _NAME,
            text("first_step_id", "The first step, where there is just one."),
        ),
        ("canvas_id",),
    ),
    Table(
        "canvas_variant_first_steps",
        "canvases",
        "Steps a variant starts with.",
        ("canvas_id", "variant_id", "step_id"),
        (_CANVAS_ID, _VARIANT_ID, _STEP_ID, POSITION),
        ("canvas_id",),
    ),
    Table(
        "canvas_steps",
        "canvases",
        "Steps of Canvases.",
        ("canvas_id", "step_id"),
        (
            _CANVAS_ID,
            _STEP_ID,
            _NAME,
            text("type", "Kind of step, for example `message` or `decision_split`."),
        ),
        ("canvas_id",),
    ),
    Table(
        "canvas_step_channels",
        "canvases",
        "Channels of Canvas steps.",
        ("canvas_id", "step_id", "channel"),
        (_CANVAS_ID, _STEP_ID, CHANNEL),
        ("canvas_id",),
    ),
    Table(
        "canvas_step_messages",
        "canvases",
        "Messages of Canvas steps: one row per message variation.",
        ("canvas_id", "step_id", "message_variation_id"),
        (_CANVAS_ID, _STEP_ID, _MESSAGE_VARIATION_ID, *MESSAGE_FIELDS),
        ("canvas_id",),
    ),
    Table(
        "canvas_step_paths",
        "canvases",
        "Edges of the Canvas graph: where a step leads.",
        ("canvas_id", "step_id", "position"),
        (
            _CANVAS_ID,
            _STEP_ID,
            POSITION,
            text("name", "Name of the path, for example `Yes`, `No` or an audience; null for plain steps."),
            text("next_step_id", "Step the path leads to; null where the path ends."),
        ),
        ("canvas_id",),
    ),
    *_canvas_statistics("daily", "canvas_series", (day(),), "day"),
    *_canvas_statistics(
        "summary",
        "canvas_summary",
        (day("start_date", "First day of the window."), day("end_date", "Last day of the window.")),
        "window of days",
    ),
)
_SEGMENT_TABLES = (
    Table(
        "segments",
        "segments",
        "Segments: list and details in one row. Archived segments are never listed by Braze.",
        ("id",),
        (
            text("id", "Segment identifier."),
            _NAME,
            flag("analytics_tracking_enabled", "Whether Braze keeps the size by day."),
            _CREATED,
            _UPDATED,
            text("description", "The filters, in words."),
            text("text_description", "The author's description."),
            _SYNCED,
        ),
    ),
    _words("segment", "segments", _SEGMENT_ID, "tag", "Tags of segments"),
    _words("segment", "segments", _SEGMENT_ID, "team", "Teams of segments"),
    _series(
        "segment_daily",
        "segment_series",
        "Estimated segment sizes: one row per segment with analytics tracking and day.",
        (_SEGMENT_ID, day()),
        (number("size", "Estimated number of users in the segment."),),
    ),
)
_CARD_COUNTERS = counters("clicks", "impressions", "unique_clicks", "unique_impressions")
_CARD_TABLES = (
    Table(
        "cards",
        "cards",
        "News Feed cards: list and details in one row. Newer workspaces have none.",
        ("id",),
        (
            text("id", "Card identifier."),
            text("type", "`NewsItem`, `CaptionedImage`, `Banner` or `DevPick`."),
            text("title", "Title shown."),
            _NAME,
            text("description", "Text shown."),
            flag("archived", "Whether it is archived."),
            flag("draft", "Whether it is a draft."),
            _CREATED,
            _UPDATED,
            instant("publish_at", "When it is or was published."),
            instant("end_at", "When it stops being shown; null for never."),
            text("image_url", "Image shown."),
            json("extras", "Key-value pairs attached to the card."),
            _SYNCED,
        ),
    ),
    _words("card", "cards", _CARD_ID, "tag", "Tags of cards"),
    _series(
        "card_daily",
        "card_series",
        "Card engagement: one row per card and day.",
        (_CARD_ID, day()),
        _CARD_COUNTERS,
    ),
    _series(
        "card_hourly",
        "card_series",
        "Card engagement: one row per card and hour.",
        (_CARD_ID, HOUR),
        _CARD_COUNTERS,
    ),
)
_SESSIONS = (number("sessions", "App sessions."),)
_COUNT = (number("count", "Times the event happened."),)
_PURCHASES = (REVENUE, number("quantity", "Units purchased."))
_WORKSPACE_TABLES = (
    _series(
        "kpi_daily",
        "kpis",
        "Key figures: one row per app and day. A figure is null on days before the first for which Braze has it.",
        (APP_ID, day()),
        (
            number("mau", "Unique users active in the 30 days up to this day."),
            number("dau", "Unique users active on the day."),
            number("new_users", "New users."),
            number("uninstalls", "Uninstalls."),
        ),
    ),
    _series(
        "session_daily",
        "sessions",
        "App sessions: one row per app, segment and day.",
        (APP_ID, SEGMENT_ID_OR_ALL, day()),
        _SESSIONS,
    ),
    _series(
        "session_hourly",
        "sessions",
        "App sessions: one row per app, segment and hour.",
        (APP_ID, SEGMENT_ID_OR_ALL, HOUR),
        _SESSIONS,
    ),
    Table(
        "events",
        "events",
        "Custom events.",
        ("name",),
        (
            text("name", "Custom event name."),
            text("description", "Description in the dashboard."),
            flag("included_in_analytics_report", "Whether Braze keeps figures of it for reports."),
            text("status", "`Active` or `Blocklisted`."),
            _SYNCED,
        ),
    ),
    Table(
        "event_tags",
        "events",
        "Tags of custom events; one row per event and tag.",
        ("event", "tag"),
        (_EVENT, text("tag", "Name of the tag.")),
        ("event",),
    ),
    _series(
        "event_daily",
        "event_series",
        "Custom events: one row per event, app, segment and day.",
        (_EVENT, APP_ID, SEGMENT_ID_OR_ALL, day()),
        _COUNT,
    ),
    _series(
        "event_hourly",
        "event_series",
        "Custom events: one row per event, app, segment and hour.",
        (_EVENT, APP_ID, SEGMENT_ID_OR_ALL, HOUR),
        _COUNT,
    ),
    Table(
        "products",
        "purchases",
        "Products that were purchased.",
        ("product",),
        (text("product", "Product identifier."), _SYNCED),
    ),
    _series(
        "purchase_daily",
        "purchases",
        "Purchases: one row per product, app and day.",
        (_PRODUCT, APP_ID, day()),
        _PURCHASES,
    ),
    _series(
        "purchase_hourly",
        "purchases",
        "Purchases: one row per product, app and hour.",
        (_PRODUCT, APP_ID, HOUR),
        _PURCHASES,
    ),
)
_RUN_ID = text("run_id", "Identifier of the run (`sync_runs.run_id`).")
LEDGER_TABLES = (
    Table(
        "sync_runs",
        "sync_runs",
        "Runs of the connector; one row per run.",
        ("run_id",),
        (
            _RUN_ID,
            text("command", "`sync`, `backfill` or `export-users`."),
            text("selected", "Resources the run was asked for, separated by commas."),
            instant("started_at", "When it started."),
            instant("finished_at", "When it ended; null while it runs or if it was killed."),
            text("status", "`running`, `ok`, `partial` (failures recorded), `failed` or `interrupted`."),
            number("requests", "HTTP requests sent to Braze."),
            number("retries", "Requests sent again after an error."),
            number("rate_limited", "Requests refused with 429."),
            Column("waited_seconds", Type.DOUBLE, "Seconds spent waiting for the rate limit."),
            number("rows", "Rows written."),
            number("failures", "Failures recorded in `sync_failures`."),
        ),
    ),
    Table(
        "sync_failures",
        "sync_failures",
        "What could not be loaded: one row per run, resource, entity, range of days and endpoint.",
        ("run_id", "resource", "entity_id", "start_date", "end_date", "endpoint"),
        (
            _RUN_ID,
            text("resource", "Resource that failed."),
            text(
                "entity_id",
                "Campaign, Canvas, segment, … that failed; `*` for the whole resource. Names with blanks are quoted.",
            ),
            day("start_date", "First day that was asked for; the day of the run if no days were asked for."),
            day("end_date", "Last day that was asked for."),
            text("endpoint", "Endpoint that was asked."),
            number("status", "HTTP status of the answer; null without one."),
            text("message", "What was answered and what to do, without secrets."),
            instant("failed_at", "When it failed."),
            instant("resolved_at", "When a later run loaded it, or found it gone from Braze; null while open."),
        ),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *_CAMPAIGN_TABLES,
        *_SEND_TABLES,
        *_CANVAS_TABLES,
        *_SEGMENT_TABLES,
        *_CARD_TABLES,
        *_WORKSPACE_TABLES,
        *USER_TABLES,
        *LEDGER_TABLES,
    )
}
RESOURCES: tuple[str, ...] = tuple(
    dict.fromkeys(table.resource for table in TABLES.values() if table not in LEDGER_TABLES)
)
"""Resource names in the order of the tables."""


def tables_of(resource: str) -> tuple[Table, ...]:
    """The tables that `resource` loads."""
    return tuple(table for table in TABLES.values() if table.resource == resource)
