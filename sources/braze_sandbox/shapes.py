"""The kinds of campaigns and Canvases there are: channels, counters, variations, steps. Data, no logic.

Counters per channel follow the documented response objects of campaigns/data_series, sends/data_series and
canvas/data_series; the oddities are those seen in recorded answers.
"""

from dataclasses import dataclass
from enum import IntEnum


class When(IntEnum):
    """How a counter is booked: when it happens at once, later on, or later but on the day of the send."""

    AT_ONCE = 0
    LATE = 1
    BACKDATED = 2


@dataclass(frozen=True)
class Counter:
    """A counter: its key in the API, its share of the volume in thousandths, and how it is booked."""

    name: str
    share: int
    when: When = When.LATE


def _counters(at_once: str, late: str = "") -> tuple[Counter, ...]:
    booked = ((at_once, When.AT_ONCE), (late, When.LATE))
    pairs = [(item.split(":"), when) for text, when in booked for item in text.split()]
    return tuple(Counter(name, int(share), when) for (name, share), when in pairs)


_PUSH = _counters("sent:1000 bounces:9", "direct_opens:51 total_opens:83 body_clicks:41")
_EMAIL = _counters(
    "sent:1000 delivered:992 bounces:8",
    "opens:503 unique_opens:331 clicks:113 unique_clicks:97 unsubscribes:3 reported_spam:1",
)
COUNTERS: dict[str, tuple[Counter, ...]] = {
    "email": _EMAIL,
    "email_machine": _EMAIL + _counters("", "machine_open:149 machine_amp_open:2"),
    "push": _PUSH,
    "push_send": _PUSH + _counters("delivered:979 undelivered:12 delivery_failed:11"),
    "sms": _counters(
        "sent:1000 sent_to_carrier:998 delivered:979 rejected:13 delivery_failed:11",
        "clicks:67 opt_out:4 help:2",
    ),
    "whats_app": _counters("sent:1000 delivered:973 failed:27", "read:499"),
    "webhook": _counters("sent:1000 errors:4"),
    "content_cards": _counters(
        "sent:1000",
        "total_clicks:127 total_dismissals:37 total_impressions:1003 unique_clicks:101 unique_dismissals:31 "
        "unique_impressions:859",
    ),
    "in_app": _counters("", "impressions:1000 clicks:201 first_button_clicks:127 second_button_clicks:53"),
    "banner": _counters("", "total_impressions:1000 unique_impressions:877 total_clicks:59 unique_clicks:47"),
}
"""Counters by family. `push_send` is what sends/data_series documents, `banner` a channel nobody documented."""


@dataclass(frozen=True)
class Element:
    """One stats object in `messages.<channel>`.

    `identified` elements carry `variation_api_id`, `named` ones `variation_name`, `scored` ones revenue, recipients
    and conversions of their own. A control has `enrolled` in place of the channel's counters. `clicks` are the keys
    with free text in them that push messages bring along.
    """

    channel: str
    family: str
    name: str = "Variant 1"
    identified: bool = True
    named: bool = False
    scored: bool = False
    control: bool = False
    clicks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CampaignShape:
    """The stats objects of a campaign's row, channels that stay empty, and its conversion events."""

    elements: tuple[Element, ...]
    empty_channels: tuple[str, ...] = ()
    behaviors: int = 1
    is_api: bool = False
    draft: bool = False
    schedule: str = "action_based"


_PUSH_CLICKS = (
    "carousel_slide_1_Summer Sale_click",
    "carousel_slide_2_Été & Co._click",
    "notif_button_1_Open app_click",
    "notif_button_2_100% später_click",
)
_IN_APP = "trigger_in_app_message"

