"""Recomputing in numpy matches TensorFlow, and the interpretation that the browser uses is found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_tfjs.compare.diagnosis.recomputing.keras_layers import keras_steps
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step, evaluate
from pytest_tfjs.compare.diagnosis.semantics import differing, error_left, interpretations, try_one

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.convert

settings.register_profile("few", deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
FEW = settings.get_profile("few")
BOOL = st.booleans()
SIZE = st.integers(1, 7)


def values(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def assert_same(steps, expected):
    found, expected = evaluate(steps), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found, expected, rtol=2e-5, atol=2e-5 * max(1.0, float(np.max(np.abs(expected))))
    )


@FEW
@given(
    rows=SIZE,
    columns=SIZE,
    new=st.tuples(SIZE, SIZE),
    mode=st.sampled_from([(0, 0), (1, 0), (0, 1)]),
    op=BOOL,
)
def test_resizing_is_tensorflows(rows, columns, new, mode, op):
    x, (corners, centres) = values(2, rows, columns, 3), map(bool, mode)
    name = "ResizeBilinear" if op else "ResizeNearestNeighbor"
    attributes = {"align_corners": corners, "half_pixel_centers": centres}
    own = getattr(tf.raw_ops, name)(images=x, size=list(new), **attributes)
    assert_same([Step(name, (x, np.array(new)), attributes)], own)


@FEW
@given(
    sizes=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID"]),
    depthwise=BOOL,
)
def test_convolution_is_tensorflows(sizes, window, strides, padding, depthwise):
    if depthwise:
        strides = (strides[0], strides[0])  # TensorFlow's own kernel takes no others
    x, kernel = values(2, *sizes, 3), values(*window, 3, 2, seed=1)
    attributes = {"strides": [1, *strides, 1], "padding": padding}
    op = tf.raw_ops.DepthwiseConv2dNative if depthwise else tf.raw_ops.Conv2D
    name = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    assert_same([Step(name, (x, kernel), attributes)], op(input=x, filter=kernel, **attributes))


@FEW
@given(dilation=st.integers(1, 2), before=st.integers(0, 2), after=st.integers(0, 2))
def test_explicit_padding_and_dilation_are_tensorflows(dilation, before, after):
    x, kernel = values(1, 8, 7, 2), values(3, 3, 2, 4, seed=1)
    attributes = {
        "strides": [1, 1, 1, 1],
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, before, after, after, before, 0, 0],
        "dilations": [1, dilation, dilation, 1],
    }
    assert_same(
        [Step("Conv2D", (x, kernel), attributes)], tf.raw_ops.Conv2D(input=x, filter=kernel, **attributes)
    )


@FEW
@given(size=st.integers(3, 8), window=st.integers(1, 4), stride=st.integers(1, 3), same=BOOL)
def test_a_transposed_convolution_is_tensorflows(size, window, stride, same):
    padding = "SAME" if same else "VALID"
    big = size * stride if same else (size - 1) * stride + window
    x, kernel, shape = (
        values(2, size, size, 3),
        values(window, window, 4, 3, seed=1),
        np.array([2, big, big, 4]),
    )
    attributes = {"strides": [1, stride, stride, 1], "padding": padding}
    own = tf.raw_ops.Conv2DBackpropInput(input_sizes=shape, filter=kernel, out_backprop=x, **attributes)
    assert_same([Step("Conv2DBackpropInput", (shape, kernel, x), attributes)], own)


@FEW
@given(
    sizes=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    window=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]),
    largest=BOOL,
)
def test_pooling_is_tensorflows(sizes, window, stride, padding, largest):
    x = values(2, *sizes, 3)
    attributes = {"ksize": [1, window, window, 1], "strides": [1, stride, stride, 1], "padding": padding}
    if largest:
        assert_same([Step("MaxPool", (x,), attributes)], tf.raw_ops.MaxPool(input=x, **attributes))
    else:
        assert_same([Step("AvgPool", (x,), attributes)], tf.raw_ops.AvgPool(value=x, **attributes))


@FEW
@given(epsilon=st.floats(0, 1), seed=st.integers(0, 9))
def test_batch_norm_is_tensorflows(epsilon, seed):
    x, parts = values(2, 3, 3, 4, seed=seed), [values(4, seed=n, low=0.1) for n in range(4)]
    own = tf.nn.batch_normalization(x, parts[2], parts[3], parts[1], parts[0], epsilon)
    assert_same([Step("FusedBatchNormV3", (x, *parts), {"epsilon": epsilon})], own)


def _sliced(take):
    """The inputs and attributes of the StridedSlice that TensorFlow makes of an index."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3, 4))
        take(x)
        (node,) = [one for one in graph.get_operations() if one.type == "StridedSlice"]
        bounds = [tf.make_ndarray(one.op.get_attr("value")) for one in node.inputs[1:]]
        masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        return (values(2, 3, 4), *bounds), {name: node.get_attr(name) for name in masks}


