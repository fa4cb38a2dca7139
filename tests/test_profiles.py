"""Profiles into tables: where each field lands, what odd ones become, and that they fit into memory."""

import gzip
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.braze import profiles
from sources.braze.model import Type
from sources.braze.pii import pii_rules
from sources.braze.profile_tables import USER_TABLES
from sources.braze.profiles import ProfileShredder

SECRET = "+49 1511 000"


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def shred(folder, *files, rules=None, fields=None):
    """All rows by table, sorted, with the groups they came in."""
    tables = {}
    with ProfileShredder(folder / "work", rules, fields) as shredder:
        groups = list(shredder.groups(files))
    for group in groups:
        for table, rows in group.tables:
            tables.setdefault(table.name, []).extend(rows.to_pylist())
    return {name: sorted(rows, key=repr) for name, rows in tables.items()}, groups


FULL = {
    "braze_id": "b1",
    "appboy_id": "b1",
    "external_id": "00000017",
    "created_at": "2020-07-10 15:00:00.000 UTC",
    "uninstalled_at": "2021-07-07T20:45:24.000+02:00",
    "email": "a@example.com",
    "phone": SECRET,
    "dob": "1980-12-21",
    "total_revenue": 65,
    "random_bucket": 7,
    "last_coordinates": [41.5, -87.25],
    "last_name": "O'Brien\nJr.",
    "first_name": "nul\0",
    "home_city": "",
    "custom_attributes": {
        "a b.c": [1, {"x": None}],
        "phone": SECRET,
        "n": 1.5,
        "none": None,
        "": "",
        "t": True,
    },
    "user_aliases": [{"alias_name": "x", "alias_label": "y"}],
    "devices": [{"model": "m", "idfa": "id-a", "ad_tracking_enabled": False}, {"model": "m"}],
    "push_tokens": [{"token": "tok", "provisionally_opted_in": None}],
    "apps": [{"name": "web", "sessions": "77", "first_used": "2020-06-17T20:01:33.385Z"}],
    "cards_clicked": [{"name": "card"}],
    "custom_events": [{"name": "e", "first": "2020-06-17T20:01:33.385Z", "count": 3}],
    "purchases": [{"name": "p", "count": 10}],
    "campaigns_received": [
        {
            "name": "c",
            "api_campaign_id": "c1",
            "engaged": {"opened_email": True},
            "multiple_converted": {"Primary - A": True, "B": False},
        }
    ],
    "canvases_received": [{"api_canvas_id": "v1", "steps_received": [{"api_canvas_step_id": "s1"}, {"name": "no id"}]}],
}


def test_every_field_lands_where_it_belongs(tmp_path):
    tables, _ = shred(tmp_path, write(tmp_path / "a", FULL))
    user = tables["users"][0]
    assert user["created_at"] == datetime(2020, 7, 10, 15, tzinfo=UTC)
    assert user["uninstalled_at"] == datetime(2021, 7, 7, 18, 45, 24, tzinfo=UTC)
    assert (user["external_id"], user["total_revenue"], user["home_city"]) == ("00000017", 65.0, None)
    assert (user["first_name"], user["last_name"]) == ("nul", "O'Brien\nJr.")
    assert json.loads(user["last_coordinates"]) == [41.5, -87.25]
    assert [(a["name"], a["type"], json.loads(a["value"])) for a in tables["user_custom_attributes"]] == sorted(
        [
            ("a b.c", "array", [1, {"x": None}]),
            ("phone", "string", SECRET),
            ("n", "number", 1.5),
            ("none", "null", None),
            ("(unnamed)", "string", ""),
            ("t", "boolean", True),
        ]
    )
    assert [d["position"] for d in tables["user_devices"]] == [0, 1]
    assert tables["user_apps"][0]["sessions"] == 77
    assert tables["user_campaigns_received"][0]["opened_email"] is True
    assert [(c["conversion_event"], c["converted"]) for c in tables["user_campaign_conversions"]] == [
        ("B", False),
        ("Primary - A", True),
    ]
    assert [s["api_canvas_step_id"] for s in tables["user_canvas_steps_received"]] == ["no id", "s1"]
    assert all(tables.values())


def test_a_profile_without_rows_leaves_a_tombstone_in_replaced_tables_only(tmp_path):
    tables, _ = shred(tmp_path, write(tmp_path / "a", {"braze_id": "b"}, {"braze_id": "c", "devices": [None]}))
    replaced = {table.name for table in USER_TABLES if table.parent == ("braze_id",)}
    assert {name for name, rows in tables.items() if rows} == replaced | {"users"}
    assert {(row["braze_id"], row["_deleted"]) for row in tables["user_devices"]} == {
        ("b", True),
        ("c", True),
    }


