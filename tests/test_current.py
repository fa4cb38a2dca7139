"""What is current in a table that is only appended to: against a model that replaces, load by load."""

from typing import Any

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from destinations.current import Grain, current

GRAIN = Grain(["parent", "child", "value", "_dlt_load_id", "_deleted"], ["parent", "child"], ["parent"], "_deleted")
Rows = list[tuple[Any, ...]]

parents, children = st.integers(0, 2), st.integers(0, 3)
whole = st.tuples(st.just("whole"), parents, st.sets(children))
added = st.tuples(st.just("added"), parents, st.sets(children, min_size=1))
loads = st.lists(st.tuples(st.booleans(), st.lists(st.one_of(whole, added), max_size=3, unique_by=lambda b: b[1])))


def quoted(name: str) -> str:
    return f'"{name}"'


def selected(rows: Rows, completed: list[str], grain: Grain) -> Rows:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE loads (load_id VARCHAR, status BIGINT)")
    connection.executemany("INSERT INTO loads VALUES (?, 0)", [[name] for name in [*completed, "none"]])
    connection.execute("CREATE TABLE t (parent INT, child INT, value INT, _dlt_load_id VARCHAR, _deleted BOOLEAN)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", [*rows, (9, 9, 9, "never", None)])
    return sorted(connection.execute(current("t", "loads", grain, quoted)).fetchall())


@given(loads)
def test_parents_are_replaced_added_to_and_emptied(history: Any) -> None:
    rows: Rows = []
    stored: dict[int, dict[int, int]] = {}
    completed = []
    for number, (complete, brought) in enumerate(history):
        load_id = f"17953{number:05}.5"
        completed += [load_id] if complete else []
        for kind, parent, found in brought:
            mark = False if kind == "added" else None
            new = [(parent, child, number, load_id, mark) for child in sorted(found)]
            rows += new * 2 if complete else new  # a load that was tried again may have been appended twice
            rows += [] if found else [(parent, -1, None, load_id, True)]
            if complete:
                stored[parent] = (stored.get(parent, {}) if kind == "added" else {}) | dict.fromkeys(found, number)
    expected = sorted((parent, child, number) for parent, held in stored.items() for child, number in held.items())
    assert [row[:3] for row in selected(rows, completed, GRAIN)] == expected


@given(st.lists(st.tuples(parents, children), max_size=8))
def test_without_a_parent_a_row_replaces_the_row_of_its_key(keys: list[tuple[int, int]]) -> None:
    rows = [(*key, number, f"17953{number:05}.5", None) for number, key in enumerate(keys)]
    grain = Grain(GRAIN.columns, GRAIN.key)
    newest = {key: number for number, key in enumerate(keys)}
    found = selected(rows, [row[3] for row in rows], grain)
    assert [row[:3] for row in found] == sorted((*key, number) for key, number in newest.items())


def test_without_a_key_every_row_of_a_completed_load_is_current() -> None:
    rows = [(1, 1, 1, "1", None), (1, 1, 1, "1", None), (2, 2, 2, "2", None)]
    assert len(selected(rows, ["1"], Grain(GRAIN.columns, []))) == 2
