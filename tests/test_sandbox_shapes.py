"""The sandbox answers in the documented shapes: whatever it says, the cassettes must allow."""

from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from sources.braze import endpoints
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from sources.braze_sandbox.profiles import members
from tests import wire
from tests.shapes import Shape, differences, shape_of

TODAY = date(2026, 9, 13)
NAMING = {
    "campaign_id": lambda workspace: list(workspace.campaigns),
    "canvas_id": lambda workspace: list(workspace.canvases),
    "segment_id": lambda workspace: [segment.id for segment in workspace.segments.values() if segment.tracked],
    "card_id": lambda workspace: list(workspace.cards),
    "event": lambda workspace: list(workspace.events)[:20],
    "product": lambda workspace: list(workspace.products),
    "app_id": lambda workspace: list(workspace.apps),
}
"""What stands in the sandbox for the entities that the cassettes name."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(WorkspaceOptions(today=TODAY, time_zone=str(wire.ZONE), events=120, custom_attributes=0)) as running:
        yield running


@cache
def cassettes_by_endpoint() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in wire.of_success(wire.hand_made()):
        for question in wire.questions(path)[:1]:
            found.setdefault(question.endpoint.path, []).append(path)
    return found


@cache
def documented(path: str) -> Shape:
    return shape_of(
        exchange.answer for cassette in cassettes_by_endpoint()[path] for exchange in wire.exchanges(cassette)
    )


def answers(sandbox: Sandbox, path: str) -> Iterator[Any]:
    """The sandbox's answers to what the cassettes of an endpoint were asked, for every entity it has."""
    asked = [question for cassette in cassettes_by_endpoint()[path] for question in wire.questions(cassette)]
    for question in {str(question): question for question in asked}.values():
        for fields in alike(sandbox, question.fields):
            yield answer(sandbox, question.endpoint, fields)


def alike(sandbox: Sandbox, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "send_id" in fields:
        for send in sandbox.workspace.sends.values():
            yield fields | {"campaign_id": send.campaign_id, "send_id": send.send_id}
    elif "external_ids" in fields:
        yield fields | {"external_ids": [*external_ids(sandbox), "nobody"]}
    elif naming := [name for name in fields if name in NAMING]:
        for entities in zip(*(NAMING[name](sandbox.workspace) for name in naming), strict=False):
            yield fields | dict(zip(naming, entities, strict=True))
    else:
        yield fields


def external_ids(sandbox: Sandbox) -> list[str]:
    profiles = members(sandbox.workspace, None, ["external_id"])
    return [profile["external_id"] for profile in profiles if profile.get("external_id")][:40]


def answer(sandbox: Sandbox, endpoint: endpoints.Endpoint, fields: dict[str, Any]) -> Any:
    url, key = f"{sandbox.url}/{endpoint.path}", {"Authorization": "Bearer any"}
    if endpoint.method == "POST":
        response = requests.post(url, json=fields, headers=key, timeout=10)
        assert response.status_code == 201, response.text
    else:
        response = requests.get(url, params=fields, headers=key, timeout=10)
        assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", sorted(set(cassettes_by_endpoint())))
def test_the_sandbox_answers_in_the_documented_shape(sandbox: Sandbox, path: str) -> None:
    assert list(differences(documented(path), shape_of(answers(sandbox, path)))) == []


def test_every_endpoint_has_a_cassette() -> None:
    assert set(cassettes_by_endpoint()) == set(wire.ENDPOINTS)


def test_recorded_answers_have_the_documented_shape() -> None:
    strange = {
        path.stem: found
        for path in wire.of_success(wire.recorded())
        for exchange in wire.exchanges(path)
        if (found := list(differences(documented(exchange.endpoint.path), shape_of([exchange.answer]))))
    }
    assert strange == {}
