"""How far each entity has been loaded: the cursors of one resource, packed for dlt's state.

A cursor is the last closed day up to which an entity's days have all come back from the API. Entities share their
cursor's date, so the state holds a date once, with the hashes (48 bits) of the entities that have reached it: eight
bytes of state an entity, whatever its name. An entity that is in no group has never been loaded.

Nearly all entities of a resource are loaded since the same day, which the state holds once; only the others are listed.
"""

from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any

from sources.braze.windows import ONE_DAY, Span

RECHECK_DAYS = 7
"""A dormant entity is asked again at least this often."""
_HASH_BYTES = 6


def entity_hash(entity: str) -> bytes:
    """The hash by which the state knows an entity (48 bits: 20,000 entities collide once in a million workspaces)."""
    return blake2b(entity.encode(), digest_size=_HASH_BYTES).digest()


@dataclass
class Cursors:
    """Cursors by entity; `quiet` holds those whose figures have all been zero for longer than the lookback.

    `since` is the day from which on an entity is loaded up to its cursor; it may have begun later. Without a cursor it
    was loaded by the days of another time zone. `ahead` are the spans that came back before an older one did: a cursor
    never steps over a gap. `first` and `newest` are the first and the last closed day that ever came back, for the
    requests that make up rows together: of other days a row may lack that part.
    """

    through: dict[bytes, date] = field(default_factory=dict)
    quiet: set[bytes] = field(default_factory=set)
    since: dict[bytes, date] = field(default_factory=dict)
    ahead: dict[bytes, list[Span]] = field(default_factory=lambda: defaultdict(list))
    first: dict[bytes, date] = field(default_factory=dict)
    newest: dict[bytes, date] = field(default_factory=dict)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Cursors":
        """Unpack what `to_state` packed; an empty mapping gives empty cursors."""
        quiet = _ungrouped(state.get("quiet", {}))
        through = _ungrouped(state.get("through", {})) | quiet
        usual = state.get("usually_since")
        since = dict.fromkeys(through, date.fromisoformat(usual)) if usual else {}
        since |= _ungrouped(state.get("since", {}))
        first, newest = (_ungrouped(state.get(name, {})) for name in ("first", "newest"))
        return cls(through, set(quiet), since, first=first, newest=newest)

    def to_state(self) -> dict[str, Any]:
        """A JSON-able dict, `{"through": {day: hashes}, "quiet": …, …}`; these two hold an entity once.

        Beside it `usually_since`, the day since which most of these are loaded, and `since`: {day: hashes} of the rest.
        """
        usual = self._usually_since()
        return {
            "through": _grouped({entity: day for entity, day in self.through.items() if entity not in self.quiet}),
            "quiet": _grouped({entity: day for entity, day in self.through.items() if entity in self.quiet}),
            "since": _grouped({e: day for e, day in self.since.items() if day != usual or e not in self.through}),
            "usually_since": usual.isoformat() if usual else None,
            "first": _grouped(self.first),
            "newest": _grouped(self.newest),
        }

    def _usually_since(self) -> date | None:
        days = Counter(day for entity, day in self.since.items() if entity in self.through)
        return max(days, key=lambda day: (days[day], day), default=None)

    def get(self, entity: str) -> date | None:
        """The last day up to which `entity` is loaded, or None."""
        return self.through.get(entity_hash(entity))

    def loaded_since(self, entity: str) -> date | None:
        """The day from which on `entity` is loaded up to its cursor (or by the days of another time zone), or None."""
        return self.since.get(entity_hash(entity))

    def first_day(self, entity: str) -> date | None:
        """The first day that ever came back of `entity`, or None if none did or nobody noted it."""
        return self.first.get(entity_hash(entity))

    def newest_day(self, entity: str) -> date | None:
        """The last closed day that ever came back of `entity`, or None if none did or nobody noted it."""
        return self.newest.get(entity_hash(entity))

    def came(self, entity: str, days: Span) -> None:
        """Note that `days` of `entity` came back, closed ones: it has begun by the first."""
        key = entity_hash(entity)
        self.first[key] = min(days.first, self.first.get(key, days.first))
        self.newest[key] = max(days.last, self.newest.get(key, days.last))

    def remember(self, earlier: "Cursors") -> None:
        """Take over between which days figures ever came back, by what others have seen."""
        for key, day in earlier.first.items():
            self.first[key] = min(day, self.first.get(key, day))
        for key, day in earlier.newest.items():
            self.newest[key] = max(day, self.newest.get(key, day))

    def outdated(self) -> "Cursors":
        """What is left of these cursors once days are those of another time zone."""
        return Cursors(since=dict(self.since))

    def is_quiet(self, entity: str) -> bool:
        """Whether all figures of `entity` were zero for longer than the lookback when it was last asked."""
        return entity_hash(entity) in self.quiet

    def mark_quiet(self, entity: str, quiet: bool) -> None:
        """Remember whether the figures of `entity` have stopped."""
        (self.quiet.add if quiet else self.quiet.discard)(entity_hash(entity))

    def start(self, entity: str, first: date, since: date | None = None) -> None:
        """Give `entity` a cursor on the day before `first`, from where `advance` moves it; one that it has stays.

        `since` is the day from which on the entity counts as loaded (None: `first`). It is earlier than `first` if
        the entity began no earlier than on `first`: it has no figures of the days between.
        """
        key = entity_hash(entity)
        if key not in self.through:
            self.through[key] = first - ONE_DAY
            self.since[key] = since or first

    def extend(self, entity: str, since: date) -> None:
        """Say that `entity` is now loaded from `since` on."""
        self.since[entity_hash(entity)] = since

    def advance(self, entity: str, loaded: Span) -> None:
        """Move the cursor of `entity` to the end of `loaded` (closed days) if no day between them is missing."""
        key = entity_hash(entity)
        waiting = sorted([*self.ahead.pop(key, []), loaded])
        cursor = self.through[key]
        while waiting and waiting[0].first <= cursor + ONE_DAY:
            cursor = max(cursor, waiting.pop(0).last)
        self.through[key] = cursor
        if waiting:
            self.ahead[key] = waiting


def _grouped(through: Mapping[bytes, date]) -> dict[str, str]:
    groups: dict[date, list[bytes]] = defaultdict(list)
    for entity, day in through.items():
        groups[day].append(entity)
    return {day.isoformat(): b64encode(b"".join(sorted(groups[day]))).decode() for day in sorted(groups)}


def _ungrouped(groups: Mapping[str, str]) -> dict[bytes, date]:
    return {
        raw[at : at + _HASH_BYTES]: date.fromisoformat(day)
        for day, raw in ((day, b64decode(packed)) for day, packed in groups.items())
        for at in range(0, len(raw), _HASH_BYTES)
    }