def test_tables_of_fields_that_were_not_asked_for_are_left_alone(tmp_path):
    tables, _ = shred(tmp_path, write(tmp_path / "a", FULL), fields=["braze_id", "devices", "custom_attributes.n"])
    assert set(tables) == {"users", "user_devices", "user_custom_attributes"}


def test_unknown_fields_become_columns_and_free_text_does_not(tmp_path):
    rows = [{"braze_id": "a", "new_flag": True, "Free text!": "x", "new_list": [1, {"a": "b"}]}, {"braze_id": "b"}]
    tables, _ = shred(tmp_path, write(tmp_path / "a", *rows))
    assert [row["new_flag"] for row in tables["users"]] == ["true", None]
    assert [json.loads(row["new_list"] or "null") for row in tables["users"]] == [[1, {"a": "b"}], None]
    assert "Free text!" not in tables["users"][0]


def test_what_is_no_json_number_becomes_a_text(tmp_path):
    attributes = r'{"x":NaN,"y":{"nan\"NaN":-Infinity,"k":[1e400,"Infinity NaN \\"]},"Nancy":"infer","n":1.5}'
    (tmp_path / "a").write_text(f'{{"braze_id":"a","custom_attributes":{attributes},"last_coordinates":[NaN,2]}}')
    tables, _ = shred(tmp_path, tmp_path / "a")
    found = {
        row["name"]: (row["type"], json.loads(row["value"], parse_constant=pytest.fail))
        for row in tables["user_custom_attributes"]
    }
    assert {name: kind for name, (kind, _) in found.items()} == {
        "x": "string",
        "y": "object",
        "Nancy": "string",
        "n": "number",
    }
    assert found["y"][1]["k"][1] == "Infinity NaN \\"
    assert set(found["y"][1]) == {'nan"NaN', "k"}
    assert (found["Nancy"][1], found["n"][1]) == ("infer", 1.5)
    assert json.loads(tables["users"][0]["last_coordinates"], parse_constant=pytest.fail)[1] == 2


def test_lines_that_are_no_profiles_are_kept_apart(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b'{"braze_id":"a"}\n{"braze_id":\n\n[1]\n{"email":"x"}\n\xff{}\n{"braze_id":"b"}\r\n"tail')
    tables, (group,) = shred(tmp_path, path)
    assert [row["braze_id"] for row in tables["users"]] == ["a", "b"]
    (bad,) = group.quarantined
    assert (bad.file, bad.numbers) == ("a.txt", (2, 4, 5, 6, 8))
    assert bad.lines[3] == b"\xff{}"
    assert "email" not in repr(bad)


def test_line_numbers_count_per_file_across_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "GROUP_PROFILES", 3)
    monkeypatch.setattr("sources.braze.profile_files._READ", 40)
    for name in "ab":
        (tmp_path / name).write_text("".join(f'{{"braze_id":"{name}{i}"}}\n' for i in range(7)) + "bad\n")
    tables, groups = shred(tmp_path, tmp_path / "a", tmp_path / "b")
    assert len(groups) > 3
    assert len(tables["users"]) == 14
    assert [(q.file, q.numbers) for g in groups for q in g.quarantined] == [("a", (8,)), ("b", (8,))]
    assert [path.name for group in groups for path in group.finished] == ["a", "b"]


def test_a_profile_exported_twice_is_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "GROUP_PROFILES", 2)
    twice = [
        {"braze_id": "a", "email": "old", "apps": [{}, {}]},
        {"braze_id": "a", "email": "new", "apps": [{}]},
    ]
    tables, groups = shred(tmp_path, write(tmp_path / "a", *twice), write(tmp_path / "b", twice[1]))
    assert len(groups) == 2
    assert [row["email"] for row in tables["users"]] == ["new"]
    assert [row["position"] for row in tables["user_apps"]] == [0]
    assert [group.members.to_pylist() for group in groups] == [["a"], ["a"]]