@pytest.mark.parametrize(
    ("step", "own"),
    [
        (Step("Elu", (values(50),)), tf.nn.elu(values(50))),
        (Step("Selu", (values(50),)), tf.nn.selu(values(50))),
        (Step("LeakyRelu", (values(50),), {"alpha": 0.3}), tf.nn.leaky_relu(values(50), 0.3)),
        (Step("Softplus", (values(50),)), tf.nn.softplus(values(50))),
        (Step("Softsign", (values(50),)), tf.nn.softsign(values(50))),
        (Step("Swish", (values(50),)), tf.nn.silu(values(50))),
        (Step("Gelu", (values(50),), {"approximate": True}), tf.nn.gelu(values(50), approximate=True)),
        (Step("Gelu", (values(50),)), tf.nn.gelu(values(50))),
        (Step("Sigmoid", (100 * values(50),)), tf.nn.sigmoid(100 * values(50))),
        (Step("Softmax", (values(3, 4, 5),), {"axis": 1}), tf.nn.softmax(values(3, 4, 5), axis=1)),
        (Step("LogSoftmax", (values(3, 4),)), tf.nn.log_softmax(values(3, 4))),
        (Step("Round", (np.float32([0.5, 1.5, 2.5, -0.5, -1.5]),)), tf.round([0.5, 1.5, 2.5, -0.5, -1.5])),
        (
            Step("FloorDiv", (np.int32([7, -7, 7]), np.int32([2, 2, -2]))),
            tf.math.floordiv([7, -7, 7], [2, 2, -2]),
        ),
        (
            Step("FloorMod", (np.int32([7, -7, 7]), np.int32([3, 3, -3]))),
            tf.math.floormod([7, -7, 7], [3, 3, -3]),
        ),
        (
            Step("FloorDiv", (np.int32([7, -7]), np.int32([2, 2])), {"division": "truncated"}),
            tf.raw_ops.TruncateDiv(x=[7, -7], y=[2, 2]),
        ),
        (
            Step("FloorMod", (np.int32([7, -7]), np.int32([3, 3])), {"division": "truncated"}),
            tf.raw_ops.TruncateMod(x=[7, -7], y=[3, 3]),
        ),
        (Step("Cast", (np.float32([-1.7, 1.7]),), {"DstT": "int32"}), tf.cast([-1.7, 1.7], tf.int32)),
        (
            Step("MirrorPad", (values(3, 4), np.array([[1, 1], [2, 0]])), {"mode": "REFLECT"}),
            tf.pad(values(3, 4), [[1, 1], [2, 0]], "REFLECT"),
        ),
        (
            Step("MirrorPad", (values(3, 4), np.array([[1, 1], [2, 0]])), {"mode": "SYMMETRIC"}),
            tf.pad(values(3, 4), [[1, 1], [2, 0]], "SYMMETRIC"),
        ),
        (
            Step("DepthToSpace", (values(2, 2, 3, 8),), {"block_size": 2}),
            tf.nn.depth_to_space(values(2, 2, 3, 8), 2),
        ),
        (
            Step("SpaceToDepth", (values(2, 4, 6, 3),), {"block_size": 2}),
            tf.nn.space_to_depth(values(2, 4, 6, 3), 2),
        ),
        (
            Step("Cumsum", (values(3, 4), np.array(1)), {"exclusive": True, "reverse": True}),
            tf.cumsum(values(3, 4), 1, exclusive=True, reverse=True),
        ),
        (
            Step("MatMul", (values(4, 3), values(5, 4)), {"transpose_a": True, "transpose_b": True}),
            tf.matmul(values(4, 3), values(5, 4), transpose_a=True, transpose_b=True),
        ),
        (Step("Mul", (np.int32([65537]), np.int32([65537]))), tf.constant([65537]) * tf.constant([65537])),
        (Step("StridedSlice", *_sliced(lambda x: x[..., ::-1])), values(2, 3, 4)[..., ::-1]),
        (Step("StridedSlice", *_sliced(lambda x: x[1:, None, 0])), values(2, 3, 4)[1:, None, 0]),
        (Step("StridedSlice", *_sliced(lambda x: x[-1, :-1:2])), values(2, 3, 4)[-1, :-1:2]),
        (Step("Mean", (values(2, 3, 4), np.array([1, 2]))), tf.reduce_mean(values(2, 3, 4), [1, 2])),
    ],
    ids=lambda one: one.op if isinstance(one, Step) else "",
)
def test_an_operation_is_tensorflows(step, own):
    assert_same([step], own)


