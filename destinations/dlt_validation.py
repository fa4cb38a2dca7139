"""Makes dlt's validation of schemas faster: it reads the type hints of a class once, not for every column.

dlt validates a table's schema for each Arrow item, and calls `get_type_hints` for each column of it. That is most of
the 15 ms that an item of 50 columns costs; a comment in dlt's code says that the result could be cached. The name that
is replaced is not part of dlt's public interface: checked with dlt 1.31.0.
"""

import functools
import sys
from typing import Any

from dlt.common import validation


def remember_type_hints() -> None:
    """Let dlt derive the type hints of each class once, by replacing `dlt.common.validation.get_type_hints`."""
    derive = validation.get_type_hints  # type: ignore[attr-defined]

    @functools.cache
    def once(spec: type) -> dict[str, Any]:
        hints: dict[str, Any] = derive(spec, globalns=vars(sys.modules[spec.__module__]))
        return hints

    def type_hints(spec: type, globalns: dict[str, Any] | None = None) -> dict[str, Any]:
        return once(spec)

    setattr(validation, "get_type_hints", type_hints)  # noqa: B010 - the module does not declare it