def test_a_profile_that_a_shredder_beside_had_is_a_member_only(tmp_path):
    one, two = write(tmp_path / "one", FULL), write(tmp_path / "two", FULL, {"braze_id": "b2"})
    with ProfileShredder(tmp_path / "w") as first, ProfileShredder(tmp_path / "w", beside=first) as second:
        assert [group.profiles for group in first.groups([one])] == [1]
        (group,) = second.groups([two])
    assert sorted(group.members.to_pylist()) == ["b1", "b2"]
    assert [row["braze_id"] for row in group.tables[0][1].to_pylist()] == ["b2"]


def test_the_newest_of_two_rows_with_one_key_counts(tmp_path):
    events = [{"name": "e", "last": f"2024-01-0{day}T00:00:00Z", "count": day} for day in (1, 3, 2)]
    tables, _ = shred(tmp_path, write(tmp_path / "a", {"braze_id": "a", "custom_events": [*events, {}, None]}))
    assert [row["count"] for row in tables["user_custom_events"]] == [3]


@pytest.mark.parametrize(
    "line",
    [
        '{"braze_id":"a","devices":{"model":"m"},"custom_attributes":[1],"apps":"x","user_aliases":{"alias_name":"n"}}',
        '{"braze_id":"a","braze_id":"a","custom_attributes":{"k":1,"k":2},"created_at":{"$time":"x"},"dob":"soon"}',
        '{"braze_id":"a","custom_attributes":{"k":"x\\u0000","n":1e400},"apps":[1,"x",null,{"sessions":"many"}]}',
        '{"braze_id":"a","random_bucket":99999999999999999999,"last_coordinates":"somewhere"}',
    ],
)
def test_surprising_types_do_not_stop_a_file(tmp_path, line):
    (tmp_path / "a").write_text(line)
    tables, (group,) = shred(tmp_path, tmp_path / "a")
    assert len(tables["users"]) == 1
    assert not group.quarantined
    names = [row["name"] for row in tables["user_custom_attributes"]]
    assert len(names) == len(set(names))
    assert "\\u0000" not in repr([row["value"] for row in tables["user_custom_attributes"]])


def test_a_single_alias_may_come_as_an_object(tmp_path):
    tables, _ = shred(tmp_path, write(tmp_path / "a", {"braze_id": "a", "user_aliases": {"alias_name": "n"}}))
    assert [row["alias_name"] for row in tables["user_aliases"]] == ["n"]


def test_archives_are_told_by_content_and_damage_costs_one_file(tmp_path):
    lines = {name: f'{{"braze_id":"{name}"}}\n'.encode() for name in "zgpxm"}
    with zipfile.ZipFile(tmp_path / "one.gz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/members of any name", lines["z"])
        archive.writestr("second", lines["x"])
        archive.writestr("third.gz", gzip.compress(lines["m"]))
    (tmp_path / "two.zip").write_bytes(gzip.compress(lines["g"]))
    (tmp_path / "three").write_bytes(b"\xef\xbb\xbf" + lines["p"])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines["p"] * 1000)[:-20])
    (tmp_path / "cut.zip").write_bytes((tmp_path / "one.gz").read_bytes()[:-30])
    damaged = bytearray((tmp_path / "one.gz").read_bytes())
    damaged[60] ^= 0xFF
    (tmp_path / "crc.zip").write_bytes(damaged)
    names = ["cut.gz", "cut.zip", "crc.zip", "one.gz", "two.zip", "three"]
    tables, groups = shred(tmp_path, *(tmp_path / name for name in names))
    assert [row["braze_id"] for row in tables["users"]] == sorted("zgpxm")
    assert [next(name for name in names if name in sentence) for g in groups for sentence in g.corrupt] == names[:3]


RULES = {
    "email": "hash",
    "phone": "drop",
    "dob": "hash",
    "braze_id": "hash",
    "devices.idfa": "hash",
    "push_tokens.token": "drop",
    "cards_clicked": "drop",
    "custom_attributes.phone": "hash",
    "custom_attributes.n": "hash",
    "custom_attributes.t": "drop",
}


def test_hashed_and_dropped_values_are_nowhere_in_the_clear(tmp_path):
    rules = pii_rules(RULES, "k" * 100)
    tables, _ = shred(tmp_path, write(tmp_path / "a", FULL), rules=rules)
    attributes = {row["name"]: json.loads(row["value"]) for row in tables["user_custom_attributes"]}
    assert (attributes["phone"], attributes["n"]) == (rules.hashed(SECRET), rules.hashed("1.5"))
    assert "t" not in attributes
    user = tables["users"][0]
    assert user["email"] == rules.hashed("a@example.com")
    assert (user["dob"], user["dob__v_text"]) == (None, rules.hashed("1980-12-21"))
    assert {row["braze_id"] for rows in tables.values() for row in rows} == {rules.hashed("b1")}
    assert user["appboy_id"] == rules.hashed("b1")
    assert tables["user_devices"][0]["idfa"] == rules.hashed("id-a")
    assert [row["_deleted"] for row in tables["user_cards_clicked"]] == [True]
    for value in (SECRET, "a@example.com", "'b1'", "id-a", "tok'", "1980", "'card'"):
        assert value not in repr(tables)


