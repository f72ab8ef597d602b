"""How far a layer that ran alone on the reference's inputs may be off: from rounding, and nothing else.

Let M be the sum of the magnitudes that enter an element (|x|·|w| + |b|), S the element itself, n the number
of terms, u the unit roundoff (2**-24 for float32). No partial sum, in any order, is larger than
P = (M + |S|) / 2.

Each of about n roundings on each side is off by at most u·P, with changing sign. N. J. Higham and T. Mary, "A
New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41 (2019), theorem 2.4, bounds
their sum by λ·√n·u·P with a probability of 1 - 2·exp(-λ²/2), supposing no more than that they are
independent, of mean 0, and at most u. They are smaller: the error of rounding to nearest is uniform in its
unit, 0.41·u in the root mean square. So the difference of both sides is normal, with a deviation of
√2·0.41·√n·u·P = 0.58·√n·u·P where each partial sum is as large as it can be, and 0.33·√n·u·P where they grow
evenly.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.dtypes import FLUSHED, HALF_ULP, ROUNDOFF, SMALLEST_NORMAL_HALF, ULP
from pytest_tfjs.compare.numbers.elements import sizes_of
from pytest_tfjs.compare.numbers.tolerances import default_tolerance, is_inexact
from pytest_tfjs.compare.numbers.ulps import GPU_BACKENDS, units_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.elements import Sizes
    from pytest_tfjs.compare.numbers.ulps import Units

LAMBDA = 3.0
"""Of `λ·√n·u·P`: 5.2 deviations where one term outweighs all others on both sides, 9 where they are alike.

The chance that a right element is over it is 2e-7 in the first case, for which each partial sum has to be as
large as it can be, and 1e-19 in the second.
"""

KAPPA = 6.0
"""By how much the noise of the browser's and the reference's own orders may be over that of random orders."""

_ON_A_GPU = 2.0
"""In parts of that: a GPU may round to the one or the other neighbour (Vulkan 1.3, of OpFAdd and OpFMul)."""

_STORING = HALF_ULP
"""What storing a number in half precision may change: one unit, as a GPU may cut off in place of rounding."""

_STORES = 4.0
"""How often a layer stores: two factors, the bias or what one pass of several leaves, the result."""

_FIXED_POINT = 500.0
"""From how many units on a GPU computes a function as if in fixed point: trigonometric ones alone."""

_RMS_OF_ROUNDING = 0.41
"""Of the relative error, in parts of u: uniform in ±u/m, m (the significand) uniform in 1 to 2, √(1/6)."""

# Sums of what may be equal numbers: their roundings do not change sign, and n·u is the bound that holds
# (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. 2002, equation 4.4). Other sums are
# of equal numbers where summing in another order changes less than this part of what it should.
_PLAIN_SUM = re.compile(r"(?<![a-z])(sum|mean|cumsum|avgpool|averagepool|globalaverage)", re.IGNORECASE)
_ALIKE = 0.1
_DEVIATIONS = 8.0
_BIAS = 0.25
"""The root mean square error of summing n equal numbers one by one, in parts of n·u."""


@dataclass(frozen=True)
class Allowance:
    """What a layer may be off by: `|error| <= factor * P + floor` for each element, and `rms(error) <= rms`.

    P is the largest partial sum (`elements.partial_sum`), or |reference| where nothing is known of what
    enters; `floor` and `rms` are in the activation's unit, and `rms` is infinite where the elements alone are
    judged.
    """

    factor: float = 0.0
    floor: float = 0.0
    rms: float = math.inf

    def __add__(self, other: Allowance) -> Allowance:
        """What two causes together may do."""
        return Allowance(self.factor + other.factor, self.floor + other.floor, self.rms + other.rms)

    def times(self, unit: float) -> Allowance:
        """The same in `unit`."""
        return Allowance(self.factor * unit, self.floor * unit, self.rms * unit)


def allowance(
    layer: Layer, arithmetic: Arithmetic, reference: NDArray[Any], *, backend: str, half: bool
) -> Allowance:
    """The allowance of a layer for one feed, from its arithmetic and the reference's activation.

    `half`: the backend stores activations and weights in half precision. What is not rounded (integers,
    bools, strings) must be the same. Of a layer whose arithmetic is not known it is the default tolerance.
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
    # GPUs, and TensorFlow in its own threads, put 0 in the place of denormals, or the other way round: the
    # smallest normal number in the place of 0.
    found = Allowance(floor=FLUSHED * terms, rms=0.0)
    if not arithmetic.exact:
        of_sums = _of_sums(_PLAIN_SUM.search(layer.op) is not None, arithmetic, magnitude, result.rms)
        roundoff = ROUNDOFF * (_ON_A_GPU if backend in GPU_BACKENDS else 1.0)
        of_functions = _of_functions(units_of(arithmetic.functions, backend), magnitude, result)
        found += of_sums.times(roundoff) + of_functions
    if half:
        found += _of_storing(_stores(arithmetic, terms), terms, magnitude, result)
    return found if arithmetic.noise is not None else replace(found, rms=math.inf)


