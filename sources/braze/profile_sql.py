# ruff: noqa: S608 - names and literals come from the declarations, or are quoted by `_name` and `_literal`
"""The SQL that cuts profiles into tables, generated from `profile_tables`: strings in, strings out.

DuckDB reads each line of an export into `profiles` (one row per profile, nested lists still nested) and from
there into one query per table. Every scalar is read as text and cast with `try_cast`, since Braze promises no
types: what does not fit becomes null. Text loses NUL characters, which no warehouse takes, and is null
instead of empty; in a key it is shortened, if it is longer than an index takes. JSON that not every warehouse takes
becomes a JSON text.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sources.braze.model import ALL, TOMBSTONE, Column, Table, Type
from sources.braze.pii import Action, PiiRules
from sources.braze.profile_tables import (
    CUSTOM_ATTRIBUTES,
    PROFILE_LISTS,
    USER_CUSTOM_ATTRIBUTES,
    USERS,
    ProfileRows,
)

UNNAMED = "(unnamed)"
"""Stands for a custom attribute's name that is empty, since no key is ever empty."""

SEQ = "_seq"
"""Column of `lines` and `profiles`: the number of the line, from 0. No profile field is called like it."""

KEY_HASH = "key_hash"
"""Column of the queries whose rows may have a key twice: no two rows of one key differ in it."""

_SQL_TYPES = {
    Type.TEXT: "VARCHAR",
    Type.BIGINT: "BIGINT",
    Type.DOUBLE: "DOUBLE",
    Type.BOOL: "BOOLEAN",
    Type.DATE: "DATE",
    Type.TIMESTAMP: "TIMESTAMPTZ",
    Type.JSON: "VARCHAR",
}

_DEEPEST = 200
"""So many lists and objects may be within each other: Postgres and many readers of JSON give up at some depth."""


def _nested(depth: int) -> str:
    """The pattern of brackets that are in each other up to that depth."""
    pattern = ""
    for _ in range(depth):
        pattern = rf"(?:\[{pattern}\])*"
    return pattern


