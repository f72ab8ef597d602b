"""How each operation rounds: the magnitudes of its terms and the number of roundings.

The sizes follow from the standard model of rounding error carried through to first order (N. J. Higham,
"Accuracy and Stability of Numerical Algorithms", 2nd ed. 2002, chapters 2 and 3): where y = f(x, ...) and x
is off by ε·s(x), y is off by ε·(|∂f/∂x|·s(x) + ...), and s(x) = |x| for inputs of the layer. For a sum of
products this gives the sum of |x|·|w|, for a bias |b| more, and so on through the layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import (
    BATCH_NORMS,
    CONTRACTIONS,
    COPIES_ELEMENTS,
    DISCONTINUOUS,
    PIECEWISE_LINEAR,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
)
from pytest_tfjs.reference.rounding.rounding_step import (
    EXACT,
    Rounded,
    Step,
    UnknownRounding,
    magnitude,
    run_operation,
)
from pytest_tfjs.reference.rounding.slopes import FUNCTIONS, OF_ARGUMENT, OF_RESULT
from pytest_tfjs.reference.rounding.term_counts import terms_of

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]

_CHOOSING = frozenset({"Maximum", "Minimum"})
_LARGEST = frozenset({"Max", "Min", "MaxPool", "MaxPool3D", "MaxPoolV2"})
_REDUCED = frozenset({"Sum", "Mean", "AvgPool", "AvgPool3D", "Cumsum", "UnsortedSegmentSum", "SegmentSum"})
_OF_INTEGERS = frozenset({"FloorDiv", "FloorMod", "Mod", "TruncateDiv", "TruncateMod"})
_FLOAT32_BYTES = 4
_SPECTRA = frozenset({"FFT", "IFFT", "RFFT", "IRFFT"})

KEEP_SUMS = (
    COPIES_ELEMENTS
    | PIECEWISE_LINEAR
    | _CHOOSING
    | SUMS
    | OF_ARGUMENT.keys()
    | OF_RESULT.keys()
    | {"LeakyRelu", "Mul", "Softmax"}
)
"""Operations before or after a sum that keep the noise of its summation order in proportion to it."""


def rounded(step: Step) -> tuple[list[Rounded], tuple[str, ...]]:
    """The rounding of each output of an operation, and the names of the functions that it evaluates.

    Raises UnknownRounding where there is no rule for the operation.
    """
    outputs = len(step.operation.outputs)
    if not step.gives_numbers and step.roundings == 0:
        return [EXACT] * outputs, ()
    if step.op == "Cast":
        return [_cast(step)], ()
    if step.op in COPIES_ELEMENTS:
        return _copied(step), ()
    if step.op in DISCONTINUOUS and step.roundings == 0:
        return [EXACT] * outputs, ()
    rule = _RULES.get(step.op)
    if rule is None:
        raise UnknownRounding(step.op)
    with np.errstate(all="ignore"):
        found = rule(step)
    return [found, *[EXACT] * (outputs - 1)], FUNCTIONS.get(step.op, ())


def summed_terms(step: Step) -> int:
    """How many numbers or products each element of the output sums; 1 for an operation without a sum."""
    if step.op in CONTRACTIONS:
        return terms_of(step)
    return _reduced_terms(step) if step.op in _REDUCED else 1


def _copied(step: Step) -> list[Rounded]:
    if step.op == "ScatterNd" and (repeated := _most_repeated(step.value(0))) > 1:
        return [Rounded(step.outputs_of_sizes()[0], step.roundings + repeated)]
    if step.plain:
        return [Rounded(None, step.roundings)] * len(step.operation.outputs)
    return [Rounded(size, step.roundings) for size in step.outputs_of_sizes()]


def _most_repeated(indices: Array) -> int:
    """How often the most frequent index occurs; a scatter adds what has the same index."""
    if not indices.size:
        return 0
    return int(np.unique(indices.reshape(-1, indices.shape[-1]), axis=0, return_counts=True)[1].max())


def _cast(step: Step) -> Rounded:
    before, after = step.operation.inputs[0].dtype, step.operation.outputs[0].dtype
    if step.roundings and not (after.is_floating or after.is_complex):
        raise UnknownRounding(step.op)
    narrower = before.is_floating and after.is_floating and after.size < before.size
    return Rounded(step.inputs[0].size, step.roundings + int(narrower and after.size < _FLOAT32_BYTES))


def _piecewise_linear(step: Step) -> Rounded:
    if step.op in ("Real", "Imag") and step.roundings and step.inputs[0].size is None:
        return Rounded(step.size(0), step.roundings)
    return Rounded(step.inputs[0].size, step.roundings)


def _larger_or_smaller(step: Step) -> Rounded:
    if step.plain and step.roundings == 0:
        return EXACT
    return Rounded(np.maximum(step.size(0), step.size(1)), step.roundings)


def _largest(step: Step) -> Rounded:
    if step.plain:
        return Rounded(None, step.roundings)
    if step.op == "Min":
        size = np.broadcast_to(step.size(0).max(), step.result().shape)
        return Rounded(np.ascontiguousarray(size), step.roundings)
    return Rounded(step.outputs_of_sizes()[0], step.roundings)


def _sum(step: Step) -> Rounded:
    count = len(step.inputs)
    if step.op == "BiasAdd":
        size = step.outputs_of_sizes()[0]
    else:
        size = step.size(0)
        for index in range(1, count):
            size = size + step.size(index)
    return Rounded(size, step.roundings + count - 1 if step.roundings else count)


def _product(step: Step) -> Rounded:
    if step.plain:
        return Rounded(None, step.roundings + 1)
    a, b = magnitude(step.value(0)), magnitude(step.value(1))
    return Rounded(a * step.size(1) + b * step.size(0) - a * b, step.roundings + 1)


def _quotient(step: Step) -> Rounded:
    if step.plain:
        return Rounded(None, step.roundings + 1)
    a, b = magnitude(step.value(0)), magnitude(step.value(1))
    size = np.where(b == 0, 0, step.size(0) / b + a / b * (step.size(1) / b - 1))
    return Rounded(size, step.roundings + 1)


def _square(step: Step) -> Rounded:
    if step.plain:
        return Rounded(None, step.roundings + 1)
    x = magnitude(step.value(0))
    return Rounded(x * (2 * step.size(0) - x), step.roundings + 1)


def _squared_difference(step: Step) -> Rounded:
    between = np.abs(step.value(0) - step.value(1))
    return Rounded(2 * between * (step.size(0) + step.size(1)), step.roundings + 2)


def _power(step: Step) -> Rounded:
    """x**p: |y|·(1 + |p|·s(x)/|x| + |ln x|·s(p))."""
    x, y = np.abs(step.value(0)), magnitude(step.result())
    slope = np.abs(step.value(1)) * step.size(0) / np.where(x == 0, 1, x)
    size = y * (1 + slope + np.abs(np.log(np.where(x == 0, 1, x))) * step.size(1))
    return Rounded(size, step.roundings + 1)


def exponent_of(step: Step) -> float:
    """The exponent of a power of one exponent between 0 and 1, such as a cube root; otherwise 0."""
    if step.op != "Pow":
        return 0.0
    exponents = np.unique(step.value(1))
    return float(exponents[0]) if exponents.size == 1 and 0 < exponents[0] < 1 else 0.0


def _function(step: Step) -> Rounded:
    x, y = step.value(0), step.result()
    entered = step.size(0)
    if step.op in ("Sin", "Cos", "Tan"):
        # Reducing a large argument exactly is the task of the function.
        entered = entered - magnitude(x) + np.minimum(magnitude(x), _MOST_REDUCED)
    slope = OF_RESULT[step.op](y) if step.op in OF_RESULT else OF_ARGUMENT[step.op](x)
    size = magnitude(y) + np.abs(slope) * entered
    return Rounded(size.astype(np.float32), step.roundings + 1)


_MOST_REDUCED = 64.0


def _leaky(step: Step) -> Rounded:
    size = step.inputs[0].size
    steep = max(1.0, abs(step.attribute("alpha")))
    return Rounded(None if size is None else size * np.float32(steep), step.roundings + 1)


def _contraction(step: Step) -> Rounded:
    return Rounded(step.outputs_of_sizes()[0], step.roundings + terms_of(step))


def _reduction(step: Step) -> Rounded:
    return Rounded(step.outputs_of_sizes()[0], step.roundings + _reduced_terms(step))


def _reduced_terms(step: Step) -> int:
    if step.op in ("AvgPool", "AvgPool3D"):
        return int(np.prod(step.attribute("ksize")))
    taken = step.value(0).shape
    if step.op == "Cumsum":
        return int(taken[int(step.value(1))]) if taken else 1
    if step.op in ("UnsortedSegmentSum", "SegmentSum"):
        return int(taken[0]) if taken else 1
    axes = np.atleast_1d(step.value(1))
    return int(np.prod([taken[axis] for axis in axes], dtype=np.int64)) or 1


def _multiplied(step: Step) -> Rounded:
    if step.roundings:
        raise UnknownRounding(step.op)
    return Rounded(None, _reduced_terms(step))


def _batch_norm(step: Step) -> Rounded:
    """(x - mean)·scale/√(variance + ε) + offset, where x and the mean may cancel."""
    channels_first = step.attribute("data_format").decode().startswith("NC")
    entered = step.size(0)
    shape = [1] * entered.ndim
    shape[1 if channels_first else -1] = -1
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    scale, offset = (magnitude(step.value(index)).reshape(shape) for index in (1, 2))
    if not step.attribute("is_training"):
        mean, variance = (step.value(index).reshape(shape) for index in (3, 4))
        steep = scale / np.sqrt(variance + step.attribute("epsilon"))
        size = (entered + magnitude(mean)) * steep + offset
        return Rounded(size.astype(np.float32), step.roundings + 4)
    # Mean and variance are those of x, so that rounding x and the mean also changes the variance.
    x = step.value(0)
    variance = x.var(axes, keepdims=True) + step.attribute("epsilon")
    apart = np.abs(x - x.mean(axes, keepdims=True))
    entered = entered + entered.mean(axes, keepdims=True)
    moved = entered + apart * np.mean(apart * entered, axes, keepdims=True) / variance
    terms = x.size // scale.size
    return Rounded((moved * scale / np.sqrt(variance) + offset).astype(np.float32), step.roundings + terms)


def _softmax(step: Step) -> Rounded:
    """exp(x - max)/Σ: the relative error of each exponential is the absolute error of its argument."""
    y, entered = step.result(), step.size(0)
    share = np.exp(y) if step.op == "LogSoftmax" else y
    moved = 1 + entered + np.sum(share * entered, -1, keepdims=True)
    size = np.abs(y) + moved if step.op == "LogSoftmax" else y * moved
    return Rounded(size.astype(np.float32), step.roundings + int(y.shape[-1]))


def _resized(step: Step) -> Rounded:
    """Bilinear resizing: the coordinates are rounded too, relative to the size of the image.

    A coordinate on a pixel may be rounded towards any neighbour.
    """
    rows, columns = step.value(0).shape[1:3]
    size = run_operation(step.operation, [_of_neighbours(step.size(0)), step.value(1)])[0]
    return Rounded(size * np.float32(1 + max(rows, columns)), step.roundings + 4)


def _of_neighbours(image: Array) -> Array:
    """The largest of each pixel and its eight neighbours."""
    for axis in (1, 2):
        pads = [(1, 1) if each == axis else (0, 0) for each in range(image.ndim)]
        padded = np.moveaxis(np.pad(image, pads, mode="edge"), axis, 0)
        image = np.moveaxis(np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return image


def _spectrum(step: Step) -> Rounded:
    """A sum over all n terms; the angles, up to 2πn, are rounded too: n·u for each term."""
    entered = step.size(0)
    total = np.sum(entered, -1, keepdims=True)
    n = max(entered.shape[-1], step.result().shape[-1])
    if step.op in ("IFFT", "IRFFT"):
        total = total * np.float32(2.0 / n)
    size = np.broadcast_to(total, step.result().shape)
    return Rounded(np.ascontiguousarray(size, np.float32), step.roundings + n * n)


def _complex(step: Step) -> Rounded:
    return Rounded(None if step.plain else step.size(0) + step.size(1), step.roundings)


def _complex_size(step: Step) -> Rounded:
    return Rounded(step.inputs[0].size, step.roundings + 3)


def _of_integers(step: Step) -> Rounded:
    if step.roundings:
        raise UnknownRounding(step.op)
    return Rounded(magnitude(step.value(0)) + magnitude(step.value(1)), 1)


_RULES: dict[str, Callable[[Step], Rounded]] = {
    **dict.fromkeys(PIECEWISE_LINEAR, _piecewise_linear),
    **dict.fromkeys(_CHOOSING, _larger_or_smaller),
    **dict.fromkeys(_LARGEST, _largest),
    **dict.fromkeys(SUMS, _sum),
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(QUOTIENTS, _quotient),
    **dict.fromkeys((*OF_ARGUMENT, *OF_RESULT), _function),
    **dict.fromkeys(CONTRACTIONS, _contraction),
    **dict.fromkeys(_REDUCED, _reduction),
    **dict.fromkeys(_OF_INTEGERS, _of_integers),
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys(_SPECTRA, _spectrum),
    "Square": _square,
    "SquaredDifference": _squared_difference,
    "Pow": _power,
    "LeakyRelu": _leaky,
    "Prod": _multiplied,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "ResizeBilinear": _resized,
    "Complex": _complex,
    "ComplexAbs": _complex_size,
}
