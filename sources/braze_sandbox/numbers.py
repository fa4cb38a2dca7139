"""Figures as pure functions: what happened on a day, and how much of it is known at a given age.

Nothing here reads a clock. A day is a proleptic ordinal (`date.toordinal`), money is in cents, and the dictionaries
returned are shared: copy before changing.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_128
from typing import Any

from sources.braze_sandbox.shapes import (
    CAMPAIGN_SHAPES,
    CANVAS_SHAPES,
    COUNTERS,
    SEND_SHAPE,
    CampaignShape,
    Element,
    When,
)

FINAL = 30
"""Age in days from which figures stay as they are: the longest conversion window."""

TAIL = 4
"""Days after the last send on which opens and conversions still arrive."""

_PERIOD = 509  # prime, so that neither weeks nor months repeat
_TAIL_BEAT = 64

Figures = dict[str, Any]


@lru_cache(maxsize=32_768)
def rhythm(key: str) -> bytes:
    """A pseudo-random byte for every day of a long period, always the same for the same key."""
    return shake_128(key.encode()).digest(_PERIOD)


def draw(key: str, day: int) -> int:
    """A number from 0 to 255 for that key on that day."""
    return rhythm(key)[day % _PERIOD]


@dataclass(frozen=True)
class Activity:
    """When something was live: closed spans of days, the last one possibly open."""

    key: str
    spans: tuple[tuple[int, int | None], ...]

    def beat(self, day: int) -> int:
        """How lively a day was: 0 nothing, 1 to 63 sends, above 64 only late arrivals of earlier sends."""
        for first, last in self.spans:
            if day >= first and (last is None or day <= last):
                # a span begins and ends with a send, so that first_sent and last_sent are its bounds
                return draw(self.key, day) >> 2 or int(day in (first, last))
        if any(last is not None and last < day <= last + TAIL for _, last in self.spans):
            return _TAIL_BEAT + (draw(self.key, day) >> 4)
        return 0

    def first(self) -> int | None:
        """The first day with a send, None if there never was one."""
        return min((first for first, _ in self.spans), default=None)

    def latest(self, today: int) -> int | None:
        """The last day up to today with a send, None if there was none yet."""
        ends = [today if last is None else min(last, today) for first, last in self.spans if first <= today]
        day = max(ends, default=None)
        while day is not None and not 0 < self.beat(day) < _TAIL_BEAT:
            day -= 1
        return day


def stage(day: int, as_of: int, restated: bool) -> int:
    """The age at which the day's figures stand: 0 for the unfinished day, `FINAL` once they do not change any more."""
    age = as_of - day
    if age <= 0:
        return 0
    return min(age, FINAL) if restated else FINAL


def known(figure: int, when: When, age: int) -> int:
    """The part of a final figure that is known at an age (days)."""
    if age == 0:
        return figure * 35 // 100
    if when is When.AT_ONCE or age >= FINAL:
        return figure
    return figure * (650 * FINAL + 350 * age) // (1000 * FINAL)


@lru_cache(maxsize=50_000)
def campaign_figures(shape: str, beat: int, age: int) -> Figures:
    """A campaigns/data_series row without `time`, ids and names: row counters and `messages` by channel."""
    return _row_figures(CAMPAIGN_SHAPES[shape], beat, age)


@lru_cache(maxsize=5_000)
def send_figures(beat: int, age: int) -> Figures:
    """A sends/data_series row without `time` and names."""
    return _row_figures(SEND_SHAPE, beat, age)


def _row_figures(shape: CampaignShape, beat: int, age: int) -> Figures:
    volumes = [_volume(beat, position) for position in range(len(shape.elements))]
    messages: dict[str, list[Figures]] = {channel: [] for channel in shape.empty_channels}
    for element, volume in zip(shape.elements, volumes, strict=True):
        messages.setdefault(element.channel, []).append(_element_figures(element, volume, beat, age))
    elements = [figures for channel in messages.values() for figures in channel]
    if shape.elements[0].scored:
        scores = {key: sum(figures[key] for figures in elements) for key in _scores(0, 0, 0, "send", 3)}
    else:
        scores = _scores(sum(volumes), beat, age, "send", 3)
    return {**scores, "messages": messages}