MACROS = (
    # The pattern leaves brackets alone: what is in quotes is matched first. Few values have so many of them.
    "CREATE OR REPLACE TEMP MACRO too_deep(value) AS"
    f" strlen(value) - strlen(replace(replace(value, '[', ''), '{{', '')) > {_DEEPEST}"
    r""" AND NOT regexp_full_match(translate(regexp_replace(value, '"(?:[^"\\]|\\.)*"|[^\[\]{}]', '', 'g'),"""
    f" '{{}}', '[]'), '{_nested(_DEEPEST)}')",
    # DuckDB reads NaN and numbers of any size: those no warehouse takes as JSON become texts. What is in quotes is
    # matched first, so that it stays; a value that is a text needs no look.
    r"CREATE OR REPLACE TEMP MACRO plain_json(value) AS CASE WHEN regexp_matches(value, '(?i)nan|inf|e[+-]?\d{4}')"
    r""" THEN regexp_replace(value, '(?i)"((?:[^"\\]|\\.)*)"|(-?(?:nan|inf(?:inity)?|\d[\d.]*e[+-]?\d{4,}))', """
    r"""'"\1\2"', 'g') ELSE value END""",
    r"""CREATE OR REPLACE TEMP MACRO json_text(value) AS CASE WHEN starts_with(value, '"') THEN without_nul(value)"""
    f" WHEN strlen(value) > {2 * _DEEPEST} AND (too_deep(value) OR regexp_matches(value, '\\d{{1000}}'))"
    " THEN to_json(without_nul(value))::VARCHAR ELSE plain_json(without_nul(value)) END",
    "CREATE OR REPLACE TEMP MACRO as_json(value) AS nullif(json_text(value), 'null')",
    # The pattern keeps "infinity" and "epoch" out; the second cast is for offsets such as " +0000", "-5:00".
    "CREATE OR REPLACE TEMP MACRO any_instant(value) AS CASE WHEN value LIKE '____-__-__%' THEN"
    " coalesce(try_cast(value AS TIMESTAMPTZ), try_cast(regexp_replace(regexp_replace("
    r"value, ' ?([+-])(\d):?(\d\d)$', '\10\2:\3'), ' ?([+-])(\d\d):?(\d\d)$', '\1\2:\3') AS TIMESTAMPTZ)) END",
    # What is in years that Postgres or Python does not know begins or ends like this: "0044-03-15 (BC)".
    "CREATE OR REPLACE TEMP MACRO is_odd(value) AS"
    " value < '0001-01-03' OR value > '9999-12-3' OR ends_with(value, ')')",
    "CREATE OR REPLACE TEMP MACRO as_instant(value) AS CASE WHEN is_odd(value) THEN"
    " CASE WHEN any_instant(value) BETWEEN '0001-01-01 00:00:00Z'::TIMESTAMPTZ"
    " AND '9999-12-31 23:59:59.999999Z'::TIMESTAMPTZ THEN any_instant(value) END ELSE any_instant(value) END",
    "CREATE OR REPLACE TEMP MACRO any_date(value) AS"
    " CASE WHEN value LIKE '____-__-__%' THEN try_cast(value AS DATE) END",
    "CREATE OR REPLACE TEMP MACRO as_date(value) AS CASE WHEN any_date(value)"
    " BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN any_date(value) END",
    # What has decimals DuckDB would round.
    r"CREATE OR REPLACE TEMP MACRO as_bigint(value) AS CASE WHEN NOT contains(value, '.') AND NOT contains(value, 'e-')"
    r" OR regexp_full_match(value, '-?\d+\.0*') THEN try_cast(value AS BIGINT) END",
    # Postgres takes 2,700 bytes into an index, with all columns of a key.
    "CREATE OR REPLACE TEMP MACRO as_key(value) AS CASE WHEN strlen(value) > 255 AND length(value) > 255"
    " THEN left(value, 220) || '…' || md5(value) ELSE value END",
    r"CREATE OR REPLACE TEMP MACRO as_id(value) AS CASE WHEN strlen(value) <= 255 AND value NOT IN ('true', 'false')"
    r" AND regexp_matches(value, '^\s*[^\s{\[]') THEN value END",
    "CREATE OR REPLACE TEMP MACRO as_double(value) AS"
    " CASE WHEN isfinite(try_cast(value AS DOUBLE)) THEN try_cast(value AS DOUBLE) END",
)
"""What a connection must run before the statements below; `install_hmac` as well where a rule hashes."""

TEXT_MACROS = (
    "CREATE OR REPLACE TEMP MACRO as_text(value) AS nullif(value, '')",
    "CREATE OR REPLACE TEMP MACRO without_nul(value) AS value",
)
"""What it must run before reading lines without NUL characters."""

NUL_MACROS = (
    "CREATE OR REPLACE TEMP MACRO as_text(value) AS nullif(replace(value, chr(0), ''), '')",
    # An escaped backslash is matched first, so that a "u0000" behind it stays.
    r"CREATE OR REPLACE TEMP MACRO without_nul(value) AS CASE WHEN contains(value, '\u0000')"
    r" THEN regexp_replace(value, '(\\\\)|\\u0000', '\1', 'g') ELSE value END",
)
"""What it must run before reading lines with NUL characters."""

TRUSTING_MACROS = ("CREATE OR REPLACE TEMP MACRO parsed_or_null(value) AS value",)
"""What it must run before reading lines that are all JSON."""

WARY_MACROS = ("CREATE OR REPLACE TEMP MACRO parsed_or_null(value) AS TRY(value)",)
"""What it must run before reading other lines: TRY takes a quarter of the time of what it guards."""

HAS_NUL = r"SELECT coalesce(bool_or(contains(line, '\u0000')), false) FROM lines"
"""Whether there are NUL characters in `lines`: JSON allows them as escapes only."""

