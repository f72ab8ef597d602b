"""Casts the reference's activations to TF.js's dtypes, and reports values that do not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import browser_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_NAMES = 3


@dataclass
class Casts:
    """Casts activations to TF.js's dtypes, and collects over all calls of `apply` what was narrowed.

    `unfit`: why a layer cannot be compared, by name: TF.js's dtype does not hold some of its values.
    """

    unfit: dict[str, str] = field(default_factory=dict)
    _narrowed: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def apply(self, activations: Mapping[str, Array]) -> dict[str, Array]:
        """The activations by layer name in TF.js's dtypes, without those that do not fit."""
        found = {name: self._cast(name, value) for name, value in activations.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each pair of dtypes that was narrowed."""
        return tuple(
            f"the reference of {listed([name for name in names if name not in self.unfit])} was cast from "
            f"{own} to {wanted}, because TF.js has no {own}"
            for (own, wanted), names in self._narrowed.items()
            if names.keys() - self.unfit.keys()
        )

    def _cast(self, name: str, value: Array) -> Array | None:
        dtype = browser_dtype(value.dtype)
        if dtype is None or value.dtype.name == dtype:
            return value
        wanted = np.dtype(dtype)
        with np.errstate(over="ignore"):
            cast = value.astype(wanted)
        if _is_narrower(value.dtype, wanted):
            self._narrowed.setdefault((value.dtype.name, wanted.name), {})[name] = None
            unfit = _why_unfit(value, cast)
            if unfit is not None:
                self.unfit.setdefault(name, unfit)
                return None
        return cast


def _is_narrower(own: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    return own.itemsize > wanted.itemsize or own.name == "uint32"


def _why_unfit(value: Array, cast: Array) -> str | None:
    """Which values of an activation its cast does not hold, in words; None where it holds all."""
    if cast.dtype.kind == "i":
        if np.array_equal(cast, value):
            return None
        held = np.iinfo(cast.dtype)
        return (
            f"its reference is {value.dtype} with values from {value.min()} to {value.max()}, but "
            f"{cast.dtype}, the only integer dtype of TF.js, holds {held.min} to {held.max}"
        )
    if np.array_equal(np.isfinite(cast), np.isfinite(value)):
        return None
    largest = np.abs(value[np.isfinite(value)]).max()
    return f"its reference is {value.dtype} with values up to {largest:.3g}, beyond the range of {cast.dtype}"


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(repr(name) for name in names[:_MOST_NAMES]) + more
