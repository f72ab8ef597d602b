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

from pytest_tfjs.compare.elements import sizes_of
from pytest_tfjs.compare.tolerances import default_tolerance, is_inexact
from pytest_tfjs.compare.units import GPU_BACKENDS, ULP, units_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfjs.compare.arithmetic import Arithmetic
    from pytest_tfjs.compare.elements import Sizes
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.units import Units

LAMBDA = 3.0
"""Of `λ·√n·u·P`: 5.2 deviations where one term outweighs all others on both sides, 9 where they are alike.

The chance that a right element is over it is 2e-7 in the first case, for which each partial sum has to be as
large as it can be, and 1e-19 in the second.
"""

KAPPA = 6.0
"""By how much the noise of the browser's and the reference's own orders may be over that of random orders."""

_ROUNDOFF = 2.0**-24
_STORING = 2.0**-10
"""What storing a number in half precision may change: one unit, as a GPU may cut off in place of rounding."""

_STORES = 4.0
"""How often a layer stores: two factors, the bias or what one pass of several leaves, the result."""

_SMALLEST = 2.0**-126
_SMALLEST_HALF = 2.0**-14
_RMS_OF_ROUNDING = 0.41
"""Of the relative error, in parts of u: uniform in ±u/m, m (the significand) uniform in 1 to 2, √(1/6)."""
_DEEPEST = 104.0
"""|ln y| of the smallest float32."""

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
    roundoff = _ROUNDOFF * (2.0 if backend in GPU_BACKENDS else 1.0)
    # GPUs, and TensorFlow in its own threads, put 0 in the place of what is smaller.
    flushed = _SMALLEST * max(arithmetic.terms, 1)
    if arithmetic.exact:
        found = Allowance(floor=flushed)
        return _stored_in_half(found, result, stores=1.0) if half else found
    units = units_of(arithmetic.functions, backend)
    summed = _of_sums(layer, arithmetic, result, roundoff)
    found = _with_functions(replace(summed, floor=flushed), units, result)
    if not half:
        return found
    stores = _STORES + (_exponent(result) if units.exponent else 0.0)
    return _stored_in_half(found, result, stores=stores, shifts=units.absolute > 0)


def _of_sums(layer: Layer, arithmetic: Arithmetic, result: Sizes, roundoff: float) -> Allowance:
    """Of the sums: of the elements by theorem, in the root mean square by the noise that was measured."""
    terms = max(arithmetic.terms, 1)
    magnitude = result.rms if arithmetic.magnitude is None else sizes_of(arithmetic.magnitude).rms
    noise = (arithmetic.noise or 0.0) / _ROUNDOFF
    # In units of roundoff: what grows with the sum itself, as partial sums rise evenly to S, and the rounding
    # of each product, which a multiply-add leaves out. The sample may have missed either.
    growth = _RMS_OF_ROUNDING * math.sqrt(terms / 3.0) * result.rms
    products = _RMS_OF_ROUNDING * magnitude / math.sqrt(terms)
    is_plain = _PLAIN_SUM.search(layer.op) is not None
    is_alike = arithmetic.noise is not None and noise * magnitude < _ALIKE * growth
    factor = roundoff * _roundings(terms, noise, is_biased=is_plain or is_alike)
    if arithmetic.noise is None:
        return Allowance(factor)
    rms = KAPPA * math.sqrt(2.0) * math.hypot(noise * magnitude, growth, products) + result.rms
    if is_plain or is_alike:
        rms += _BIAS * terms * result.rms
    return Allowance(factor, rms=rms * roundoff)


def _roundings(terms: int, noise: float, *, is_biased: bool) -> float:
    """How far both sides' sums may be apart, in units of roundoff of the largest partial sum.

    `noise` in the same: where it was measured to be more than chance explains, it is taken as it is.
    """
    surely = 2.0 * (terms + 1)
    return surely if is_biased else min(surely, max(LAMBDA * math.sqrt(terms) + 1.0, _DEVIATIONS * noise))


def _with_functions(found: Allowance, units: Units, result: Sizes) -> Allowance:
    relative = ULP * (units.relative + units.exponent * _exponent(result))
    # What is absolute is so for the function's value, which a layer may go on to multiply.
    absolute = ULP * units.absolute * max(1.0, result.largest)
    return Allowance(
        found.factor + relative, found.floor + absolute, found.rms + relative * result.rms + absolute
    )


def _stored_in_half(found: Allowance, result: Sizes, *, stores: float, shifts: bool = False) -> Allowance:
    """The allowance where values are stored in half precision, `stores` times from what enters to the result.

    `shifts`: what is stored on the way is not in proportion to the result. What is over 65504 is not allowed
    for, nor what is under the smallest half, but where the layer's largest elements are far above that.
    """
    storing = _STORING * stores
    floor = found.floor + min(_SMALLEST_HALF, _STORING * result.largest)
    if shifts:
        floor += storing * max(1.0, result.largest)
    return Allowance(found.factor + storing, floor)


def _exponent(result: Sizes) -> float:
    """The largest |ln y| of the elements y that are not 0."""
    if result.largest == 0:
        return 0.0
    return min(_DEEPEST, max(abs(math.log(result.largest)), abs(math.log(result.smallest))))
