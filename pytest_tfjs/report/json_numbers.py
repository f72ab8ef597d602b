"""Numbers for strict JSON: NaN and Inf become null, with the reason beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def strict_numbers(
    values: Mapping[str, Any], why: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values for strict JSON, and the reason for each that became None."""
    numbers = {name: finite_or_none(value) for name, value in values.items()}
    reasons = {
        name: why.get(name) or ("missing" if values[name] is None else f"the value is {values[name]}")
        for name, value in numbers.items()
        if value is None
    }
    return numbers, reasons


def finite_or_none(value: Any) -> bool | int | float | None:
    """The value as a Python builtin; None if it is missing or not finite."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or not math.isfinite(plain):
        return None
    return plain if isinstance(plain, (bool, int)) else float(plain)