LIST_FIELDS = tuple(dict.fromkeys(rows.field for rows in PROFILE_LISTS))
KNOWN_FIELDS = frozenset({*(column.name for column in USERS.columns), *LIST_FIELDS, CUSTOM_ATTRIBUTES})

TOP_LEVEL_KEYS = "SELECT DISTINCT unnest(parsed_or_null(json_keys(line))) AS name FROM lines"
"""The names of all top-level fields in `lines`; with `TRUSTING_MACROS` it fails if a line is no JSON."""

NOT_PROFILES = f"SELECT {SEQ} FROM profiles WHERE braze_id IS NULL ORDER BY {SEQ}"
"""Which lines are not JSON objects with a `braze_id`."""

NEW_PROFILES = (
    f"SELECT max({SEQ}) AS {SEQ} FROM"
    f" (SELECT {SEQ}, braze_id, md5_number(braze_id) AS id FROM profiles WHERE braze_id IS NOT NULL)"
    " ANTI JOIN seen USING (id) GROUP BY braze_id"
)
"""Which lines to keep: each profile once, and not those of earlier groups, which `seen` holds."""

MEMBERS = "SELECT DISTINCT braze_id FROM profiles WHERE braze_id IS NOT NULL"
"""Whose profiles there are, those of earlier groups included."""

REMEMBER = "INSERT INTO seen SELECT md5_number(braze_id) FROM profiles"
REMEMBER_NEWER = "INSERT INTO seen SELECT md5_number(braze_id) FROM newer EXCEPT SELECT id FROM seen"

_UNKNOWN = "Profile field that this version does not know; lists and objects as JSON"
_PLAUSIBLE_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAYBE_OBJECTS = ("user_aliases",)
"""Lists that Braze's field table calls an object: a single one is read as a list of it."""


def profiles_query(rules: PiiRules, unknown: Iterable[str] = ()) -> str:
    """What `profiles` holds: a row per row of `lines`, null where it is not a profile.

    The columns are `SEQ`, those of `users` with the rules applied, and the nested lists as sent. `unknown`
    names further top-level fields to read as text.
    """
    unknown = list(unknown)
    columns = [column for c in USERS.columns for column in _both(c, rules.action(c.name), "parsed", c.name)]
    columns += [f"{_unknown(name, rules.action(name))} AS {_name(name)}" for name in unknown]
    columns += [f"{_list(name)} AS {_name(name)}" for name in LIST_FIELDS]
    columns.append(f"parsed.{_name(CUSTOM_ATTRIBUTES)} AS {_name(CUSTOM_ATTRIBUTES)}")
    shape = _literal(json.dumps(_shape(unknown)))
    return (
        f"SELECT {SEQ}, {', '.join(columns)} FROM "
        f"(SELECT {SEQ}, parsed_or_null(json_transform(line, {shape})) AS parsed FROM lines)"
    )


def is_unknown_field(name: str) -> bool:
    """Whether a top-level key is a field that this version does not know, rather than free text."""
    return name not in KNOWN_FIELDS and _PLAUSIBLE_FIELD.fullmatch(name) is not None


def filled_counts(unknown: Iterable[str]) -> str:
    """One row: per unknown field, how many of `profiles` have text in it."""
    return f"SELECT {', '.join(f'count({_name(name)})' for name in unknown)} FROM profiles"


def users_query(table: Table) -> str:
    """The rows of `users` from `profiles`."""
    return f"SELECT {', '.join(_name(column.name) for column in table.columns)} FROM profiles"


def rows_query(rows: ProfileRows, rules: PiiRules) -> str:
    """The rows of a nested list's table from `profiles`, and tombstones where due."""
    table = rows.table
    values = [value for column in rows.value_columns for value in _columns(rows, column, rules)]
    if table.history:
        named = " AND ".join(f"{_name(key)} IS NOT NULL" for key in table.key)
        found = f"SELECT braze_id, {', '.join(values)} FROM ({_unnested(rows)})"
        return f"SELECT *, {_key_hash(table)} FROM ({found}) WHERE {named}"
    present = (
        f"SELECT braze_id, position, {', '.join(values)}, NULL::BOOLEAN AS {TOMBSTONE.name}"
        f" FROM ({_unnested(rows)}) WHERE element IS NOT NULL"
    )
    if rules.action(rows.field) is Action.DROP:
        return _tombstones(table, "true", rules)
    return f"{present} UNION ALL BY NAME {_tombstones(table, f'coalesce(list_count({rows.field}), 0) = 0', rules)}"


