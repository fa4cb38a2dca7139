"""User profiles in the shape of the export endpoints, deterministic by number, one JSON line each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace


def members(
    workspace: "Workspace", segment_id: str | None, fields: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """The members of a segment, each once."""
    yield from ()
