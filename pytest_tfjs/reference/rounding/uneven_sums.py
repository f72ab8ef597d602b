"""Bounds the roundings of sums that do not average out: one large summand, equal summands.

λ·√n·u·P (`compare.numbers.allowance`) holds for roundings that are random, and with room to spare where many
summands make up the sum. Two kinds of elements need more, while the others of their layer do not:

- Few summands make up the sum. If a kernel adds these first, all partial sums from there on are as large as
  P, and all roundings as large as that allows (`unevenness`).
- The roundings have one sign, so that only n·u·P bounds them (N. J. Higham, "Accuracy and Stability of
  Numerical Algorithms", 2nd ed. 2002, section 4.2): the summands are equal; or one of them, such as a bias,
  is so large that the others are few units in its last place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import ROUNDOFF
from pytest_tfjs.compare.numbers.allowance import LAMBDA
from pytest_tfjs.compare.operations import CONTRACTIONS, PASS_THROUGH, RESHAPES, SUMS
from pytest_tfjs.reference.rounding.operation_rules import summed_terms
from pytest_tfjs.reference.rounding.rounding_step import magnitude, run_operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.reference.rounding.rounding_step import Step

Array = np.ndarray[Any, np.dtype[Any]]

_SUMMING = CONTRACTIONS | {"Sum", "Mean"}
_KEEPS_ORDER = PASS_THROUGH | RESHAPES

LAMBDA_OF_ONE = 5.3
"""λ where one summand makes up the sum; LAMBDA_OF_ONE * unevenness**POWER where several do.

