"""The vocabulary of columns: one description per Braze field, shared by every table that has it.

Fields that Braze reports under one name mean the same in every table, so they are described once, here. A counter
that is not listed arrives all the same, as a column with a generated description (`describe_discovered`).
"""

import re

from sources.braze.model import Column, Type

_COUNTERS = {
    "sent": "Messages sent.",
    "delivered": "Messages delivered.",
    "undelivered": "Messages that could not be delivered.",
    "delivery_failed": "Messages whose delivery failed at the carrier or push service.",
    "failed": "WhatsApp messages that failed.",
    "read": "WhatsApp messages read.",
    "errors": "Webhook calls that ended in an error.",
    "sent_to_carrier": "SMS handed to the carrier.",
    "rejected": "SMS the carrier rejected.",
    "opt_out": "Replies that opted the recipient out of SMS.",
    "help": "Replies that asked for SMS help.",
    "direct_opens": "Push messages opened by tapping them.",
    "total_opens": "Push opens, direct and influenced.",
    "influenced_opens": "All push opens: in this API the figure includes direct opens, in the dashboard it does not.",
    "body_clicks": "Taps on the body of a push message.",
    "bounces": "Messages that bounced.",
    "opens": "Opens, counting every open.",
    "unique_opens": "Recipients who opened, each once; includes machine opens.",
    "machine_open": "Opens made by a machine, such as mail privacy protection.",
    "machine_amp_open": "Opens of the AMP version made by a machine.",
    "clicks": "Clicks, counting every click.",
    "unique_clicks": "Recipients who clicked, each once.",
    "unsubscribes": "Recipients who unsubscribed.",
    "reported_spam": "Recipients who marked the message as spam.",
    "impressions": "Times the message was shown.",
    "total_impressions": "Times the card was shown.",
    "unique_impressions": "Users who saw the card, each once.",
    "total_clicks": "Clicks on the card, counting every click.",
    "total_dismissals": "Times the card was dismissed.",
    "unique_dismissals": "Users who dismissed the card, each once.",
    "first_button_clicks": "Clicks on the first button.",
    "second_button_clicks": "Clicks on the second button.",
    "enrolled": "Users enrolled in the control group; only control rows have it.",
    "unique_recipients": "Users who received something, each once a day; not additive over days.",
    "entries": "Times users entered the Canvas.",
}
_CONVERSIONS = re.compile(r"^conversions(\d*)(?:_by_(send|entry)_time)?$")
_NUMBERED = {"send": "`position` in `campaign_conversion_behaviors`", "entry": "in the Canvas's order, from 0"}
"""What the number of a conversion event refers to: the API lists those of campaigns only."""


def text(name: str, description: str) -> Column:
    """A TEXT column."""
    return Column(name, Type.TEXT, description)


def json(name: str, description: str) -> Column:
    """A JSON column, for what has no fixed shape."""
    return Column(name, Type.JSON, description)


def flag(name: str, description: str) -> Column:
    """A BOOLEAN column."""
    return Column(name, Type.BOOL, description)


def instant(name: str, description: str) -> Column:
    """A TIMESTAMPTZ column."""
    return Column(name, Type.TIMESTAMP, description)


def number(name: str, description: str) -> Column:
    """A BIGINT column."""
    return Column(name, Type.BIGINT, description)


def day(name: str = "date", description: str = "Day in the workspace's time zone.") -> Column:
    """A DATE column."""
    return Column(name, Type.DATE, description)


HOUR = instant("hour", "Start of the hour.")
REVENUE = Column("revenue", Type.DOUBLE, "Revenue in US dollars.")
APP_ID = text("app_id", "App identifier; `*` is the workspace's own total, which is not the sum over apps.")
SEGMENT_ID_OR_ALL = text("segment_id", "Segment identifier; `*` means everyone.")
CHANNEL = text("channel", "Messaging channel, by Braze's name.")
POSITION = number("position", "Place in Braze's list, from 0.")


def counters(*names: str) -> tuple[Column, ...]:
    """BIGINT columns for the named counters of Braze, described by the vocabulary."""
    return tuple(number(name, _COUNTERS[name]) for name in names)


