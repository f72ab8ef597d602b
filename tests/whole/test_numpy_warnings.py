"""Functions that judge activations emit no warning of numpy, whatever the numbers."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.feed_changes import feed_changes
from pytest_tfjs.compare.diagnosis.half_precision import apart, predicted_error, sizes_of
from pytest_tfjs.compare.diagnosis.other_results import other_result
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step, evaluate
from pytest_tfjs.compare.diagnosis.semantics import error_left, interpretations, try_one
from pytest_tfjs.compare.lost_values import lost_values
from pytest_tfjs.compare.mutants import SWAPS, change_one, round_to_half, scale, swap_activation
from pytest_tfjs.compare.numbers import element_loops
from pytest_tfjs.compare.numbers.allowance import Allowance, allowance
from pytest_tfjs.compare.numbers.compression import cost, merge_costs
from pytest_tfjs.compare.numbers.element_check import (
    allowed_by_allowance,
    allowed_by_tolerance,
    check_elements,
)
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local, merge_local
from pytest_tfjs.compare.numbers.metrics import distance, measure, merge
from pytest_tfjs.compare.numbers.tolerances import EXACT, Tolerance
from pytest_tfjs.compare.task import Classified
from pytest_tfjs.compare.vacuity.spread import (
    constant_of,
    disturbed,
    is_repeated,
    is_same,
    is_saturated,
    same_value,
)
from pytest_tfjs.compare.weight_check import BatchNorm, Storage, difference
from tests.support.comparisons import layer

TINY, HUGE = 1e-45, 3.4e38
FLOATS = (0.0, -0.0, TINY, 1e-39, 1e-20, 1.0, -2.5, 65505.0, 1e20, HUGE, -HUGE, math.inf, -math.inf, math.nan)
WHOLE = (0, 1, -1, 2**31 - 1, -(2**31))
TOLERANCES = (EXACT, Tolerance(1e-3, 1e-4), Tolerance(0.0, 1e-300, absolute=True), Tolerance(1.0, 1e38))


def floats(dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of special numbers."""
    pairs = np.array(list(itertools.product(FLOATS, FLOATS)), dtype)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def complexes() -> tuple[np.ndarray, np.ndarray]:
    numbers = [complex(*pair) for pair in itertools.product(FLOATS, FLOATS)]
    one = np.array(numbers, np.complex64)
    return one, np.roll(one, 5)


