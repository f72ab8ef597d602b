"""Choosing one cause from the evidence: each kind of cause and its conditions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_tfjs.compare.diagnosis.diagnose import Cause, diagnose
from pytest_tfjs.compare.diagnosis.evidence import Evidence, OtherResult, Sizes
from pytest_tfjs.compare.diagnosis.feed_changes import feed_changes
from pytest_tfjs.compare.diagnosis.half_precision import apart, predicted_error, sizes_of
from pytest_tfjs.compare.diagnosis.recomputing.steps import Step, evaluate
from pytest_tfjs.compare.diagnosis.semantics import Trial

RIGHT, SAME, OTHER = (
    OtherResult("cpu on chrome", 0.001, 1.0),
    OtherResult("cpu on chrome", 1.0, 0.0),
    OtherResult("cpu on chrome", 1.0, 0.9),
)
PYTHON_RIGHT, PYTHON_SAME = OtherResult("TensorFlow", 0.0, 1.0), OtherResult("TensorFlow", 1.0, 0.001)
BASE = Evidence("conv", "webgl", repeated=0.0)
HALF = replace(BASE, target="webgl:f16", half=True, others=(RIGHT,))
INTERPRETATION = Trial("ResizeBilinear with half_pixel_centers=false instead of true", 0.001, declared=True)

CASES = {
    "every backend alike": ("conversion", replace(BASE, others=(SAME,))),
    "alike, and so is TensorFlow": ("conversion", replace(BASE, others=(SAME,), over_artifacts=PYTHON_SAME)),
    "TensorFlow alone, alike": ("conversion", replace(BASE, over_artifacts=PYTHON_SAME)),
    "cpu is right": ("kernel", replace(BASE, others=(RIGHT,))),
    "cpu is right, wasm is not": ("kernel", replace(BASE, others=(OTHER, RIGHT))),
    "cpu is right, and an interpretation explains": (
        "kernel",
        replace(BASE, others=(RIGHT,), interpretations=(INTERPRETATION,)),
    ),
    "TensorFlow is right, and no two backends alike": (
        "kernel",
        replace(BASE, others=(OTHER,), over_artifacts=PYTHON_RIGHT),
    ),
    "TensorFlow alone, right": ("kernel", replace(BASE, over_artifacts=PYTHON_RIGHT)),
    "an interpretation explains": (
        "semantics",
        replace(BASE, others=(SAME,), interpretations=(INTERPRETATION,)),
    ),
    "TF.js on every backend": ("semantics", replace(BASE, others=(SAME,), over_artifacts=PYTHON_RIGHT)),
    "TF.js on every backend, a layers model": (
        "semantics",
        replace(BASE, others=(SAME,), declared_alike=True),
    ),
    "the layer as declared, but a wrong weight": (
        "weight",
        replace(BASE, others=(SAME,), declared_alike=True, weight="its weight 'w' differs"),
    ),
    "called with training=True": ("semantics", replace(BASE, trains=True, others=(SAME,))),
    "called with training=True, and cpu is right": ("kernel", replace(BASE, trains=True, others=(RIGHT,))),
    "swapped inputs": (
        "wiring",
        replace(BASE, others=(SAME,), interpretations=(Trial("Sub", 0.0, "wiring"),)),
    ),
    "other inputs": ("wiring", replace(BASE, others=(SAME,), takes=("a",), source_takes=("b",))),
    "a turned kernel": (
        "weight",
        replace(BASE, over_artifacts=PYTHON_SAME, interpretations=(Trial("Conv2D turned", 0.0, "weight"),)),
    ),
    "a wrong weight": (
        "weight",
        replace(BASE, weight="its weight 'w' differs from the source's", others=(SAME,)),
    ),
    "a weight that has another effect": (
        "weight",
        replace(BASE, weight="it", by_effect=True, others=(SAME,)),
    ),
    "another effect, and the feed explains it": (
        "feed",
        replace(BASE, weight="it", by_effect=True, feeds=(Trial("times 255", 0.0),)),
    ),
    "a wrong weight, though the feed explains it": (
        "weight",
        replace(BASE, weight="it", feeds=(Trial("in BGR", 0.0),)),
    ),
    "a wrong weight of no layer": (
        "weight",
        replace(BASE, layer=None, weight="'w' differs from the source's"),
    ),
    "quantised": ("quantised weights", replace(BASE, layer=None, compressed="uint8 costs 0.3")),
    "growth": ("growth", replace(BASE, layer=None, growth="no layer is wrong")),
    "growth in half": ("half resolution", replace(BASE, layer=None, half=True, growth="no layer is wrong")),
    "the feed": (
        "feed",
        replace(BASE, others=(SAME,), feeds=(Trial("times 255", 0.0), Trial("upside down", 1.0))),
    ),
    "no feed that TensorFlow computes rightly from the artifacts": (
        "semantics",
        replace(BASE, others=(SAME,), over_artifacts=PYTHON_RIGHT, feeds=(Trial("divided by 255", 0.0),)),
    ),
    "no feed that another backend computes rightly": (
        "kernel",
        replace(BASE, others=(RIGHT,), feeds=(Trial("divided by 255", 0.0),)),
    ),
    "the feed though other rows enter": (
        "feed",
        replace(BASE, takes=(), source_takes=("rescaling",), feeds=(Trial("times 255", 0.0),)),
    ),
    "two runs differ": ("nondeterminism", replace(BASE, repeated=0.7, others=(SAME,))),
    "two runs of the model differ, so nothing grows": (
        "nondeterminism",
        replace(BASE, unsteady="two runs differ", growth="no layer is wrong"),
    ),
    "two runs of the model differ, and a weight": (
        "weight",
        replace(BASE, layer=None, unsteady="two runs differ", weight="kernel differs"),
    ),
    "a lost mask": ("semantics", replace(BASE, loses_mask=True, others=(SAME,), over_artifacts=PYTHON_RIGHT)),
    "random numbers": (
        "random numbers",
        replace(BASE, random="'noise' draws", unsteady="two runs differ", others=(SAME,), repeated=0.7),
    ),
    "two runs of the model differ": ("nondeterminism", replace(BASE, unsteady="two runs differ")),
    "over 65504": ("half range", replace(HALF, sizes=Sizes(reference=7e4, overflown=True))),
    "an input over 65504": ("half range", replace(HALF, sizes=Sizes(inputs=7e4, overflown=True, error=3.0))),
    "flushed": ("half range", replace(HALF, sizes=Sizes(reference=1.0, flushed=0.9, error=1e-6))),
    "11 bits": ("half resolution", replace(HALF, sizes=Sizes(reference=1.0, inputs=2.0, error=2.0 * 2**-11))),
    "11 bits of a sum": (
        "half resolution",
        replace(HALF, sizes=Sizes(reference=1.0, error=0.3, predicted=0.8)),
    ),
    "half precision, but wrong": (
        "kernel",
        replace(HALF, sizes=Sizes(reference=1.0, error=0.3, predicted=0.01)),
    ),
    "half precision, but all alike": (
        "conversion",
        replace(HALF, others=(SAME,), sizes=Sizes(reference=1.0, error=1e-4)),
    ),
    "a kernel that writes into its input": (
        "overwritten input",
        replace(BASE, overwrites="cpu's kernel writes into its input 'x'"),
    ),
    "-0 that another layer divides by": (
        "sign of zero",
        replace(BASE, divided="webgl's kernel gives zeros of the other sign"),
    ),
    "nothing": ("unknown", BASE),
    "no two alike": (
        "unknown",
        replace(BASE, others=(OTHER,), interpretations=(replace(INTERPRETATION, left=0.9),)),
    ),
}


@pytest.mark.parametrize(("kind", "evidence"), CASES.values(), ids=CASES.keys())
def test_kind_of_cause(kind, evidence):
    found = diagnose(evidence)
    assert (found.kind, found.layer) == (kind, evidence.layer)
    assert found.said


def test_every_kind_has_a_case():
    assert {kind for kind, _ in CASES.values()} == set(get_args(Cause))


def test_text_and_evidence_name_the_interpretation_and_its_origin():
    found = diagnose(
        replace(
            BASE,
            others=(SAME,),
            interpretations=(INTERPRETATION, replace(INTERPRETATION, name="other", left=0.8)),
        )
    )
    assert found.said == (
        "the browser's result matches "
        "ResizeBilinear with half_pixel_centers=false instead of true, as model.json declares"
    )
    assert found.evidence == (
        "cpu on chrome is wrong in the same way",
        "two runs on the same inputs are bit-identical",
        (
            "2 other interpretations of the operation were tried: "
            f"{INTERPRETATION.name} explains 99.9% of the error"
        ),
    )


def test_text_for_a_kernel_names_what_it_computes():
    found = diagnose(replace(BASE, others=(RIGHT,), interpretations=(Trial("RealDiv with 0/0 = 1", 0.0),)))
    assert found.said == (
        "webgl is wrong, but cpu on chrome agrees with Python: "
        "the browser's result matches RealDiv with 0/0 = 1"
    )


def test_text_for_a_kernel_does_not_hide_that_others_are_wrong_in_another_way():
    found = diagnose(replace(BASE, others=(OTHER,), over_artifacts=PYTHON_RIGHT))
    assert found.said == (
        "webgl is wrong, cpu on chrome too (in another way), but TensorFlow, running the same artifacts, "
        "agrees with Python"
    )


def test_other_inputs_are_not_wiring_if_another_backend_or_tensorflow_is_right():
    other = replace(BASE, takes=("a",), source_takes=("b",))
    assert diagnose(replace(other, others=(RIGHT,))).kind == "kernel"
    assert diagnose(replace(other, over_artifacts=PYTHON_RIGHT)).kind == "kernel"


def test_declared_interpretation_is_preferred_among_equals():
    plain = Trial("BatchNorm with epsilon=1e-05", 0.0)
    own = Trial("BatchNorm with epsilon=1e-05 instead of 0.001", 1e-7, declared=True)
    assert "instead of" in diagnose(replace(BASE, interpretations=(plain, own))).said
    better = replace(own, left=0.04)
    assert "instead of" not in diagnose(replace(BASE, interpretations=(plain, better))).said


def test_evidence_lists_what_was_not_tried():
    assert (
        diagnose(replace(BASE, not_tried=("wasm: no browser",))).evidence[-1] == "not tried: wasm: no browser"
    )


@example(Sizes(magnitude=5e-324, error=1.0), True)
@given(
    st.builds(Sizes, *[st.floats(0, 1e6)] * 3, st.booleans(), st.floats(0, 1), st.floats(0, 1e6)),
    st.booleans(),
)
def test_half_precision_is_blamed_only_on_half_precision_targets(sizes, half):
    kind = diagnose(replace(BASE, half=half, others=(RIGHT,), sizes=sizes)).kind
    assert half or not kind.startswith("half")


# ---- the numbers ----


def test_sizes_report_overflow_and_flushed_share():
    found = sizes_of(np.float32([np.inf, 1]), np.float32([7e4, 1]), [np.float32([300])], None)
    assert (found.reference, found.inputs, found.overflown, found.error) == (7e4, 300, True, 0)
    assert sizes_of(np.int32([0, 1]), np.int32([70000, 1]), [], None).overflown
    assert not sizes_of(np.float32([1, 0]), np.float32([1, 1e-6]), [], None).overflown
    assert sizes_of(np.float32([1, 0, 1]), np.float32([1, 1e-6, 2]), [], None).flushed == 0.5
    assert sizes_of(np.float32([1]), np.float32([1]), [], None).flushed == 0
    assert sizes_of(np.float32([0, 1]), np.float32([0.5, 1]), [], None).flushed == 0
    assert math.isclose(sizes_of(np.float32([1, 3]), np.float32([1, 5]), [], None).error, 2)


def test_half_resolution_names_integers_that_half_precision_does_not_hold():
    entering = [np.float32([3]), np.int32([7, 4099]), np.array([True])]
    found = sizes_of(np.float32([1, 2]), np.float32([1, 2.5]), entering, None)
    assert (found.integers, found.inputs) == (4099, 4099)
    said = diagnose(replace(HALF, sizes=found)).said
    assert said.endswith(". It holds integers up to 2048 only, and the layer's reach 4099")
    assert "integers" not in diagnose(replace(HALF, sizes=replace(found, integers=2048.0))).said


def test_half_precision_error_is_predicted_from_the_steps():
    rng = np.random.default_rng(0)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 64), (64, 8)))
    steps = (Step("MatMul", (x, kernel)),)
    truth = evaluate(steps).astype(np.float32)
    halved = (x.astype(np.float16).astype(np.float32) @ kernel.astype(np.float16).astype(np.float32)).astype(
        np.float16
    )
    assert 0.5 < predicted_error(steps, halved.astype(np.float32), truth) < 2
    assert predicted_error(steps, truth + 1, truth) < 0.01
    assert predicted_error((Step("Unknown", ()),), truth, truth) is None


def test_distance_between_two_runs():
    one, truth = np.float32([1, np.nan]), np.float32([2, np.nan])
    assert apart([one], truth) is None
    assert apart([one, one.copy()], truth) == 0
    assert apart([one, np.float32([1.5, np.nan])], truth) == 0.5


# ---- changes of the feed ----

IMAGE = np.random.default_rng(1).uniform(0, 255, (2, 6, 6, 3)).astype(np.float32)


def test_common_image_preprocessings_are_tried():
    found = dict(feed_changes({"image": IMAGE}))
    assert np.allclose(found["divided by 127.5, minus 1"]["image"], IMAGE / 127.5 - 1)
    assert np.allclose(found["with channels in reverse (BGR for RGB)"]["image"], IMAGE[..., ::-1])
    both = found["with channels in reverse (BGR for RGB), divided by 255"]["image"]
    assert np.allclose(both, IMAGE[..., ::-1] / 255)
    assert np.allclose(found["with rows and columns swapped"]["image"], IMAGE.transpose(0, 2, 1, 3))
    for changed in found.values():
        assert changed["image"].shape == IMAGE.shape
        assert changed["image"].dtype == np.float32


@pytest.mark.parametrize("there", ["times 255", "divided by 255", "times 2, minus 1"])
def test_each_change_of_range_has_its_inverse(there):
    back = {
        "times 255": "divided by 255",
        "divided by 255": "times 255",
        "times 2, minus 1": "plus 1, divided by 2",
    }
    changed = dict(feed_changes({"x": IMAGE}))[there]
    again = dict(feed_changes(changed))[back[there]]["x"]
    assert np.allclose(again, IMAGE, rtol=1e-5, atol=1e-5)


def test_changes_name_inputs_and_swap_those_of_equal_shape():
    a, b, tokens = np.float32([[1, 2]]), np.float32([[3, 4]]), np.int32([[1, 2]])
    found = dict(feed_changes({"a": a, "b": b, "tokens": tokens}))
    assert found["with 'a' and 'b' swapped"]["a"] is b
    assert "('tokens') plus 1" in found
    assert not any("'tokens' swapped" in name for name in found)
    assert list(feed_changes({"flag": np.array([True])})) == []


def test_change_without_effect_is_not_tried():
    assert "rounded to whole numbers" not in dict(feed_changes({"x": np.float32([1, 2])}))