def attributes_query(rules: PiiRules) -> str:
    """The rows of `user_custom_attributes` from `profiles` with their `place`, and tombstones where due."""
    if rules.action(CUSTOM_ATTRIBUTES) is Action.DROP:
        return (
            f"SELECT *, {_key_hash(USER_CUSTOM_ATTRIBUTES)} FROM ({_tombstones(USER_CUSTOM_ATTRIBUTES, 'true', rules)})"
        )
    dropped = rules.attributes(Action.DROP)
    kept = f"WHERE {_clean('key')} NOT IN ({_literals(dropped)})" if dropped else ""
    hash_value = f"to_json({_hash_of_json('value')})::VARCHAR"
    entries = (
        f"SELECT braze_id, coalesce(as_key(as_text(key)), {_literal(UNNAMED)}) AS name,"
        f" json_text(CASE WHEN {_hashed_attributes(rules)} THEN {hash_value} ELSE value::VARCHAR END) AS value, place"
        f" FROM ({_entries('braze_id', CUSTOM_ATTRIBUTES, 'profiles')}) {kept}"
    )
    present = (
        "SELECT place, braze_id, name, CASE left(value, 1) WHEN '\"' THEN 'string' WHEN '{' THEN 'object'"
        " WHEN '[' THEN 'array' WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean' WHEN 'n' THEN 'null'"
        f" ELSE 'number' END AS type, value, NULL::BOOLEAN AS {TOMBSTONE.name} FROM ({entries})"
    )
    none_left = f"NOT coalesce(starts_with({CUSTOM_ATTRIBUTES}, '{{\"'), false)"
    if dropped:
        keys = f"json_keys({_object(CUSTOM_ATTRIBUTES)})"
        none_left = f"coalesce(len(list_filter({keys}, lambda k: {_clean('k')} NOT IN ({_literals(dropped)}))), 0) = 0"
    both = f"{present} UNION ALL BY NAME {_tombstones(USER_CUSTOM_ATTRIBUTES, none_left, rules)}"
    return f"SELECT *, {_key_hash(USER_CUSTOM_ATTRIBUTES)} FROM ({both})"


def each_key_once(table: Table, newest: str) -> str:
    """`rows` with the newest of each key."""
    columns = ", ".join(_name(column.name) for column in table.columns)
    order = f"PARTITION BY {_key(table)} ORDER BY {_name(newest)} DESC NULLS LAST"
    return f"SELECT {columns} FROM rows QUALIFY row_number() OVER ({order}) = 1"


def loaded_table(table: Table, rules: PiiRules, unknown: Iterable[str] = ()) -> Table:
    """The table as it is loaded under the rules: hashes that a column cannot hold, and unknown fields, are columns."""
    hashed = _hashed_columns(table, rules)
    columns = [replace(c, description=f"{c.description} Hashed.") if c.name in hashed else c for c in table.columns]
    more = [Column(_variant(c), Type.TEXT, f"{c.description} Hashed.") for c in columns if _beside(c, hashed)]
    more += [Column(name, Type.TEXT, _UNKNOWN) for name in unknown]
    return replace(table, columns=(*columns, *more))


def _beside(column: Column, hashed: Collection[str]) -> bool:
    """Whether the column's values are hashed, and it cannot hold a hash."""
    return column.name in hashed and column.type is not Type.TEXT


def _variant(column: Column) -> str:
    """The column that holds what `column` cannot."""
    return f"{column.name}__v_text"