def conversions(booked: str, events: int) -> tuple[Column, ...]:
    """Conversion counters for `events` conversion events; `booked` is `send` or `entry` (`…_by_send_time`)."""
    names = ["conversions" + (str(event) if event else "") for event in range(events)]
    suffixed = [name + suffix for suffix in ("", f"_by_{booked}_time") for name in names]
    matches = [match for name in suffixed if (match := _CONVERSIONS.match(name))]
    return tuple(number(match[0], _described(match, _NUMBERED[booked])) for match in matches)


def describe_discovered(name: str) -> str:
    """A description for a column that no declaration names: conversion counters by their grammar, others plainly."""
    match = _CONVERSIONS.match(name)
    if not match:
        return f"As Braze reports it under the name {name}; not part of the documented answer."
    return _described(match, "from 0")


def _described(conversions: re.Match[str], numbered: str) -> str:
    event, moment = conversions[1] or 0, conversions[2] or "conversion"
    return f"Conversions for event {event} ({numbered}), attributed to the day of the {moment}."


MESSAGE_COUNTERS = counters(
    "sent", "delivered", "undelivered", "delivery_failed", "failed", "read", "errors", "sent_to_carrier", "rejected",
    "opt_out", "help", "direct_opens", "total_opens", "influenced_opens", "body_clicks", "bounces", "opens",
    "unique_opens", "machine_open", "machine_amp_open", "clicks", "unique_clicks", "unsubscribes", "reported_spam",
    "impressions", "total_impressions", "unique_impressions", "total_clicks", "total_dismissals",
    "unique_dismissals", "first_button_clicks", "second_button_clicks", "enrolled", "unique_recipients",
)  # fmt: skip
MESSAGE_STATISTICS = (
    text("variation_api_id", "Message variation identifier; Braze leaves it out for some channels."),
    text("variation_name", "Message variation name; Braze gives it for multivariate messages and sends."),
    *MESSAGE_COUNTERS,
    REVENUE,
)
MESSAGE_FIELDS = (
    text("channel", "Messaging channel; absent for surveys."),
    text("name", "Variation name."),
    text("type", "Kind within the channel: `control`, `survey`, or a webhook's body type."),
    flag("has_translatable_content", "Whether the message holds translation tags; only when Braze was asked."),
    text("subject", "E-mail subject line."),
    text("body", "Message body: HTML for e-mail, text for SMS, the payload for webhooks."),
    text("from", "Sender; several numbers are separated by commas."),
    text("reply_to", "E-mail reply-to address."),
    text("title", "Title of the push message or e-mail."),
    text("preheader", "E-mail preheader."),
    text("amp_body", "AMP version of the e-mail."),
    text("custom_plain_text", "Plain-text version of the e-mail."),
    flag("should_inline_css", "Whether CSS is inlined."),
    flag("should_whitespace_header", "Whether whitespace is added after the preheader."),
    flag(
        "should_whitespace_preheader",
        "Whether whitespace is added after the preheader, under its later name.",
    ),
    json("email_headers", "Additional e-mail headers."),
    json("extras", "Key-value pairs attached to the message."),
    text("alert", "Push text."),
    text("action", "What a tap on the push opens."),
    text("image_url", "Push image."),
    text("large_image_url", "Large web push image (Chrome and Windows)."),
    text("subscription_group_id", "Subscription group the message is sent for."),
    text("url", "Webhook address."),
    text("method", "Webhook HTTP method."),
    json("headers", "Webhook headers."),
    text("template_name", "WhatsApp template."),
    text("template_language_code", "Language of the WhatsApp template."),
    json("header_variables", "Variables of the WhatsApp template's header."),
    json("body_variables", "Variables of the WhatsApp template's body."),
    json("button_variables", "Variables of the WhatsApp template's buttons."),
    text("layout", "Layout of a WhatsApp response message."),
    text("header_text", "Header of a WhatsApp response message."),
    text("body_text", "Body of a WhatsApp response message."),
    text("footer_text", "Footer of a WhatsApp response message."),
    json("buttons", "Buttons of a WhatsApp response message."),
    text("message", "In-app message text."),
    text("header", "In-app message header."),
    json("data", "Pages and choices of an in-app survey."),
    instant("created_at", "When the message was created."),
    instant("updated_at", "When the message was last changed."),
)
MESSAGE_BODIES = frozenset({"body", "amp_body", "custom_plain_text", "body_text", "data"})
"""What `message_bodies = false` leaves out: the fields that can be large."""
