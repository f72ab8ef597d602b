"""Formats magnitudes and counts: `3.1e-02`, `1 layer`, `2 layers`."""

from __future__ import annotations

import math

_MOST_DIGITS = 6


def number(value: float, digits: int = 1) -> str:
    """A magnitude such as an error: `3.1e-02`, `0`, `inf`, `nan`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    return f"{value:.{digits}e}"


def number_up(value: float) -> str:
    """A magnitude rounded up, so that a tolerance copied from the report passes."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    for step in range(3):
        shown = f"{value * (1 + 0.05 * step):.2g}"
        if float(shown) >= value:
            return shown
    return repr(value)


def distinct_numbers(left: float, right: float) -> tuple[str, str]:
    """Two magnitudes with enough digits to distinguish them."""
    for digits in range(1, _MOST_DIGITS):
        shown = number(left, digits), number(right, digits)
        if shown[0] != shown[1] or left == right:
            return shown
    return repr(left), repr(right)


def plural(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