def _key_hash(table: Table) -> str:
    return f"hash({_key(table)}) AS {KEY_HASH}"


def _key(table: Table) -> str:
    return ", ".join(_name(name) for name in table.key)


def _hashed_columns(table: Table, rules: PiiRules) -> Collection[str]:
    if table.name == USERS.name:
        return {c.name for c in table.columns if rules.action(c.name) is Action.HASH}
    rows = next((rows for rows in PROFILE_LISTS if rows.table.name == table.name), None)
    nested = {c.name for c in rows.value_columns if _is_hashed(rows, c, rules)} if rows else set()
    return nested | ({"braze_id"} if rules.action("braze_id") is Action.HASH else set())


def _is_hashed(rows: ProfileRows, column: Column, rules: PiiRules) -> bool:
    return any(rules.action(f"{rows.field}.{path}") is Action.HASH for path in rows.sources(column.name))


def _shape(unknown: Iterable[str]) -> dict[str, Any]:
    """What `json_transform` is to read from a line."""
    shape: dict[str, Any] = {c.name: "JSON" if c.type is Type.JSON else "VARCHAR" for c in USERS.columns}
    shape |= dict.fromkeys(unknown, "JSON")
    shape |= {name: "JSON" if name in _MAYBE_OBJECTS else [_element_shape(name)] for name in LIST_FIELDS}
    return shape | {CUSTOM_ATTRIBUTES: "JSON"}


def _element_shape(list_field: str) -> dict[str, Any]:
    shape: dict[str, Any] = {}
    for rows in PROFILE_LISTS:
        if rows.field != list_field:
            continue
        for path in (path for column in rows.value_columns for path in rows.sources(column.name)):
            first, _, rest = path.partition(".")
            if not rest:
                shape[first] = "VARCHAR"
            elif first == rows.entries:
                shape[first] = "JSON"
            elif first == rows.inner:
                shape.setdefault(first, [{}])[0][rest] = "VARCHAR"
            else:
                shape.setdefault(first, {})[rest] = "VARCHAR"
    return shape


def _list(list_field: str) -> str:
    if list_field not in _MAYBE_OBJECTS:
        return f"parsed.{_name(list_field)}"
    raw = f"parsed.{_name(list_field)}"
    as_list = f"CASE WHEN json_type({raw}) = 'OBJECT' THEN '[' || {raw} || ']' ELSE {raw} END"
    return f"json_transform({as_list}, {_literal(json.dumps([_element_shape(list_field)]))})"


def _unnested(rows: ProfileRows) -> str:
    """A query with a row per element: braze_id, element, and position, inner_element or key, value."""
    position = "" if rows.table.history else f", generate_subscripts({rows.field}, 1) - 1 AS position"
    elements = f"SELECT braze_id, unnest({rows.field}) AS element{position} FROM profiles"
    if rows.inner:
        return f"SELECT braze_id, element, unnest(element.{rows.inner}) AS inner_element FROM ({elements})"
    if rows.entries:
        return _entries("braze_id, element", f"element.{rows.entries}", f"({elements})", "->>")
    return elements


def _entries(columns: str, json: str, source: str, operator: str = "->") -> str:
    """A query with a row per entry of a JSON object: the columns, key, value, and place, from 1."""
    # Several times faster than `json_each`.
    return (
        f"SELECT {columns}, unnest(json_keys(entries)) AS key, unnest(entries {operator} '$.*') AS value,"
        " generate_subscripts(json_keys(entries), 1) AS place"
        f" FROM (SELECT {columns}, {_object(json)} AS entries FROM {source})"
    )


def _object(json: str) -> str:
    """JSON that `json_transform` wrote, null if it is no object."""
    return f"CASE WHEN starts_with({json}, '{{') THEN {json} END"


