"""Finding how the browser interpreted a layer, from the values that it computed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.recomputing.steps import Step, evaluate
from pytest_tfjs.compare.diagnosis.semantics import differing, error_left, interpretations, try_one
from tests.support.recomputed_steps import values

IMAGE, KERNEL = values(1, 8, 8, 3), values(3, 3, 3, 4, seed=1)
CONV = Step("Conv2D", (IMAGE, KERNEL), {"strides": [1, 2, 2, 1], "padding": "SAME"})
NORM = Step("FusedBatchNormV3", (IMAGE, *(values(3, seed=n, low=0.1) for n in range(4))), {"epsilon": 1e-3})
GRU = Step(
    "GRU",
    (values(2, 5, 3), values(3, 12), values(4, 12, seed=1), values(2, 12, seed=2)),
    {"reset_after": True},
)


def explanations(steps, actual, declared=None):
    """Names of the interpretations that explain `actual`, best first."""
    reference = evaluate(steps)
    tried = [try_one(one, actual, reference) for one in interpretations(steps, declared)]
    return [
        one.name for one in sorted((one for one in tried if one), key=lambda one: one.left) if one.explains
    ]


@pytest.mark.parametrize(
    ("step", "name", "changes"),
    [
        (
            Step("ResizeBilinear", (IMAGE, np.array([5, 11])), {"half_pixel_centers": True}),
            "ResizeBilinear with align_corners=false and half_pixel_centers=false",
            {"half_pixel_centers": False},
        ),
        (
            Step("ResizeBilinear", (IMAGE, np.array([5, 11])), {"half_pixel_centers": True}),
            "ResizeBilinear with align_corners=true and half_pixel_centers=false",
            {"half_pixel_centers": False, "align_corners": True},
        ),
        (
            CONV,
            "Conv2D with the odd row of its padding before the image instead of after it",
            {"odd": "before"},
        ),
        (CONV, "Conv2D with the rows and columns of its kernel swapped", {"kernel": "transposed"}),
        (CONV, "Conv2D with its kernel rotated by 180 degrees", {"kernel": "rotated"}),
        (NORM, "FusedBatchNormV3 with epsilon=1e-05", {"epsilon": 1e-5}),
        (Step("Gelu", (IMAGE,)), "Gelu approximated with tanh", {"approximate": True}),
        (GRU, "GRU with reset_after=false", {"reset_after": False}),
        (GRU, "GRU with the gates in the order r, z, h", {"gates": "rzh"}),
        (GRU, "GRU with recurrent_activation HardSigmoid", {"recurrent_activation": "HardSigmoid"}),
        (Step("LeakyRelu", (IMAGE,), {"alpha": 0.3}), "LeakyRelu with alpha=0.2", {"alpha": 0.2}),
        (Step("HardSigmoid", (IMAGE,)), "HardSigmoid with the slope 1/6", {"slope": 1 / 6}),
        (Step("Softmax", (IMAGE,)), "Softmax over axis 1", {"axis": 1}),
        (
            Step("FloorDiv", (np.int32([7, -7]), np.int32([2, 2]))),
            "FloorDiv rounded towards 0 instead of down, for negative numbers",
            {"division": "truncated"},
        ),
        (
            Step("Round", (np.float32([0.5, 1.5, 2.5]),)),
            "Round with halves rounded up, as JavaScript does, instead of to even",
            {"rounding": "half up"},
        ),
        (
            Step("RealDiv", (np.float32([0, 1, 2]), np.float32([0, 2, 2]))),
            "RealDiv with 0/0 = 1",
            {"zero_over_zero": 1.0},
        ),
        (
            Step("Maximum", (np.float32([1, 2]), np.float32([np.nan, 1]))),
            "Maximum that ignores NaN if the other value is a number",
            {"nan": "dropped"},
        ),
        (
            Step("AvgPool", (IMAGE,), {"ksize": [1, 3, 3, 1], "strides": [1, 1, 1, 1], "padding": "SAME"}),
            "AvgPool with the padding counted in the mean",
            {"outside": "counted"},
        ),
        (
            Step("DepthToSpace", (values(1, 2, 2, 8),), {"block_size": 2}),
            "DepthToSpace with channels first in each block",
            {"order": "channels first"},
        ),
        (
            Step("Reshape", (IMAGE, np.array([1, -1]))),
            "Reshape with the channels before rows and columns",
            {"channels": "first"},
        ),
    ],
)
def test_true_interpretation_is_ranked_first(step, name, changes):
    steps = (step, Step("Neg", (0,))) if step.op != "Maximum" else (step,)
    other = (Step(step.op, step.inputs, {**step.attributes, **changes}), *steps[1:])
    noise = 1 + 1e-6 * values(*evaluate(steps).shape)
    assert explanations(steps, evaluate(other) * noise)[0] == name


def test_interpretation_kind_is_wiring_for_swapped_inputs_and_weight_for_turned_kernels():
    a, b = values(2, 3), values(2, 3, seed=1)
    steps = (Step("Sub", (a, b)),)
    tried = [try_one(one, b.astype(float) - a, evaluate(steps)) for one in interpretations(steps)]
    assert [(one.name, one.kind) for one in tried if one and one.explains] == [
        ("Sub with its two inputs swapped", "wiring")
    ]
    kinds = {one.name: one.kind for one in interpretations((CONV,))}
    assert kinds["Conv2D with the rows and columns of its kernel swapped"] == "weight"


def test_attributes_declared_in_the_artifacts_are_ranked_first():
    declared = (Step(NORM.op, NORM.inputs, {"epsilon": 0.37}),)
    assert explanations((NORM,), evaluate(declared), declared) == [
        "FusedBatchNormV3 with epsilon=0.37 instead of 0.001"
    ]
    swapped = (CONV, Step("Relu", (0,))), (CONV, Step("Tanh", (0,)))
    assert differing(*swapped) == ("Tanh instead of Relu",)
    assert explanations(*swapped[:1], evaluate(swapped[1]), swapped[1])[0] == "Tanh instead of Relu"


def steps_of(*ops):
    return [Step(op, (), {}) for op in ops]


@pytest.mark.parametrize(
    ("source", "artifacts", "expected"),
    [
        ("Conv2D Mul Add Relu", "Conv2D Add Relu", ()),
        ("Conv2D BiasAdd Mul Add Relu", "Conv2D Add Relu", ()),
        ("Conv2D FusedBatchNormV3 Relu", "Conv2D Add Relu", ()),
        ("Conv2D Mul", "Conv2D", ()),
        ("Conv2D Mul Add Relu", "Conv2D Relu", ("nothing instead of Mul+Add",)),
        ("Conv2D Add", "Conv2D", ("nothing instead of Add",)),
        ("Conv2D Mul Add Relu", "Conv2D Add Elu", ("Elu instead of Relu",)),
        ("Mul Sigmoid", "Sigmoid", ("nothing instead of Mul",)),
        ("MatMul Add Elu", "MatMul Sub Elu", ("Sub instead of Add",)),
        ("Relu StopGradient", "Relu", ()),
        ("BatchMatMulV2 Div", "BatchMatMul RealDiv", ()),
        ("PadV2", "Pad", ("Pad instead of PadV2",)),
    ],
)
def test_operations_folded_into_weights_are_not_a_difference(source, artifacts, expected):
    assert differing(steps_of(*source.split()), steps_of(*artifacts.split())) == expected


@pytest.mark.parametrize("op", ["MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"])
def test_matrix_products_are_tried_with_swapped_and_transposed_operands(op):
    a, b = values(3, 3), values(3, 3, seed=1)
    steps = (Step(op, (a, b), {} if op == "MatMul" else {"adj_x": False, "adj_y": False}),)
    assert f"{op} with its two inputs swapped" in explanations(steps, b.astype(float) @ a)
    assert any("transpose" in name or "adj" in name for name in explanations(steps, a.astype(float).T @ b))


def test_equal_steps_do_not_differ():
    biased = (CONV, Step("BiasAdd", (0, values(4))))
    added = (CONV, Step("AddV2", (0, values(4))))
    assert differing(biased, added) == ()
    assert differing((NORM,), (Step(NORM.op, NORM.inputs, {"epsilon": float(np.float32(1e-3))}),)) == ()


@pytest.mark.parametrize("error", [1e-6, 1e-3, 1.0])
def test_noise_is_not_explained_by_any_interpretation(error):
    steps = (CONV, Step("BiasAdd", (0, values(4))), Step("Relu", (1,)))
    reference = evaluate(steps)
    assert explanations(steps, reference + error * values(*reference.shape, seed=5)) == []


def test_share_of_the_error_that_an_interpretation_leaves():
    truth, actual = np.float32([1, 2, 3, 4]), np.float32([1, 2, 3, 8])
    assert error_left(actual, actual, truth) == 0
    assert error_left(actual, truth, truth) == 1
    assert math.isclose(error_left(actual, np.float32([1, 2, 3, 7.9]), truth), 0.025, rel_tol=1e-5)
    assert error_left(np.float32([1, np.nan]), np.float32([1, 5]), np.float32([1, 1])) == math.inf
    assert error_left(np.float32([1, np.nan]), np.float32([1, np.nan]), np.float32([1, 1])) == 0
    assert error_left(np.float32([1, np.nan]), np.float32([2, np.nan]), np.float32([1, 1])) > 1
    assert error_left(np.float32([1]), np.float32([1, 1]), np.float32([1])) == math.inf
    assert error_left(np.float32([1, 1]), np.float32([1, 1]), np.float32([1])) == 0
    assert error_left(np.float32([2, 2]), np.float32([1, 1]), np.float32([1])) == 0.5


def test_interpretation_with_another_output_shape_is_explanations():
    other = Step("Conv2D", CONV.inputs, {**CONV.attributes, "padding": "VALID"})
    assert explanations((CONV,), evaluate((other,)))[0] == "Conv2D with padding VALID"


def test_interpretation_that_changes_nothing_is_dropped():
    steps = (Step("Relu6", (values(9),)),)
    tried = {one.name: try_one(one, values(9, seed=1), evaluate(steps)) for one in interpretations(steps)}
    assert tried["Relu6 replaced by Relu"] is None
    assert tried["Relu6 replaced by Tanh"] is not None


def test_share_of_wrong_texts_and_complex_numbers():
    truth, actual = np.array([b"a", b"b", b"c", b"d"], object), np.array([b"a", b"x", b"y", b"z"], object)
    assert error_left(actual, actual, truth) == 0
    assert error_left(actual, truth, truth) == 1
    nearly = np.array([b"a", b"b", b"y", b"z"], object)
    assert math.isclose(error_left(actual, nearly, truth), math.sqrt(1 / 3))
    assert error_left(actual, actual, truth[:1]) == 0
    assert error_left(np.float32([1, 2, 3, 4]), actual, truth) == math.inf
    imaginary = np.complex64([1, 1j])
    assert error_left(imaginary, np.complex64([1, 1]), np.complex64([1, 1])) == 1
    assert error_left(imaginary, imaginary.copy(), np.complex64([1, 1])) == 0
    assert error_left(imaginary, np.complex64([1, 0.9j]), np.complex64([1, 0])) == pytest.approx(
        0.1, rel=1e-5
    )


@pytest.mark.parametrize("size", [1e-200, 1e-45, 1e38, 1e200])
def test_share_of_an_error_does_not_underflow_or_overflow(size):
    values = np.array([1.0, 2.0, 4.0]) * size
    assert error_left(values, values * [1, 1, 0.75], values * [1, 1, 0.5]) == pytest.approx(0.5)


@pytest.mark.parametrize("op", ["Relu", "Relu6", "LeakyRelu"])
def test_relu_that_multiplies_is_not_taken_for_another_activation(op):
    """webgl's kernels give NaN for -Inf; with few other elements, Swish explains that too."""
    x = np.float32([[3.0, -np.inf, -50.0, 40.0]]) if op != "Relu6" else np.float32([[3.0, -np.inf, -50.0]])
    reference = evaluate([Step(op, (x,))])
    actual = reference.copy()
    actual[0, 1] = np.nan
    (best, *_) = explanations([Step(op, (x,))], actual.astype(np.float32), None)
    which = "Inf and -Inf give" if op == "LeakyRelu" else "-Inf gives"
    assert best == f"{op} computed as a product with 0 or 1, so that {which} NaN"


def test_relu_without_its_threshold_and_pooling_without_its_kept_axis():
    x = values(2, 9)
    step = Step("ReLU", (x,), {"threshold": 0.4, "alpha": 0.3, "most": None})
    plain = evaluate([Step("Relu", (x,))]).astype(np.float32)
    assert explanations([step], plain, None)[0] == "ReLU without its threshold and its slope"
    pooled = Step("Mean", (values(2, 5, 3), np.array([1])), {"keep_dims": True})
    actual = evaluate([pooled]).astype(np.float32)[:, 0]
    assert explanations([pooled], actual, None)[0] == "Mean with keep_dims=false"
