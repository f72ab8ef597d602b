"""Weights whose quantisation makes NaN or Inf: which values, which weight, and the verdict."""

from __future__ import annotations

import math

import pytest

from pytest_tfjs.compare.lost_values import broken_by_compression, lost_values
from pytest_tfjs.compare.numbers.compression import Compression, cost
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import EXACT
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.compare.weight_check import Storage, WeightCheck, WeightFinding, difference
from tests.support.comparisons import TOLERANCE, close, f32, layer, wrong

HALF = Storage("float16")
BYTE = Storage("uint8", 1.0, 0.0)
MASK = WeightFinding("mask/y", "add", "quantised", "the value -1e+09 becomes -Inf as float16")
OTHER = WeightFinding("far/y", "far", "quantised", "the value 1e+09 becomes Inf as float16")
EPSILON = WeightFinding("epsilon", "div", "quantised", "the value 1e-09 becomes 0 as float16")
LAYERS = [layer("add"), layer("soft", "add", output=True)]


@pytest.mark.parametrize(
    ("stored", "source", "storage", "expected"),
    [
        ([-math.inf], [-1e9], HALF, "the value -1e+09 becomes -Inf as float16"),
        (
            [1, math.inf, math.inf],
            [1, 7e4, 8e4],
            HALF,
            "2 of 3 values become Inf as float16, the first at [1]: 70000",
        ),
        ([0], [1e-9], HALF, "the value 9.99999972e-10 becomes 0 as float16"),
        ([1, 0], [1, 1e-5], BYTE, "1 of 2 values becomes 0 as uint8, the first at [1]: 9.99999975e-06"),
        (
            [math.nan, math.nan],
            [math.inf, 1],
            BYTE,
            "1 of 2 values becomes NaN as uint8, the first at [1]: 1",
        ),
    ],
)
def test_lost_values_are_described(stored, source, storage, expected):
    assert lost_values(f32(*stored), f32(*source), storage) == expected


@pytest.mark.parametrize(
    ("stored", "source", "storage"),
    [
        ([1, -math.inf], [1, -math.inf], HALF),  # the source's own
        ([math.nan], [math.nan], HALF),
        ([0, 1, -1], [1e-9, 1, -1], BYTE),  # of both signs: a kernel, which nothing is divided by
        ([0, 0, 1], [0, 1e-9, 1], HALF),  # zeros are common here, so that nothing divides by it
        ([-math.inf], [-1e9], None),
        ([0.5], [0.50001], HALF),
    ],
)
def test_values_that_the_storage_holds_are_not_lost(stored, source, storage):
    assert lost_values(f32(*stored), f32(*source), storage) is None


def test_a_weight_with_infinite_values_has_no_grid_and_does_not_differ():
    assert difference(f32(math.nan, math.nan), f32(-math.inf, 0), BYTE) is None
    assert difference(f32(math.nan, math.nan), f32(-1, 0), BYTE) is not None
    assert difference(f32(math.nan, math.inf), f32(0, math.inf), BYTE) is None
    assert difference(f32(math.nan, 7), f32(-math.inf, 0), BYTE) is not None


def compression(**values: tuple[list[float], list[float]]) -> Compression:
    costs = {name: cost(f32(*stored), f32(*original)) for name, (stored, original) in values.items()}
    return Compression("float16", 0.05, costs, ("soft",))


BROKEN = compression(add=([math.nan, 1], [0, 1]), soft=([math.nan] * 2, [0.5, 0.5]))


@pytest.mark.parametrize(
    ("findings", "named"),
    [
        ([OTHER, MASK], "'mask/y' the value -1e+09 becomes -Inf as float16"),
        ([OTHER], "'far/y'"),
        ([EPSILON, OTHER], "'far/y'"),
        ([EPSILON], None),
        ([OTHER, WeightFinding("further/y", "further", "quantised", OTHER.what)], None),  # either of the two
        ([], None),
    ],
)
def test_the_weight_of_the_first_broken_layer_is_named(findings, named):
    text = broken_by_compression(LAYERS, BROKEN, WeightCheck.of(findings))
    assert text is not None
    start = "quantising the weights to float16 makes NaN or Inf in 'add'"
    assert text.startswith(start if named is None else f"{start}: of the weight {named}")


def test_a_weight_of_the_nearest_layer_before_is_named():
    layers = [layer("far"), layer("div", "far"), layer("add", "div"), layer("soft", "add", output=True)]
    for findings, name in (
        ([OTHER, EPSILON], "epsilon"),
        ([OTHER], "far/y"),
        ([EPSILON, OTHER, MASK], "mask/y"),
    ):
        text = broken_by_compression(layers, BROKEN, WeightCheck.of(findings))
        assert text is not None
        assert f"of the weight {name!r}" in text


def test_another_shape_is_not_broken():
    moved = Compression("float16", 0.05, {"add": cost(f32(1), f32(1, 2))}, ("add",))
    assert not moved.broken
    assert broken_by_compression(LAYERS, moved, None) is None


def wrong_nan():
    return measure(f32(math.nan, math.nan), f32(math.nan, 0), EXACT)


def test_compression_is_blamed_for_the_layers_that_it_breaks():
    tolerances = dict.fromkeys(("add", "soft"), TOLERANCE)
    found = judge(
        LAYERS,
        {"add": close(), "soft": wrong_nan()},
        tolerances,
        compression=BROKEN,
        weight_check=WeightCheck.of([MASK]),
    )
    assert (found.verdict, found.first_divergence) == ("diverged", ())
    assert found.reason is not None
    assert found.reason.startswith(
        "quantising the weights to float16 makes NaN or Inf in 'add': of the weight"
    )


def test_a_layer_that_compression_does_not_break_is_blamed_itself():
    tolerances = dict.fromkeys(("add", "soft"), TOLERANCE)
    half_broken = compression(add=([1, 1], [1, 1]), soft=([math.nan] * 2, [0.5, 0.5]))
    found = judge(LAYERS, {"add": wrong_nan(), "soft": close()}, tolerances, compression=half_broken)
    assert found.first_divergence == ("add",)


def test_a_layer_beside_those_that_compression_breaks_is_blamed_itself():
    layers = [*LAYERS, layer("beside", output=True)]
    metrics = {"add": close(), "soft": wrong_nan(), "beside": wrong()}
    found = judge(layers, metrics, dict.fromkeys(metrics, TOLERANCE), compression=BROKEN)
    assert found.first_divergence == ("soft", "beside")


def test_a_wrong_weight_comes_before_compression():
    tolerances = dict.fromkeys(("add", "soft"), TOLERANCE)
    check = WeightCheck.of([MASK, WeightFinding("kernel", "soft", "differs", "1 of 4 values differ")])
    found = judge(
        LAYERS, {"add": close(), "soft": wrong_nan()}, tolerances, compression=BROKEN, weight_check=check
    )
    assert found.first_divergence == ("soft",)


def test_the_verdict_says_that_the_browser_computes_the_broken_model_correctly():
    tolerances = dict.fromkeys(("add", "soft"), TOLERANCE)
    found = judge(LAYERS, {"add": close(), "soft": close()}, tolerances, compression=BROKEN)
    assert found.verdict == "diverged"
    assert found.reason is not None
    assert found.reason.endswith("the browser computes the quantised model correctly")
