from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import Tolerance
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.verdict import judge
from tests.support.comparisons import TOLERANCE, close, comparison, layer, measured, target, wrong


def verdict(layers, **metrics):
    return judge(layers, metrics, dict.fromkeys(metrics, TOLERANCE))


CHAIN = (layer("a"), layer("b", "a"), layer("c", "b", output=True))


def test_all_close_is_close_and_has_no_reason():
    found = verdict(CHAIN, a=close(), b=close(), c=close())
    assert (found.verdict, found.reason, found.first_divergence) == ("close", None, ())
    assert [result.verdict for result in found.results] == ["close", "close", "close"]


def test_a_wrong_layer_is_diverged():
    found = verdict(CHAIN, a=close(), b=wrong(), c=wrong())
    assert (found.verdict, found.first_divergence) == ("diverged", ("b",))
    assert found.reason == "2 of 3 compared layers diverged, first 'b'"


UNMAPPED = layer("lost", coverage="unmapped", reason="no node computes it")


def test_each_reason_of_unmapped_layers_stands_behind_its_layer():
    lost = [layer(name, coverage="unmapped", reason=name.upper()) for name in ("a", "b", "c", "d")]
    assert verdict(lost[:2]).reason == "2 of 2 layers could not be compared: 'a' (A), 'b' (B)"
    assert verdict(lost).reason.endswith(": 'a' (A), 'b' (B), 'c' (C) and 1 more")


def test_an_unmapped_layer_is_unmapped():
    found = verdict((*CHAIN, UNMAPPED), a=close(), b=close(), c=close())
    assert found.verdict == "unmapped"
    assert found.reason == "1 of 4 layers could not be compared: 'lost' (no node computes it)"


@pytest.mark.parametrize("gone", [{}, {"b": measure(None, np.ones(1, np.float32), TOLERANCE)}])
def test_a_layer_without_an_activation_never_passes(gone):
    found = verdict(CHAIN, a=close(), c=close(), **gone)
    assert found.verdict == "unmapped"
    assert "'b' (the browser returned no activation)" in found.reason


def test_an_activation_that_nobody_asked_for_is_seen():
    found = verdict(CHAIN, a=close(), b=close(), c=close(), extra=close())
    assert found.verdict == "unmapped"
    assert found.reason == "the browser returned activations that no compared layer requested: 'extra'"


def test_many_names_are_counted():
    found = verdict([layer(f"l{number}") for number in range(6)])
    assert "'l0', 'l1', 'l2' and 3 more" in found.reason


def test_no_layer_is_vacuous():
    fused = layer("a", coverage="fused", into="b", reason="part of b")
    found = verdict([fused])
    assert (found.verdict, found.reason) == (
        "vacuous",
        "no layer was compared, so nothing could have diverged",
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [([0, 0], "every element of all 3 compared layers is 0, "), ([float("nan"), 0], "is 0, NaN or Inf, ")],
)
def test_nothing_but_zeros_is_vacuous(values, said):
    zeros = measured(values, values)
    found = verdict(CHAIN, a=zeros, b=zeros, c=zeros)
    assert found.verdict == "vacuous"
    assert said in found.reason


def test_one_element_that_is_not_zero_makes_it_a_comparison():
    zeros = measured([0, 0], [0, 0])
    assert verdict(CHAIN, a=zeros, b=measured([0, 1e-30], [0, 1e-30]), c=zeros).verdict == "close"


def test_fused_and_eliminated_layers_have_no_verdict():
    away = (
        layer("f", coverage="fused", into="a", reason="part of a"),
        layer("e", coverage="eliminated", reason="identity"),
    )
    found = verdict((*CHAIN, *away), a=close(), b=close(), c=close())
    assert found.verdict == "close"
    assert [result.verdict for result in found.results[3:]] == [None, None]


def test_the_gravest_verdict_is_told():
    zeros = measured([0, 0], [0, 0])
    assert verdict((*CHAIN, UNMAPPED), a=zeros, b=zeros, c=zeros).verdict == "unmapped"
    assert verdict((*CHAIN, UNMAPPED), a=close(), b=wrong(), c=close()).verdict == "diverged"
    assert verdict(CHAIN, a=wrong()).verdict == "diverged"


