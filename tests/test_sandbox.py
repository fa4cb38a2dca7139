"""The stand-in workspace over real HTTP: documented shapes, caps, access, limits and paging."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from sources.braze_sandbox import RateLimit, Sandbox, WorkspaceOptions
from sources.braze_sandbox.shapes import CAMPAIGN_SHAPES, CANVAS_SHAPES
from tests.sandbox_requests import BREAKDOWNS, KEY, TODAY, ask, get, of_shape

SCORES = {f"conversions{n}{suffix}" for n in ("", 1, 2, 3) for suffix in ("", "_by_send_time")}
ROW = {"time", "messages", "revenue", "unique_recipients"} | SCORES


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """A sandbox that tests only read."""
    with Sandbox(WorkspaceOptions(today=TODAY, campaigns=26)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    with Sandbox(WorkspaceOptions(today=TODAY, campaigns=3, canvases=1, segments=3, users=50)) as sandbox:
        yield sandbox


# shapes


@pytest.mark.parametrize("shape", CAMPAIGN_SHAPES)
def test_campaign_rows_have_the_documented_keys(shared: Sandbox, shape: str) -> None:
    campaign = of_shape(shared, shape)
    rows = get(shared, "/campaigns/data_series", campaign_id=campaign.id, length=3)["data"]
    assert [row["time"] for row in rows] == ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert all(row.keys() == ROW for row in rows)
    assert all(isinstance(row["revenue"], float) for row in rows)
    for row in rows:
        elements = [element for channel in row["messages"].values() for element in channel]
        identified = [element["variation_api_id"] for element in elements if "variation_api_id" in element]
        assert len(elements) == len(CAMPAIGN_SHAPES[shape].elements)
        assert set(identified) <= set(campaign.variation_ids)
        assert len(set(identified)) == len(identified)


def test_channels_have_the_documented_counters(shared: Sandbox) -> None:
    campaign = of_shape(shared, "multichannel")
    messages = get(shared, "/campaigns/data_series", campaign_id=campaign.id, length=1)["data"][0]["messages"]
    push = {"variation_api_id", "sent", "direct_opens", "total_opens", "bounces", "body_clicks"}
    expected = {
        **dict.fromkeys(("ios_push", "android_push", "web_push", "kindle_push"), push),
        "webhook": {"variation_api_id", "sent", "errors"},
        "email": {
            "variation_api_id", "sent", "opens", "unique_opens", "clicks", "unique_clicks", "unsubscribes",
            "bounces", "delivered", "reported_spam",
        },
        "sms": {
            "variation_api_id", "sent", "sent_to_carrier", "delivered", "rejected", "delivery_failed", "clicks",
            "opt_out", "help",
        },
        "whats_app": {"variation_api_id", "sent", "delivered", "failed", "read"},
        "content_cards": {
            "variation_api_id", "sent", "total_clicks", "total_dismissals", "total_impressions", "unique_clicks",
            "unique_dismissals", "unique_impressions",
        },
    }  # fmt: skip
    assert {channel: set(elements[0]) for channel, elements in messages.items()} == expected
    assert len(messages["whats_app"]) == 2


def test_tests_with_variants_have_a_control_group_without_counters(shared: Sandbox) -> None:
    campaign = of_shape(shared, "in_app_test")
    row = get(shared, "/campaigns/data_series", campaign_id=campaign.id, length=1)["data"][0]
    elements = row["messages"]["trigger_in_app_message"]
    assert [element["variation_name"] for element in elements][-1] == "Control Group"
    assert "enrolled" in elements[-1]
    assert "impressions" not in elements[-1]
    assert not any("variation_api_id" in element for element in elements)
    assert row["conversions"] == sum(element["conversions"] for element in elements)


def test_free_text_keys_empty_channels_and_machine_opens_occur(shared: Sandbox) -> None:
    def first_row(shape: str) -> Any:
        return get(shared, "/campaigns/data_series", campaign_id=of_shape(shared, shape).id, length=1)["data"][0]

    push = first_row("push_clicks")["messages"]
    assert push["sms"] == []
    assert {"carousel_slide_2_Été & Co._click", "notif_button_2_100% später_click"} <= push["ios_push"][0].keys()
    assert {"machine_open", "machine_amp_open"} <= first_row("email")["messages"]["email"][0].keys()


def test_campaign_details(shared: Sandbox) -> None:
    for campaign in shared.workspace.campaigns.values():
        details = get(shared, "/campaigns/details", campaign_id=campaign.id)
        assert details.keys() == {
            "message", "created_at", "updated_at", "archived", "draft", "enabled", "has_post_launch_draft", "name",
            "description", "schedule_type", "channels", "first_sent", "last_sent", "tags", "teams", "messages",
            "conversion_behaviors",
        }  # fmt: skip
        assert list(details["messages"]) == list(campaign.variation_ids)
        assert details["draft"] == (details["first_sent"] is None) == (details["last_sent"] is None)
    survey = get(shared, "/campaigns/details", campaign_id=of_shape(shared, "in_app_test").id)["messages"]
    assert [message["type"] for message in survey.values() if "channel" not in message] == ["survey"]


def test_the_content_holds_the_documented_oddities(shared: Sandbox) -> None:
    everything = get(shared, "/campaigns/list", include_archived="true")["campaigns"]
    assert len(everything) == 26
    assert len(get(shared, "/campaigns/list")["campaigns"]) < 26
    assert any(None in campaign["tags"] for campaign in everything)
    assert any(campaign["is_api_campaign"] for campaign in everything)
    details = [get(shared, "/campaigns/details", campaign_id=campaign["id"]) for campaign in everything]
    last = [item["last_sent"][:10] for item in details if item["last_sent"]]
    assert min(last) < "2026-10-15" < max(last)
    assert any(item["first_sent"] and item["first_sent"] > "2026-11-13" for item in details)


def test_canvas_shapes(shared: Sandbox) -> None:
    canvas = of_shape(shared, "journey")
    details = get(shared, "/canvas/details", canvas_id=canvas.id)
    assert {"first_entry", "last_entry", "variants", "steps", "teams", "description"} <= details.keys()
    types = {step["type"]: step for step in details["steps"]}
    assert [path["name"] for path in types["decision_split"]["next_paths"]] == ["Yes", "No"]
    assert types["decision_split"]["messages"] == {}
    assert types["experiment_paths"]["next_paths"][1] == {"name": "Control", "next_step_id": None}
    bare = get(shared, "/canvas/data_series", canvas_id=canvas.id, length=2)["data"]
    assert bare["name"] == canvas.name
    assert all(row.keys() == {"time", "total_stats"} for row in bare["stats"])
    row = get(shared, "/canvas/data_series", canvas_id=canvas.id, length=1, **BREAKDOWNS)["data"]["stats"][0]
    assert row["variant_stats"].keys() == set(canvas.variant_ids)
    assert row["step_stats"].keys() == set(canvas.step_ids)
    shown = {step["id"] for step in details["steps"]}
    assert len(shown) < len(canvas.step_ids)
    flags = BREAKDOWNS | {"include_deleted_step_data": "false"}
    row = get(shared, "/canvas/data_series", canvas_id=canvas.id, length=1, **flags)["data"]["stats"][0]
    assert row["step_stats"].keys() == shown


@pytest.mark.parametrize("shape", CANVAS_SHAPES)
def test_canvas_totals_are_the_sums_of_variants_and_the_summary_of_days(shared: Sandbox, shape: str) -> None:
    canvas = of_shape(shared, shape)
    rows = get(shared, "/canvas/data_series", canvas_id=canvas.id, length=14, **BREAKDOWNS)["data"]["stats"]
    summary = get(shared, "/canvas/data_summary", canvas_id=canvas.id, length=14, **BREAKDOWNS)["data"]
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["total_stats"])
        for key, value in row["total_stats"].items():
            assert value == pytest.approx(sum(variant[key] for variant in row["variant_stats"].values()))
    assert summary["total_stats"] == pytest.approx(dict(total))
    assert len([key for key in total if key.startswith("conversions")]) == 2 * canvas.conversions
    for step_id, step in summary["step_stats"].items():
        for channel, elements in step["messages"].items():
            sent = sum(row["step_stats"][step_id]["messages"][channel][0].get("sent", 0) for row in rows)
            assert elements[0].get("sent", 0) == sent
            assert "direct_opens" not in elements[0]


def test_segments_cards_events_and_attributes(shared: Sandbox) -> None:
    segments = get(shared, "/segments/list")["segments"]
    assert segments[0].keys() == {"id", "name", "analytics_tracking_enabled", "tags"}
    for segment in segments:
        answer = ask(shared, "/segments/data_series", segment_id=segment["id"], length=2)
        assert answer.status_code == (200 if segment["analytics_tracking_enabled"] else 400)
    details = get(shared, "/segments/details", segment_id=segments[0]["id"])
    assert {"created_at", "updated_at", "description", "text_description", "tags", "teams"} <= details.keys()
    cards = get(shared, "/feed/list", include_archived="true")["cards"]
    assert {card["type"] for card in cards} == {"CaptionedImage", "NewsItem", "Banner", "DevPick"}
    assert get(shared, "/feed/details", card_id=cards[0]["id"]).keys() == {
        "message", "created_at", "updated_at", "name", "publish_at", "end_at", "tags", "title", "image_url",
        "extras", "description", "archived", "draft",
    }  # fmt: skip
    row = get(shared, "/feed/data_series", card_id=cards[0]["id"], length=1)["data"][0]
    assert row.keys() == {"time", "clicks", "impressions", "unique_clicks", "unique_impressions"}
    events = get(shared, "/events")["events"]
    assert events[0].keys() == {"name", "description", "included_in_analytics_report", "status", "tag_names"}
    assert [event["name"] for event in events] == get(shared, "/events/list")["events"]
    for event in events:
        assert len(get(shared, "/events/data_series", event=event["name"], length=2)["data"]) == 2
    attribute = get(shared, "/custom_attributes")["attributes"][0]
    assert attribute.keys() == {"array_length", "data_type", "description", "name", "status", "tag_names"}


def test_workspace_series(shared: Sandbox) -> None:
    app = shared.workspace.apps[0]
    for field in ("mau", "dau", "new_users", "uninstalls"):
        whole, part = (get(shared, f"/kpi/{field}/data_series", length=1, **scope) for scope in ({}, {"app_id": app}))
        assert whole["data"][0].keys() == part["data"][0].keys() == {"time", field}
        assert whole != part
    assert get(shared, "/sessions/data_series", length=1)["data"][0].keys() == {"time", "sessions"}
    products = get(shared, "/purchases/product_list")["products"]
    quantities = get(shared, "/purchases/quantity_series", length=100, product=products[0])["data"]
    revenues = get(shared, "/purchases/revenue_series", length=100, product=products[0])["data"]
    assert quantities[0].keys() == {"time", "purchase_quantity"}
    assert {type(row["revenue"]) for row in revenues} == {int, float}


def test_sends_are_kept_for_two_weeks(shared: Sandbox) -> None:
    sends = sorted(shared.workspace.sends.values(), key=lambda send: send.day)
    oldest, newest = sends[0], sends[-1]
    assert newest.day > TODAY.toordinal() - 14 > oldest.day
    for send, sent in ((newest, True), (oldest, False)):
        params = {"campaign_id": send.campaign_id, "send_id": send.send_id, "length": 100}
        rows = get(shared, "/sends/data_series", **params)["data"]
        assert rows[0].keys() == ROW
        assert {"delivered", "undelivered", "delivery_failed"} <= rows[0]["messages"]["ios_push"][0].keys()
        assert any(row["messages"]["ios_push"][0]["sent"] for row in rows) is sent


# refusals


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/campaigns/data_series", {"campaign_id": "nope", "length": 1}),
        ("/campaigns/data_series", {"length": 1}),
        ("/campaigns/data_series", {"campaign_id": "ID", "length": 0}),
        ("/campaigns/data_series", {"campaign_id": "ID", "length": 101}),
        ("/campaigns/data_series", {"campaign_id": "ID"}),
        ("/campaigns/data_series", {"campaign_id": "ID", "length": 1, "ending_at": "2026-11-01T00:00:00-5:00"}),
        ("/canvas/data_series", {"canvas_id": "CANVAS", "length": 15}),
        ("/canvas/data_series", {"canvas_id": "CANVAS", "starting_at": "2026-11-01", "ending_at": "2026-11-18"}),
        ("/sessions/data_series", {"length": 101, "unit": "hour"}),
        ("/sessions/data_series", {"length": 1, "unit": "week"}),
        ("/sessions/data_series", {"length": 1, "app_id": "nope"}),
        ("/events/data_series", {"length": 1, "event": "nope"}),
        ("/events", {"cursor": "bad-cursor"}),
        ("/campaigns/list", {"page": "x"}),
    ],
)
def test_wrong_parameters_are_400_with_a_message(shared: Sandbox, path: str, params: dict[str, Any]) -> None:
    ids = {"ID": next(iter(shared.workspace.campaigns)), "CANVAS": next(iter(shared.workspace.canvases))}
    response = ask(shared, path, **{key: ids.get(value, value) for key, value in params.items()})
    assert response.status_code == 400
    assert response.json().keys() == {"message"}


def test_starting_at_may_stand_for_length(shared: Sandbox) -> None:
    canvas = next(iter(shared.workspace.canvases))
    window = {"starting_at": "2026-11-05", "ending_at": "2026-11-10"}
    rows = get(shared, "/canvas/data_series", canvas_id=canvas, **window)["data"]["stats"]
    assert [row["time"][-2:] for row in rows] == ["05", "06", "07", "08", "09"]


def test_access(sandbox: Sandbox) -> None:
    assert requests.get(sandbox.url + "/campaigns/list", timeout=10).status_code == 401
    sandbox.set(api_key="right", denied=frozenset({"events.get"}))
    refused = ask(sandbox, "/campaigns/list")
    assert refused.status_code == 401
    assert refused.json() == {"message": "Invalid API key: any"}
    assert refused.headers["X-RateLimit-Limit"] == refused.headers["X-RateLimit-Reset"] == ""
    sandbox.set(api_key=None)
    assert (ask(sandbox, "/events").status_code, ask(sandbox, "/events").json()) == (403, {"message": "Access Denied"})
    assert ask(sandbox, "/events/list").status_code == 200
    sandbox.set(denied_status=401)
    assert ask(sandbox, "/events").status_code == 401
    assert (ask(sandbox, "/nope").status_code, ask(sandbox, "/nope").json()) == (404, {"message": "Invalid URL"})
    sandbox.set(news_feed=False)
    assert ask(sandbox, "/feed/list").json() == {"message": "Invalid URL"}


def test_rate_limits_are_counted_per_pool(sandbox: Sandbox) -> None:
    sandbox.set(limits={"catalogue": RateLimit(2, 3600)})
    first, second, third = (ask(sandbox, path) for path in ("/events/list", "/events", "/purchases/product_list"))
    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in (first, second, third)] == ["1", "0", "0"]
    assert int(first.headers["X-RateLimit-Reset"]) % 3600 == 0
    campaign = next(iter(sandbox.workspace.campaigns))
    series = ask(sandbox, "/campaigns/data_series", campaign_id=campaign, length=1)
    assert series.headers["X-RateLimit-Limit"] == "50000"
    assert ask(sandbox, "/segments/list").headers["X-RateLimit-Limit"] == "250000"


# paging


def test_lists_page_to_the_end_and_each_item_comes_once() -> None:
    options = WorkspaceOptions(
        today=TODAY, campaigns=230, canvases=110, segments=105, cards=101, events=520, custom_attributes=130
    )
    with Sandbox(options) as sandbox:
        for path, key, count, size in (
            ("/campaigns/list", "campaigns", 230, 100),
            ("/canvas/list", "canvases", 110, 100),
            ("/segments/list", "segments", 105, 100),
            ("/feed/list", "cards", 101, 100),
            ("/events/list", "events", 520, 250),
        ):
            pages = [get(sandbox, path, page=page, include_archived="true")[key] for page in range(4)]
            items = [item if isinstance(item, str) else item["id"] for page in pages for item in page]
            assert len(items) == len(set(items)) == count
            assert len(pages[0]) == size
        for path, key, count in (("/events", "events", 520), ("/custom_attributes", "attributes", 130)):
            url, names = sandbox.url + path, []
            while url:
                response = requests.get(url, headers=KEY, timeout=10)
                names += [item["name"] for item in response.json()[key]]
                url = urljoin(url, response.links.get("next", {}).get("url", "")) if "next" in response.links else ""
            assert len(names) == len(set(names)) == count
            assert names == sorted(names)


def test_lists_can_be_turned_round_and_narrowed_to_recent_edits(shared: Sandbox) -> None:
    there = get(shared, "/campaigns/list", include_archived="true")["campaigns"]
    back = get(shared, "/campaigns/list", include_archived="true", sort_direction="desc")["campaigns"]
    assert there == back[::-1]
    edge = sorted(campaign["last_edited"] for campaign in there)[10]
    params = {"include_archived": "true", "last_edit.time[gt]": edge[:19]}
    recent = get(shared, "/campaigns/list", **params)["campaigns"]
    assert recent == [campaign for campaign in there if campaign["last_edited"] > edge]
