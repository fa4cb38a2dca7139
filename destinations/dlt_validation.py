"""What dlt's validation of schemas need not work out again.

For each Arrow item dlt checks the schema of its table, and for each column it derives from Python's type hints what a
column may be made of: most of the 15 ms that an item of 50 columns costs. dlt notes it as a thing to do. The function
that is replaced is private: checked with dlt 1.31.0.
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