def test_a_target_names_itself():
    assert str(target()) == "webgl on chrome"
    assert str(target(backend="wasm", variant="simd", browser="firefox")) == "wasm:simd on firefox"


def test_tolerances_that_allow_all_zeros_are_vacuous():
    loose = Tolerance(rtol=1e-3, atol=1.0)
    ones = np.ones(3, np.float32)
    metrics = {"a": measure(ones, ones, loose)}
    found = judge([layer("a")], metrics, {"a": loose})
    assert found.verdict == "vacuous"
    assert "the tolerances allow activations that are all 0" in found.reason


def test_a_shape_that_could_be_wrong_makes_no_layer_of_floats_one_that_could():
    loose = Tolerance(rtol=1.0, atol=0.0)
    ones, shape = np.ones(3, np.float32), np.array([2, 35], np.int32)
    metrics = {"a": measure(ones, ones, loose), "shape": measure(shape, shape, Tolerance(0.0, 0.0))}
    layers = [layer("shape", dtype="int32", shape=(2,)), layer("a", output=True)]
    found = judge(layers, metrics, {"a": loose, "shape": Tolerance(0.0, 0.0)})
    assert found.verdict == "vacuous"
    assert "the tolerances allow activations that are all 0" in found.reason


def test_an_output_of_integers_could_be_wrong_where_floats_could_not():
    loose = Tolerance(rtol=1.0, atol=0.0)
    ones, classes = np.ones(3, np.float32), np.array([2, 35], np.int32)
    metrics = {"a": measure(ones, ones, loose), "classes": measure(classes, classes, Tolerance(0.0, 0.0))}
    layers = [layer("a"), layer("classes", "a", dtype="int32", shape=(2,), output=True)]
    assert judge(layers, metrics, {"a": loose, "classes": Tolerance(0.0, 0.0)}).verdict == "close"


def test_an_empty_layer_is_eliminated_and_never_close():
    layers = [layer("some"), layer("none", "some"), layer("after", "none", output=True)]
    found = comparison(layers, {"some": close(), "none": measured([], []), "after": close()})
    assert found.verdict == "close"
    row = found.layers[1]
    assert (row.layer.coverage, row.verdict, row.metrics) == ("eliminated", None, None)
    assert row.reason == "empty: shape [0] holds no elements, so there is nothing to compare"


def test_an_empty_output_is_unmapped():
    layers = [layer("some"), layer("none", "some", output=True)]
    found = comparison(layers, {"some": close(), "none": measured([], [])})
    assert found.verdict == "unmapped"
    assert "'none' (empty: shape [0] holds no elements" in found.reason


def test_nothing_but_empty_layers_is_vacuous():
    assert comparison([layer("none")], {"none": measured([], [])}).verdict == "vacuous"


def test_what_is_empty_on_one_side_alone_diverged():
    for actual, reference in (([], [1]), ([1], [])):
        assert comparison([layer("a")], {"a": measured(actual, reference)}).verdict == "diverged"


def drifted(*, output, right=True, given=()):
    """The judgement on a chain whose middle layer is over its tolerance in the whole run."""
    rows = (layer("a"), layer("b", "a", output=output), layer("c", "b", output=True))
    metrics = {"a": close(), "b": measured([1, 2, 3, 4.1], [1, 2, 3, 4]), "c": close()}
    alone = Alone(local={name: SimpleNamespace(passed=right or name != "b") for name in metrics})
    return judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone, given=given)


def test_an_error_that_grows_inside_and_fades_before_the_outputs_is_close():
    found = drifted(output=False)
    assert found.verdict == "close"
    assert [result.verdict for result in found.results] == ["close"] * 3


def test_it_is_not_where_it_reaches_an_output_or_the_layer_is_wrong_or_the_tolerance_is_given():
    assert drifted(output=True).first_divergence == ("b",)
    assert drifted(output=False, right=False).first_divergence == ("b",)
    assert drifted(output=False, given=("b",)).first_divergence == ("b",)
    rows, nan = (layer("a"), layer("b", "a", output=True)), measured([np.nan, 2], [1, 2])
    alone = Alone(local={"a": SimpleNamespace(passed=True), "b": SimpleNamespace(passed=True)})
    found = judge(rows, {"a": nan, "b": close()}, dict.fromkeys("ab", TOLERANCE), alone=alone)
    assert found.verdict == "diverged"
