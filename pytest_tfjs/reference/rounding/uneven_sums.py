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
from pytest_tfjs.compare.numbers.element_loops import BLOCK
from pytest_tfjs.compare.operations import CONTRACTIONS, PASS_THROUGH, RESHAPES, SUMS
from pytest_tfjs.reference.rounding.operation_rules import summed_terms
from pytest_tfjs.reference.rounding.rounding_step import magnitude, run_operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    squares = None if 2.0 * (terms + 1) <= LAMBDA * math.sqrt(terms) + 1.0 else _squares(one.step)
    if squares is None:
        return None
    result = one.result.result()
    flat = {"size": size, "squares": squares, "value": result, "sum": one.step.result()}
    bias = one.bias_of_each()
    if bias is not None:
        flat["bias"] = bias
    flat = {name: value.reshape(-1) for name, value in flat.items()}
    with np.errstate(all="ignore"):
        if not any(block.is_uneven().any() for block in _blocks(terms, flat)):
            return None
        flat["count"] = _count(one.step).reshape(-1)
        found = np.concatenate([block.excess() for block in _blocks(terms, flat)])
    return found.reshape(result.shape) if found.any() else None


class _Block:
    """Some elements of a sum, in float64."""

    def __init__(self, terms: int, arrays: Mapping[str, Array]) -> None:
        wide = {name: np.abs(value).astype(np.float64) for name, value in arrays.items()}
        self._terms = terms
        self._summed, self._squares, self._sum = wide["size"], wide["squares"], wide["sum"]
        bias = wide.get("bias", np.float64(0))
        self._count, self._constants = wide.get("count"), int("bias" in wide)
        total, squares = self._summed + bias, self._squares + np.square(bias)
        self._most = (np.maximum(total, wide["value"]) + wide["value"]) / 2
        self._lambda = LAMBDA_OF_ONE * np.maximum(unevenness(wide["value"], squares, self._most), 0) ** POWER
        self._rest = np.maximum(total**2 - squares, 0) / (2 * total)
        self._is_small = self._rest < SMALL * terms * ROUNDOFF * self._most
        self._effective = np.where(self._squares > 0, np.square(self._summed) / self._squares, 0)

    def is_uneven(self) -> Array:
        """Where the usual bound may be too small."""
        found: Array = (self._lambda > LAMBDA) | self._is_small | (self._effective > _FEWEST_EQUAL)
        return found

    def excess(self) -> Array:
        """What `excess_of` gives."""
        assert self._count is not None
        is_equal = (self._effective > _FEWEST_EQUAL) & (self._effective >= (1 - _EQUAL) * self._count)
        is_equal &= self._sum >= (1 - _ONE_SIGN) * self._summed
        count = self._count + self._constants
        certain = 2.0 * (count + 1)
        needed = (self._lambda * np.sqrt(count) + 1) * self._most
        lost = np.minimum(self._terms * self._most, self._rest / ROUNDOFF)
        needed = np.where(self._is_small, np.maximum(needed, lost), needed)
        needed = np.where(is_equal, np.maximum(needed, certain * self._summed), needed)
        usual = LAMBDA * math.sqrt(self._terms) + 1.0
        found = np.minimum(needed, certain * self._most) - usual * self._most
        found = np.where(self._squares > 0, np.maximum(found, 0), 0)
        excess: Array = np.nan_to_num(found, nan=0, posinf=0).astype(np.float32)
        return excess


def _blocks(terms: int, arrays: Mapping[str, Array]) -> Iterator[_Block]:
    for start in range(0, arrays["size"].size, BLOCK):
        yield _Block(terms, {name: value[start : start + BLOCK] for name, value in arrays.items()})


def unevenness(value: Array, squares: Array, most: Array) -> Array:
    """How few summands make up a sum: 1 if it is one, 1/k if it is k of one sign, less if their signs differ.

    `value`: |S|; `squares`: the sum of the squares of the summands; `most`: P, of each element. Summands that
    cancel leave few orders in which many partial sums are as large as P.
    """
    few, one_sign = squares / np.square(most), value / most
    found: Array = few * (one_sign**3 + (1 - one_sign**2) * few / 7)
    return found


def _squares(step: Step) -> Array | None:
    """The sum of the squares of the summands of each element; 0 where it cannot be told, None if nowhere."""
    inputs = [index for index in range(len(step.inputs)) if step.is_inexact(index)]
    peaks = {index: float(np.max(step.size(index), initial=0)) for index in inputs}
    if not all(math.isfinite(peak) and peak > 0 for peak in peaks.values()):
        return None
    # Of numbers up to 1, so that no square is too large or too small for float32.
    found = _run(
        step, {index: np.square(step.size(index) / np.float32(peak)) for index, peak in peaks.items()}
    )
    found[found <= _LEAST_SQUARE] = 0
    unit = math.prod(peaks.values()) ** 2
    return found.astype(np.float64) * (unit / summed_terms(step) if step.op == "Mean" else unit)


def _count(step: Step) -> Array:
    """How many summands of each element are not 0."""
    inputs = [index for index in range(len(step.inputs)) if step.is_inexact(index)]
    count = _run(step, {index: (step.size(index) != 0).astype(np.float32) for index in inputs})
    return count * summed_terms(step) if step.op == "Mean" else count


def _run(step: Step, sizes: Mapping[int, Array]) -> Array:
    values = [sizes[index] if index in sizes else step.value(index) for index in range(len(step.inputs))]
    return magnitude(run_operation(step.operation, values)[0])
