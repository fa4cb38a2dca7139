"""The kinds of profiles there are, as templates: full ones, and those that real exports surprise with.

In a string, `~name~` stands for a value of the profile, `"~#name~"` for a number. The names are those of
`profiles.Renderer`: hex, n, n8, bucket, count, money, coordinate, d1 to d3 (days of the last 90), second.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any

from sources.braze_sandbox.entities import Campaign, Canvas
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES, CANVAS_SHAPES

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

Profile = dict[str, Any]

_CARRIERS = ("T-Mobile", None, "NTT ドコモ")
_MODELS = (("iPhone 15", "iOS 18.5"), ("Pixel 8", "Android (U)"), ("Roku Ultra", "Roku 14"))
_APPS = (("Demo iOS", "iOS", "10.0.1"), ("Demo Android", "Android", "9.7.0"), ("Demo Web", "Web", None))


def templates(workspace: "Workspace", version: int) -> dict[str, Profile]:
    """A template per kind. In odd versions the last device, token and app and one attribute are gone."""
    live = [campaign for campaign in workspace.campaigns.values() if campaign.activity.spans]
    entered = [canvas for canvas in workspace.canvases.values() if canvas.activity.spans]
    kinds = {
        "full": _full(live[:3], entered[:2]),
        "unicode": _unicode(live[:2], entered[:2]),
        "minimal": _minimal(),
        "nulls": _nulls(),
        "legacy": _legacy(),
        "recorded": _recorded(),
    }
    return {kind: _later(profile) for kind, profile in kinds.items()} if version % 2 else kinds


def _later(profile: Profile) -> Profile:
    shorter = {key: profile[key][:-1] for key in ("devices", "push_tokens", "apps") if profile.get(key)}
    attributes = dict(islice((profile.get("custom_attributes") or {}).items(), 1, None))
    return profile | shorter | ({"custom_attributes": attributes} if attributes else {})


def _full(campaigns: list[Campaign], canvases: list[Canvas]) -> Profile:
    return {
        "created_at": "2024-07-10 15:00:00.000 UTC",
        "created_from": "SDK",
        "external_id": "user-~n~",
        "user_aliases": [
            {"alias_name": "user_~n~", "alias_label": "amplitude_id"},
            {"alias_name": "crm-~n~", "alias_label": "crm id"},
        ],
        "braze_id": "~hex~",
        "random_bucket": "~#bucket~",
        "first_name": "Alex",
        "last_name": "Smith-~n~",
        "email": "user~n~@example.com",
        "dob": "1980-12-21",
        "home_city": "Chicago",
        "country": "US",
        "phone": "+1555~n8~",
        "language": "en",
        "time_zone": "Eastern Time (US & Canada)",
        "last_coordinates": ["~#coordinate~", -87.83520818508256],
        "gender": "F",
        "total_revenue": "~#money~",
        "attributed_campaign": "summer_~bucket~",
        "attributed_source": "Adjust",
        "attributed_adgroup": "ag-1",
        "attributed_ad": "ad-1",
        "push_subscribe": "opted_in",
        "push_opted_in_at": "2024-07-26T22:45:~second~.953Z",
        "email_subscribe": "subscribed",
        "custom_attributes": _attributes(),
        "custom_events": [_counted(name) for name in ("Abandoned Cart", "Überweisung getätigt", "購入完了")]
        + [_counted("Viewed page")],
        "purchases": [_counted(name) for name in ("Feline Body Armor", "Größe-42 Schuhe")],
        "devices": [_device(number) for number in range(2)],
        "push_tokens": [_token(number) for number in range(2)],
        "apps": [_app(number) for number in range(2)],
        "campaigns_received": [_received(campaign, n) for n, campaign in enumerate(campaigns)],
        "canvases_received": [_entered(canvas) for canvas in canvases],
        "cards_clicked": [{"name": "Loyalty Promo"}, {"name": "Neu: Sommer ☀️"}],
    }


def _attributes() -> dict[str, Any]:
    return {
        "loyaltyId": "37c98b9d-9a7f-4b2f-a125-d873c5152856",
        "loyaltyPoints": "~count~",
        "loyaltyPointsNumber": "~#count~",
        "loyalty_tier": "gold",
        "is_vip": True,
        "score": 1.5,
        "last_visit": "~d1~T01:02:03.000Z",
        "phone": "+1555~n8~",
        "favourites": ["sushi", "Müsli", "bucket ~bucket~"],
        "address": {
            "city": "Chicago",
            "geo": {"lat": 41.8, "lon": "~#coordinate~"},
            "since": {"$time": "~d2~"},
        },
        "pets": [{"id": "~#n~", "type": "cat", "name": "Tama"}, {"id": 2, "type": "dog"}],
        "newsletter topics": ["politics", "culture", "food", "travel", "sports"],
    }


def _counted(name: str) -> Profile:
    return {
        "name": name,
        "first": "2024-08-28T17:02:43.032Z",
        "last": "~d2~T17:02:~second~.032Z",
        "count": "~#count~",
    }


def _device(number: int) -> Profile:
    model, os = _MODELS[number]
    device: Profile = {
        "model": model,
        "os": os,
        "carrier": _CARRIERS[number],
        "device_id": f"device-~n~-{number}",
        "ad_tracking_enabled": number != 1,
    }
    keys = (("idfv", "idfa"), ("google_ad_id",), ("roku_ad_id",))[number]
    return device | {key: f"{key}-~hex~" for key in keys}


def _token(number: int) -> Profile:
    name, platform, _ = _APPS[number]
    return {
        "app": name,
        "platform": platform,
        "token": f"token-{number}-~hex~~hex~",
        "device_id": f"device-~n~-{number}",
        "notifications_enabled": number == 0,
        "provisionally_opted_in": None if number else True,
    }


def _app(number: int) -> Profile:
    name, platform, version = _APPS[number]
    return {
        "name": name,
        "platform": platform,
        "version": version,
        "sessions": ("~#count~", "~count~", 3)[number],
        "first_used": "2024-07-11T19:56:19.142Z",
        "last_used": "~d1~T00:25:~second~.201Z",
    }


def _received(campaign: Campaign, number: int) -> Profile:
    received: Profile = {
        "name": campaign.name,
        "api_campaign_id": campaign.id,
        "last_received": "~d3~T03:07:~second~.105Z",
        "engaged": {"opened_email": True, "opened_push": False, "clicked_email": number == 0},
        "converted": number == 0,
        "multiple_converted": {"Primary Conversion Event - A": number == 0, "Conversion Event - B": False},
        "in_control": False,
        "variation_name": CAMPAIGN_SHAPES[campaign.shape].elements[0].name,
        "variation_api_id": campaign.variation_ids[0],
    }
    if number == 2:  # seen in recorded exports: neither engaged nor converted
        del received["engaged"], received["converted"], received["multiple_converted"]
    return received


def _entered(canvas: Canvas) -> Profile:
    steps = [step for step in CANVAS_SHAPES[canvas.shape].steps if step.messages][:2]
    return {
        "name": canvas.name,
        "api_canvas_id": canvas.id,
        "last_received_message": "~d1~T20:46:24.136Z",
        "last_entered": "~d1~T20:45:24.000+00:00",
        "variation_name": "Variant 1",
        "in_control": False,
        "last_entered_control_at": None,
        "last_exited": "~d1~T20:46:24.136Z",
        "steps_received": [
            {
                "name": step.name,
                "api_canvas_step_id": canvas.step_ids[number],
                "last_received": "~d1~T20:46:~second~.136Z",
            }
            for number, step in enumerate(steps)
        ],
    }


def _unicode(campaigns: list[Campaign], canvases: list[Canvas]) -> Profile:
    control = {"in_control": True, "last_entered_control_at": "~d2~T00:00:00.000+00:00", "steps_received": []}
    return {
        "created_at": "2024-02-29T23:59:59.999Z",
        "created_from": "REST API",
        "external_id": "käufer-~n~",
        "user_aliases": [
            {"alias_name": "ga-~n~", "alias_label": "ga_id"},
            {"alias_name": '"quoted", comma ~n~', "alias_label": "crm id"},
        ],
        "braze_id": "~hex~",
        "appboy_id": "~hex~",
        "random_bucket": "~#bucket~",
        "first_name": "Zoë",
        "last_name": "山田",
        "email": "zoe+~n~@exämple.com",
        "dob": "2000-02-29",
        "home_city": "東京",
        "country": "JP",
        "phone": "090-1234-~n~",
        "language": "ja",
        "time_zone": "Asia/Tokyo",
        "last_coordinates": [139.6917, 35.6895],
        "gender": "P",
        "total_revenue": 1234.56,
        "push_subscribe": "subscribed",
        "push_unsubscribed_at": None,
        "email_subscribe": "unsubscribed",
        "email_unsubscribed_at": "~d1~T00:00:00.000Z",
        "email_opted_in_at": "2024-03-01T00:00:00.000Z",
        "uninstalled_at": "~d3~T03:04:05.000Z",
        "custom_attributes": {
            "loyaltyPoints": "~#count~",
            "nick name": "ゾーイ",
            "empty": "",
            "favourites": ["sushi", "Müsli", ""],
            "mixed_list": [1, "2", True],
            "emoji_🎉": "yes",
            "weird.key with.dots": "100% dots",
            "minus": "-1943",
        },
        "custom_events": [_counted("購入完了")],
        "purchases": [_counted("商品A")],
        "devices": [_device(0)],
        "push_tokens": [_token(0)],
        "apps": [_app(1), _app(2)],
        "campaigns_received": [_received(campaign, 1) for campaign in campaigns],
        "canvases_received": [_entered(canvas) | control for canvas in canvases],
        "cards_clicked": [],
    }


def _minimal() -> Profile:
    return {
        "created_at": "~d1~T12:34:56.789Z",
        "created_from": "SDK",
        "braze_id": "~hex~",
        "random_bucket": "~#bucket~",
        "total_revenue": 0.0,
        "push_subscribe": "subscribed",
        "email_subscribe": "subscribed",
        "country": "DE",
        "language": "de",
        "apps": [_app(2)],
    }


def _nulls() -> Profile:
    return {
        "created_at": "2026-01-01T00:00:00.000Z",
        "created_from": "CSV import",
        "external_id": "~n8~",
        "user_aliases": [],
        "braze_id": "~hex~",
        "random_bucket": "~#bucket~",
        "first_name": "O'Brien\nJr.",
        "last_name": None,
        "email": "BIG.CASE~n~@Example.COM",
        "dob": None,
        "home_city": None,
        "country": "US",
        "phone": "5555~n8~",
        "language": "en",
        "time_zone": None,
        "gender": None,
        "total_revenue": 19.99,
        "push_subscribe": "unsubscribed",
        "email_subscribe": "opted_in",
        "custom_attributes": {
            "loyaltyPoints": "",
            "minus": "-1943",
            "loyaltyPointsNumber": "~count~",
            "last_visit": "yesterday",
            "address": None,
        },
        "custom_events": [],
        "purchases": [],
        "devices": [_device(1)],
        "push_tokens": [],
        "apps": [],
        "campaigns_received": [],
        "canvases_received": [],
        "cards_clicked": [],
    }


def _legacy() -> Profile:
    windows = {"model": "Lumia 950", "os": "Windows", "carrier": None, "windows_ad_id": "w-~n~"}
    return {
        "external_id": "win-~n~",
        "braze_id": "~hex~",
        "created_at": "2014-06-30T00:00:00.000Z",
        "random_bucket": "~#bucket~",
        "total_revenue": 0,
        "devices": [windows | {"ad_tracking_enabled": False}],
        "campaigns_received": [
            {
                "name": "Old push",
                "last_received": "~d2~T00:00:00.000Z",
                "engaged": {"clicked_in_app_message": True},
                "converted": False,
                "api_campaign_id": "a287fa44-666e-5a31-aa59-66feddca9031",
            }
        ],
    }


def _recorded() -> Profile:
    return {
        "created_at": "2020-06-17T20:01:33.385Z",
        "external_id": "~n~",
        "user_aliases": [],
        "appboy_id": "~hex~",
        "braze_id": "~hex~",
        "first_name": "John",
        "last_name": "Doe",
        "random_bucket": "~#bucket~",
        "email": "john.~n~@test.com",
        "custom_attributes": {
            "string_attribute": "sherman",
            "boolean_attribute_1": True,
            "integer_attribute": 25,
            "array_attribute": ["banana", "apple"],
        },
        "total_revenue": 0.0,
        "push_subscribe": "subscribed",
        "email_subscribe": "subscribed",
        "campaigns_received": [
            {
                "name": "campaign-test",
                "api_campaign_id": "d8b73da7-0b7c-fc72-1d80-e59c7f20f0d3",
                "last_received": "~d1~T20:04:49.193Z",
                "in_control": False,
                "variation_name": "Variant 1",
                "variation_api_id": "f2123be2-74ac-4cff-b010-d0b6217595a1",
            }
        ],
    }
