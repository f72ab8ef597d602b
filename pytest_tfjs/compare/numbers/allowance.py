"""Allowances: how large a layer's local error may be from rounding alone.

The layer ran alone on the reference's inputs, so that no error of other layers enters. Let M be the sum of
the magnitudes that enter an element (|x|·|w| + |b|), S the element itself, n the number of terms, and u the
unit roundoff (2**-24 for float32). No partial sum, in any order, is larger than P = (M + |S|) / 2.

Each of about n roundings in browser and reference has an error of at most u·P, of either sign. N. J. Higham
and T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41 (2019),
theorem 2.4, bounds their sum by λ·√n·u·P with a probability of 1 - 2·exp(-λ²/2), assuming only that they
are independent, have mean 0, and are at most u. They are smaller: the error of rounding to nearest is
uniform in its unit, with a root mean square of 0.41·u. So the difference between browser and reference is
normal, with a standard deviation of 0.33·√n·u·P if partial sums grow evenly. Where few summands make up the
sum it is larger, and where roundings have one sign none of this holds: `Arithmetic.excess` has what such
elements need beside that. docs/verdict.md says how often a sound element exceeds its bound.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import FLUSHED, HALF_ULP, ROUNDOFF, SMALLEST_NORMAL_HALF, ULP
from pytest_tfjs.compare.numbers.element_loops import sizes_of
from pytest_tfjs.compare.numbers.function_ulps import GPU_BACKENDS, units_of
from pytest_tfjs.compare.numbers.half_underflow import exponent_of, underflow_of_root
from pytest_tfjs.compare.numbers.tolerances import default_tolerance, is_inexact

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.element_loops import Sizes
    from pytest_tfjs.compare.numbers.function_ulps import Units
    from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic

LAMBDA = 3.0
"""λ of `λ·√n·u·P`: 9 standard deviations if partial sums grow evenly, which is a probability of 1e-19."""

KAPPA = 6.0
"""How many times the noise of random summing orders is allowed for the orders of browser and reference."""

_ON_A_GPU = 2.0
"""Factor of u: a GPU may round to either neighbour (Vulkan 1.3, OpFAdd and OpFMul)."""

_STORING = HALF_ULP
"""The relative error of storing in half precision: one unit, because a GPU may truncate."""

_STORES = 4.0
"""How often a layer stores a number: two factors, the bias or an intermediate sum, the result."""

_FIXED_POINT = 500.0
"""From this many absolute units on, a GPU computes as if in fixed point; only trigonometric functions do."""

_RMS_OF_ROUNDING = 0.41
"""Root mean square of the relative rounding error / u: √(1/6), as it is uniform in ±u/m, and m in 1 to 2."""

# Sums whose terms may be equal: their roundings have one sign, and only the bound n·u holds (N. J. Higham,
# "Accuracy and Stability of Numerical Algorithms", 2nd ed. 2002, equation 4.4). Other sums are taken to be
# of equal numbers if the measured noise is below this part of the expected one.
_PLAIN_SUM = re.compile(r"(?<![a-z])(sum|mean|cumsum|avgpool|averagepool|globalaverage)", re.IGNORECASE)
_ALIKE = 0.1
_DEVIATIONS = 8.0
_BIAS = 0.25
"""Root mean square error / n·u of summing n equal numbers one by one."""


@dataclass(frozen=True)
class Allowance:
    """The allowed error: `|error| <= factor * P + floor + extra` for each element, and `rms(error) <= rms`.

    P is the largest partial sum (`element_loops.partial_sum`), or |reference| without a magnitude. `floor`,
    `rms` and `extra` are in the activation's unit; `rms` is infinite if only the elements are judged.
    `extra`, in the activation's shape, is None if it is 0 everywhere.
    """

    factor: float = 0.0
    floor: float = 0.0
    rms: float = math.inf
    extra: NDArray[Any] | None = field(default=None, compare=False)

    def __add__(self, other: Allowance) -> Allowance:
        """The allowance for two causes together."""
        given = [one.extra for one in (self, other) if one.extra is not None]
        extra = sum(given[1:], given[0]) if given else None
        return Allowance(self.factor + other.factor, self.floor + other.floor, self.rms + other.rms, extra)

    def times(self, unit: float) -> Allowance:
        """The allowance multiplied by `unit`."""
        extra = None if self.extra is None else self.extra * np.float32(unit)
        return Allowance(self.factor * unit, self.floor * unit, self.rms * unit, extra)


def allowance(
    layer: Layer,
    arithmetic: Arithmetic,
    reference: NDArray[Any],
    *,
    backend: str,
    half: bool,
    packed: bool = False,
) -> Allowance:
    """The allowance of a layer for one feed, from its arithmetic and the reference's activation.

    `half`: the backend stores activations and weights in half precision. `packed`: it is webgl, with packed
    depthwise convolutions. Nothing is allowed for integers, bools and strings, which are not rounded. If the
    arithmetic is not known, the allowance is the default tolerance.
    """
    dtype = reference.dtype.name
    if not is_inexact(dtype):
        return Allowance()
    result = sizes_of(reference)
    if not arithmetic.known:
        tolerance = default_tolerance(dtype, backend, half)
        return Allowance(tolerance.rtol, tolerance.floor(result.largest))
    terms = max(arithmetic.terms, 1)
    magnitude = result.rms if arithmetic.magnitude is None else sizes_of(arithmetic.magnitude).rms
    # GPUs, and TensorFlow in its own threads, flush denormals to 0; the other side may not.
    total = Allowance(floor=FLUSHED * terms, rms=0.0)
    if not arithmetic.exact:
        of_sums = _of_sums(_PLAIN_SUM.search(layer.op) is not None, arithmetic, magnitude, result.rms)
        of_functions = _of_functions(units_of(arithmetic.functions, backend), magnitude, result)
        # The constants' error is at most `constants` times M, and M is at most 2·P.
        of_constants = Allowance(2.0 * arithmetic.constants, rms=arithmetic.constants * magnitude)
        total += of_sums.times(_roundoff(backend)) + of_functions + of_constants
    total += _by_design(arithmetic, backend, packed=packed)
    if half:
        total += _of_storing(_stores(arithmetic, terms), terms, magnitude, result)
        root = exponent_of(layer.op, arithmetic.exponent)
        total += Allowance(rms=0.0, extra=underflow_of_root(root, reference, result.largest))
    return total if arithmetic.noise is not None else replace(total, rms=math.inf)


def _of_sums(is_plain: bool, arithmetic: Arithmetic, magnitude: float, result: float) -> Allowance:
    """The allowance for sums, in units of u: `factor` from the theorem, `rms` from the measured noise.

    `magnitude` and `result`: root mean squares of M and S.
    """
    terms, noise = max(arithmetic.terms, 1), (arithmetic.noise or 0.0) / ROUNDOFF
    # Errors that grow with partial sums rising evenly to S, and the rounding of each product, which a fused
    # multiply-add omits. The sample may have missed either.
    growth = _RMS_OF_ROUNDING * math.sqrt(terms / 3.0) * result
    products = _RMS_OF_ROUNDING * magnitude / math.sqrt(terms)
    is_biased = is_plain or (arithmetic.noise is not None and noise * magnitude < _ALIKE * growth)
    rms = KAPPA * math.sqrt(2.0) * math.hypot(noise * magnitude, growth, products) + result
    certain = 2.0 * (terms + 1)
    if is_biased:
        return Allowance(certain, rms=rms + _BIAS * terms * result)
    # Noise above what chance explains counts as measured.
    factor = min(certain, max(LAMBDA * math.sqrt(terms) + 1.0, _DEVIATIONS * noise))
    if arithmetic.excess is None:
        return Allowance(factor, rms=rms)
    return Allowance(factor, rms=rms + sizes_of(arithmetic.excess).rms, extra=arithmetic.excess)


def _by_design(arithmetic: Arithmetic, backend: str, *, packed: bool) -> Allowance:
    """The allowance for roundings that webgl's kernels add to those of the operation."""
    start = rounded_at_start(arithmetic, packed=packed)
    mixed = None if backend != "webgl" else arithmetic.mixed
    return Allowance(floor=start, rms=start, extra=mixed if mixed is None else mixed * _roundoff(backend))


