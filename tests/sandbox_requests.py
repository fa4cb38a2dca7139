"""How tests talk to a sandbox."""

from datetime import date
from typing import Any

import requests

from sources.braze_sandbox import Sandbox

TODAY = date(2026, 11, 20)
KEY = {"Authorization": "Bearer any"}
BREAKDOWNS = {
    "include_variant_breakdown": "true",
    "include_step_breakdown": "true",
    "include_deleted_step_data": "true",
}


def ask(sandbox: Sandbox, path: str, **params: Any) -> requests.Response:
    return requests.get(sandbox.url + path, params=params, headers=KEY, timeout=10)


def get(sandbox: Sandbox, path: str, **params: Any) -> Any:
    response = ask(sandbox, path, **params)
    assert response.status_code == 200, response.text
    assert response.json()["message"] == "success"
    return response.json()


def of_shape(sandbox: Sandbox, shape: str) -> Any:
    workspace = sandbox.workspace
    return next(
        entity for entity in (*workspace.campaigns.values(), *workspace.canvases.values()) if entity.shape == shape
    )
