"""What a stand-in workspace is made of and how its server behaves: every knob, with its default."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, time
from typing import Literal


@dataclass(frozen=True)
class RateLimit:
    """`limit` requests in each clock-aligned window of `period` seconds."""

    limit: int
    period: int


DOCUMENTED_LIMITS: Mapping[str, RateLimit] = {
    "shared": RateLimit(250_000, 3600),
    "campaign_series": RateLimit(50_000, 60),
    "catalogue": RateLimit(1_000, 3600),
    "export_ids": RateLimit(250, 60),
}
"""The rate-limit pools of the documentation's API limits page, by our names for them."""

CONTENT = frozenset(
    [
        "seed",
        "campaigns",
        "canvases",
        "segments",
        "cards",
        "events",
        "products",
        "apps",
        "days",
        "opened",
        "campaign_shapes",
        "time_zone",
    ]
)
"""Options that shape the content when the workspace is made, and cannot be changed afterwards."""


@dataclass(frozen=True)
class WorkspaceOptions:
    """Size, clock, manners and weaknesses of a stand-in workspace.

    Content: `days` of history end on the day of `opened` + `days`; `opened` None means `today` less `days`.
    `campaign_shapes` limits the mix of campaigns (names in `shapes.CAMPAIGN_SHAPES`), `profile_mix` the mix of
    profiles: "mixed" (with every oddity), "full" (about 5 KB, every nested list), "small" (the anonymous ones).

    Clock: `today` at `time_of_day` in `time_zone`; None is the real clock. `frozen_on` is the last day that analytics
    have reached, None for no delay. `restated` lets the figures of a day grow until it is 30 days old.

    Faults: `fault_rate` is the share of requests that meet one of `fault_kinds` (see `faults.KINDS`).

    Exports: `delivery` "archive" answers a URL on this server, "bucket" writes files under `bucket` (an fsspec URL,
    opened with `bucket_options`). `export_delay` passes before anything can be had, `export_interval` between two
    files in a bucket; `export_lifetime` is how long a URL is good; `compress` False only stores, which is faster.
    `output_format` is that of requests which name none. `export_flaws` spoils files: "bad_line", "no_braze_id",
    "corrupt_member". `cut_download_at` ends the next download after so many bytes, once.
    """

    # content
    seed: int = 1
    campaigns: int = 24
    canvases: int = 8
    segments: int = 10
    cards: int = 6
    events: int = 15
    products: int = 8
    users: int = 500
    apps: int = 2
    custom_attributes: int = 12
    days: int = 120
    opened: date | None = None
    campaign_shapes: tuple[str, ...] | None = None
    profile_mix: Literal["mixed", "full", "small"] = "mixed"

    # clock
    today: date | None = None
    time_of_day: time = time(12, 30)
    time_zone: str = "UTC"
    frozen_on: date | None = None
    restated: bool = True
    ending_at: Literal["exclusive", "inclusive"] = "exclusive"

    # access and limits
    api_key: str | None = None
    denied: frozenset[str] = frozenset()
    denied_status: Literal[401, 403] = 403
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    news_feed: bool = True

    # faults
    latency: float = 0.0
    slow_seconds: float = 2.0
    fault_rate: float = 0.0
    fault_kinds: tuple[str, ...] = ("500", "502", "503", "429", "reset", "truncated")

    # profile exports
    profile_version: int = 0
    delivery: Literal["archive", "bucket"] = "archive"
    bucket: str | None = None
    bucket_options: Mapping[str, object] = field(default_factory=dict)
    users_per_file: int = 5_000
    duplicates: bool = True
    compress: bool = True
    output_format: Literal["zip", "gzip"] = "zip"
    export_delay: float = 0.0
    export_interval: float = 0.0
    export_lifetime: float = 4 * 3600.0
    export_flaws: frozenset[str] = frozenset()
    cut_download_at: int | None = None

    def limit(self, bucket: str) -> RateLimit:
        """The limit of a pool: the option's, or else the documented one."""
        return self.limits.get(bucket, DOCUMENTED_LIMITS[bucket])


NAMES = frozenset(option.name for option in fields(WorkspaceOptions))