CAMPAIGN_SHAPES: dict[str, CampaignShape] = {
    "multichannel": CampaignShape(
        (
            Element("ios_push", "push"),
            Element("android_push", "push", "Android"),
            Element("web_push", "push", "Web"),
            Element("kindle_push", "push", "Kindle"),
            Element("webhook", "webhook"),
            Element("email", "email"),
            Element("sms", "sms"),
            Element("whats_app", "whats_app", "Template"),
            Element("whats_app", "whats_app", "Response"),
            Element("content_cards", "content_cards", "Card"),
        ),
        behaviors=4,
    ),
    "three_channels": CampaignShape(
        (
            Element("email", "email_machine"),
            Element("ios_push", "push"),
            Element("android_push", "push", "Android"),
        ),
        behaviors=2,
    ),
    "in_app_test": CampaignShape(
        (
            Element(_IN_APP, "in_app", "Variant 1", identified=False, named=True, scored=True),
            Element(_IN_APP, "in_app", "Variant 2 – 割引", identified=False, named=True, scored=True),
            Element(_IN_APP, "in_app", "Survey", identified=False, named=True, scored=True),
            Element(_IN_APP, "in_app", "Control Group", identified=False, named=True, scored=True, control=True),
        ),
        behaviors=4,
        schedule="time_based",
    ),
    "push_clicks": CampaignShape(
        (
            Element("ios_push", "push", clicks=_PUSH_CLICKS),
            Element("android_push", "push", "Android", clicks=_PUSH_CLICKS[2:]),
        ),
        empty_channels=("sms",),
    ),
    "push_test": CampaignShape(
        (
            Element("ios_push", "push", "iOS_Push", named=True, scored=True),
            Element("ios_push", "push", "iOS_Push B", named=True, scored=True, clicks=_PUSH_CLICKS[:1]),
            Element("ios_push", "push", "Control Group", named=True, scored=True, control=True),
        ),
        behaviors=3,
        schedule="time_based",
    ),
    "api": CampaignShape((Element("ios_push", "push"), Element("email", "email_machine")), is_api=True),
    "email": CampaignShape((Element("email", "email_machine"),), behaviors=3, schedule="time_based"),
    "draft": CampaignShape((Element("email", "email"),), behaviors=0, draft=True, schedule="time_based"),
    "sms": CampaignShape((Element("sms", "sms"),), empty_channels=("email",)),
    "content_cards": CampaignShape((Element("content_cards", "content_cards", "Card"),), behaviors=2),
    "webhook": CampaignShape((Element("webhook", "webhook"),), behaviors=0),
    "whats_app": CampaignShape(
        (
            Element("whats_app", "whats_app", "Template"),
            Element("whats_app", "whats_app", "Response"),
        )
    ),
    "banner": CampaignShape((Element("banner", "banner", "Banner"), Element("web_push", "push", "Web"))),
}
"""Campaigns by kind. A workspace of thirteen or more has them all."""

SEND_SHAPE = CampaignShape((Element("ios_push", "push_send", "iOS_Push", identified=False, named=True, scored=True),))
"""The row of sends/data_series."""


@dataclass(frozen=True)
class Step:
    """A Canvas step: its edges as (path name, index of the next step), its messages, its share of the entries."""

    name: str
    type: str
    paths: tuple[tuple[str | None, int | None], ...]
    messages: tuple[Element, ...] = ()
    share: int = 0
    deleted: bool = False


@dataclass(frozen=True)
class CanvasShape:
    """Variants as (name, share of the entries in thousandths, indexes of the first steps), and steps."""

    variants: tuple[tuple[str, int, tuple[int, ...]], ...]
    steps: tuple[Step, ...]
    draft: bool = False


_EMAIL_STEP = (Element("email", "email_machine"),)
_PUSH_STEP = (Element("ios_push", "push"), Element("android_push", "push", "Android"))

CANVAS_SHAPES: dict[str, CanvasShape] = {
    "journey": CanvasShape(
        (("Variant 1", 901, (0,)), ("Control Group", 99, ())),
        (
            Step("Welcome e-mail", "message", ((None, 1),), _EMAIL_STEP, 970),
            Step("Opened?", "decision_split", (("Yes", 2), ("No", 3))),
            Step("Push", "message", ((None, 4),), _PUSH_STEP, 370),
            Step("Audience paths", "audience_paths", (("VIPs", 4), ("Everyone else", 5))),
            Step("SMS – Größe wählen", "message", (), (Element("sms", "sms"),), 130),
            Step(
                "Experiment",
                "experiment_paths",
                (("Path 1", 4), ("Control", None)),
                (Element("in_app_message", "in_app", "IAM"),),
                90,
            ),
            Step("Retired reminder", "message", (), _EMAIL_STEP, 210, deleted=True),
        ),
    ),
    "linear": CanvasShape(
        (("Variant 1", 1000, (0,)),),
        (
            Step("E-mail 1", "message", ((None, 1),), _EMAIL_STEP, 980),
            Step("Push 2", "message", (), _PUSH_STEP, 610),
        ),
    ),
    "test": CanvasShape(
        (("Variant 1", 451, (0, 1)), ("Variant 2 – B", 449, (1,)), ("Control Group", 100, ())),
        (
            Step("Webhook", "webhook", ((None, 2),), (Element("webhook", "webhook"),), 900),
            Step(
                "WhatsApp",
                "message",
                ((None, 2),),
                (
                    Element("whats_app", "whats_app", "Template"),
                    Element("whats_app", "whats_app", "Response"),
                ),
                440,
            ),
            Step("Action paths", "action_paths", (("Purchased", 3), ("Everyone else", None))),
            Step("Cards", "message", (), (Element("content_cards", "content_cards", "Card"),), 250),
            Step("Old banner", "message", (), (Element("banner", "banner", "Banner"),), 77, deleted=True),
        ),
    ),
    "draft_journey": CanvasShape(
        (("Variant 1", 1000, (0,)),), (Step("E-mail", "message", (), _EMAIL_STEP, 980),), draft=True
    ),
}
"""Canvases by kind. A workspace of four or more has them all."""