def _of_sums(is_plain: bool, arithmetic: Arithmetic, magnitude: float, result: float) -> Allowance:
    """Of the sums, in units of roundoff: of the elements by theorem, of all by the noise that was measured.

    `magnitude` and `result`: root mean squares of M and S.
    """
    terms, noise = max(arithmetic.terms, 1), (arithmetic.noise or 0.0) / ROUNDOFF
    # What grows with the sum itself, as partial sums rise evenly to S, and the rounding of each product,
    # which a multiply-add leaves out. The sample may have missed either.
    growth = _RMS_OF_ROUNDING * math.sqrt(terms / 3.0) * result
    products = _RMS_OF_ROUNDING * magnitude / math.sqrt(terms)
    is_biased = is_plain or (arithmetic.noise is not None and noise * magnitude < _ALIKE * growth)
    rms = KAPPA * math.sqrt(2.0) * math.hypot(noise * magnitude, growth, products) + result
    surely = 2.0 * (terms + 1)
    if is_biased:
        return Allowance(surely, rms=rms + _BIAS * terms * result)
    # Where the noise is more than chance explains, it is taken as it is.
    return Allowance(min(surely, max(LAMBDA * math.sqrt(terms) + 1.0, _DEVIATIONS * noise)), rms=rms)


def _of_functions(units: Units, magnitude: float, result: Sizes) -> Allowance:
    relative, absolute = ULP * units.relative, ULP * units.absolute
    if units.absolute >= _FIXED_POINT:
        # Of a sine the argument counts in M, which is no measure of what it may be off by.
        absolute *= max(1.0, result.largest)
        return Allowance(relative, absolute, relative * magnitude + absolute)
    # What is absolute is so for the function's value. A layer that goes on to multiply it has the factor in
    # M, which is 2·P at most; an element is allowed nothing for what its neighbours are.
    relative += 2.0 * absolute
    return Allowance(relative, absolute, relative * magnitude + absolute)


def _stores(arithmetic: Arithmetic, terms: int) -> float:
    """How often a number is stored on the way to an element.

    In a loop it is in each round, several times, and where a GPU cuts off the errors have one sign: as many
    times as the sums of such a layer are taken to round.
    """
    if arithmetic.exact:
        return 1.0
    return max(_STORES, LAMBDA * math.sqrt(terms)) if arithmetic.tried else _STORES


def _of_storing(stores: float, terms: int, magnitude: float, result: Sizes) -> Allowance:
    """Of storing in half precision, `stores` times from what enters to the result.

    What is over 65504 is not allowed for, nor what is under the smallest half, but where the layer's largest
    elements are far above that. In the root mean square, what the terms were stored with averages out.
    """
    floor = min(SMALLEST_NORMAL_HALF, _STORING * result.largest)
    averaged = math.hypot(math.sqrt(2.0 / terms) * magnitude, result.rms)
    return Allowance(_STORING * stores, floor, KAPPA * _RMS_OF_ROUNDING * _STORING * averaged + floor)
