"""Answers that all end too early: then the API stands still, and no single entity is at fault."""

from collections import defaultdict

from sources.braze.windows import Span

ENTITIES = 20
"""Entities of one resource that must lack the same latest days before it counts as a standstill."""


class Standstill:
    """The entities of one resource whose latest days are missing, by those days."""

    def __init__(self) -> None:
        self._entities: dict[Span, set[str]] = defaultdict(set)

    def note(self, days: Span, entity_id: str) -> None:
        """Take in that the answer for an entity ends before `days`, also when asked again."""
        self._entities[days].add(entity_id)

    def is_general(self, days: Span) -> bool:
        """Whether so many entities lack just these days that asking for one of them again is in vain."""
        return len(self._entities[days]) >= ENTITIES

    def entities(self) -> list[tuple[Span, list[str]]]:
        """The missing days, each with the entities that lack them."""
        return [(days, sorted(entities)) for days, entities in sorted(self._entities.items())]
