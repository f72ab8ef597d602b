"""Likely causes and the neighbouring layers in the message of a failure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
from pytest_tfjs.compare.numbers.tolerances import EXACT
from pytest_tfjs.report.failure_message import failure_message
from tests.support.comparisons import close, comparison, f32, layer, measured, target, wrong
from tests.support.diverged_networks import REFERENCE, doubled_channel, facts_under, first_line, network


def causes(actual, **fields):
    return facts_under("likely", np.asarray(actual), **fields)


HALF = {"target": target(variant="f16", float32_textures=False)}


CAUSES = {
    "axes permuted": (REFERENCE.transpose(0, 3, 1, 2), {}, "numpy.transpose(reference, (0, 3, 1, 2))"),
    "NaN made": (f32(1, math.nan), {"reference": f32(1, 2)}, "only the browser has NaN"),
    "NaN lost": (f32(1, 1), {"reference": f32(1, math.nan)}, "webgl computes 0/0 as 1"),
    "overflow": (f32(1, math.inf), {"reference": f32(1, 2)}, "only the browser overflows to Inf"),
    "half overflow": (f32(1, math.nan), {"reference": f32(1, 7e4), **HALF}, "values over 65504 become Inf"),
    "denormals": (f32(0, 0), {"reference": f32(1e-39, 2e-39)}, "GPUs flush denormals to 0"),
    "all zero": (0 * REFERENCE, {}, "the browser gives 0 everywhere"),
    "integers on webgl": (
        np.array([3, 2**24], np.int32),
        {"reference": np.array([3, 2**24 + 1], np.int32), "tolerances": {"block_2/conv": EXACT}},
        "webgl holds integers as float32",
    ),
    "integer overflow": (
        np.array([2**31 - 1], np.int32),
        {"reference": np.array([-(2**31)], np.int32), "target": target(backend="cpu")},
        "int32 overflow wraps around in Python",
    ),
    "a factor": (3 * REFERENCE, {}, "browser = 3 * reference at the mismatched elements: a weight or"),
    "an offset": (REFERENCE - 1, {}, "browser = reference -1 at the mismatched elements: a bias or"),
    "a channel": (doubled_channel(), {}, "only channel 5 of 8 is wrong: check its weights and bias"),
    "rounding": (
        REFERENCE + np.float32(1e-3) * np.sign(REFERENCE[..., ::-1]),
        {},
        "more likely rounding on webgl on chrome than a fault",
    ),
}


@pytest.mark.parametrize(("actual", "fields", "expected"), CAUSES.values(), ids=CAUSES.keys())
def test_likely_cause(actual, fields, expected):
    assert any(expected in cause for cause in causes(actual, **fields))


def test_noise_has_no_likely_cause():
    noise = np.random.default_rng(9).standard_normal(REFERENCE.shape).astype(np.float32)
    assert causes(REFERENCE + noise) == []


@pytest.mark.parametrize(("largest", "shown"), [(1e6, True), (1, False)])
def test_large_angles_are_a_likely_cause_for_sin(largest, shown):
    angle = measured([largest, 0], [largest, 0])
    rows = [layer("in"), layer("sin", "in", op="Sin")]
    message = failure_message(comparison(rows, {"in": angle, "sin": measured([0.5, 0], [0.6, 0])}))
    assert ("GPU sines of large angles are inexact: this input reaches 1.0e+06" in message) == shown


def test_weights_are_not_suspected_if_another_target_is_right():
    right, alike = network(REFERENCE, target=target(backend="wasm")), network(doubled_channel())
    advice = "check its weights and bias"
    assert not any(advice in cause for cause in causes(doubled_channel(), others=[right]))
    assert any(advice in cause for cause in causes(doubled_channel(), others=[alike]))


DIAGNOSIS = Diagnosis(
    "kernel", "block_2/conv", "the kernel of webgl", ("cpu agrees", "not tried: wasm: lost")
)


def test_diagnosis_replaces_likely_causes_which_become_evidence():
    assert causes(doubled_channel(), diagnosis=DIAGNOSIS) == ["kernel: the kernel of webgl"]
    evidence = facts_under("evidence", doubled_channel(), diagnosis=DIAGNOSIS)
    assert evidence[0].startswith("browser = 2 * reference at the mismatched elements")
    assert evidence[0].endswith("cpu agrees not tried: wasm: lost")


def test_diagnosis_without_a_layer_is_shown():
    one = comparison(
        [layer("a", output=True)], {"a": close()}, verdict="diverged", reason="it differs from the source's"
    )
    diagnosis = Diagnosis("weight", None, "the weight 'w'")
    assert "\n  likely       weight: the weight 'w'" in failure_message(replace(one, diagnosis=diagnosis))


def test_results_on_other_targets_are_shown():
    others = [
        network(REFERENCE, target=target(backend="wasm")),
        network(doubled_channel(), target=target(backend="cpu")),
    ]
    close_there, wrong_there = facts_under("elsewhere", doubled_channel(), others=others)
    assert close_there.startswith("wasm on chrome: close there: max |error| 0 at [0, 0, 0, 0]")
    assert wrong_there.startswith("cpu on chrome: diverged first there too: max |error| ")


def test_fused_layer_is_described():
    assert facts_under("compared", doubled_channel()) == [
        "after Conv2D+BiasAdd+Relu6, one fused operation in the browser, including 'block_2/add'"
    ]
    assert facts_under("compared", doubled_channel(), op="Conv2D") == []


def test_nearest_layers_are_shown_and_the_rest_counted():
    names = [f"l{number}" for number in range(12)]
    rows = [layer(name, *names[max(number - 1, 0) : number]) for number, name in enumerate(names)]
    metrics = {name: close() if number < 4 else wrong() for number, name in enumerate(names)}
    lines = failure_message(comparison(rows, metrics)).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("   l")]
    assert shown == ["layer", "l2", "l3", "l5", "l6", "l7"]
    assert "   and 4 more diverged" in lines


@pytest.mark.parametrize(
    ("name", "group", "expected"),
    [
        ("conv/Conv2D", "conv", "'conv/Conv2D'"),
        ("conv", "conv", "'conv'"),
        ("conv_1/convolution", "conv", "'conv_1/convolution' of layer 'conv'"),
        ("conv_1/convolution", "conv_1", "'conv_1/convolution'"),
        ("convolution", None, "'convolution'"),
    ],
)
def test_first_line_names_the_keras_layer(name, group, expected):
    rows = [layer(name, op="Conv2D", group=group, output=True)]
    assert first_line(rows, {name: wrong()}).startswith(f"webgl on chrome: {expected} diverged first: ")


def test_notes_are_shown_up_to_eight_and_then_counted():
    notes = tuple(f"input 'x{number}' was cast" for number in range(10))
    message = " ".join(failure_message(comparison([layer("a")], {"a": wrong()}, notes=notes)).split())
    assert "note input 'x0' was cast" in message
    assert "'x7' was cast" in message
    assert "'x8'" not in message
    assert "and 2 more" in message
