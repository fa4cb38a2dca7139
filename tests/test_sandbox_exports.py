"""Profile exports of the stand-in workspace: archives, buckets, identifiers, and what goes wrong with them."""

import gzip
import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.profiles import FIELDS
from tests.sandbox_requests import KEY

ALL = sorted(FIELDS)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=date(2026, 11, 20), users=230, users_per_file=100)) as sandbox:
        yield sandbox


def post(sandbox: Sandbox, path: str, **body: Any) -> requests.Response:
    return requests.post(sandbox.url + path, json=body, headers=KEY, timeout=10)


def segment_id(sandbox: Sandbox, number: int = 0) -> str:
    return list(sandbox.workspace.segments)[number]


def export(sandbox: Sandbox, number: int = 0, **body: Any) -> dict[str, Any]:
    body = {"segment_id": segment_id(sandbox, number), "fields_to_export": ALL} | body
    response = post(sandbox, "/users/export/segment", **body)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def finished(sandbox: Sandbox) -> None:
    job = sandbox.exports.jobs[-1]
    assert job.done.wait(20)
    assert job.error is None


def fetch(sandbox: Sandbox, url: str) -> bytes:
    finished(sandbox)
    response = requests.get(url, timeout=10)
    assert response.status_code == 200
    return response.content


def lines(archive: bytes) -> list[list[bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return [file.read(name).splitlines() for name in file.namelist()]


def test_an_archive_holds_every_member_in_several_files(sandbox: Sandbox) -> None:
    answer = export(sandbox)
    assert answer.keys() == {"message", "object_prefix", "url"}
    files = lines(fetch(sandbox, answer["url"]))
    assert [len(file) for file in files] == [100, 101, 31]
    assert files[0][-1] == files[1][0]
    profiles = {json.loads(line)["braze_id"]: json.loads(line) for file in files for line in file}
    expected = {profile["braze_id"]: profile for profile in sandbox.workspace.profiles(segment_id(sandbox))}
    assert profiles == expected
    assert len(profiles) == 230
    with zipfile.ZipFile(io.BytesIO(fetch(sandbox, answer["url"]))) as file:
        assert all(name.endswith(".txt") for name in file.namelist())


def test_profiles_come_in_all_the_shapes_that_were_seen(sandbox: Sandbox) -> None:
    profiles = list(sandbox.workspace.profiles(segment_id(sandbox)))
    keys = {key for profile in profiles for key in profile}
    assert keys == FIELDS | {
        "appboy_id", "push_opted_in_at", "push_unsubscribed_at", "email_opted_in_at", "email_unsubscribed_at",
    }  # fmt: skip
    assert {profile["created_at"][-3:] for profile in profiles} >= {"UTC", "99Z"}
    points = {type((profile.get("custom_attributes") or {}).get("loyaltyPoints")) for profile in profiles}
    assert points >= {str, int}
    assert any("external_id" not in profile for profile in profiles)
    assert any(profile.get("external_id", "").startswith("0000") for profile in profiles)
    assert any("\n" in profile.get("first_name", "") for profile in profiles)
    assert any("windows_ad_id" in device for profile in profiles for device in profile.get("devices", []))
    full = [profile for profile in profiles if "attributed_ad" in profile]
    nested = ("devices", "push_tokens", "apps", "campaigns_received", "canvases_received", "purchases", "cards_clicked")
    assert all(profile[key] for profile in full for key in nested)
    size = sum(len(json.dumps(profile, ensure_ascii=False)) for profile in full) / len(full)
    assert 4_000 < size < 7_000


def test_only_the_fields_that_were_asked_for_are_exported(sandbox: Sandbox) -> None:
    body = {"fields_to_export": ["braze_id", "email_subscribe"], "custom_attributes_to_export": ["phone"]}
    files = lines(fetch(sandbox, export(sandbox, **body)["url"]))
    keys = {key for file in files for line in file for key in json.loads(line)}
    assert keys == {
        "braze_id", "appboy_id", "email_subscribe", "email_opted_in_at", "email_unsubscribed_at", "custom_attributes",
    }  # fmt: skip
    attributes = [json.loads(line).get("custom_attributes") for file in files for line in file]
    assert {key for found in attributes if found for key in found} == {"phone"}


def test_an_archive_is_forbidden_until_it_is_ready_and_once_it_has_expired(sandbox: Sandbox) -> None:
    sandbox.set(export_delay=0.3, export_lifetime=0.3)
    url = export(sandbox)["url"]
    early = requests.get(url, timeout=10)
    assert (early.status_code, "AccessDenied" in early.text) == (403, True)
    finished(sandbox)
    assert requests.get(url, headers=KEY, timeout=10).status_code == 400
    deadline = time.monotonic() + 10
    while "ExpiredToken" not in requests.get(url, timeout=10).text:
        assert time.monotonic() < deadline
    assert requests.get(url, timeout=10).status_code == 403


def test_a_download_that_is_cut_can_be_resumed(sandbox: Sandbox) -> None:
    url = export(sandbox)["url"]
    whole = fetch(sandbox, url)
    sandbox.set(cut_download_at=1000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=10)
    rest = requests.get(url, headers={"Range": "bytes=1000-"}, timeout=10)
    assert rest.status_code == 206
    assert rest.content == whole[1000:]
    assert fetch(sandbox, url) == whole


def test_a_segment_has_one_export_at_a_time_and_cancelling_ends_it(sandbox: Sandbox) -> None:
    sandbox.set(export_delay=30)
    url = export(sandbox)["url"]
    again = post(sandbox, "/users/export/segment", segment_id=segment_id(sandbox), fields_to_export=["braze_id"])
    assert again.status_code == 429
    assert int(again.headers["X-RateLimit-Remaining"]) > 0
    export(sandbox, number=1)
    assert post(sandbox, "/export/segment/cancel", segment_id=segment_id(sandbox)).json() == {"message": "success"}
    assert sandbox.exports.jobs[0].done.wait(10)
    assert requests.get(url, timeout=10).status_code == 403
    assert sandbox.exports.jobs[1].running
    export(sandbox)


@pytest.mark.parametrize(("output", "suffix"), [("zip", ".zip"), ("gzip", ".gz")])
def test_a_bucket_gets_files_one_by_one_under_the_prefix(
    sandbox: Sandbox, tmp_path: Path, output: str, suffix: str
) -> None:
    sandbox.set(delivery="bucket", bucket=f"file://{tmp_path}/exports", export_interval=0.05)
    answer = export(sandbox, output_format=output)
    assert answer["url"] is None
    finished(sandbox)
    folder = tmp_path / "exports" / "segment-export" / segment_id(sandbox) / "2026-11-20" / answer["object_prefix"]
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert {file.suffix for file in files} == {suffix}
    if output == "zip":
        contents = [lines(file.read_bytes())[0] for file in files]
    else:
        contents = [gzip.decompress(file.read_bytes()).splitlines() for file in files]
    assert [len(content) for content in contents] == [100, 101, 31]


def test_an_archive_may_be_one_gzip_stream(sandbox: Sandbox) -> None:
    assert len(gzip.decompress(fetch(sandbox, export(sandbox, output_format="gzip")["url"])).splitlines()) == 232


def test_files_can_be_flawed(sandbox: Sandbox) -> None:
    sandbox.set(export_flaws=frozenset({"bad_line", "no_braze_id", "corrupt_member"}))
    archive = fetch(sandbox, export(sandbox)["url"])
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        names = file.namelist()
        assert file.testzip() == names[-1]
        first = file.read(names[0]).splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(first[0])
    assert "braze_id" not in json.loads(first[1])
    assert len(first) == 102


def test_profiles_change_by_version_and_by_edit(sandbox: Sandbox) -> None:
    everyone = segment_id(sandbox)

    def profile() -> dict[str, Any]:
        return next(iter(sandbox.workspace.profiles(everyone)))

    before = profile()
    sandbox.set(profile_version=1)
    after = profile()
    assert after["braze_id"] == before["braze_id"]
    assert len(after["devices"]) == len(before["devices"]) - 1
    assert after["total_revenue"] != before["total_revenue"]
    part = segment_id(sandbox, 2)
    members = {profile["braze_id"] for profile in sandbox.workspace.profiles(part)}
    sandbox.set(profile_version=2)
    assert members != {profile["braze_id"] for profile in sandbox.workspace.profiles(part)}
    sandbox.workspace.edit_profile(0, devices=[], email=None)
    assert profile()["devices"] == []
    assert "email" not in profile()


def test_ids_find_profiles_by_any_identifier(sandbox: Sandbox) -> None:
    full, unicode = (list(sandbox.workspace.profiles(segment_id(sandbox)))[number] for number in (0, 5))
    for identifier in (
        {"external_ids": [full["external_id"]]},
        {"user_aliases": [full["user_aliases"][0]]},
        {"braze_id": full["braze_id"]},
        {"email_address": full["email"]},
        {"phone": full["phone"]},
        {"device_id": full["devices"][0]["device_id"]},
    ):
        response = post(sandbox, "/users/export/ids", fields_to_export=["braze_id", "created_from"], **identifier)
        assert response.status_code == 201
        assert response.json() == {"users": [{"braze_id": full["braze_id"]}], "message": "success"}
    both = [unicode["external_id"], "nobody", full["external_id"]]
    answer = post(sandbox, "/users/export/ids", external_ids=both, fields_to_export=ALL).json()
    assert [user["external_id"] for user in answer["users"]] == [unicode["external_id"], full["external_id"]]
    assert answer["invalid_user_ids"] == ["nobody"]


def test_the_global_control_group_is_exported_like_a_segment(sandbox: Sandbox) -> None:
    answer = post(sandbox, "/users/export/global_control_group", fields_to_export=["braze_id"]).json()
    found = {json.loads(line)["braze_id"] for file in lines(fetch(sandbox, answer["url"])) for line in file}
    assert found == {profile["braze_id"] for profile in sandbox.workspace.profiles()}
    assert 0 < len(found) < 30


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users/export/segment", {"segment_id": "nope", "fields_to_export": ["braze_id"]}),
        ("/users/export/segment", {"segment_id": "ID"}),
        ("/users/export/segment", {"segment_id": "ID", "fields_to_export": []}),
        ("/users/export/segment", {"segment_id": "ID", "fields_to_export": ["shoe_size"]}),
        ("/users/export/segment", {"segment_id": "ID", "fields_to_export": ["email"], "output_format": "rar"}),
        ("/users/export/ids", {"external_ids": ["a"]}),
        ("/users/export/ids", {"external_ids": ["a"] * 51, "fields_to_export": ["email"]}),
        ("/users/export/ids", {"fields_to_export": ["email"]}),
        ("/users/export/ids", {"braze_id": "a", "phone": "b", "fields_to_export": ["email"]}),
        ("/users/export/global_control_group", {}),
    ],
)
def test_wrong_bodies_are_400(sandbox: Sandbox, path: str, body: dict[str, Any]) -> None:
    ids = {"ID": segment_id(sandbox)}
    response = post(sandbox, path, **{key: ids.get(str(value), value) for key, value in body.items()})
    assert response.status_code == 400
    assert response.json().keys() == {"message"}
    assert sandbox.exports.jobs == []


def test_posts_must_be_json(sandbox: Sandbox) -> None:
    url = sandbox.url + "/users/export/ids"
    assert requests.post(url, data="a=b", headers=KEY, timeout=10).status_code == 415
    typed = KEY | {"Content-Type": "application/json"}
    assert requests.post(url, data="{", headers=typed, timeout=10).status_code == 400
    assert requests.get(url, headers=KEY, timeout=10).status_code == 404


def test_what_exports_left_on_disk_is_removed_when_the_sandbox_stops() -> None:
    with Sandbox(WorkspaceOptions(today=date(2026, 11, 20), users=10)) as sandbox:
        export(sandbox)
        finished(sandbox)
        path = sandbox.exports.jobs[0].path
        assert path
        assert path.exists()
    assert not path.parent.exists()
