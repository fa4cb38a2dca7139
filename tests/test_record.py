"""The recorder, against a real server: what it stores is scrubbed, can be replayed, and has the documented shape."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner, Result

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.profiles import members
from tests import wire
from tests.record import main
from tests.recordings import recordings
from tests.scrubbing import Pseudonyms, Scrubber, shortened
from tests.shapes import differences, shape_of
from tests.test_sandbox_shapes import documented, external_ids

KEY = "9f7c1e52-live-key-0d4b"
WORDS_OF_BRAZE = {"survey", "email", "message", "success", "control", "webhook"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(api_key=KEY, events=60)) as running:
        yield running


def run(sandbox: Sandbox, into: Path, *arguments: str) -> Result:
    send = next(iter(sandbox.workspace.sends.values()))
    environment = {
        "SOURCES__BRAZE__API_KEY": KEY,
        "SOURCES__BRAZE__ENDPOINT": sandbox.url,
        "SOURCES__BRAZE__SENDS": json.dumps([f"{send.campaign_id}:{send.send_id}"]),
    }
    return CliRunner().invoke(main, ["--into", str(into), *arguments], env=environment, catch_exceptions=False)


@pytest.fixture(scope="module")
def recorded(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("recorded")
    every = [argument for path in wire.ENDPOINTS for argument in ("--endpoint", path)]
    people = [argument for person in external_ids(sandbox)[:20] for argument in ("--external-id", person)]
    result = run(sandbox, into, *every, *people)
    assert (result.exit_code, result.stderr) == (0, "")
    return into


def test_every_endpoint_is_recorded(recorded: Path) -> None:
    assert {path.stem for path in recorded.iterdir()} == {recording.name for recording in recordings(wire.ZONE)}


def test_recordings_are_small(recorded: Path) -> None:
    assert max(path.stat().st_size for path in recorded.iterdir()) < 64_000


def test_nothing_of_the_customer_is_in_a_recording(sandbox: Sandbox, recorded: Path) -> None:
    own = set(texts_of(sandbox)) | {KEY, urlsplit(sandbox.url).netloc}
    assert len(own) > 200
    any_of_them = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, own))})(?!\w)")
    for path in recorded.iterdir():
        assert any_of_them.findall(path.read_text()) == [], path.stem


def texts_of(sandbox: Sandbox) -> Iterator[str]:
    """Ids, names, addresses and all other free text of the sandbox, as it answers them."""
    for path, own in (
        ("campaigns/list", "id name tags"),
        ("canvas/list", "id name tags"),
        ("segments/list", "id name tags"),
        ("feed/list", "id title tags"),
        ("events", "name description tag_names"),
        ("events/list", "events"),
        ("purchases/product_list", "products"),
    ):
        yield from texts(ask(sandbox, path), set(own.split()))
    own = {"id", "subject", "body", "from", "reply_to", "preheader", "alert", "title", "url", "subscription_group_id"}
    for campaign in sandbox.workspace.campaigns:
        answer = ask(sandbox, "campaigns/details", campaign_id=campaign)
        yield from texts(answer, own)
        yield from answer["messages"]
    own = {"email", "phone", "device_id", "braze_id", "external_id"}
    for profile in islice(members(sandbox.workspace, None, None), 200):
        yield from texts(profile, own)


def ask(sandbox: Sandbox, path: str, **fields: str) -> Any:
    key = {"Authorization": f"Bearer {KEY}"}
    return requests.get(f"{sandbox.url}/{path}", params=fields, headers=key, timeout=10).json()


def texts(value: Any, own: Iterable[str]) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        yield from texts(item, own)
    for key, content in value.items() if isinstance(value, dict) else []:
        yield from texts(content, own)
        for text in content if isinstance(content, list) else [content]:
            if key in own and isinstance(text, str) and len(text) > 4 and text not in WORDS_OF_BRAZE:
                yield text


@pytest.mark.usefixtures("no_network")
def test_recordings_replay_and_have_the_documented_shape(recorded: Path) -> None:
    for path in recorded.iterdir():
        exchanges = list(wire.exchanges(path))
        assert bool(exchanges) != path.stem.startswith("errors."), path.stem
        for exchange in exchanges:
            if rows := wire.rows_of(exchange):
                assert not wire.unplaced(exchange, rows)
            strange = differences(documented(exchange.endpoint.path), shape_of([exchange.answer]))
            assert list(strange) == [], path.stem


def test_refusals_are_recorded_and_replay(recorded: Path) -> None:
    (question,) = wire.questions(recorded / "errors.400.yaml")
    assert question.status == 400
    assert wire.exchanges(recorded / "errors.400.yaml") == []


def test_exports_are_left_alone_unless_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    before = len(sandbox.exports.jobs)
    run(sandbox, tmp_path)
    assert len(sandbox.exports.jobs) == before
    assert not (tmp_path / "users.export.segment.yaml").exists()


def test_what_a_workspace_refuses_is_left_out(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.set(denied=frozenset({"canvas.details"}))
    try:
        result = run(sandbox, tmp_path, "--endpoint", "canvas/details", "--endpoint", "canvas/list")
    finally:
        sandbox.set(denied=frozenset())
    assert "canvas.details: left out" in result.stderr
    assert {path.stem for path in tmp_path.iterdir()} == {"canvas.list"}


def test_unknown_endpoints_and_missing_settings_are_said(sandbox: Sandbox, tmp_path: Path, workplace: Path) -> None:
    assert "no endpoint canvas/lists" in run(sandbox, tmp_path, "--endpoint", "canvas/lists").output
    missing = CliRunner().invoke(main, ["--into", str(tmp_path)])
    assert (missing.exit_code, "api_key" in missing.output) == (1, True)


def test_pseudonyms_keep_the_form_and_differ_by_key() -> None:
    one, other = Pseudonyms("key"), Pseudonyms("other key")
    for text in ("7c1de0a8-29b1-4b6f-8a52-9be40a7e3e0f", "64f0c0ffee00000000000001", "a@b.com", "https://x.y/z", "Ab"):
        assert one.of(text) == one.of(text) not in (text, other.of(text))
    assert re.fullmatch(r"[0-9a-f]{24}", one.of("64f0c0ffee00000000000001"))
    assert one.of("7c1de0a8-29b1-4b6f-8a52-9be40a7e3e0f-1789295405").endswith("-1789295405")
    assert one.replaced_in("Invalid API key: key").endswith("REDACTED")
    assert one.of("") == ""


def test_what_is_not_known_to_be_harmless_is_scrubbed() -> None:
    answer = {
        "message": "success",
        "surprise": "Herr Müller",
        "type": "a@b.com",
        "data": [{"time": "2026-09-13", "sent": 3, "carousel_slide_1_Müller_click": 2, "Müller": 1, "ratio": 0.5}],
        "extras": {"Müller": "2026-09-13", "n": 7},
    }
    response = {"status": {"code": 200, "message": "OK"}, "headers": {"Set-Cookie": ["id=Müller"]}}
    response["body"] = {"string": json.dumps(answer).encode()}
    kept = Scrubber(Pseudonyms("key")).response(response)
    content = json.loads(kept["body"]["string"])
    assert "Müller" not in json.dumps(content, ensure_ascii=False) + str(kept["headers"])
    assert "a@b.com" not in json.dumps(content)
    row = content["data"][0]
    assert (row["time"], row["sent"], row["ratio"]) == ("2026-09-13", 3, 0.5)
    assert any(re.fullmatch(r"carousel_slide_1_text-\w{8}_click", key) for key in row)
    assert list(content["extras"].values())[1] == 1
    assert "2026-09-13" not in content["extras"].values()


def test_nothing_of_a_profile_is_kept() -> None:
    profile = {"dob": "1990-02-28", "created_at": "2023-02-03 04:05:06.000 UTC", "total_revenue": 65.2, "gender": "F"}
    response = {"status": {}, "headers": {}, "body": {"string": json.dumps({"users": [profile]}).encode()}}
    (user,) = json.loads(Scrubber(Pseudonyms("key"), personal=True).response(response)["body"]["string"])["users"]
    assert user == {
        "dob": "2020-01-01",
        "created_at": "2020-01-01 00:00:00.000 UTC",
        "total_revenue": 1.5,
        "gender": Pseudonyms("key").of("F"),
    }


def test_lists_are_shortened_to_what_differs() -> None:
    rows: list[Any] = [{"a": number} for number in range(9)] + [{"b": 1}]
    assert shortened(rows) == [{"a": 0}, {"a": 1}, {"a": 2}, {"b": 1}]
    assert shortened(list("abcdef")) == list("abc")