def whole() -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(list(itertools.product(WHOLE, WHOLE)), np.int32)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of activations: each pair of numbers alone, beside a usual one, and all of them together."""
    found = []
    for actual, reference in (floats(), floats(np.float64), complexes(), whole()):
        found += [(actual, reference), (reference, reference)]
        found += [(actual[at : at + 1], reference[at : at + 1]) for at in range(len(actual))]
        usual = actual.dtype.type(3)
        found += [
            (np.append(actual[[at]], usual), np.append(reference[[at]], usual)) for at in range(len(actual))
        ]
        empty = np.zeros((0, 3), actual.dtype)
        found += [(empty, empty), (actual[:0], reference[:1])]
    texts = np.array(["a", "b"], object)
    return [
        *found,
        (texts, texts[::-1]),
        (texts, texts),
        (texts, np.zeros(2, np.float32)),
        (texts[:0], texts[:0]),
    ]


CASES = cases()


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numbers() -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (a, r)
        for a, r in CASES
        if a.shape == r.shape and a.size and {a.dtype.kind, r.dtype.kind} <= set("iufc")
    ]


def test_measuring():
    for actual, reference in CASES:
        found = [measure(actual, reference, tolerance) for tolerance in TOLERANCES]
        merge(found)
        distance(actual, reference)
        merge_costs([cost(actual, reference), cost(reference, reference)])


@pytest.mark.parametrize("half", [False, True])
def test_measuring_alone(half):
    for actual, reference in CASES:
        size = None if reference.dtype.kind == "O" else np.abs(reference.astype(np.complex128)).real
        with np.errstate(all="ignore"):
            size = None if size is None else size.astype(np.float32)
        known = Arithmetic(terms=9, magnitude=size, functions=("Exp", "Sin", "Sqrt"), noise=1e-8)
        for arithmetic in (known, Arithmetic(known=False), Arithmetic(exact=True), Arithmetic(tried=True)):
            allowed = allowance(layer("a"), arithmetic, reference, backend="webgl", half=half)
            found = measure_local(actual, reference, arithmetic, allowed)
            merge_local([found, found])
            if actual.dtype.kind in "iufcb" and actual.shape == reference.shape:
                allowed_by_allowance(allowed, reference, arithmetic.magnitude)


def test_checking_elements():
    for actual, reference in numbers():
        for tolerance in TOLERANCES:
            check_elements(actual, reference, allowed_by_tolerance(tolerance, reference), 1e-3)
        check_elements(actual, reference, allowed_by_allowance(Allowance(1e30, 1e38, 1.0), reference, None))
        element_loops.largest(actual)
        element_loops.sizes_of(actual)


def test_finding_causes():
    for actual, expected in CASES:
        for value in (actual, expected, expected[::-1]):
            error_left(actual, value, expected)
            other_result("cpu", value, actual, expected)
            apart([actual, value], expected)
    for actual, expected in numbers():
        sizes_of(actual, expected, [actual, expected], None)
        predicted_error([Step("Relu", (actual,))], actual, expected)


@pytest.mark.parametrize(
    "op", ["Relu", "Elu", "Softmax", "Sqrt", "FloorDiv", "Mul", "Gelu", "Mean", "MatMul"]
)
def test_trying_interpretations(op):
    actual, expected = floats()
    square = actual.reshape(14, 14)
    two = (square, square.T.copy()) if op in ("FloorDiv", "Mul", "MatMul") else (square,)
    steps = (Step(op, two, {}),)
    try:
        evaluate(steps)
    except CannotRecompute:
        return
    for interpretation in interpretations(steps):
        try_one(interpretation, square, expected.reshape(14, 14))


def test_changing_feeds():
    for array in (
        floats()[0].reshape(14, 14),
        np.resize(floats()[0], (1, 4, 4, 3)),
        whole()[0],
        np.array(["a"], object),
    ):
        feed = {"x": array, "y": array.copy()}
        list(feed_changes(feed))
        list(disturbed(feed))


def test_spreads():
    for actual, reference in CASES:
        is_same(actual, reference)
        is_saturated(actual)
        constant_of([same_value(actual), same_value(reference)], actual.size)
        if actual.shape == reference.shape and actual.ndim:
            is_repeated(actual, [reference])


def test_classes():
    actual, reference = floats()
    for shape in ((14, 14), (196, 1), (196,), (2, 14, 7)):
        found = Classified(Tolerance(1e-3, 1e-4), (1, 2), overlapping=True)
        found.add(actual.reshape(shape), reference.reshape(shape))
        found.agreement(1)
        found.iou()
        found.vacuous()


@pytest.mark.parametrize("dtype", ["float16", "uint8", "uint16"])
def test_weights(dtype):
    for stored, source in numbers():
        storage = Storage(dtype, 1.0, 0.0) if source.dtype.kind == "f" else None
        lost_values(stored, source, storage)
        difference(stored, source, storage)
    values = floats()[0]
    norm = BatchNorm(
        np.resize(values, (len(values), len(values))), values, values, values, values, values, 0.0
    )
    norm.kernel_folded(depthwise=False)
    norm.offset_folded()


def test_mutants():
    rng = np.random.default_rng(0)
    values = floats()[0]
    for op in SWAPS:
        swap_activation(op, values, values.dtype)
    for array in (values, complexes()[0], whole()[0]):
        scale(array)
        round_to_half(array)
    for value in FLOATS:
        change_one(np.array([value], np.float32), rng)