def test_rules_go_by_the_names_that_attributes_get(tmp_path):
    rules = pii_rules({"custom_attributes.phone": "drop", "custom_attributes.mail": "hash"}, "key")
    exported = [
        {"braze_id": "a", "custom_attributes": {"phone\0": SECRET, "\0phone": SECRET, "ma\0il": SECRET, "": 1}},
        {"braze_id": "b", "custom_attributes": {"ph\0one": SECRET}},
    ]
    tables, _ = shred(tmp_path, write(tmp_path / "a", *exported), rules=rules)
    rows = [(row["braze_id"], row["name"], row["value"]) for row in tables["user_custom_attributes"]]
    hashed = json.dumps(rules.hashed(SECRET))
    assert rows == [("a", "(unnamed)", "1"), ("a", "mail", hashed), ("b", "*", None)]


def test_types_and_keys_are_as_declared(tmp_path):
    with ProfileShredder(tmp_path / "work") as shredder:
        (group,) = shredder.groups([write(tmp_path / "a", FULL, {"braze_id": "z"})])
    for table, rows in group.tables:
        assert rows.schema.names == [column.name for column in table.columns]
        for key in table.key:
            assert not rows.schema.field(key).nullable
            assert all(value not in (None, "") for value in rows.column(key).to_pylist())
        assert len({tuple(row[key] for key in table.key) for row in rows.to_pylist()}) == rows.num_rows


def test_every_table_and_column_is_described():
    for table in USER_TABLES:
        assert table.description
        assert set(table.key) <= {column.name for column in table.columns}
        assert all(column.description and column.name == column.name.lower() for column in table.columns)
        assert all(table.column(key).type in (Type.TEXT, Type.BIGINT) for key in table.key)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9).map(lambda x: round(x, 3)) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PROFILE = st.fixed_dictionaries(
    {"braze_id": st.sampled_from(["a", "b", "ü", "d"])},
    optional={
        "email": st.none() | TEXT,
        "random_bucket": st.none() | st.integers(0, 9999) | st.integers(0, 9999).map(str),
        "custom_attributes": st.none() | st.dictionaries(TEXT, JSON_VALUE, max_size=5),
        "devices": st.none()
        | st.lists(
            st.none()
            | st.fixed_dictionaries(
                {}, optional={"model": st.none() | TEXT, "ad_tracking_enabled": st.none() | st.booleans()}
            ),
            max_size=3,
        ),
        "custom_events": st.lists(
            st.fixed_dictionaries({"name": st.none() | TEXT, "count": st.integers(0, 9)}),
            max_size=3,
            unique_by=lambda event: clean(event["name"]),
        ),
    },
)


def clean(text):
    return text.replace("\0", "") or None if isinstance(text, str) else text


def stripped(value):
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if isinstance(value, dict):
        return {stripped(key): stripped(item) for key, item in value.items()}
    return value


NAMES = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


def reference(exported):
    """The same tables, a profile at a time."""
    users, attributes, devices, events = [], [], [], []
    for profile in {profile["braze_id"]: profile for profile in exported}.values():
        key = profile["braze_id"]
        bucket = profile.get("random_bucket")
        users.append((key, clean(profile.get("email")), None if bucket is None else int(bucket)))
        named = {clean(k) or "(unnamed)": v for k, v in (profile.get("custom_attributes") or {}).items()}
        attributes += [(key, k, NAMES.get(type(v), "object"), stripped(v), None) for k, v in named.items()]
        attributes += [] if named else [(key, "*", None, None, True)]
        found = [
            (key, place, clean(device.get("model")), device.get("ad_tracking_enabled"), None)
            for place, device in enumerate(profile.get("devices") or [])
            if device is not None
        ]
        devices += found or [(key, -1, None, None, True)]
        listed = profile.get("custom_events", [])
        events += [(key, clean(event["name"]), event["count"]) for event in listed if clean(event["name"])]
    return [sorted(rows, key=repr) for rows in (users, attributes, devices, events)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exported=st.lists(PROFILE, min_size=1, max_size=20))
