"""Answers of the API → rows per table. Pure: no HTTP, no dlt, no clock.

A flattener takes the parsed answer and returns `Rows`: sheets by table name. Values stay as Braze sent them
(`arrow.py` gives them their declared types); keys that Braze does not echo are injected. Unknown scalars keep
their name and become columns, unknown channels are rows like any other, keys that carry free text become rows.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sources.braze.columns import MESSAGE_BODIES
from sources.braze.endpoints import Json
from sources.braze.fields import columns_of, message_shape_of, shape_of
from sources.braze.rows import Row, Rows, Sheet
from sources.braze.windows import Span, midnight

_INSTANT = re.compile(r".{10}[T ](?!00:00).*(?:Z|UTC|[+-]\d\d:?\d\d)")
"""A time of day with an offset. One that says midnight is of the date beside it, whatever the offset."""
_SHORT_OFFSET = re.compile(r"([+-])(\d:\d\d)$")
_NO_FIGURES = frozenset({"position", "number"})
_NAMING = ("name", "id")
"""How fields end whose texts are names, even if they read like figures."""
_ABOVE_ZERO = re.compile(r"(?=.*[1-9])\d+(\.\d+)?")
_ENVELOPE = frozenset({"message", "errors"})
_TIME = frozenset({"time"})
_MESSAGES = frozenset({"messages"})
_CLICK_FIELDS = ("kind", "number", "title", "clicks")
_BESIDE_COUNTERS = _TIME | _MESSAGES


@dataclass
class Series:
    """A flattened series: rows per table, the days that came back, and the last of them that had any figure above 0."""

    rows: Rows
    days: set[date] = field(default_factory=set)
    last_active: date | None = None


def parse_instant(value: str, zone: tzinfo) -> datetime:
    """Parse a timestamp as Braze writes them (`…Z`, `… UTC`, `… +0000`, `…-5:00`), by default in `zone`."""
    written = value.replace(" UTC", "Z").replace(" +", "+").strip()
    parsed = datetime.fromisoformat(_SHORT_OFFSET.sub(r"\g<1>0\2", written))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)


def words(values: Any) -> list[str]:
    """The distinct, non-empty strings of a list that may be null or hold nulls (tags, channels, teams)."""
    values = values if isinstance(values, list | tuple) else [values]
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _scalars(source: Json, skip: frozenset[str] = frozenset()) -> Row:
    """The fields of `source` that become columns, by column name."""
    return {name: source[key] for key, name in columns_of(tuple(source), skip).items()}


def _both(listed: Json, details: Json, skip: frozenset[str]) -> Row:
    """The columns of a list entry and its details: those of the details count, but a null there hides nothing."""
    row = _scalars(listed, skip)
    return row | {
        name: value for name, value in _scalars(details, skip).items() if value is not None or name not in row
    }


def _told(details: Json, listed: Json, name: str) -> Any:
    return listed.get(name) if details.get(name) is None else details[name]


def _sheets(rows: Mapping[str, Iterable[Row]]) -> Rows:
    return {table: Sheet(table_rows) for table, table_rows in rows.items()}


def _children(row_key: Row, column: str, values: Any) -> list[Row]:
    return [{**row_key, column: word} for word in words(values)]


# Catalog: campaigns, Canvases, segments, cards, events, products


def campaign(listed: Json, details: Json) -> Rows:
    """`campaigns/list` entry and `campaigns/details` answer → the campaign and everything it holds."""
    key = {"campaign_id": listed["id"]}
    lists = frozenset({"tags", "channels", "teams", "messages", "conversion_behaviors"}) | _ENVELOPE
    return _sheets(
        {
            "campaigns": [{**_both(listed, details, lists), "id": listed["id"]}],
            "campaign_tags": _children(key, "tag", _told(details, listed, "tags")),
            "campaign_channels": _children(key, "channel", details.get("channels")),
            "campaign_teams": _children(key, "team", details.get("teams")),
            "campaign_messages": _messages(key, details.get("messages")),
            "campaign_conversion_behaviors": [
                {**_scalars(behavior), **key, "position": position, "app_ids": _joined(behavior.get("app_ids"))}
                for position, behavior in enumerate(_listed(details.get("conversion_behaviors")))
            ],
        }
    )


def canvas(listed: Json, details: Json) -> Rows:
    """`canvas/list` entry and `canvas/details` answer → the Canvas, its variants, steps, edges and messages."""
    key = {"canvas_id": listed["id"]}
    lists = frozenset({"tags", "channels", "teams", "variants", "steps"}) | _ENVELOPE
    rows: dict[str, list[Row]] = {
        "canvases": [{**_both(listed, details, lists), "id": listed["id"]}],
        "canvas_tags": _children(key, "tag", _told(details, listed, "tags")),
        "canvas_channels": _children(key, "channel", details.get("channels")),
        "canvas_teams": _children(key, "team", details.get("teams")),
        "canvas_variants": [],
        "canvas_variant_first_steps": [],
        "canvas_steps": [],
        "canvas_step_channels": [],
        "canvas_step_messages": [],
        "canvas_step_paths": [],
    }
    for variant_id, variant in _identified(details.get("variants")):
        variant_key = {**key, "variant_id": variant_id}
        rows["canvas_variants"].append({**_scalars(variant, frozenset({"id", "first_step_ids"})), **variant_key})
        first_steps = words(variant.get("first_step_ids") or variant.get("first_step_id"))
        rows["canvas_variant_first_steps"] += [
            {**variant_key, "step_id": step, "position": place} for place, step in enumerate(first_steps)
        ]
    for step_id, step in _identified(details.get("steps")):
        step_key = {**key, "step_id": step_id}
        nested = frozenset({"id", "next_step_ids", "next_paths", "channels", "messages"})
        rows["canvas_steps"].append({**_scalars(step, nested), **step_key})
        rows["canvas_step_channels"] += _children(step_key, "channel", step.get("channels"))
        rows["canvas_step_messages"] += _messages(step_key, step.get("messages"))
        rows["canvas_step_paths"] += [
            {**step_key, "position": place, "name": name, "next_step_id": target}
            for place, (name, target) in enumerate(_edges(step))
        ]
    return _sheets(rows)


def _identified(values: Any) -> Iterator[tuple[str, Json]]:
    """The objects of a list, each with its id; without one by its name, and by its place where that is taken."""
    seen = set()
    for position, value in enumerate(_listed(values)):
        name = str(value.get("id") or value.get("name") or position)
        if not value.get("id") and name in seen:
            name = f"{name} {position}"
        seen.add(name)
        yield name, value


def _edges(step: Json) -> Iterator[tuple[str | None, str | None]]:
    """Named paths, then the next steps that no path names: Braze fills the latter for message steps only."""
    paths = _listed(step.get("next_paths"))
    for path in paths:
        yield path.get("name"), path.get("next_step_id")
    named = {path.get("next_step_id") for path in paths}
    for target in words(step.get("next_step_ids")):
        if target not in named:
            yield None, target


def _messages(key: Row, messages: Any) -> list[Row]:
    return [
        {**_scalars(message), **key, "message_variation_id": variation_id, "from": _joined(message.get("from"))}
        for variation_id, message in _keyed(messages)
    ]


def _joined(value: Any) -> Any:
    return ",".join(words(value)) if isinstance(value, list) else value


def segment(listed: Json, details: Json) -> Rows:
    """`segments/list` entry and `segments/details` answer → the segment, its tags and teams."""
    key = {"segment_id": listed["id"]}
    lists = frozenset({"tags", "teams"}) | _ENVELOPE
    return _sheets(
        {
            "segments": [{**_both(listed, details, lists), "id": listed["id"]}],
            "segment_tags": _children(key, "tag", _told(details, listed, "tags")),
            "segment_teams": _children(key, "team", details.get("teams")),
        }
    )


def card(listed: Json, details: Json) -> Rows:
    """`feed/list` entry and `feed/details` answer → the News Feed card and its tags."""
    lists = frozenset({"tags"}) | _ENVELOPE
    return _sheets(
        {
            "cards": [{**_both(listed, details, lists), "id": listed["id"]}],
            "card_tags": _children({"card_id": listed["id"]}, "tag", _told(details, listed, "tags")),
        }
    )


def without_bodies(rows: Rows) -> Rows:
    """`rows` of a catalog entry without the fields of its messages that can be large."""
    return {
        table: sheet.without(MESSAGE_BODIES) if table.endswith("_messages") else sheet for table, sheet in rows.items()
    }


def event(listed: Json) -> Rows:
    """An entry of `events`, or a bare name of `events/list` as `{"name": …}` → the event and its tags."""
    lists = frozenset({"tag_names"})
    return _sheets(
        {
            "events": [_scalars(listed, lists)],
            "event_tags": _children({"event": listed["name"]}, "tag", listed.get("tag_names")),
        }
    )


# Series


def message_series(table: str, answer: Json, key: Row, span: Span, zone: tzinfo) -> Series:
    """`campaigns/data_series` or `sends/data_series` → `{table}_daily` and its message and click tables."""
    days = _by_day(answer.get("data"), span, zone)
    daily, messages, clicks = Sheet(), Sheet(), Sheet()
    for day, source in days.items():
        day_key = {**key, "date": day}
        _add(daily, day_key, source, _BESIDE_COUNTERS)
        _add_messages(messages, clicks, day_key, source.get("messages"))
    rows = {f"{table}_daily": daily, f"{table}_message_daily": messages, f"{table}_message_click_daily": clicks}
    return Series(rows, set(days), _last_active(days, _with_messages))


def canvas_series(answer: Json, key: Row, span: Span, zone: tzinfo) -> Series:
    """`canvas/data_series` with all breakdowns → the four `canvas_…_daily` tables and step message clicks."""
    days = _by_day((answer.get("data") or {}).get("stats"), span, zone)
    rows = _canvas_rows("daily", ((source, {**key, "date": day}) for day, source in days.items()))
    return Series(rows, set(days), _last_active(days, _with_breakdowns))


def canvas_summary(answer: Json, key: Row, span: Span) -> Series:
    """`canvas/data_summary` → the five `canvas_…_summary` tables; one window, the whole of `span`.

    Raises `KeyError` or `TypeError` for an answer without totals: it would say that there are none.
    """
    source = answer["data"]
    if not isinstance(source["total_stats"], dict):
        raise TypeError("`total_stats` is no object")
    rows = _canvas_rows("summary", [(source, {**key, "start_date": span.first, "end_date": span.last})])
    return Series(rows, set(span.days()), _last_active({span.last: source}, _with_breakdowns))


def _canvas_rows(suffix: str, sources: Iterable[tuple[Json, Row]]) -> Rows:
    """The rows of Canvas statistics, each with the key of its rows."""
    totals, variants, steps, messages, clicks = Sheet(), Sheet(), Sheet(), Sheet(), Sheet()
    for source, key in sources:
        _add(totals, key, {**_beside_totals(source), **_scalars(source.get("total_stats") or {})})
        for variant_id, statistics in _keyed(source.get("variant_stats")):
            _add(variants, {**key, "variant_id": variant_id}, statistics)
        for step_id, statistics in _keyed(source.get("step_stats")):
            step_key = {**key, "step_id": step_id}
            _add(steps, step_key, statistics, _MESSAGES)
            _add_messages(messages, clicks, step_key, statistics.get("messages"))
    return {
        f"canvas_{suffix}": totals,
        f"canvas_variant_{suffix}": variants,
        f"canvas_step_{suffix}": steps,
        f"canvas_step_message_{suffix}": messages,
        f"canvas_step_message_click_{suffix}": clicks,
    }


def _beside_totals(source: Json) -> Row:
    """The scalars beside `total_stats`: figures that Braze may add; the Canvas's name is in `canvases`."""
    row = _scalars(source, frozenset({"time", "name"}))
    return {name: value for name, value in row.items() if not isinstance(value, (dict, list))}


