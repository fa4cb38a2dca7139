"""Message objects of campaigns/details and canvas/details, per channel, and conversion behaviours."""

from typing import Any

from sources.braze_sandbox.shapes import Element

Message = dict[str, Any]

_FROM = "Kitchenerie <hello@mail.example.com>"
_GROUP = "48ab7555-ee18-5ed7-917e-e6e3006acb8b"

_SURVEY: Message = {
    "type": "survey",
    "data": {
        "pages": [
            {
                "header": {"text": "Wie haben Sie uns gefunden?"},
                "choices": [
                    {
                        "choice_id": "0",
                        "text": "Friend",
                        "custom_attribute_key": "heard_from",
                        "custom_attribute_value": "friend",
                        "deleted": False,
                    },
                    {
                        "choice_id": "1",
                        "text": "TV",
                        "custom_attribute_key": "heard_from",
                        "custom_attribute_value": "tv",
                        "deleted": True,
                    },
                ],
            }
        ]
    },
}
_EMAIL: Message = {
    "channel": "email",
    "extras": [{"key": "utm_campaign", "value": "welcome"}],
    "subject": "Hallo {{${first_name}}} 👋",
    "body": "<html><body><p>Schön, dass du da bist – “let's go”!</p>\n</body></html>",
    "from": _FROM,
    "reply_to": "support@example.com",
    "title": None,
    "amp_body": "<!doctype html><html ⚡4email></html>",
    "preheader": "Dein erster Gutschein",
    "custom_plain_text": None,
    "should_inline_css": False,
    "should_whitespace_header": True,
    "email_headers": [{"key": "X-Campaign", "value": "welcome"}],
}
_PUSH: Message = {
    "alert": "Complete your profile",
    "extras": {"deeplink": "app://profile", "n": "1"},
    "title": "Willkommen",
    "action": "app://profile",
    "image_url": "https://cdn.example.com/push.png",
    "large_image_url": None,
}
_WHATS_APP: dict[str, Message] = {
    "Template": {
        "template_name": "welcome_v2",
        "template_language_code": "pt_BR",
        "header_variables": ["{{${first_name}}}"],
        "body_variables": ["{{custom_attribute.${city}}}"],
        "button_variables": [],
    },
    "Response": {
        "layout": "quick-reply",
        "header_text": "Olá!",
        "body_text": "Posso ajudar?",
        "footer_text": "Kitchenerie",
        "buttons": [{"text": "Sim"}, {"text": "Não"}],
    },
}
_FIXED: dict[str, Message] = {
    "email": _EMAIL,
    "sms": {
        "channel": "sms",
        "body": "Hi {{${first_name}}}, reply STOP to opt out",
        "from": "+15555550100,+15555550101",
        "subscription_group_id": _GROUP,
    },
    "webhook": {
        "channel": "webhook",
        "url": "https://hooks.example.com/braze",
        "body": '{"user":"{{${user_id}}}"}',
        "type": "json",
        "headers": {"Content-Type": "application/json"},
        "method": "POST",
    },
    "content_cards": {"channel": "content_cards", "name": "Card", "extras": {"placement": "home"}},
    "banner": {"channel": "banner", "placements": ["home", "checkout"], "html": "<b>Neu</b>"},
}

_BEHAVIORS: tuple[Message, ...] = (
    {"type": "Makes Specific Purchase", "window": 86400, "product": "Feline Body Armor"},
    {"type": "Performs Custom Event", "window": 259200, "custom_event_name": "Used Feline Body Armor"},
    {"type": "Opens Email", "window": 86400},
    {"type": "Starts Session", "window": 604800, "app_ids": None},
    {"type": "Upgrades App", "window": 86400, "app_ids": ["12345", "67890"]},
    {"type": "Makes Any Purchase", "window": 2592000},
    {"type": "Clicks Email", "window": 86400},
)


def message(element: Element, translatable: bool) -> Message:
    """The details of one message variation; `has_translatable_content` only when asked for, null while unknown."""
    body = _body(element)
    if translatable and "channel" in body:
        body["has_translatable_content"] = True if element.channel == "email" else None
    return body


def _body(element: Element) -> Message:
    channel = element.channel
    if channel.endswith("in_app_message"):
        return _in_app(element)
    if element.control:
        return {"channel": channel, "name": element.name, "type": "control"}
    if channel.endswith("_push"):
        name = None if channel == "ios_push" else element.name
        large = "https://cdn.example.com/large.png" if channel == "web_push" else None
        return {"channel": channel, "name": name} | _PUSH | {"large_image_url": large}
    if channel == "whats_app":
        sender = {"channel": channel, "subscription_group_id": _GROUP, "from": ["+15555550111"]}
        return sender | _WHATS_APP[element.name]
    if channel == "email":
        return {"name": element.name} | _EMAIL
    return dict(_FIXED[channel])


def _in_app(element: Element) -> Message:
    if element.name == "Survey":
        return dict(_SURVEY)
    if element.control:
        return {"channel": "in_app_message", "name": element.name, "type": "control"}
    body: Message = {"channel": "in_app_message", "name": element.name}
    if element.name == "Variant 1":
        body |= {"message": "夏のセール開催中！", "extras": {"k": "v"}}
    return body


def draft_message() -> Message:
    """The e-mail of a draft: everything empty."""
    empty = {"subject": "", "body": "", "amp_body": None, "preheader": None, "reply_to": None}
    return {"name": "Variant 1"} | _EMAIL | empty | {"extras": [], "email_headers": []}


def behaviors(start: int, count: int) -> list[Message]:
    """So many conversion behaviours, beginning at a different type for each `start`."""
    return [dict(_BEHAVIORS[(start + number) % len(_BEHAVIORS)]) for number in range(count)]