def _columns(rows: ProfileRows, column: Column, rules: PiiRules) -> list[str]:
    if _is_hashed(rows, column, rules) and column.type is not Type.TEXT:
        (path,) = rows.sources(column.name)
        return _both(column, Action.HASH, *_place(rows, path))
    found = [
        _value(*_place(rows, path), column, rules.action(f"{rows.field}.{path}")) for path in rows.sources(column.name)
    ]
    value = f"coalesce({', '.join(found)})"
    return [f"{f'as_key({value})' if column.name in rows.table.key else value} AS {_name(column.name)}"]


def _both(column: Column, action: Action | None, struct: str, name: str) -> list[str]:
    """A field as its column, and the hash of one that its column cannot hold as another."""
    value = _value(struct, name, column, action)
    if action is Action.HASH and column.type is not Type.TEXT:
        return [f"NULL::{_SQL_TYPES[column.type]} AS {_name(column.name)}", f"{value} AS {_name(_variant(column))}"]
    return [f"{value} AS {_name(column.name)}"]


def _place(rows: ProfileRows, path: str) -> tuple[str, str]:
    """The SQL of the struct that holds the path, and the field's name in it."""
    first, _, rest = path.partition(".")
    if not rest:
        return "element", path
    if first == rows.inner:
        return "inner_element", rest
    if first == rows.entries:
        return "", rest
    return f"element.{_name(first)}", rest


def _value(struct: str, name: str, column: Column, action: Action | None) -> str:
    """A field as its column's type, with the rule applied."""
    if action is Action.DROP:
        return f"NULL::{_SQL_TYPES[column.type]}"
    raw = f"{struct}.{_name(name)}" if struct else _name(name)
    if (struct, name) == ("parsed", "braze_id"):
        raw = f"as_id(as_text({raw}))"
    if action is Action.HASH:
        return f"pii_hash(as_text({raw}::VARCHAR))"
    return _typed(raw, column.type)


def _typed(raw: str, kind: Type) -> str:
    match kind:
        case Type.TEXT:
            return f"as_text({raw})"
        case Type.JSON:
            return f"as_json({raw}::VARCHAR)"
        case Type.TIMESTAMP:
            return f"as_instant({raw})"
        case Type.DATE:
            return f"as_date({raw})"
        case Type.DOUBLE:
            return f"as_double({raw})"
        case Type.BIGINT:
            return f"as_bigint({raw})"
        case _:
            return f"try_cast({raw} AS {_SQL_TYPES[kind]})"


def _unknown(name: str, action: Action | None) -> str:
    """A top-level field that this version does not know: text as such, lists and objects as JSON."""
    if action is Action.DROP:
        return "NULL::VARCHAR"
    value = f"as_text(parsed.{_name(name)} ->> '$')"
    return f"pii_hash({value})" if action is Action.HASH else value


def _tombstones(table: Table, condition: str, rules: PiiRules) -> str:
    """A row for each profile that has none in the table; keys beyond the profile's are filled, never null."""
    values = []
    for column in loaded_table(table, rules).columns:
        if column.name == "braze_id":
            value = "braze_id"
        elif column.name == TOMBSTONE.name:
            value = "true"
        elif column.name in table.key:
            value = "-1" if column.type is Type.BIGINT else _literal(ALL)
        else:
            value = f"NULL::{_SQL_TYPES[column.type]}"
        values.append(f"{value} AS {_name(column.name)}")
    return f"SELECT {', '.join(values)} FROM profiles WHERE {condition}"


def _hashed_attributes(rules: PiiRules) -> str:
    """The condition under which an attribute's value is hashed."""
    if rules.action(CUSTOM_ATTRIBUTES) is Action.HASH:
        return "value::VARCHAR <> 'null'"
    names = rules.attributes(Action.HASH)
    return f"{_clean('key')} IN ({_literals(names)}) AND value::VARCHAR <> 'null'" if names else "false"


def _clean(key: str) -> str:
    """An attribute's name as it is loaded, but empty if it has none: rules go by that, too."""
    return f"coalesce(as_text({key}), '')"


def _hash_of_json(value: str) -> str:
    return f"pii_hash(replace({value} ->> '$', chr(0), ''))"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(_literal(text) for text in texts)