def test_the_sql_equals_a_python_reference(tmp_path, exported):
    tables, (group,) = shred(tmp_path, write(tmp_path / "a", *exported))
    assert not group.quarantined
    picked = [
        [(r["braze_id"], r["email"], r["random_bucket"]) for r in tables["users"]],
        [
            (r["braze_id"], r["name"], r["type"], r["value"] and json.loads(r["value"]), r["_deleted"])
            for r in tables["user_custom_attributes"]
        ],
        [
            (r["braze_id"], r["position"], r["model"], r["ad_tracking_enabled"], r["_deleted"])
            for r in tables["user_devices"]
        ],
        [(r["braze_id"], r["name"], r["count"]) for r in tables["user_custom_events"]],
    ]
    assert [sorted(rows, key=repr) for rows in picked] == reference(exported)


def test_dates_that_no_warehouse_or_reader_knows_are_null(tmp_path):
    odd = ["0000-12-21", "0044-03-15 (BC)", "0001-01-01 BC", "10000-01-01"]
    shifted = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-01:00"]
    kept = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    exported = [{"braze_id": str(place), "dob": day} for place, day in enumerate([*odd, "0001-01-01", "9999-12-31"])]
    exported += [{"braze_id": f"i{place}", "created_at": at} for place, at in enumerate([*odd, *shifted, *kept])]
    tables, _ = shred(tmp_path, write(tmp_path / "a", *exported))
    assert [str(row["dob"]) for row in tables["users"] if row["dob"]] == ["0001-01-01", "9999-12-31"]
    instants = [row["created_at"].isoformat() for row in tables["users"] if row["created_at"]]
    assert instants == ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"]


def test_json_that_not_every_warehouse_takes_becomes_a_text(tmp_path):
    deep = ['{"a":[' * 10_000 + "]}" * 10_000, "[" * 201 + "]" * 201]
    fine = ["[" * 200 + "]" * 200, "[" + ",".join(['{"k":"]]}["}'] * 400) + "]"]
    numbers = ["1e200000", "-1.5E+1000", "9" * 200_000]
    values = ",".join(f'"{place}":{value}' for place, value in enumerate([*deep, *numbers, *fine]))
    (tmp_path / "a").write_text(f'{{"braze_id":"a","last_coordinates":[1e200000,2],"custom_attributes":{{{values}}}}}')
    tables, _ = shred(tmp_path, tmp_path / "a")
    rows = tables["user_custom_attributes"]
    assert [(row["type"], json.loads(row["value"])) for row in rows[:5]] == [("string", v) for v in [*deep, *numbers]]
    assert [(row["type"], row["value"]) for row in rows[5:]] == [("array", value) for value in fine]
    assert json.loads(tables["users"][0]["last_coordinates"]) == ["1e200000", 2]


def test_a_key_is_as_long_as_an_index_takes(tmp_path):
    long, longer = "é" * 255, "é" * 9_000
    profile = {
        "braze_id": "a",
        "custom_attributes": {long: 1, longer: 2, longer + "x": 3},
        "custom_events": [{"name": long}, {"name": longer}, {"name": longer + "x"}],
    }
    tables, _ = shred(tmp_path, write(tmp_path / "a", profile))
    for table in ("user_custom_attributes", "user_custom_events"):
        names = {row["name"] for row in tables[table]}
        assert len(names) == 3
        assert long in names
        assert max(map(len, names)) == 255


@pytest.mark.parametrize("braze_id", [{"$oid": "x"}, ["x"], True, " \t", "", None, "x" * 300])
def test_what_is_no_id_makes_no_profile(tmp_path, braze_id):
    tables, (group,) = shred(tmp_path, write(tmp_path / "a", {"braze_id": braze_id}))
    assert not tables["users"]
    assert [quarantined.numbers for quarantined in group.quarantined] == [(1,)]


def test_a_field_may_be_called_like_anything(tmp_path):
    names = ["seq", "line", "parsed", "id", "name", "element", "position", "place", "key", "value", "entries", "lines"]
    exported = [{"braze_id": f"b{place}", "devices": [{}]} | dict.fromkeys(names, "x") for place in range(2)]
    tables, (group,) = shred(tmp_path, write(tmp_path / "a", *exported, "bad"))
    assert [[row[name] for name in names] for row in tables["users"]] == [["x"] * len(names)] * 2
    assert [quarantined.numbers for quarantined in group.quarantined] == [(3,)]