def _keras_cases():
    layers = pytest.importorskip("tf_keras").layers
    image, row = (2, 8, 6, 4), (2, 5, 3)
    return [
        (layers.Dense(3, activation="gelu"), (2, 4)),
        (layers.Conv2D(3, 3, strides=2, padding="same", activation="elu"), image),
        (layers.Conv2D(4, 3, groups=2, dilation_rate=2), image),
        (layers.Conv1D(3, 3, padding="same", strides=2), row),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), image),
        (layers.SeparableConv2D(3, 3, strides=2, padding="same"), image),
        (layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="softsign"), image),
        (layers.Conv2DTranspose(3, 4, strides=3), image),
        (layers.BatchNormalization(epsilon=0.1), image),
        (layers.BatchNormalization(scale=False, axis=1), image),
        (layers.LayerNormalization(), image),
        (layers.Activation("hard_sigmoid"), (2, 9)),
        (layers.ReLU(max_value=1.5), (2, 9)),
        (layers.ReLU(negative_slope=0.1, max_value=1.5), (2, 9)),
        (layers.LeakyReLU(), (2, 9)),
        (layers.ELU(0.7), (2, 9)),
        (layers.PReLU(), (2, 9)),
        (layers.Softmax(axis=1), row),
        (layers.MaxPooling2D(3, 2, padding="same"), image),
        (layers.AveragePooling2D(2), image),
        (layers.AveragePooling2D(3, 2, padding="same"), image),
        (layers.GlobalAveragePooling2D(keepdims=True), image),
        (layers.GlobalMaxPooling1D(), row),
        (layers.UpSampling2D(2, interpolation="bilinear"), image),
        (layers.UpSampling2D((3, 2)), image),
        (layers.Resizing(5, 9), image),
        (layers.Rescaling(1 / 127.5, offset=-1), image),
        (layers.ZeroPadding2D(((0, 1), (2, 0))), image),
        (layers.Flatten(), image),
        (layers.Reshape((6, 4, 8)), image),
        (layers.Permute((3, 1, 2)), image),
        (layers.GRU(4, return_sequences=True), row),
        (layers.GRU(4, reset_after=False, go_backwards=True, recurrent_activation="hard_sigmoid"), row),
        (layers.LSTM(4), row),
    ]


@pytest.mark.parametrize(
    "number", range(len(_keras_cases())), ids=lambda n: f"{n}-{type(_keras_cases()[n][0]).__name__}"
)
def test_a_keras_layer_is_the_steps_it_is_told_to_be(number):
    layer, shape = _keras_cases()[number]
    x = values(*shape)
    layer.build(shape)
    layer.set_weights(
        [np.abs(values(*each.shape, seed=n)) + 0.1 for n, each in enumerate(layer.get_weights())]
    )
    assert_same(keras_steps(type(layer).__name__, layer.get_config(), layer.get_weights(), [x]), layer(x))


@pytest.mark.parametrize(
    "name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
)
def test_a_merging_keras_layer_is_the_steps_it_is_told_to_be(name):
    layer, inputs = (
        getattr(pytest.importorskip("tf_keras").layers, name)(),
        [values(2, 3), values(2, 3, seed=1)],
    )
    assert_same(keras_steps(name, layer.get_config(), [], inputs), layer(inputs))


def test_what_is_not_known_is_told():
    with pytest.raises(CannotRecompute, match="TensorListStack cannot be recomputed in numpy"):
        evaluate([Step("TensorListStack", ())])
    with pytest.raises(CannotRecompute, match="Bidirectional cannot be recomputed in numpy"):
        keras_steps("Bidirectional", {}, [], [])
    with pytest.raises(CannotRecompute, match="Conv2D on these inputs: 3 channels enter a kernel for 4"):
        evaluate([Step("Conv2D", (values(1, 4, 4, 3), values(1, 1, 4, 2)))])


# ---- which interpretation explains what the browser gave ----

