"""What the tables of profiles must hold after some exports, worked out from the workspace's profiles one by one."""

from collections.abc import Iterable
from typing import Any

from tests.warehouses import Warehouse
from tests.workspaces import queried

Profile = dict[str, Any]
Figures = dict[str, tuple[Any, ...]]

EVERY_FIELD = (
    "apps,attributed_campaign,attributed_source,attributed_adgroup,attributed_ad,braze_id,campaigns_received,"
    "canvases_received,cards_clicked,country,created_at,created_from,custom_attributes,custom_events,devices,dob,email,"
    "email_subscribe,external_id,first_name,gender,home_city,language,last_coordinates,last_name,phone,purchases,"
    "push_subscribe,push_tokens,random_bucket,time_zone,total_revenue,uninstalled_at,user_aliases"
)

_SUMS = {
    "users": "count(*), count(email), sum(total_revenue), sum(random_bucket), count(push_subscribe)",
    "user_custom_attributes": "count(*), count(DISTINCT name)",
    "user_aliases": "count(*), count(DISTINCT alias_name)",
    "user_devices": "count(*), sum(position), count(idfa)",
    "user_push_tokens": "count(*), sum(position), count(DISTINCT token)",
    "user_apps": "count(*), sum(sessions)",
    "user_cards_clicked": "count(*), sum(position)",
    "user_custom_events": "count(*), sum(count)",
    "user_purchases": "count(*), sum(count)",
    "user_campaigns_received": "count(*), count(CASE WHEN opened_email THEN 1 END)",
    "user_campaign_conversions": "count(*), count(CASE WHEN converted THEN 1 END)",
    "user_canvases_received": "count(*), count(CASE WHEN in_control THEN 1 END)",
    "user_canvas_steps_received": "count(*), count(last_received)",
}
_REPLACED = {
    "user_aliases": "user_aliases",
    "user_devices": "devices",
    "user_push_tokens": "push_tokens",
    "user_apps": "apps",
    "user_cards_clicked": "cards_clicked",
}


class Expected:
    """Profiles as the warehouse must have them: `load` each export in turn."""

    def __init__(self) -> None:
        self.users: dict[str, Profile] = {}
        self.kept: dict[str, dict[tuple[str, ...], Profile]] = {
            name: {}
            for name in (
                "user_custom_events",
                "user_purchases",
                "user_campaigns_received",
                "user_campaign_conversions",
                "user_canvases_received",
                "user_canvas_steps_received",
            )
        }

    def load(self, profiles: Iterable[Profile]) -> "Expected":
        """An export: profiles are replaced, what Braze lists for 90 days only is kept."""
        for profile in profiles:
            key = profile["braze_id"]
            self.users[key] = profile
            for name in ("custom_events", "purchases"):
                for row in profile.get(name) or []:
                    self.kept[f"user_{name}"][key, row["name"]] = row
            for row in profile.get("campaigns_received") or []:
                campaign = row["api_campaign_id"]
                self.kept["user_campaigns_received"][key, campaign] = row
                for event, converted in (row.get("multiple_converted") or {}).items():
                    self.kept["user_campaign_conversions"][key, campaign, event] = {"converted": converted}
            for row in profile.get("canvases_received") or []:
                canvas = row["api_canvas_id"]
                self.kept["user_canvases_received"][key, canvas] = row
                for step in row["steps_received"]:
                    self.kept["user_canvas_steps_received"][key, canvas, step["api_canvas_step_id"]] = step
        return self

    def figures(self) -> Figures:
        """Counts and sums per table."""
        users = list(self.users.values())
        listed = {
            table: [list(enumerate(profile.get(field) or [])) for profile in users]
            for table, field in _REPLACED.items()
        }
        flat = {table: [entry for entries in lists for entry in entries] for table, lists in listed.items()}
        places = {table: sum(place for place, _ in rows) for table, rows in flat.items()}
        attributes = [name for profile in users for name in profile.get("custom_attributes") or {}]
        kept = {name: list(rows.values()) for name, rows in self.kept.items()}
        return {
            "users": (
                len(users),
                sum(bool(profile.get("email")) for profile in users),
                sum(profile.get("total_revenue") or 0 for profile in users),
                sum(profile.get("random_bucket") or 0 for profile in users),
                sum(bool(profile.get("push_subscribe")) for profile in users),
            ),
            "user_custom_attributes": (len(attributes), len(set(attributes))),
            "user_aliases": (len(flat["user_aliases"]), len({row["alias_name"] for _, row in flat["user_aliases"]})),
            "user_devices": (
                len(flat["user_devices"]),
                places["user_devices"],
                sum("idfa" in row for _, row in flat["user_devices"]),
            ),
            "user_push_tokens": (
                len(flat["user_push_tokens"]),
                places["user_push_tokens"],
                len({row["token"] for _, row in flat["user_push_tokens"]}),
            ),
            "user_apps": (len(flat["user_apps"]), sum(int(row["sessions"]) for _, row in flat["user_apps"])),
            "user_cards_clicked": (len(flat["user_cards_clicked"]), places["user_cards_clicked"]),
            "user_custom_events": _count_and_sum(kept["user_custom_events"], lambda row: row["count"]),
            "user_purchases": _count_and_sum(kept["user_purchases"], lambda row: row["count"]),
            "user_campaigns_received": _count_and_sum(
                kept["user_campaigns_received"], lambda row: (row.get("engaged") or {}).get("opened_email", False)
            ),
            "user_campaign_conversions": _count_and_sum(
                kept["user_campaign_conversions"], lambda row: row["converted"]
            ),
            "user_canvases_received": _count_and_sum(kept["user_canvases_received"], lambda row: row["in_control"]),
            "user_canvas_steps_received": _count_and_sum(kept["user_canvas_steps_received"], lambda row: 1),
        }


def _count_and_sum(rows: list[Profile], value: Any) -> tuple[int, int]:
    return len(rows), sum(int(value(row)) for row in rows)


def figures(warehouse: Warehouse) -> Figures:
    """The same counts and sums, of the warehouse."""
    rows = queried(warehouse, [f"SELECT {sums} FROM braze.{table}" for table, sums in _SUMS.items()])
    return {table: tuple(map(_number, row)) for table, (row,) in zip(_SUMS, rows, strict=True)}


def _number(value: Any) -> float:
    return round(float(value or 0), 2)


def rounded(expected: Figures) -> Figures:
    """Figures to compare with those of a warehouse."""
    return {table: tuple(_number(value) for value in row) for table, row in expected.items()}