def rounded_at_start(arithmetic: Arithmetic, *, packed: bool) -> float:
    """The error of starting depthwise sums at 1e-15, in the activation's unit; 0 unless `packed`."""
    return _roundoff("webgl") * arithmetic.started if packed else 0.0


def _roundoff(backend: str) -> float:
    return ROUNDOFF * (_ON_A_GPU if backend in GPU_BACKENDS else 1.0)


def _of_functions(units: Units, magnitude: float, result: Sizes) -> Allowance:
    relative, absolute = ULP * units.relative, ULP * units.absolute
    if units.absolute >= _FIXED_POINT:
        # M includes the argument of a sine, but its error does not grow with it.
        absolute *= max(1.0, result.largest)
        return Allowance(relative, absolute, relative * magnitude + absolute)
    # The absolute error is that of the function's value. If the layer then multiplies that value, M
    # includes the factor, and M <= 2·P.
    relative += 2.0 * absolute
    return Allowance(relative, absolute, relative * magnitude + absolute)


def _stores(arithmetic: Arithmetic, terms: int) -> float:
    """How often numbers are stored while an element is computed.

    A loop stores several times in each iteration, and if a GPU truncates, the errors have one sign: they
    count as often as the roundings of such a layer's sums.
    """
    if arithmetic.exact:
        return 1.0
    return max(_STORES, LAMBDA * math.sqrt(terms)) if arithmetic.tried else _STORES


def _of_storing(stores: float, terms: int, magnitude: float, result: Sizes) -> Allowance:
    """The allowance for storing in half precision, `stores` times from the inputs to the result.

    It does not cover overflow above 65504, and covers underflow only if the layer's largest elements are far
    above it. In the root mean square the errors of storing the terms average out.
    """
    floor = min(SMALLEST_NORMAL_HALF, _STORING * result.largest)
    averaged = math.hypot(math.sqrt(2.0 / terms) * magnitude, result.rms)
    return Allowance(_STORING * stores, floor, KAPPA * _RMS_OF_ROUNDING * _STORING * averaged + floor)
