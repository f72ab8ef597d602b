"""The verdict of a comparison and of its layers, and the reason in words."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import EXACT, Tolerance
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.vacuity.vacuous import Vacuity
from pytest_tfjs.compare.verdict import judge
from tests.support.comparisons import TOLERANCE, close, comparison, f32, layer, measured, target, wrong


def verdict(layers, **metrics):
    return judge(layers, metrics, dict.fromkeys(metrics, TOLERANCE))


CHAIN = (layer("a"), layer("b", "a"), layer("c", "b", output=True))


def test_close_layers_make_a_close_comparison_without_a_reason():
    found = verdict(CHAIN, a=close(), b=close(), c=close())
    assert (found.verdict, found.reason, found.first_divergence) == ("close", None, ())
    assert [result.verdict for result in found.results] == ["close", "close", "close"]


def test_wrong_layer_makes_the_comparison_diverged():
    found = verdict(CHAIN, a=close(), b=wrong(), c=wrong())
    assert (found.verdict, found.first_divergence) == ("diverged", ("b",))
    assert found.reason == "2 of 3 compared layers diverged, first 'b'"


UNMAPPED = layer("lost", coverage="unmapped", reason="no node computes it")


def test_reason_lists_unmapped_layers_with_their_reasons():
    lost = [layer(name, coverage="unmapped", reason=name.upper()) for name in ("a", "b", "c", "d")]
    assert verdict(lost[:2]).reason == "2 of 2 layers could not be compared: 'a' (A), 'b' (B)"
    assert verdict(lost).reason.endswith(": 'a' (A), 'b' (B), 'c' (C) and 1 more")


def test_unmapped_layer_makes_the_comparison_unmapped():
    found = verdict((*CHAIN, UNMAPPED), a=close(), b=close(), c=close())
    assert found.verdict == "unmapped"
    assert found.reason == "1 of 4 layers could not be compared: 'lost' (no node computes it)"


@pytest.mark.parametrize("gone", [{}, {"b": measure(None, np.ones(1, np.float32), TOLERANCE)}])
def test_missing_activation_makes_the_comparison_unmapped(gone):
    found = verdict(CHAIN, a=close(), c=close(), **gone)
    assert found.verdict == "unmapped"
    assert "'b' (the browser returned no activation)" in found.reason


def test_extra_activation_makes_the_comparison_unmapped():
    found = verdict(CHAIN, a=close(), b=close(), c=close(), extra=close())
    assert found.verdict == "unmapped"
    assert found.reason == "the browser returned activations that were not requested: 'extra'"


def test_reason_lists_three_names_and_counts_the_rest():
    found = verdict([layer(f"l{number}") for number in range(6)])
    assert "'l0', 'l1', 'l2' and 3 more" in found.reason


def test_comparison_of_no_layer_is_vacuous():
    fused = layer("a", coverage="fused", into="b", reason="part of b")
    found = verdict([fused])
    assert (found.verdict, found.reason) == (
        "vacuous",
        "no layer was compared, so nothing could have diverged",
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0], "every element of all 3 compared layers is 0, "), ([float("nan"), 0], "is 0, NaN or Inf, ")],
)
def test_all_zero_comparison_is_vacuous(values, expected):
    zeros = measured(values, values)
    found = verdict(CHAIN, a=zeros, b=zeros, c=zeros)
    assert found.verdict == "vacuous"
    assert expected in found.reason


def test_one_nonzero_element_is_enough_not_to_be_vacuous():
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


def test_worst_verdict_wins():
    zeros = measured([0, 0], [0, 0])
    assert verdict((*CHAIN, UNMAPPED), a=zeros, b=zeros, c=zeros).verdict == "unmapped"
    assert verdict((*CHAIN, UNMAPPED), a=close(), b=wrong(), c=close()).verdict == "diverged"
    assert verdict(CHAIN, a=wrong()).verdict == "diverged"


def test_text_of_a_target():
    assert str(target()) == "webgl on chrome"
    assert str(target(backend="wasm", variant="simd", browser="firefox")) == "wasm:simd on firefox"


def test_tolerances_that_allow_all_zeros_are_vacuous():
    loose = Tolerance(rtol=1e-3, atol=1.0)
    ones = np.ones(3, np.float32)
    metrics = {"a": measure(ones, ones, loose)}
    found = judge([layer("a")], metrics, {"a": loose})
    assert found.verdict == "vacuous"
    assert "the tolerances allow activations that are all 0" in found.reason


def test_checked_integer_shape_does_not_excuse_vacuous_float_layers():
    loose = Tolerance(rtol=1.0, atol=0.0)
    ones, shape = np.ones(3, np.float32), np.array([2, 35], np.int32)
    metrics = {"a": measure(ones, ones, loose), "shape": measure(shape, shape, Tolerance(0.0, 0.0))}
    layers = [layer("shape", dtype="int32", shape=(2,)), layer("a", output=True)]
    found = judge(layers, metrics, {"a": loose, "shape": Tolerance(0.0, 0.0)})
    assert found.verdict == "vacuous"
    assert "the tolerances allow activations that are all 0" in found.reason


def test_checked_integer_output_excuses_vacuous_float_layers():
    loose = Tolerance(rtol=1.0, atol=0.0)
    ones, classes = np.ones(3, np.float32), np.array([2, 35], np.int32)
    metrics = {"a": measure(ones, ones, loose), "classes": measure(classes, classes, Tolerance(0.0, 0.0))}
    layers = [layer("a"), layer("classes", "a", dtype="int32", shape=(2,), output=True)]
    assert judge(layers, metrics, {"a": loose, "classes": Tolerance(0.0, 0.0)}).verdict == "close"


def test_empty_layer_is_eliminated_and_never_close():
    layers = [layer("some"), layer("none", "some"), layer("after", "none", output=True)]
    found = comparison(layers, {"some": close(), "none": measured([], []), "after": close()})
    assert found.verdict == "close"
    row = found.layers[1]
    assert (row.layer.coverage, row.verdict, row.metrics) == ("eliminated", None, None)
    assert row.reason == "empty: shape [0] holds no elements, so there is nothing to compare"


NOTHING = [layer("some"), layer("none", "some", output=True, shape=(0, 4), output_names=("found",))]
COUNT = layer("count", "none", output=True, dtype="int32", shape=())
ZERO = measure(np.array(0, np.int32), np.array(0, np.int32), EXACT)


def test_an_empty_output_alone_is_vacuous_and_the_ways_out_are_said():
    found = comparison(NOTHING, {"some": close(), "none": measured([], [])})
    assert found.verdict == "vacuous"
    assert found.reason.startswith("the output 'found' is empty (shape [0, 4]) in the browser and in the")
    assert "list of feeds" in found.reason
    assert found.reason.endswith("pass allow_vacuous='found'")


def test_a_count_of_nothing_does_not_excuse_an_empty_output():
    found = comparison([*NOTHING, COUNT], {"some": close(), "none": measured([], []), "count": ZERO})
    assert found.verdict == "vacuous"
    assert found.reason.endswith("pass allow_vacuous='found,count'")


@pytest.mark.parametrize(
    "other",
    [close(), measure(np.array(["a"], object), np.array(["a"], object), EXACT)],
    ids=["float", "text"],
)
def test_an_empty_output_is_close_beside_one_that_could_fail(other):
    layers = [*NOTHING, COUNT, layer("scores", "some", output=True)]
    metrics = {"some": close(), "none": measured([], []), "count": ZERO, "scores": other}
    found = comparison(layers, metrics, {"scores": EXACT})
    assert found.verdict == "close"
    row = found.layers[1]
    assert (row.layer.coverage, row.verdict) == ("compared", "close")
    assert row.reason is not None
    assert row.reason.startswith("empty: shape [0] holds no elements")
    assert (row.metrics.passed, row.metrics.max_abs, row.metrics.share) == (True, 0.0, -1.0)


def test_an_empty_output_is_vacuous_beside_one_that_could_not_fail():
    layers = [*NOTHING, layer("scores", "some", output=True)]
    metrics = {"some": close(), "none": measured([], []), "scores": close()}
    tolerances = dict.fromkeys(metrics, TOLERANCE)
    for vacuity, verdict in (
        (Vacuity(), "close"),
        (Vacuity(outputs={"scores": "is saturated"}), "vacuous"),
    ):
        assert judge(layers, metrics, tolerances, vacuity=vacuity).verdict == verdict


@pytest.mark.parametrize(
    ("allowed", "verdict"), [(("none",), "close"), (("some",), "vacuous"), (("none", "count"), "close")]
)
def test_an_empty_output_is_close_if_it_is_allowed(allowed, verdict):
    layers, metrics = [*NOTHING, COUNT], {"some": close(), "none": measured([], []), "count": ZERO}
    tolerances = {"some": TOLERANCE, "none": TOLERANCE, "count": EXACT}
    found = judge(layers, metrics, tolerances, vacuity=Vacuity(allowed=frozenset(allowed)))
    assert found.verdict == verdict


def test_an_output_that_may_be_constant_does_not_excuse_an_empty_one():
    layers = [*NOTHING, layer("scores", "some", output=True)]
    metrics = {"some": close(), "none": measured([], []), "scores": close()}
    tolerances = dict.fromkeys(metrics, TOLERANCE)
    for allowed, verdict in ((("scores",), "vacuous"), (("scores", "none"), "close"), ((), "close")):
        found = judge(layers, metrics, tolerances, vacuity=Vacuity(allowed=frozenset(allowed)))
        assert found.verdict == verdict


def test_outputs_that_are_all_allowed_need_no_layer_that_could_fail():
    layers, dead = [*NOTHING, COUNT], measured([0, 0], [0, 0])
    metrics = {"some": dead, "none": measured([], []), "count": ZERO}
    tolerances = {"some": TOLERANCE, "none": TOLERANCE, "count": EXACT}
    for allowed, verdict in ((("none", "count"), "close"), (("none",), "vacuous")):
        found = judge(layers, metrics, tolerances, vacuity=Vacuity(allowed=frozenset(allowed)))
        assert found.verdict == verdict


@pytest.mark.parametrize(
    "actual",
    [
        np.zeros((0, 5), np.float32),
        np.zeros((0, 4), np.int32),
        np.ones((1, 4), np.float32),
        np.zeros(0, np.float32),
    ],
)
def test_an_output_that_is_empty_in_another_way_diverges(actual):
    metrics = {"some": close(), "none": measure(actual, np.zeros((0, 4), np.float32), TOLERANCE)}
    tolerances = dict.fromkeys(metrics, TOLERANCE)
    for allowed in (frozenset(), frozenset(("none", "some"))):
        found = judge(NOTHING, metrics, tolerances, vacuity=Vacuity(allowed=allowed))
        assert (found.verdict, found.first_divergence) == ("diverged", ("none",))


RIGHT = measure_local(f32(1, 2), f32(1, 2), Arithmetic(exact=True), Allowance())


def test_no_error_grows_where_two_runs_differ():
    metrics = {"a": close(), "b": close(), "c": wrong()}
    tolerances, alone = dict.fromkeys(metrics, TOLERANCE), Alone(local=dict.fromkeys(metrics, RIGHT))
    for steady in (True, False):
        found = judge(CHAIN, metrics, tolerances, alone=alone, steady=steady)
        assert (found.verdict, found.first_divergence) == ("diverged", ("c",))
        assert (found.blame.growth is not None) is steady


def test_an_inner_layer_that_another_one_spoils_has_not_drifted():
    patched, scaled = layer("patched", "hidden"), layer("scaled", "hidden")
    layers = [layer("hidden"), patched, scaled, layer("end", "patched", "scaled", output=True)]
    metrics = {"hidden": close(), "patched": close(), "scaled": wrong(), "end": close()}
    tolerances, local = dict.fromkeys(metrics, TOLERANCE), dict.fromkeys(metrics, RIGHT)
    for overwrites, verdict, first in (
        ({}, "close", ()),
        ({"patched": ("hidden",)}, "diverged", ("patched",)),
    ):
        alone = Alone(local=local, overwrites=overwrites)
        found = judge(layers, metrics, tolerances, alone=alone)
        assert (found.verdict, found.first_divergence) == (verdict, first)
        assert found.results[1].spoils_inputs is bool(overwrites)


def test_an_empty_output_that_was_run_alone_is_not_judged_by_that():
    local = measure_local(f32(), f32(), Arithmetic(), Allowance())
    metrics = {"some": close(), "none": measured([], [])}
    found = judge(
        [*NOTHING],
        metrics,
        dict.fromkeys(metrics, TOLERANCE),
        alone=Alone(local={"none": local}),
        vacuity=Vacuity(allowed=frozenset({"none"})),
    )
    assert found.verdict == "close"


def test_comparison_of_only_empty_layers_is_vacuous():
    assert comparison([layer("none")], {"none": measured([], [])}).verdict == "vacuous"


def test_layer_that_is_empty_on_one_side_diverges():
    for actual, reference in (([], [1]), ([1], [])):
        assert comparison([layer("a")], {"a": measured(actual, reference)}).verdict == "diverged"


def drifted(*, output, right=True, given=()):
    """The judgement on a chain whose middle layer is over its tolerance in the whole run."""
    rows = (layer("a"), layer("b", "a", output=output), layer("c", "b", output=True))
    metrics = {"a": close(), "b": measured([1, 2, 3, 4.1], [1, 2, 3, 4]), "c": close()}
    alone = Alone(local={name: SimpleNamespace(passed=right or name != "b") for name in metrics})
    return judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone, given=given)


def test_inner_error_that_fades_before_the_outputs_is_close():
    found = drifted(output=False)
    assert found.verdict == "close"
    assert [result.verdict for result in found.results] == ["close"] * 3


@pytest.mark.parametrize("written", [np.nan, -9.0])
def test_inner_layer_that_is_read_after_a_kernel_wrote_into_it_is_close(written):
    rows = (layer("a"), layer("b", "a"), layer("c", "b", output=True))
    metrics = {"a": measured([1, written], [1, 2]), "b": close(), "c": close()}
    local = {name: SimpleNamespace(passed=True) for name in metrics}
    alone = Alone(local=local, overwrites={"b": ("a",)})
    found = judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone)
    assert (found.verdict, found.first_divergence) == ("close", ())
    metrics["c"] = measured([1, 2], [1, 3])
    found = judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone)
    assert (found.verdict, found.first_divergence) == ("diverged", ("b",))


def test_integers_that_are_right_in_the_whole_run_are_close():
    metrics = {"a": close()}
    alone = Alone(local={"a": SimpleNamespace(passed=False)})
    for dtype, verdict in (("int32", "close"), ("bool", "close"), ("float32", "diverged")):
        rows = [layer("a", dtype=dtype, output=True)]
        found = judge(rows, metrics, {"a": TOLERANCE}, alone=alone)
        assert found.verdict == verdict
    wrong_too = {"a": measured([1, 3], [1, 2])}
    found = judge([layer("a", dtype="int32", output=True)], wrong_too, {"a": EXACT}, alone=alone)
    assert (found.verdict, found.first_divergence) == ("diverged", ("a",))


def test_inner_error_diverges_at_an_output_in_a_wrong_layer_or_under_a_given_tolerance():
    assert drifted(output=True).first_divergence == ("b",)
    assert drifted(output=False, right=False).first_divergence == ("b",)
    assert drifted(output=False, given=("b",)).first_divergence == ("b",)
    rows, nan = (layer("a"), layer("b", "a", output=True)), measured([np.nan, 2], [1, 2])
    alone = Alone(local={"a": SimpleNamespace(passed=True), "b": SimpleNamespace(passed=True)})
    found = judge(rows, {"a": nan, "b": close()}, dict.fromkeys("ab", TOLERANCE), alone=alone)
    assert found.verdict == "diverged"
