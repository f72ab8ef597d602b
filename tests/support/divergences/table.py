"""All known divergences, by name, in the order of docs/known-divergences.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.divergences import (
    arithmetic,
    images,
    integers,
    other_meanings,
    special_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.divergences.case import Known

SECTIONS: Mapping[str, Mapping[str, Known]] = {
    "NaN, Inf and extreme numbers": special_values.CASES,
    "Arithmetic": arithmetic.CASES,
    "Integers and bools": integers.CASES,
    "Images": images.CASES,
    "Ignored attributes and dtypes": other_meanings.CASES,
}
KNOWN: Mapping[str, Known] = {name: case for cases in SECTIONS.values() for name, case in cases.items()}
