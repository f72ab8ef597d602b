"""Which spreads of activations, and which feeds, make a comparison vacuous."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.compare.vacuity.spread import (
    Spread,
)
from pytest_tfjs.compare.vacuity.vacuous import Vacuity, deciding, judge_vacuity, squashes
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.errors import SettingsError
from pytest_tfjs.models.feeds import Feed
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.report.labels import dead_layers_text
from pytest_tfjs.report.summary_table import summary_table
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.layer_measurement import measure_vacuity
from tests.support.comparisons import TOLERANCE, close, comparison, f32, layer, measured, target, wrong

NAN = float("nan")
X = np.arange(6, dtype=np.float32).reshape(2, 3)


CHAIN = {
    one.name: one
    for one in (
        layer("features"),
        layer("logits", "features"),
        layer("probabilities", "logits", op="Softmax"),
        layer("flat", "probabilities", op="Reshape"),
        layer("class", "flat", op="ArgMax", dtype="int32"),
        layer("as_float", "class", op="Cast"),
        layer("shape", op="Shape", dtype="int32"),
        layer("before", "features", op="Relu", coverage="fused"),
        layer("mask", "before", op="Greater", dtype="bool"),
        layer("loop", "loop", op="Identity", dtype="int32"),
    )
}


@pytest.mark.parametrize(
    ("name", "deciders"),
    [
        ("features", ("features",)),
        ("flat", ("flat",)),
        ("class", ("flat",)),
        ("as_float", ("flat",)),
        ("mask", ("features",)),
        ("shape", ("shape",)),
        ("loop", ("loop",)),
    ],
)
def test_classes_are_decided_by_the_floats_before_them(name, deciders):
    assert deciding(CHAIN[name], CHAIN) == deciders


@pytest.mark.parametrize(
    ("name", "does"), [("probabilities", True), ("flat", True), ("class", False), ("loop", False)]
)
def test_layers_that_squash(name, does):
    assert squashes(CHAIN[name], CHAIN) is does


def test_a_sigmoid_is_found_before_operations_that_change_no_value():
    chain = {
        one.name: one
        for one in (
            layer("sigmoid", op="Sigmoid"),
            layer("stopped", "sigmoid", op="StopGradient"),
            layer("shaped", "stopped", op="Reshape"),
        )
    }
    assert squashes(chain["shaped"], chain)


@pytest.mark.parametrize(
    ("op", "does"), [("Conv2D", True), ("Conv2D+BiasAdd+Sigmoid", True), ("Conv2D+BiasAdd+Relu", False)]
)
def test_fused_nodes_squash_by_their_activation(op, does):
    assert squashes(layer("out", op=op), {}) is does


LIVE = Spread(4, moved=True)


def vacuity(output=LIVE, *, feeds=None, allow=(), strict=True, **more):
    layers = [
        layer("hidden", members=("relu",), group="block"),
        layer("y", "hidden", output=True),
        layer("aux", "hidden", output=True),
    ]
    spreads = {"hidden": LIVE, "aux": LIVE, "y": output, **more}
    return judge_vacuity(layers, spreads, feeds or {"x": [X]}, allow, strict=strict)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Spread(4, "0", zero=True, moved=True), "is 0 everywhere"),
        (Spread(4, "0.001", moved=False), "is 0.001 everywhere"),
        (Spread(4, "0.001", moved=None), "is 0.001 everywhere"),
        (Spread(4, saturated=True, moved=True), "is saturated"),
        (Spread(4, repeated="feeds", moved=True), "is the same for all feeds, though they differ"),
        (Spread(4, repeated="batch"), "is the same for every row of the batch"),
        (Spread(1, moved=False), "does not change when other values are fed"),
        (Spread(1, moved=True, decided_by=("hidden",)), None),
        # As of a mean that is spread over a map.
        (Spread(4, "0.3", moved=True), None),
        (Spread(4, repeated="batch", moved=True), None),
        (Spread(1), None),
        (Spread(4, "3", moved=False, decided_by=("hidden",)), None),
    ],
)
def test_the_reason_why_an_output_is_vacuous(output, expected):
    reason = vacuity(output).reason
    assert (reason is None) == (expected is None)
    assert expected is None or reason.startswith(f"the output 'y' {expected}")


def test_a_class_computed_from_dead_floats_is_vacuous():
    dead = Spread(4, "0.1", moved=False)
    reason = vacuity(Spread(2, "3", moved=False, decided_by=("hidden",)), hidden=dead).reason
    assert reason.startswith("the output 'y' is computed from 'hidden', which is 0.1 everywhere: ")


def test_the_reason_names_all_outputs_and_says_what_to_do():
    dead = Spread(4, "0", zero=True)
    found = vacuity(dead, aux=dead)
    assert found.reason == (
        "the output 'y' is 0 everywhere; the output 'aux' is 0 everywhere: a broken model could pass "
        "too. Feed real inputs, load trained weights or, if this is intended, pass allow_vacuous='y,aux'"
    )


ONES, ZEROS = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [
        ({"x": [ONES]}, "the input 'x' is 1 everywhere"),
        ({"x": [np.zeros((1, 4), np.int32)]}, "the input 'x' is 0 everywhere"),
        ({"x": [X, X]}, "the input 'x' is the same in all feeds"),
        (
            {"x": [ONES], "mask": [ONES > 0]},
            "the input 'x' is 1 everywhere; the input 'mask' is True everywhere",
        ),
        ({"x": [X], "mask": [ONES > 0]}, None),
        ({"x": [X, X], "t": [f32(1), f32(2)]}, None),
        ({"x": [ZEROS, ONES]}, None),
        ({"x": [X, 2 * X, X]}, None),
        ({"x": [f32(1)]}, None),
        ({"x": [f32(1), f32(2)]}, None),
        ({"x": [f32(1), f32(1)]}, "the input 'x' is the same in all feeds"),
        ({"x": [ONES], "t": [f32(3)]}, "the input 'x' is 1 everywhere"),
    ],
)
def test_the_reason_why_feeds_are_vacuous(feeds, expected):
    reason = vacuity(feeds=feeds).reason
    assert (reason is None) == (expected is None)
    assert expected is None or reason.startswith(expected)
    assert expected is None or "load trained weights" not in reason


@pytest.mark.parametrize("allow", ["y", "[xy]", "*"])
def test_patterns_allow_inputs_and_outputs(allow):
    dead = Spread(4, "0", zero=True)
    assert vacuity(dead, allow=[allow]).reason is None
    assert vacuity(dead, allow=["aux"]).reason is not None


def test_other_inputs_are_judged_beside_an_allowed_one():
    feeds = {"x": [ONES], "mask": [ONES > 0]}
    assert "'x'" in vacuity(feeds=feeds, allow=["mask"]).reason
    assert vacuity(feeds=feeds, allow=["mask", "x"]).reason is None
    for name in ("x", "x:0"):
        assert vacuity(feeds={"x": [X, X]}, allow=[name]).reason is None
        assert vacuity(feeds={"x:0": [X, X]}, allow=[name]).reason is None


def test_whether_an_empty_output_proves_anything_is_not_judged_here():
    assert vacuity(Spread(0, "0", zero=True)).reason is None


@pytest.mark.parametrize("pattern", ["hidden", "relu", "block", "h*"])
def test_dead_layers_are_allowed_by_name_member_and_group(pattern):
    dead = Spread(4, "0", zero=True)
    assert vacuity(hidden=dead) == Vacuity(dead={"hidden": "is 0 everywhere"})
    assert vacuity(hidden=dead, allow=[pattern]).dead == {}


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(SettingsError, match="'auxx' matches no layer, output or input; close names: 'aux'"):
        vacuity(allow=["auxx"])
    vacuity(allow=["auxx"], strict=False)


def test_integers_computed_from_integers_are_vacuous_only_with_a_common_value():
    def found(spread):
        y = layer("y", op="Max", dtype="int32", output=True)
        return judge_vacuity([y], {"y": spread}, {"n": [np.array([5, 7])]}).reason

    assert found(Spread(1, moved=False, decided_by=("y",))) is None
    assert found(Spread(2, moved=False, decided_by=("y",))) is None
    assert found(Spread(2, "3", moved=True, decided_by=("y",))) is None
    assert found(Spread(2, "3", moved=False, decided_by=("y",))).startswith("the output 'y' is 3 everywhere")


def test_layers_filled_by_design_or_after_a_dead_layer_are_not_dead():
    layers = [
        layer("relu", op="Relu"),
        layer("pool", "relu", op="MaxPool"),
        layer("zeros", op="Fill"),
        layer("of_zeros", "zeros", op="MatMul"),
        layer("gated", "live", "zeros", op="Mul"),
        layer("sum", "live", "zeros", op="AddV2"),
        layer("third", "live", op="Split"),
        layer("size", op="Pack", dtype="int32"),
        layer("reshaped", "zeros", "size", op="Reshape"),
        layer("fourth", "live", op="Split"),
        layer("of_fourth", "fourth", op="Relu"),
        layer("live"),
    ]
    spreads = {one.name: Spread(4, "0", zero=True) for one in layers} | {"live": LIVE, "fourth": LIVE}
    assert set(judge_vacuity(layers, spreads, {"x": [X]}).dead) == {"relu", "sum", "of_fourth"}


# In the judgement


def judged(found, y):
    layers = (layer("hidden"), layer("y", "hidden", output=True))
    metrics = {"hidden": close(), "y": y}
    return judge(layers, metrics, dict.fromkeys(metrics, TOLERANCE), vacuity=found)


VACUOUS = Vacuity(outputs={"y": "is 0 everywhere"})


def test_a_vacuous_output_makes_a_comparison_vacuous():
    found = judged(VACUOUS, close())
    assert (found.verdict, found.reason) == ("vacuous", VACUOUS.reason)
    assert judged(Vacuity(dead={"hidden": "is 0 everywhere"}), close()).verdict == "close"


def test_worse_verdict_overrides_vacuous():
    assert judged(VACUOUS, measured([1, 2], [1, 3])).verdict == "diverged"
    assert judged(VACUOUS, measured([1], [])).verdict == "diverged"


def test_an_all_zero_activation_is_allowed_by_any_name_of_its_layer():
    zeros, one = measured([0, 0], [0, 0]), (layer("y", output=True),)
    for allowed, verdict in (((), "vacuous"), (("x",), "vacuous"), (("y",), "close")):
        found = judge(one, {"y": zeros}, {"y": TOLERANCE}, vacuity=Vacuity(allowed=frozenset(allowed)))
        assert found.verdict == verdict
    assert judge((), {}, {}, vacuity=Vacuity(allowed=frozenset("y"))).verdict == "vacuous"


def test_summary_and_failure_list_dead_layers_once():
    dead = Vacuity(dead=dict.fromkeys("abcd", "is 0 everywhere"))
    layers = [layer(name) for name in "abcd"] + [layer("y", output=True)]
    metrics = {one.name: close() for one in layers}
    runs = [
        comparison(layers, metrics, target=target(backend=name), vacuity=dead) for name in ("cpu", "webgl")
    ]
    entries = [comparison_to_json(run) for run in runs]
    assert [row["dead"] for row in entries[0]["layers"]] == ["is 0 everywhere"] * 4 + [None]
    assert entries[0]["dead_layers"] == 4
    *_, last = summary_table(entries, width=200)
    expected = (
        "4 dead layers hide errors in the layers before them: 'a' is 0 everywhere, "
        "'b' is 0 everywhere, "
        "'c' is 0 everywhere and 1 more"
    )
    assert last.text == f"digits, graph: {expected}"
    assert len(summary_table(entries, width=200)) == 1 + 2 + 1
    broken = comparison(layers, metrics | {"y": wrong()}, vacuity=dead)
    assert expected in " ".join(failure_message(broken).split())
    assert dead_layers_text({}) is None


# By the settings


@pytest.mark.parametrize("origin", ["ini", "command line", "marker", "call"])
def test_only_patterns_of_a_call_or_marker_must_match(origin):
    settings = Settings().updated({"allow_vacuous": "y, auxx"}, origin)
    feed = Feed({"x": X}, {"x": X})
    reference = SimpleNamespace(
        plan=SimpleNamespace(layers=(layer("y", output=True),)), spreads={"y": Spread(4, "0", zero=True)}
    )
    if origin in {"marker", "call"}:
        with pytest.raises(SettingsError, match="'auxx' matches no layer"):
            measure_vacuity(reference, [feed], settings)
    else:
        assert measure_vacuity(reference, [feed], settings).reason is None


TESTS = """
import numpy as np
import pytest