IMAGE, KERNEL = values(1, 8, 8, 3), values(3, 3, 3, 4, seed=1)
CONV = Step("Conv2D", (IMAGE, KERNEL), {"strides": [1, 2, 2, 1], "padding": "SAME"})
NORM = Step("FusedBatchNormV3", (IMAGE, *(values(3, seed=n, low=0.1) for n in range(4))), {"epsilon": 1e-3})
GRU = Step(
    "GRU",
    (values(2, 5, 3), values(3, 12), values(4, 12, seed=1), values(2, 12, seed=2)),
    {"reset_after": True},
)


def found(steps, actual, declared=None):
    """The names of the interpretations that explain it, the best first."""
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
            "DepthToSpace in the order of channels first blocks",
            {"order": "channels first"},
        ),
        (
            Step("Reshape", (IMAGE, np.array([1, -1]))),
            "Reshape with the channels before rows and columns",
            {"channels": "first"},
        ),
    ],
)
def test_the_interpretation_is_found_and_comes_first(step, name, changes):
    steps = (step, Step("Neg", (0,))) if step.op != "Maximum" else (step,)
    other = (Step(step.op, step.inputs, {**step.attributes, **changes}), *steps[1:])
    noise = 1 + 1e-6 * values(*evaluate(steps).shape)
    assert found(steps, evaluate(other) * noise)[0] == name


def test_swapped_inputs_are_wiring_and_turned_kernels_weights():
    a, b = values(2, 3), values(2, 3, seed=1)
    steps = (Step("Sub", (a, b)),)
    tried = [try_one(one, b.astype(float) - a, evaluate(steps)) for one in interpretations(steps)]
    assert [(one.name, one.kind) for one in tried if one and one.explains] == [
        ("Sub with its two inputs swapped", "wiring")
    ]
    kinds = {one.name: one.kind for one in interpretations((CONV,))}
    assert kinds["Conv2D with the rows and columns of its kernel swapped"] == "weight"


def test_what_the_artifacts_say_comes_first_and_may_be_any_value():
    declared = (Step(NORM.op, NORM.inputs, {"epsilon": 0.37}),)
    assert found((NORM,), evaluate(declared), declared) == [
        "FusedBatchNormV3 with epsilon=0.37 instead of 0.001"
    ]
    swapped = (CONV, Step("Relu", (0,))), (CONV, Step("Tanh", (0,)))
    assert differing(*swapped) == ("Tanh instead of Relu",)
    assert found(*swapped[:1], evaluate(swapped[1]), swapped[1])[0] == "Tanh instead of Relu"


def named(*ops):
    return [Step(op, (), {}) for op in ops]


@pytest.mark.parametrize(
    ("source", "artifacts", "said"),
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
def test_what_may_be_in_the_weights_is_no_difference(source, artifacts, said):
    assert differing(named(*source.split()), named(*artifacts.split())) == said


@pytest.mark.parametrize("op", ["MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"])
def test_products_of_matrices_are_tried_with_swapped_and_transposed_operands(op):
    a, b = values(3, 3), values(3, 3, seed=1)
    steps = (Step(op, (a, b), {} if op == "MatMul" else {"adj_x": False, "adj_y": False}),)
    assert f"{op} with its two inputs swapped" in found(steps, b.astype(float) @ a)
    assert any("transpose" in name or "adj" in name for name in found(steps, a.astype(float).T @ b))


def test_artifacts_that_say_the_same_are_no_other_interpretation():
    biased = (CONV, Step("BiasAdd", (0, values(4))))
    added = (CONV, Step("AddV2", (0, values(4))))
    assert differing(biased, added) == ()
    assert differing((NORM,), (Step(NORM.op, NORM.inputs, {"epsilon": float(np.float32(1e-3))}),)) == ()


@pytest.mark.parametrize("error", [1e-6, 1e-3, 1.0])
def test_noise_is_no_interpretation(error):
    steps = (CONV, Step("BiasAdd", (0, values(4))), Step("Relu", (1,)))
    reference = evaluate(steps)
    assert found(steps, reference + error * values(*reference.shape, seed=5)) == []


def test_how_much_of_an_error_is_left():
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


def test_an_interpretation_that_gives_another_shape_is_found():
    other = Step("Conv2D", CONV.inputs, {**CONV.attributes, "padding": "VALID"})
    assert found((CONV,), evaluate((other,)))[0] == "Conv2D with padding VALID"


def test_an_interpretation_that_changes_nothing_is_not_told():
    steps = (Step("Relu6", (values(9),)),)
    tried = {one.name: try_one(one, values(9, seed=1), evaluate(steps)) for one in interpretations(steps)}
    assert tried["Relu6 replaced by Relu"] is None
    assert tried["Relu6 replaced by Tanh"] is not None
