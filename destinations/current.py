"""What is current in a table that is only appended to, as one SELECT over all its rows.

dlt's own columns and marks say it. Rows of loads that were never completed do not count. Of rows with one key, the
newest counts. A load that brought any row of a parent brought all of them, so rows of the parent from earlier loads are
out of date, unless the load only added to them (its rows are marked `false`). A row marked `true` says that its parent
has no rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LOAD = "_dlt_load_id"

_CURRENT = """
SELECT {columns} FROM (
    SELECT *, {ranks}
    FROM {rows}
    WHERE {load} IN (SELECT load_id FROM {loads} WHERE status = 0)
) AS ranked
WHERE {conditions}"""


@dataclass(frozen=True)
class Grain:
    """A table's columns, those that identify a row, those of its parent, and the one that marks removals."""

    columns: Sequence[str]
    key: Sequence[str]
    parent: Sequence[str] = ()
    mark: str | None = None

    @classmethod
    def of(cls, columns: Mapping[str, Mapping[str, Any]]) -> "Grain":
        """The grain that the hints of a dlt table's columns declare."""

        def hinted(hint: str) -> list[str]:
            return [name for name, column in columns.items() if column.get(hint)]

        return cls(list(columns), hinted("primary_key"), hinted("merge_key"), next(iter(hinted("hard_delete")), None))


def current(rows: str, loads: str, grain: Grain, quote: Callable[[str], str]) -> str:
    """The SELECT of the current rows of `rows`, an SQL expression after FROM; `loads` is dlt's table of loads.

    A table without a key has no rows that replace others: all of completed loads are current.
    """
    load, ranks, conditions = quote(LOAD), ["1 AS _one"], ["_one = 1"]
    if grain.key:
        ranks = [f"row_number() OVER (PARTITION BY {_list(grain.key, quote)} ORDER BY {load} DESC) AS _newest_of_key"]
        conditions = ["_newest_of_key = 1"]
    if grain.parent:
        whole = f"CASE WHEN {quote(grain.mark)} IS NULL OR {quote(grain.mark)} THEN {load} END" if grain.mark else load
        ranks.append(f"max({whole}) OVER (PARTITION BY {_list(grain.parent, quote)}) AS _replaced_by")
        conditions.append(f"(_replaced_by IS NULL OR {load} >= _replaced_by)")
    if grain.mark:
        conditions.append(f"({quote(grain.mark)} IS NULL OR NOT {quote(grain.mark)})")
    return _CURRENT.format(
        columns=_list(grain.columns, quote),
        ranks=",\n        ".join(ranks),
        rows=rows,
        loads=loads,
        load=load,
        conditions="\n    AND ".join(conditions),
    ).strip()


def _list(names: Sequence[str], quote: Callable[[str], str]) -> str:
    return ", ".join(map(quote, names))