def _keyed(values: Any) -> Iterable[tuple[str, Json]]:
    """The objects of an object whose keys are identifiers; null and other shapes hold none."""
    entries = values.items() if isinstance(values, dict) else ()
    return [(key or "-", value if isinstance(value, dict) else {}) for key, value in entries]


def _add(sheet: Sheet, key: Row, source: Json, skip: frozenset[str] = frozenset()) -> None:
    """Add the row of `source`, without the fields `skip`, that `key` names."""
    shape = shape_of(tuple(source), tuple(key), skip)
    sheet.add(shape.fields, (*key.values(), *shape.read(source)))


def _add_messages(sheet: Sheet, clicks: Sheet, key: Row, messages: Any) -> None:
    """Add the rows of message statistics and those of what was clicked; `key` is that of the rows they belong to."""
    own = (*key, "channel", "position")
    key_values = tuple(key.values())
    for channel, position, statistics in _statistics(messages):
        shape = message_shape_of(tuple(statistics), own)
        sheet.add(shape.fields, (*key_values, channel, position, *shape.read(statistics)))
        for title, name in shape.clicks.items():
            clicks.add((*own, *_CLICK_FIELDS), (*key_values, channel, position, *title, statistics[name]))


def _statistics(messages: Any) -> Iterator[tuple[str, int, Json]]:
    """The statistics in `messages` with their channel and their position in it."""
    channels = messages.items() if isinstance(messages, dict) else ()
    for channel, variations in channels:
        for position, statistics in enumerate(_listed(variations)):
            yield channel or "-", position, statistics