With it an element exceeds its bound with a probability below 1e-13, whichever summands are large, if browser
and Python add them in random orders, and roundings are uniform in a unit in the last place of the partial
sum. `test_uneven_sums.py` computes this for one to eight large summands of either sign.
"""

POWER = 1 / 6

SMALL = 16.0
"""Summands beside a large one have roundings of one sign where they add up to less than SMALL·n·u·P."""

_FEWEST_EQUAL = 16
_EQUAL = 1e-4
"""Summands are equal where their variance is below this part of their mean square."""

_ONE_SIGN = 1e-3
_LEAST_SQUARE = 1e-36


@dataclass(frozen=True)
class Sum:
    """A sum within a layer: the operation that sums, and the one that adds a constant to it, if there is one.

    `bias`: which input of `adds` is the constant.
    """

    step: Step
    adds: Step | None = None
    bias: int = 1

    @property
    def result(self) -> Step:
        """The operation that gives the sum, the constant included."""
        return self.step if self.adds is None else self.adds

    def bias_of_each(self) -> Array | None:
        """The constant that is added to each element, in the shape of the sum; None without one."""
        if self.adds is None:
            return None
        value = self.adds.value(self.bias)
        shape = self.result.result().shape
        if self.adds.op == "BiasAdd" and self.adds.attribute("data_format") == b"NCHW":
            value = value.reshape(-1, *[1] * (len(shape) - 2))
        return np.broadcast_to(value, shape)


def sums_in(steps: Sequence[Step]) -> list[Sum]:
    """The sums of more than one number in a layer, in the order of computation."""
    numbers = [step for step in steps if step.gives_numbers]
    made = {step.operation.outputs[0].name: step for step in numbers}
    summing = {name: step for name, step in made.items() if step.op in _SUMMING and summed_terms(step) > 1}
    found = {name: Sum(step) for name, step in summing.items()}
    for step in numbers:
        if step.op not in SUMS or len(step.inputs) != 2:  # noqa: PLR2004  (a sum and a constant)
            continue
        for index, tensor in enumerate(step.operation.inputs):
            name = _origin(tensor).name
            other = step.operation.inputs[1 - index]
            if name in summing and found[name].adds is None and _origin(other).op.type == "Const":
                sizes = (math.prod(summing[name].result().shape), math.prod(step.result().shape))
                if sizes[0] == sizes[1]:
                    found[name] = Sum(summing[name], step, 1 - index)
    return list(found.values())


def _origin(tensor: Any) -> Any:
    """The tensor that has the same elements in the same order, before any reshaping."""
    while tensor.op.type in _KEEPS_ORDER and len(tensor.op.inputs):
        tensor = tensor.op.inputs[0]
    return tensor


def excess_of(one: Sum, size: Array) -> Array | None:
    """By how much the roundings of a sum may exceed (λ·√n + 1)·u·P, for each element, in units of u.

    `size`: the sums of the magnitudes of the summands, without the constant. The result has the shape of the
    sum and the unit of the activation; None where it is 0 everywhere.
    """
    terms = summed_terms(one.step)
    usual = LAMBDA * math.sqrt(terms)
    squares = None if 2.0 * (terms + 1) <= usual + 1.0 else _squares(one.step)
    if squares is None:
        return None
    value = np.abs(one.result.result()).astype(np.float64)
    summed, squares = size.astype(np.float64).reshape(value.shape), squares.reshape(value.shape)
    total, all_squares, constants = summed, squares, 0
    bias = one.bias_of_each()
    if bias is not None:
        total, all_squares = summed + np.abs(bias), squares + np.square(bias.astype(np.float64))
        constants = 1
    with np.errstate(all="ignore"):
        most = (np.maximum(total, value) + value) / 2
        lambda_of_each = LAMBDA_OF_ONE * np.maximum(unevenness(value, all_squares, most), 0) ** POWER
        rest = np.maximum(total**2 - all_squares, 0) / (2 * total)
        is_small = rest < SMALL * terms * ROUNDOFF * most
        effective = np.where(squares > 0, np.square(summed) / squares, 0)
        if not ((lambda_of_each > LAMBDA) | is_small | (effective > _FEWEST_EQUAL)).any():
            return None
        count = _count(one.step).reshape(value.shape)
        is_equal = (effective > _FEWEST_EQUAL) & (effective >= (1 - _EQUAL) * count)
        is_equal &= np.abs(one.step.result()).reshape(value.shape) >= (1 - _ONE_SIGN) * summed
        certain = 2.0 * (count + constants + 1)
        needed = np.maximum(lambda_of_each * np.sqrt(count + constants) + 1, 0) * most
        needed = np.where(is_small, np.maximum(needed, np.minimum(terms * most, rest / ROUNDOFF)), needed)
        needed = np.where(is_equal, np.maximum(needed, certain * summed), needed)
        excess = np.minimum(needed, certain * most) - (usual + 1.0) * most
        excess = np.where(squares > 0, np.maximum(excess, 0), 0)
    found: Array = np.nan_to_num(excess, nan=0, posinf=0).astype(np.float32)
    return found if found.any() else None


def unevenness(value: Array, squares: Array, most: Array) -> Array:
    """How few summands make up a sum: 1 if it is one, 1/k if it is k of one sign, less if their signs differ.

    `value`: |S|; `squares`: the sum of the squares of the summands; `most`: P, of each element. Summands that
    cancel leave few orders in which many partial sums are as large as P.
    """
    few, one_sign = squares / np.square(most), value / most
    found: Array = few * (one_sign**3 + (1 - one_sign**2) * few / 7)
    return found


def _squares(step: Step) -> Array | None:
    """The sum of the squares of the summands of each element, in float64; 0 where it cannot be told."""
    inputs = [index for index in range(len(step.inputs)) if step.is_inexact(index)]
    peaks = {index: float(np.max(step.size(index), initial=0)) for index in inputs}
    if not all(math.isfinite(peak) and peak > 0 for peak in peaks.values()):
        return None
    # Of numbers up to 1, so that no square is too large or too small for float32.
    found = _run(
        step, {index: np.square(step.size(index) / np.float32(peak)) for index, peak in peaks.items()}
    )
    if step.op == "Mean":
        found /= summed_terms(step)
    return np.where(found > _LEAST_SQUARE, found * math.prod(peaks.values()) ** 2, 0)


def _count(step: Step) -> Array:
    """How many summands of each element are not 0, in float64."""
    inputs = [index for index in range(len(step.inputs)) if step.is_inexact(index)]
    count = _run(step, {index: (step.size(index) != 0).astype(np.float32) for index in inputs})
    return count * summed_terms(step) if step.op == "Mean" else count


def _run(step: Step, sizes: Mapping[int, Array]) -> Array:
    values = [sizes[index] if index in sizes else step.value(index) for index in range(len(step.inputs))]
    return magnitude(run_operation(step.operation, values)[0]).astype(np.float64)
