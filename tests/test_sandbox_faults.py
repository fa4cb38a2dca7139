"""Faults of the stand-in workspace: a deterministic share of requests, chosen ones, and bodies that surprise."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
import requests

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.sandbox_requests import KEY


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=date(2026, 11, 20), campaigns=3, canvases=1)) as sandbox:
        yield sandbox


def outcome(sandbox: Sandbox, path: str = "/segments/list", **params: Any) -> str:
    try:
        response = requests.get(sandbox.url + path, params=params, headers=KEY, timeout=10)
        response.json()
    except requests.ConnectionError as error:
        return "reset" if "reset" in str(error) else "aborted"
    except requests.exceptions.ChunkedEncodingError:
        return "truncated"
    except requests.exceptions.JSONDecodeError:
        return "not_json"
    return str(response.status_code)


@pytest.mark.parametrize("kind", ["400", "429", "500", "502", "503", "504", "reset", "truncated", "not_json"])
def test_a_chosen_request_meets_its_fault_so_many_times(sandbox: Sandbox, kind: str) -> None:
    first, second, _ = sandbox.workspace.campaigns
    path = "/campaigns/data_series"
    sandbox.fail(path, kind, {"campaign_id": first}, times=2)
    assert outcome(sandbox, path, campaign_id=second, length=5) == "200"
    assert [outcome(sandbox, path, campaign_id=first, length=5) for _ in range(3)] == [kind, kind, "200"]
    assert sandbox.log.requests[1].fault == kind


def test_a_lasting_fault_can_be_mended(sandbox: Sandbox) -> None:
    rule = sandbox.fail("/segments/list", "500")
    assert {outcome(sandbox) for _ in range(3)} == {"500"}
    sandbox.mend(rule)
    assert outcome(sandbox) == "200"
    with pytest.raises(ValueError, match="oops"):
        sandbox.fail("/segments/list", "oops")


def test_random_faults_are_the_same_in_every_run(sandbox: Sandbox) -> None:
    sandbox.set(fault_rate=0.3)

    def run() -> list[str]:
        sandbox.faults.reset()
        return [outcome(sandbox) for _ in range(60)]

    first = run()
    assert first == run()
    assert 5 < sum(kind != "200" for kind in first) < 35
    assert len(set(first)) > 4


def test_a_refusal_by_chance_says_when_to_come_back(sandbox: Sandbox) -> None:
    sandbox.fail("*", "429")
    response = requests.get(sandbox.url + "/segments/list", headers=KEY, timeout=10)
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert int(response.headers["X-RateLimit-Reset"]) > 0


def series(sandbox: Sandbox, campaign: str, length: int = 6) -> Any:
    params = {"campaign_id": campaign, "length": length}
    return requests.get(sandbox.url + "/campaigns/data_series", params=params, headers=KEY, timeout=10).json()


def test_bodies_surprise(sandbox: Sandbox) -> None:
    campaign = next(iter(sandbox.workspace.campaigns))
    plain = series(sandbox, campaign)["data"]

    def distorted(kind: str, days: tuple[str, ...] = ()) -> Any:
        rule = sandbox.fail("/campaigns/data_series", kind, days=days)
        try:
            return series(sandbox, campaign)
        finally:
            sandbox.mend(rule)

    assert distorted("missing_days", ("2026-11-17",))["data"] == [row for row in plain if row["time"][-2:] != "17"]
    assert len(distorted("missing_days")["data"]) == 5
    assert distorted("duplicate_rows")["data"] == [*plain, plain[0]]
    shuffled = distorted("shuffled_days")["data"]
    assert shuffled != plain
    assert sorted(shuffled, key=lambda row: row["time"]) == plain
    unknown = distorted("unknown_keys")
    row = unknown["data"][0]
    assert unknown["new_counter"] == row["new_counter"] == row["messages"]["email"][0]["new_counter"] == 7
    assert row["messages"]["hologram"][0]["beams"] == 3
    assert set(row["messages"]) == {*plain[0]["messages"], "hologram"}
    assert series(sandbox, campaign)["data"] == plain


def test_keys_go_missing_and_revenue_turns_into_integers(sandbox: Sandbox) -> None:
    draft = sandbox.workspace.add("campaign", live_from=date(2026, 11, 20))
    sandbox.fail("/campaigns/data_series", "integer_revenue")
    assert series(sandbox, draft, 2)["data"][0]["revenue"] == 0
    assert isinstance(series(sandbox, draft, 2)["data"][0]["revenue"], int)
    sandbox.fail("/campaigns/data_series", "missing_keys")
    row = series(sandbox, draft, 2)["data"][0]
    assert not {"revenue", "conversions", "conversions1_by_send_time"} & row.keys()
    assert {"time", "messages", "unique_recipients"} <= row.keys()


def test_canvas_bodies_surprise_at_every_level(sandbox: Sandbox) -> None:
    canvas = next(iter(sandbox.workspace.canvases.values()))
    sandbox.fail("/canvas/data_series", "unknown_keys")
    params = {
        "canvas_id": canvas.id,
        "length": "2",
        "include_variant_breakdown": "true",
        "include_step_breakdown": "true",
    }
    answer = requests.get(sandbox.url + "/canvas/data_series", params=params, headers=KEY, timeout=10).json()
    row = answer["data"]["stats"][0]
    assert row["total_stats"]["new_counter"] == 7
    assert row["variant_stats"].keys() == set(canvas.variant_ids)
    assert all(stats["new_counter"] == 7 for part in ("variant_stats", "step_stats") for stats in row[part].values())
    assert "hologram" in row["step_stats"][canvas.step_ids[0]]["messages"]


def test_latency_and_the_most_requests_at_once_are_seen(sandbox: Sandbox) -> None:
    sandbox.set(latency=0.2)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: outcome(sandbox), range(8))) == {"200"}
    assert sandbox.log.most_at_once == 8
    assert sandbox.log.paths == {"/segments/list": 8}
