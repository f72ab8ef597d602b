"""How far the browser may be from the reference: the defaults, and which layer gets which tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_tfjs.compare.dtypes import FLUSHED
from pytest_tfjs.compare.layer_patterns import matches, matches_nothing, names_of
from pytest_tfjs.compare.numbers.ulps import GPU_BACKENDS
from pytest_tfjs.errors import ToleranceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer


@dataclass(frozen=True)
class Tolerance:
    """What an element may differ by: `|browser - reference| <= atol * scale + rtol * |reference|`.

    `scale` is the layer's largest finite |reference| over the feed, so that `atol` means the same for a layer
    of large activations and for one of small ones; with `absolute=True` it is 1, and `atol` is in the
    activation's unit. `least` is allowed besides, in that unit. Raises ToleranceError where `rtol` or `atol`
    is negative, not finite or no number.
    """

    rtol: float
    atol: float
    absolute: bool = False
    least: float = field(default=0.0, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            object.__setattr__(self, name, _checked(name, getattr(self, name)))

    def floor(self, scale: float) -> float:
        """What is allowed where the reference is 0, in the activation's unit."""
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

# GPU backends may fuse and reorder what Python does not, and compute exp, tanh and division less exactly.
_BY_PRECISION = {
    "float32": Tolerance(rtol=5e-4, atol=5e-5),
    "float32 on a GPU": Tolerance(rtol=1e-3, atol=1e-4),
    "half": Tolerance(rtol=1e-2, atol=1e-2),
}


def is_inexact(dtype: str | None) -> bool:
    """Whether activations of this dtype are rounded (float, complex), so that a tolerance has a meaning."""
    return dtype is not None and dtype.startswith(("float", "bfloat", "complex"))


def default_tolerance(dtype: str | None, backend: str, half: bool) -> Tolerance:
    """The tolerance of a layer where nobody named one; integers, bools and strings are exact."""
    if not is_inexact(dtype):
        return EXACT
    if half:
        return _BY_PRECISION["half"]
    return _BY_PRECISION["float32 on a GPU" if backend in GPU_BACKENDS else "float32"]


_CARRIED = 20.0


def carried(tolerance: Tolerance) -> Tolerance:
    """What the error of a layer in the whole run may be where the layer itself is known to be right.

    The layer was run alone, and judged by its own arithmetic: what is left is the error that its inputs
    handed on, which a chain of right layers may let grow. So this only bounds how far a model may be from the
    reference altogether; exact stays exact. Numbers below the smallest normal one may be 0 in either.
    """
    least = FLUSHED if tolerance.atol > 0 else 0.0
    return replace(tolerance, atol=_CARRIED * tolerance.atol, least=least)


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of each compared layer, by name. `given`: those that are the user's own."""

    by_layer: Mapping[str, Tolerance]
    given: frozenset[str] = frozenset()

    def of(self, name: str, *, alone: bool) -> Tolerance:
        """What the layer's error in the whole run is held against; `alone`: it was run alone as well."""
        tolerance = self.by_layer[name]
        return carried(tolerance) if alone and name not in self.given else tolerance


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

    `rtol` and `atol` each override the default singly, and only for float and complex layers: integers, bools
    and strings stay exact unless a pattern of `per_layer` names them. A pattern is a glob that is held
    against the layer's name, its members and its group; a later pattern wins over an earlier. Raises
    ToleranceError for a value that is no tolerance and for a pattern that matches no compared layer.
    """
    resolved: dict[str, Tolerance] = {}
    given: set[str] = set()
    for layer in layers:
        if layer.coverage == "compared":
            default = default_tolerance(layer.dtype, backend, half)
            resolved[layer.name] = _overridden(default, rtol, atol) if is_inexact(layer.dtype) else default
            if is_inexact(layer.dtype) and (rtol is not None or atol is not None):
                given.add(layer.name)
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
        given.update(matched)
    return Tolerances(resolved, frozenset(given))


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
