"""Faults: a deterministic share of all requests, and rules for chosen ones; in transport, or in what a body says."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import shake_128
from itertools import count
from typing import Any

STATUSES = ("400", "403", "404", "429", "500", "502", "503", "504")
TRANSPORT = (*STATUSES, "reset", "truncated", "slow", "not_json")


@dataclass
class Rule:
    """A fault for the requests to a path ("*": all) whose parameters include `params`, for so many `times`."""

    id: int
    kind: str
    path: str
    params: Mapping[str, str]
    times: int | None
    days: Sequence[str]
    met: int = field(default=0)

    def applies(self, path: str, params: Mapping[str, str]) -> bool:
        """Whether the rule is for this request, and not used up."""
        if self.times is not None and self.met >= self.times:
            return False
        same = all(str(params.get(key)) == str(value) for key, value in self.params.items())
        return self.path in ("*", path) and same


class Faults:
    """The faults in force. Rules may be set from any thread; picking happens on the server's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: tuple[Rule, ...] = ()
        self._ids = count(1)
        self._requests = count()

    def fail(
        self,
        kind: str,
        path: str = "*",
        params: Mapping[str, str] | None = None,
        times: int | None = None,
        days: Sequence[str] = (),
    ) -> int:
        """Add a rule and return its id; `days` are for "missing_days" (none: the middle one of each answer).

        Raises ValueError for an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind} is not a fault; there are {', '.join(KINDS)}")
        rule = Rule(next(self._ids), kind, path, params or {}, times, [str(day) for day in days])
        self._rules = (*self._rules, rule)
        return rule.id

    def mend(self, rule_id: int | None = None) -> None:
        """Remove a rule, or all of them."""
        self._rules = tuple(rule for rule in self._rules if rule_id is not None and rule.id != rule_id)

    def reset(self) -> None:
        """Begin the sequence of random faults again."""
        self._requests = count()

    def chance(self, rate: float, kinds: Sequence[str]) -> str | None:
        """The random fault of the next request, by its number and the seed."""
        if not rate or not kinds:
            return None
        drawn = shake_128(f"{self._seed}/fault/{next(self._requests)}".encode()).digest(8)
        unlucky = int.from_bytes(drawn[:4], "big") < rate * 2**32
        return kinds[int.from_bytes(drawn[4:], "big") % len(kinds)] if unlucky else None

    def pick(self, path: str, params: Mapping[str, str]) -> tuple[str | None, list[Rule]]:
        """The transport fault a rule gives this request, if any, and the rules that distort its body."""
        if not self._rules:
            return None, []
        rules = [rule for rule in self._rules if rule.applies(path, params)]
        transport = next((rule for rule in rules if rule.kind in TRANSPORT), None)
        met = [transport] if transport else rules
        for rule in met:
            rule.met += 1
        return (transport.kind, []) if transport else (None, rules)


def _rows(body: Any) -> list[Any] | None:
    data = body.get("data")
    if isinstance(data, dict):
        data = data.get("stats")
    return data if isinstance(data, list) else None


def _missing_days(body: Any, rule: Rule) -> None:
    rows = _rows(body)
    if rows:
        days = rule.days or [rows[len(rows) // 2]["time"]]
        rows[:] = [row for row in rows if row["time"] not in days]


def _duplicate_rows(body: Any, _: Rule) -> None:
    rows = _rows(body)
    if rows:
        rows.append(deepcopy(rows[0]))


def _shuffled_days(body: Any, _: Rule) -> None:
    rows = _rows(body)
    if rows:
        rows[:] = rows[1::2] + rows[::2][::-1]


def _unknown_keys(body: Any, _: Rule) -> None:
    """A scalar, an object and a list at every level, and a channel that nobody knows."""
    _walk(body, _add_unknown)


def _add_unknown(found: dict[str, Any]) -> None:
    channels = found.get("messages")
    if isinstance(channels, dict) and any(isinstance(elements, list) for elements in channels.values()):
        channels["hologram"] = [{"variation_api_id": "00000000-0000-4000-8000-000000000001", "beams": 3}]
    found |= {"new_counter": 7, "new_object": {"a": [1]}, "new_list": ["x"]}


def _integer_revenue(body: Any, _: Rule) -> None:
    """Whole dollars as integers."""
    _walk(body, _make_integer)


def _make_integer(found: dict[str, Any]) -> None:
    revenue = found.get("revenue")
    if isinstance(revenue, float) and revenue.is_integer():
        found["revenue"] = int(revenue)


def _missing_keys(body: Any, _: Rule) -> None:
    """Optional keys that say nothing are left out: nulls, no conversions, no revenue."""
    _walk(body, _leave_out)


def _leave_out(found: dict[str, Any]) -> None:
    for key, value in list(found.items()):
        optional = key == "revenue" or key.startswith("conversions")
        if value is None or (optional and value == 0):
            del found[key]


_KEYED = ("messages", "variant_stats", "step_stats", "custom_attributes", "extras", "headers")


def _walk(value: Any, change: Callable[[dict[str, Any]], None], keyed: bool = False) -> None:
    """Apply a change to every object but those whose keys are ids or free text."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            _walk(item, change, keyed=key in _KEYED)
        if not keyed:
            change(value)
    elif isinstance(value, list):
        for item in value:
            _walk(item, change)


DISTORTIONS: Mapping[str, Callable[[Any, Rule], None]] = {
    "missing_days": _missing_days,
    "duplicate_rows": _duplicate_rows,
    "shuffled_days": _shuffled_days,
    "unknown_keys": _unknown_keys,
    "integer_revenue": _integer_revenue,
    "missing_keys": _missing_keys,
}
KINDS = (*TRANSPORT, *DISTORTIONS)
"""Every fault there is."""