def test_a_whole_number_is_not_rounded(tmp_path):
    counts = [1.6, "2.5", 3.0, "4.0", 5, -6, 1e-7]
    events = [{"name": f"e{place}", "count": count} for place, count in enumerate(counts)]
    tables, _ = shred(tmp_path, write(tmp_path / "a", {"braze_id": "a", "custom_events": events}))
    assert [row["count"] for row in tables["user_custom_events"]] == [None, None, 3, 4, 5, -6, None]


def attributes(count, size):
    return {f"attribute {place}": "v" * size for place in range(count)}


@pytest.mark.parametrize(
    ("profiles", "count", "size"), [(2_000, 100, 45), (100, 1, 10_0000), (300, 40, 1_000)], ids=["many", "long", "both"]
)
def test_attributes_of_any_number_and_length_fit_into_memory(tmp_path, profiles, count, size):
    exported = [{"braze_id": str(place), "custom_attributes": attributes(count, size)} for place in range(profiles)]
    path = write(tmp_path / "a", *exported)
    with ProfileShredder(tmp_path / "work", memory_limit="200MB", threads=8) as shredder:
        (group,) = shredder.groups([path])
    rows = {table.name: found for table, found in group.tables}
    assert rows["user_custom_attributes"].num_rows == profiles * count


def test_what_does_not_fit_into_memory_at_once_is_cut_in_parts(tmp_path):
    """With so little memory not even every profile fits by itself."""
    sizes = [1_000, 300_000, 1_000, 3_000_000, 300_000, 1_000, 300_000]
    exported = [
        {"braze_id": str(place), "email": "e", "custom_attributes": attributes(10, size // 10), "apps": [{"name": "n"}]}
        for place, size in enumerate(sizes)
    ]
    path = write(tmp_path / "a", *exported)
    with ProfileShredder(tmp_path / "work", memory_limit="8MB", threads=2) as shredder:
        (group,) = shredder.groups([path])
    tables = {table.name: found.to_pylist() for table, found in group.tables}
    assert sorted(row["braze_id"] for row in tables["users"]) == sorted(group.members.to_pylist()) == list("0123456")
    assert sorted(row["braze_id"] for row in tables["user_apps"]) == list("0123456")
    found = {(row["braze_id"], row["name"]): json.loads(row["value"]) for row in tables["user_custom_attributes"]}
    assert found == {(row["braze_id"], k): v for row in exported for k, v in row["custom_attributes"].items()}


def test_a_line_too_long_for_any_profile_is_kept_apart(tmp_path):
    path = write(tmp_path / "a", {"braze_id": "a"}, {"braze_id": "b", "email": "x" * (8 << 20)})
    tables, (group,) = shred(tmp_path, path)
    assert [row["braze_id"] for row in tables["users"]] == ["a"]
    assert [quarantined.numbers for quarantined in group.quarantined] == [(2,)]


def test_groups_of_one_export_do_not_depend_on_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 1)
    monkeypatch.setattr("sources.braze.profile_files._READ", 80)
    names = ["plain", "with\x00out", "plain"]
    exported = [
        {"braze_id": str(place), "first_name": name, "custom_attributes": {"k": name}, f"field_{place}": place}
        for place, name in enumerate(names)
    ]
    tables, groups = shred(tmp_path, write(tmp_path / "a", *exported))
    assert len(groups) >= 3
    assert [row["first_name"] for row in tables["users"]] == ["plain", "without", "plain"]
    assert [row["value"] for row in tables["user_custom_attributes"]] == ['"plain"', '"without"', '"plain"']
    assert [[row.get(f"field_{place}") for place in range(3)] for row in tables["users"]] == [
        ["0", None, None], [None, "1", None], [None, None, "2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-03-01T10:00:00.000Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 10:00:00 +0000", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 10:00:00+0530", datetime(2026, 3, 1, 4, 30, tzinfo=UTC)),
        ("2026-03-01 10:00:00 -5:00", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01T10:00:00-5:00", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("epoch", None),
    ],
)
def test_timestamps_are_read_with_any_offset(tmp_path: Path, written: str, meant: datetime | None) -> None:
    tables, _ = shred(tmp_path, write(tmp_path / "a.json", {"braze_id": "b1", "created_at": written}))
    assert [row["created_at"] for row in tables["users"]] == [meant]
