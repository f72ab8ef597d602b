"""Tolerances: the defaults by dtype and backend, and the tolerance of each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_tfjs.compare.dtypes import FLUSHED
from pytest_tfjs.compare.layer_patterns import matches, matches_nothing, names_of
from pytest_tfjs.compare.numbers.function_ulps import GPU_BACKENDS
from pytest_tfjs.errors import ToleranceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer


@dataclass(frozen=True)
class Tolerance:
    """The error allowed at an element: `|browser - reference| <= atol * scale + rtol * |reference|`.

    `scale` is the layer's largest finite |reference| in the feed, so that `atol` means the same for layers
    with large and with small activations. With `absolute=True` `scale` is 1, and `atol` is in the
    activation's unit. `least` is added to the allowed error, in that unit. Raises ToleranceError if `rtol` or
    `atol` is negative, not finite or not a number.
    """

    rtol: float
    atol: float
    absolute: bool = False
    least: float = field(default=0.0, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    def floor(self, scale: float) -> float:
        """The error allowed where the reference is 0, in the activation's unit."""
        return self.least + (self.atol if self.absolute else self.atol * scale)


def _checked(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, (bool, str, bytes)) or not math.isfinite(number) or number < 0:
        raise ToleranceError(
            f"{name}={value!r} is not a tolerance: expected a finite number, 0 or greater, such as 1e-4"
        )
    return number


EXACT = Tolerance(rtol=0.0, atol=0.0)

# GPU backends fuse and reorder operations, and compute exp, tanh and division less accurately.
_BY_PRECISION = {
    "float32": Tolerance(rtol=5e-4, atol=5e-5),
    "float32 on a GPU": Tolerance(rtol=1e-3, atol=1e-4),
    "half": Tolerance(rtol=1e-2, atol=1e-2),
}


def is_inexact(dtype: str | None) -> bool:
    """Whether activations of this dtype are rounded: floats and complex numbers."""
    return dtype is not None and dtype.startswith(("float", "bfloat", "complex"))


def default_tolerance(dtype: str | None, backend: str, half: bool) -> Tolerance:
    """The tolerance of a layer for which the user gave none; integers, bools and strings are exact."""
    if not is_inexact(dtype):
        return EXACT
    if half:
        return _BY_PRECISION["half"]
    return _BY_PRECISION["float32 on a GPU" if backend in GPU_BACKENDS else "float32"]


CARRIED = 20.0
"""How many times a chain of correct layers may enlarge an error."""


def carried(tolerance: Tolerance) -> Tolerance:
    """The tolerance for the propagated error of a layer whose local error was judged separately.

    The layer also ran alone, and its allowance judged the local error. In the whole run only the error of its
    inputs remains, which may grow through a chain of correct layers, so this wider tolerance only limits how
    far a model may be from the reference altogether. An exact tolerance stays exact. Numbers below the
    smallest normal one may be 0 on either side.
    """
    least = FLUSHED if tolerance.atol > 0 else 0.0
    return replace(tolerance, atol=CARRIED * tolerance.atol, least=least)


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of each compared layer; `by_user` names the layers whose tolerance the user gave."""

    by_layer: Mapping[str, Tolerance]
    by_user: frozenset[str] = frozenset()

    def of(self, name: str, *, alone: bool) -> Tolerance:
        """The tolerance for the layer's error in the whole run; `alone`: whether the layer also ran alone."""
        tolerance = self.by_layer[name]
        return carried(tolerance) if alone and name not in self.by_user else tolerance


def resolve_tolerances(
    layers: Sequence[Layer],
    *,
    backend: str,
    half: bool,
    rtol: float | None,
    atol: float | None,
    per_layer: Mapping[str, Tolerance] | None,
) -> Tolerances:
    """The tolerance of each compared layer.

    `rtol` and `atol` override the default independently, and only for float and complex layers: integers,
    bools and strings stay exact unless a pattern of `per_layer` matches them. A pattern is a glob over the
    layer's name, its members and its group; later patterns override earlier ones. Raises ToleranceError for
    values that are not tolerances and for a pattern that matches no compared layer.
    """
    resolved: dict[str, Tolerance] = {}
    by_user: set[str] = set()
    for layer in layers:
        if layer.coverage == "compared":
            default = default_tolerance(layer.dtype, backend, half)
            resolved[layer.name] = _overridden(default, rtol, atol) if is_inexact(layer.dtype) else default
            if is_inexact(layer.dtype) and (rtol is not None or atol is not None):
                by_user.add(layer.name)
    for pattern, tolerance in (per_layer or {}).items():
        if not isinstance(tolerance, Tolerance):
            raise ToleranceError(
                f"per_layer[{pattern!r}] is {tolerance!r}: expected a Tolerance, "
                "such as Tolerance(rtol=1e-3, atol=1e-4)"
            )
        matched = [one.name for one in layers if one.name in resolved and matches(pattern, names_of(one))]
        if not matched:
            raise ToleranceError(_matches_no_layer(pattern, layers))
        resolved.update(dict.fromkeys(matched, tolerance))
        by_user.update(matched)
    return Tolerances(resolved, frozenset(by_user))


def _overridden(default: Tolerance, rtol: float | None, atol: float | None) -> Tolerance:
    return Tolerance(rtol=default.rtol if rtol is None else rtol, atol=default.atol if atol is None else atol)


def _matches_no_layer(pattern: str, layers: Sequence[Layer]) -> str:
    for layer in layers:
        if layer.coverage != "compared" and matches(pattern, names_of(layer)):
            why = layer.reason if layer.into is None else f"fused into {layer.into!r}"
            return (
                f"per_layer pattern {pattern!r} matches no compared layer: {layer.name!r} is {layer.coverage}"
                f" ({why})"
            )
    names = [name for layer in layers if layer.coverage == "compared" for name in names_of(layer)]
    return matches_nothing("per_layer", pattern, "compared layer", names)