ONES = np.ones((2, 3), np.float32)

def test_ones(tfjs, models):
    tfjs.assert_close(models / "tiny.h5", ONES)

@pytest.mark.tfjs(allow_vacuous="x")
def test_allowed(tfjs, models):
    tfjs.assert_close(models / "tiny.h5", ONES)

@pytest.mark.tfjs(allow_vacuous=["y"])
def test_no_such_input(tfjs, models):
    tfjs.assert_close(models / "tiny.h5", ONES)
"""


@pytest.mark.browser
@pytest.mark.convert
def test_a_vacuous_comparison_names_the_input_and_the_user_allows_it(tiny_project):
    project = tiny_project("vacuous")
    project.write(test_vacuous=TESTS)
    run = project.run("--tfjs-backends=cpu")
    outcomes = {name.partition("[")[0]: case for name, case in run.cases.items()}
    assert outcomes["test_ones"].message.startswith(
        "pytest_tfjs.NotClose: cpu on chrome: vacuous: the input 'x' is 1 everywhere: a broken model could "
        "pass too. Feed real inputs or, if this is intended, pass allow_vacuous='x'"
    )
    assert outcomes["test_allowed"].outcome == "passed"
    assert "allow_vacuous pattern 'y' matches no layer, output or input" in (
        outcomes["test_no_such_input"].message
    )
    vacuous, allowed = run.results["comparisons"]
    assert (vacuous["verdict"], vacuous["vacuous"], vacuous["dead_layers"]) == ("vacuous", ["x"], 0)
    assert (allowed["verdict"], allowed["vacuous"]) == ("close", [])
    again = project.run("--tfjs-backends=cpu", "--tfjs-allow-vacuous=x,y", "-k", "ones")
    assert [case.outcome for case in again.cases.values()] == ["passed"], again.text
