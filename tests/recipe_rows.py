"""Rows that recipes give, comparable whatever the warehouse."""

from decimal import Decimal
from typing import Any

Row = dict[str, Any]


def plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | Decimal) else value
