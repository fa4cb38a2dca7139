"""The answer of an endpoint before it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class Answer:
    """A JSON body with its status and further headers."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def success(content: Mapping[str, Any], status: int = 200, **headers: str) -> Answer:
    """An answer with `message` "success" beside the content."""
    return Answer(orjson.dumps({"message": "success", **content}), status, headers)
