"""The whole run is allowed what a layer is allowed alone; too small values are noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Activations
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.tolerances import Tolerance, Tolerances
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.workflows.layer_measurement import LayerMeasurements, Precision
from tests.support.comparisons import f32, layer

WASM, WEBGL = Precision("wasm", half=False), Precision("webgl", half=False, packed=True)
VALUE = f32(1e-6, 2e-6, -3e-6)
ALONE = Arithmetic(functions=("Elu",))
"""TF.js computes exp(x) - 1, which is off by an ulp of 1."""


@dataclass
class OneLayer:
    """A reference of the layer `y`, with one feed."""

    value: np.ndarray
    known: Arithmetic
    plan: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(layers=[layer("y", output=True)]))
    feeds: int = 1

    def activations(self, feed, names):
        return dict.fromkeys(names, self.value)

    def arithmetic(self, feed, names):
        return dict.fromkeys(names, self.known)


def measured(value, actual, known, precision, *, alone=None, given=None):
    tolerance = Tolerance(5e-4, 5e-5) if given is None else given
    by_user = frozenset() if given is None else frozenset({"y"})
    found = LayerMeasurements(OneLayer(value, known), Tolerances({"y": tolerance}, by_user), precision)
    found.add(Activations(0, {"y": actual}))
    if alone is None:
        found.measure_waiting()
    else:
        found.add(Activations(0, {"y": alone}, alone=True))
    return found


def verdict(found, **options):
    layers = [layer("y", output=True)]
    return judge(layers, found.merged(), found.tolerances(), alone=found.alone({}, {}), **options).verdict


def test_what_is_allowed_of_a_layer_alone_is_allowed_in_the_whole_run():
    actual = VALUE + np.float32(1e-7)
    found = measured(VALUE, actual, ALONE, WASM, alone=actual)
    assert found.alone({}, {}).local["y"].passed
    assert verdict(found) == "close"
    metrics = found.merged()["y"]
    assert metrics.passed
    assert metrics.allowed > metrics.worst_error


def test_an_error_beyond_both_diverges_in_the_whole_run():
    found = measured(VALUE, VALUE + np.float32(1e-5), ALONE, WASM, alone=VALUE)
    assert verdict(found) == "diverged"
    metrics = found.merged()["y"]
    assert metrics.mismatched == 3
    # What the user would have to give: without the allowance.
    for factor, passes in ((1.001, True), (0.999, False)):
        given = Tolerance(5e-4, metrics.needed * factor)
        again = measured(VALUE, VALUE + np.float32(1e-5), ALONE, WASM, given=given)
        assert again.merged()["y"].passed is passes


def test_layers_that_did_not_run_alone_have_the_tolerance_only():
    actual = VALUE + np.float32(1e-7)
    assert verdict(measured(VALUE, actual, ALONE, WASM)) == "diverged"


def test_a_tolerance_of_the_user_alone_decides():
    actual = VALUE + np.float32(1e-7)
    given = Tolerance(1e-3, 0.0)
    found = measured(VALUE, actual, ALONE, WASM, alone=actual, given=given)
    assert verdict(found, given=("y",)) == "diverged"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_and_inf_are_allowed_nowhere(wrong):
    actual = VALUE.copy()
    actual[1] = wrong
    assert verdict(measured(VALUE, actual, ALONE, WASM, alone=VALUE)) == "diverged"


def chained(known, precision, first, second):
    """The verdict where `y` follows `first`; `first` and `second`: activations in Python and browser."""
    (first, moved), (second, end) = first, second
    plan = SimpleNamespace(layers=[layer("first"), layer("y", "first", output=True)])
    reference = OneLayer(first, known["first"], plan)
    reference.activations = lambda feed, names: {name: {"first": first, "y": second}[name] for name in names}
    reference.arithmetic = lambda feed, names: {name: known[name] for name in names}
    tolerances = Tolerances(dict.fromkeys(("first", "y"), Tolerance(5e-4, 5e-5)))
    found = LayerMeasurements(reference, tolerances, precision)
    found.add(Activations(0, {"first": moved, "y": end}))
    found.add(Activations(0, {"first": moved, "y": second}, alone=True))
    return judge(plan.layers, found.merged(), found.tolerances(), alone=found.alone({}, {})).verdict


def test_an_error_of_the_start_is_allowed_in_the_layers_after_it():
    first, second = VALUE * np.float32(1e-14), VALUE * np.float32(3e-14)
    for known, expected in ((STARTED, "close"), (Arithmetic(terms=9), "diverged")):
        arithmetic = {"first": known, "y": Arithmetic(terms=3)}
        moved, end = first + np.float32(1e-21), second + np.float32(3e-21)
        assert chained(arithmetic, WEBGL, (first, moved), (second, end)) == expected


@pytest.mark.parametrize(("half", "expected"), [(False, "close"), (True, "diverged")])
def test_what_a_layer_is_off_by_is_allowed_behind_it_but_not_in_half_precision(half, expected):
    rounding = Arithmetic(terms=9, magnitude=np.abs(VALUE) * np.float32(1e6))
    off = VALUE * np.float32(1.5)
    precision = Precision("webgl", half=half)
    assert chained({"first": rounding, "y": ALONE}, precision, (VALUE, off), (VALUE, off)) == expected


STARTED = Arithmetic(terms=9, started=1e-14)


def test_values_near_the_error_of_the_start_are_noted():
    tiny = VALUE * np.float32(1e-16)
    (note,) = measured(tiny, tiny, STARTED, WEBGL, alone=tiny).notes()
    assert "'y'" in note
    assert "1e-15" in note


@pytest.mark.parametrize(
    ("value", "known", "precision"),
    [
        (VALUE * np.float32(1e-16), STARTED, Precision("webgl", half=False)),
        (VALUE * np.float32(1e-16), STARTED, WASM),
        (VALUE * np.float32(1e-16), Arithmetic(terms=9), WEBGL),
        (VALUE * np.float32(1e-11), STARTED, WEBGL),
        (np.zeros_like(VALUE), STARTED, WEBGL),
        (np.zeros_like(VALUE), Arithmetic(terms=9), WEBGL),
    ],
)
def test_other_values_are_not_noted(value, known, precision):
    assert measured(value, value, known, precision, alone=value).notes() == ()
