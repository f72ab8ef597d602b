"""All known divergences, by name, in the order of docs/known-divergences.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.divergences import (
    arithmetic,
    half_precision,
    images,
    integers,
    layers_models,
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
    "Ignored attributes and dtypes, tables and spectra": other_meanings.CASES,
    "Layers models": layers_models.CASES,
    "Half precision": half_precision.CASES,
}
KNOWN: Mapping[str, Known] = {name: case for cases in SECTIONS.values() for name, case in cases.items()}