def _element_figures(element: Element, volume: int, beat: int, age: int) -> Figures:
    if element.control:
        counters = {"enrolled": _at_once(volume, beat, age)}
    else:
        counters = channel_figures(element.family, volume, beat, age)
    if element.scored:
        counters |= _scores(volume, beat, age, "send", 3)
    clicks = {key: known(volume * 17 // (1000 * n), When.LATE, age) for n, key in enumerate(element.clicks, 1)}
    return counters | clicks


def channel_figures(family: str, volume: int, beat: int, age: int) -> Figures:
    """The counters of a channel's family for so many messages."""
    late_only = beat > _TAIL_BEAT
    return {
        counter.name: 0
        if late_only and counter.when is When.AT_ONCE
        else known(volume * counter.share // 1000, counter.when, age)
        for counter in COUNTERS[family]
    }


def _volume(beat: int, position: int) -> int:
    level = beat % _TAIL_BEAT
    return level * (3 * level + 11 * (position + 1))


def _at_once(volume: int, beat: int, age: int) -> int:
    return 0 if beat > _TAIL_BEAT else known(volume, When.AT_ONCE, age)


def _scores(volume: int, beat: int, age: int, booked: str, extra: int) -> Figures:
    """Conversions 0 to `extra`, by day and by `booked` time, recipients and revenue, at campaign or variation level."""
    figures: Figures = {}
    for number in range(extra + 1):
        final = volume * (23 - 3 * min(number, 6)) // 1000
        key = f"conversions{number or ''}"
        figures[key] = known(final, When.LATE, age)
        backdated = 0 if beat > _TAIL_BEAT else known(final + final // 9, When.BACKDATED, age)
        figures[f"{key}_by_{booked}_time"] = backdated
    figures["revenue"] = figures["conversions"] * 1999 + figures.get("conversions1", 0) * 495
    if booked == "send":
        figures["unique_recipients"] = _at_once(volume * 9 // 10, beat, age)
    return figures


@lru_cache(maxsize=20_000)
def canvas_figures(shape: str, conversions: int, beat: int, age: int) -> Figures:
    """A canvas/data_series row without `time`, ids and names; variants and steps by their position in the shape.

    The totals are the sums of the variants.
    """
    canvas = CANVAS_SHAPES[shape]
    volume = _volume(beat, conversions)
    variants = []
    for _, share, _ in canvas.variants:
        entries = volume * share // 1000
        scores = _scores(entries, beat, age, "entry", conversions - 1)
        variants.append(scores | {"entries": _at_once(entries, beat, age)})
    steps = []
    for step in canvas.steps:
        reached = volume * step.share // 1000
        messages: dict[str, list[Figures]] = {}
        for element in step.messages:
            figures = channel_figures(element.family, reached // len(step.messages), beat, age)
            messages.setdefault(element.channel, []).append(figures)
        scores = _scores(reached, beat, age, "entry", conversions - 1)
        unique = _at_once(reached * 9 // 10, beat, age)
        steps.append(scores | {"unique_recipients": unique, "messages": messages})
    totals = {key: sum(variant[key] for variant in variants) for key in variants[0]}
    return {"total_stats": totals, "variant_stats": variants, "step_stats": steps}


def segment_size(key: str, created: int, share: int, day: int) -> int:
    """Members on a day: none before the segment existed, then a slow growth with some noise. Never restated."""
    if day < created:
        return 0
    return share * 100 + (day - created) * share // 7 + draw(key, day) % (share + 3)


def card_figures(key: str, created: int, day: int, age: int) -> Figures:
    """A feed/data_series row without `time`."""
    seen = 0 if day < created else draw(key, day) * 7
    clicks, impressions = known(seen // 11, When.LATE, age), known(seen, When.LATE, age)
    return {
        "clicks": clicks,
        "impressions": impressions,
        "unique_clicks": clicks * 9 // 10,
        "unique_impressions": impressions * 8 // 10,
    }


_BASE = {"mau": 50_000, "dau": 4_000, "new_users": 90, "uninstalls": 9, "sessions": 9_000, "count": 200}


def workspace_figure(field: str, key: str, scope: int, day: int, age: int) -> int:
    """A KPI, the sessions or an event's count on a day, for everything (`scope` 1000) or a part of it (thousandths).

    Parts are drawn by their own key, so that they do not add up to the whole: users overlap.
    """
    if field == "mau":  # a rolling count: it hardly moves, and today's is as large as yesterday's
        return _BASE[field] * scope // 1000 + draw(key, day) * scope // 1000
    base = _BASE[field] * (64 + draw(key, day)) // 128
    return known(base * scope // 1000, When.LATE, age)


def purchase_figures(key: str, scope: int, day: int, age: int) -> Figures:
    """`quantity` and `revenue` (cents) of a day; every third draw or so is in whole dollars."""
    drawn = draw(key, day)
    quantity = 0 if drawn < 25 else known(drawn * scope // 1000, When.LATE, age)
    return {"quantity": quantity, "revenue": quantity * (1900 if drawn % 3 == 0 else 1995)}


def hourly(figure: int, key: str, day: int, hours: int) -> list[int]:
    """A day's figure spread over its hours (23 to 25 on the days the clocks change); the parts add up to the figure."""
    weights = [1 + draw(f"{key}/{hour}", day) for hour in range(hours)]
    whole, before, parts = sum(weights), 0, []
    for weight in weights:
        parts.append(figure * (before + weight) // whole - figure * before // whole)
        before += weight
    return parts