def _listed(value: Any) -> list[Json]:
    """The objects of a list that may be null, hold nulls or, where there is just one, be that object itself."""
    values = value if isinstance(value, list) else [value]
    return [element for element in values if isinstance(element, dict)]


def flat_series(
    table: str,
    answer: Json,
    key: Row,
    span: Span,
    zone: tzinfo,
    rename: Mapping[str, str] | None = None,
) -> Series:
    """A series of plain counters (segments, KPIs, sessions, events, purchases, cards) by day → `table`."""
    days = _by_day(answer.get("data"), span, zone)
    sheet = Sheet({**_renamed(_scalars(source, _TIME), rename), **key, "date": day} for day, source in days.items())
    return Series({table: sheet}, set(days), _last_active(days, lambda source: (source,)))


def hourly_series(
    table: str, answer: Json, key: Row, span: Span, zone: ZoneInfo, rename: Mapping[str, str] | None = None
) -> Series:
    """The same with `unit=hour`: one row per hour, `hour` being the instant it starts; days are counted in `zone`."""
    rows: dict[datetime, Row] = {}
    for source in answer.get("data") or ():
        hour = parse_instant(source["time"], zone)
        if hour.tzinfo is zone and hour.astimezone(UTC) in rows:
            hour = hour.replace(fold=1)  # without an offset the hour that clocks repeat comes twice
        hour = hour.astimezone(UTC)
        if hour.astimezone(zone).date() in span:
            rows[hour] = {**_renamed(_scalars(source, _TIME), rename), **key, "hour": hour}
    return Series({table: Sheet(rows.values())}, _complete_days(rows, zone))


