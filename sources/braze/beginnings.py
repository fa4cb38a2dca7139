"""Since when an entity is loaded and where its figures begin, by the answers to all requests for it. Pure."""

from collections.abc import Mapping
from datetime import date

from sources.braze.windows import ONE_DAY, Span


def loaded_since(since: date, answered: Mapping[Span, object | None]) -> date:
    """The day from which on an entity that was loaded from `since` on is loaded by now: `date.min` if nothing failed.

    What was `answered` (None: it failed) is joined to `since` by the days between; what is older than one that failed
    does not count.
    """
    for span in sorted(answered, reverse=True):
        if span.first < since:
            if answered[span] is None:
                return since
            since = span.first
    return date.min


def late_beginnings(answered: Mapping[Span, set[date] | None], through: date) -> tuple[list[Span], list[Span]]:
    """The closed days, up to `through`, that the answers (oldest first; None: it failed) lack at their beginning.

    Those before the first day that any answer has, and those after it, which are holes. What an answer lacks that
    follows one that failed may be either, and is left for the next run.
    """
    before, holes = [], []
    begun = failed = False
    for span, days in answered.items():
        if days is None:
            failed = True
            continue
        first = min(days, default=None)
        gap = Span(span.first, min(first - ONE_DAY if first else span.last, through))
        if len(gap) and begun:
            holes.append(gap)
        elif len(gap) and not failed:
            before.append(gap)
        begun = begun or first is not None
    return (before if begun else []), holes