def _complete_days(hours: Iterable[datetime], zone: ZoneInfo) -> set[date]:
    """The days of `hours` (UTC); the newest counts if its last hour is there, since the answer may end within it."""
    days = {hour.astimezone(zone).date() for hour in hours}
    newest = max(hours, default=None)
    if newest and (newest + timedelta(hours=1)).astimezone(zone).date() in days:
        days.remove(newest.astimezone(zone).date())
    return days


def without_expired(series: Series, before: date) -> Series:
    """`series` without the days before `before` that are all zero: that is how Braze answers what it has dropped."""
    alive = {row["date"] for rows in series.rows.values() for row in rows if has_figures(row)}
    kept = {
        table: Sheet(row for row in rows if row["date"] >= before or row["date"] in alive)
        for table, rows in series.rows.items()
    }
    return Series(kept, {day for day in series.days if day >= before or day in alive}, series.last_active)


def _renamed(row: Row, rename: Mapping[str, str] | None) -> Row:
    return {rename.get(name, name): value for name, value in row.items()} if rename else row


def _by_day(sources: Iterable[Json] | None, span: Span, zone: tzinfo) -> dict[date, Json]:
    """The rows of a series within `span`, by day; of several rows for one day the last counts."""
    return {day: source for source in sources or () if (day := _day(source, zone)) in span}


def _day(source: Json, zone: tzinfo) -> date:
    """The day of a row: the date that it names or, if that is an instant, the one that begins then in `zone`."""
    written = source["time"]
    if len(written) > 10 and _INSTANT.fullmatch(written):
        moment = parse_instant(written, zone)
        day = moment.astimezone(zone).date()
        if midnight(day, zone).astimezone(UTC) == moment:
            return day
    return date.fromisoformat(written[:10])


def has_figures(row: Json) -> bool:
    """Whether any figure of the row, a number or a text that is one, is above zero."""
    for name, value in row.items():
        if value and name not in _NO_FIGURES:
            if isinstance(value, (int, float)):
                if value > 0:
                    return True
            elif isinstance(value, str) and _ABOVE_ZERO.fullmatch(value) and not name.endswith(_NAMING):
                return True
    return False


def _last_active(days: Mapping[date, Json], figures: Callable[[Json], Iterable[Json]]) -> date | None:
    """The last day on which any figure was above zero; `figures` names the objects of a day that hold some."""
    return next((day for day in sorted(days, reverse=True) if any(map(has_figures, figures(days[day])))), None)


def _with_messages(source: Json) -> Iterator[Json]:
    yield source
    for _, _, statistics in _statistics(source.get("messages")):
        yield statistics


def _with_breakdowns(source: Json) -> Iterator[Json]:
    yield source
    yield source.get("total_stats") or {}
    for _, statistics in _keyed(source.get("variant_stats")):
        yield statistics
    for _, statistics in _keyed(source.get("step_stats")):
        yield from _with_messages(statistics)
