from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.constants import constant_values
from pytest_tfjs.reference.identity_operations import simpler_operation, unchanged_input

pytestmark = pytest.mark.convert
X = np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def input_and_output(tf, function, shape):
    """The input and the output of `function` in its graph, without the final identity."""
    concrete = tf.function(
        function, input_signature=[tf.TensorSpec(shape, tf.float32)]
    ).get_concrete_function()
    (output,) = concrete.outputs
    while output.op.type == "Identity":
        output = output.op.inputs[0]
    return concrete.inputs[0], output


UNCHANGED = {
    "times one": lambda tf, x: x * 1.0,
    "one times": lambda tf, x: tf.constant(1.0) * x,
    "times ones": lambda tf, x: x * tf.ones([4]),
    "plus zero": lambda tf, x: 0.0 + x,
    "minus zero": lambda tf, x: x - tf.zeros([1, 4]),
    "over one": lambda tf, x: x / 1.0,
    "bias of zeros": lambda tf, x: tf.nn.bias_add(x, tf.zeros([4])),
    "to the first power": lambda tf, x: tf.pow(x, 1.0),
    "padded by nothing": lambda tf, x: tf.pad(x, [[0, 0], [0, 0]]),
    "tiled once": lambda tf, x: tf.tile(x, [1, 1]),
    "transposed to itself": lambda tf, x: tf.transpose(x, [0, 1]),
    "transposed there and back": lambda tf, x: tf.transpose(tf.identity(tf.transpose(x, [1, 0])), [1, 0]),
    "negated twice": lambda tf, x: tf.negative(-x),
    "reshaped to its shape": lambda tf, x: tf.reshape(x, [-1, 4]),
    "reshaped there and back": lambda tf, x: tf.squeeze(tf.reshape(tf.reshape(x, [-1, 2]), [-1, 1, 4]), 1),
    "cast to its dtype": lambda tf, x: tf.raw_ops.Cast(x=x, DstT=tf.float32),
    "sliced whole": lambda tf, x: tf.slice(x, [0, 0], [-1, 4]),
    "indexed whole": lambda tf, x: x[:, 0:4],
    "indexed further than it goes": lambda tf, x: x[:, :9],
    "a sum of one": lambda tf, x: tf.raw_ops.AddN(inputs=[x]),
}

CHANGED = {
    "times two": lambda tf, x: x * 2.0,
    "times ones and a two": lambda tf, x: x * [1.0, 1.0, 1.0, 2.0],
    "times more ones": lambda tf, x: x * tf.ones([2, 1, 4]),
    "times itself": lambda tf, x: x * x,
    "zero minus": lambda tf, x: 0.0 - x,
    "one over": lambda tf, x: 1.0 / x,
    "one to the power": lambda tf, x: tf.pow(1.0, x),
    "padded": lambda tf, x: tf.pad(x, [[0, 0], [0, 1]]),
    "tiled": lambda tf, x: tf.tile(x, [1, 2]),
    "transposed": lambda tf, x: tf.transpose(x, [1, 0]),
    "transposed twice, otherwise": lambda tf, x: tf.transpose(
        tf.transpose(tf.reshape(x, [1, -1, 4]), [1, 2, 0]), [1, 2, 0]
    ),
    "reshaped": lambda tf, x: tf.reshape(x, [-1, 2]),
    "negated": lambda tf, x: -x,
    "reversed": lambda tf, x: tf.reverse(x, [1]),
    "reversed along a size unknown": lambda tf, x: tf.reverse(x, [0]),
    "sliced": lambda tf, x: tf.slice(x, [0, 1], [-1, 3]),
    "indexed": lambda tf, x: x[:, 1:],
    "indexed up to before the end": lambda tf, x: x[:, :3],
    "indexed along a size unknown": lambda tf, x: x[:3],
    "indexed in steps": lambda tf, x: x[:, ::2],
    "indexed backwards": lambda tf, x: x[:, ::-1],
    "joined": lambda tf, x: tf.concat([x, x], 0),
    "cast": lambda tf, x: tf.cast(x, tf.int32),
}


@pytest.mark.parametrize("function", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_no_op_operations_are_recognised(tf, function):
    entering, leaving = input_and_output(tf, lambda x: function(tf, x), [None, 4])
    assert unchanged_input(leaving.op) is not None
    found = unchanged_input(leaving.op)
    while found.op.type == "Identity":
        found = found.op.inputs[0]
    assert found is entering
    np.testing.assert_array_equal(function(tf, X), X)


def test_reversing_an_axis_of_size_one_is_a_no_op(tf):
    for axes in ([1], [-2]):
        entering, leaving = input_and_output(tf, lambda x, axes=axes: tf.reverse(x, axes), [None, 1, 4])
        assert unchanged_input(leaving.op) is entering
    _, leaving = input_and_output(tf, lambda x: tf.reverse(x, [1, 2]), [None, 1, 4])
    assert unchanged_input(leaving.op) is None


@pytest.mark.parametrize("function", CHANGED.values(), ids=CHANGED.keys())
def test_operations_that_change_their_input_are_not_no_ops(tf, function):
    _, leaving = input_and_output(tf, lambda x: function(tf, x), [None, 4])
    assert unchanged_input(leaving.op) is None


@pytest.mark.parametrize(
    ("shape", "function"),
    [
        ([None, None], lambda tf, x: tf.reshape(x, tf.reverse(tf.shape(x), [0]))),
        (None, lambda tf, x: x * tf.ones([4])),
        ([None, 1], lambda tf, x: x * tf.ones([4])),
    ],
    ids=["two sizes unknown", "rank unknown", "broadcast"],
)
def test_operations_of_unknown_shapes_are_not_no_ops(tf, shape, function):
    _, leaving = input_and_output(tf, lambda x: function(tf, x), shape)
    assert unchanged_input(leaving.op) is None


SIMPLER = {
    "zero minus": (lambda tf, x: tf.zeros([4]) - x, "Neg"),
    "one over": (lambda tf, x: tf.ones([4]) / x, "Reciprocal"),
    "two over": (lambda tf, x: tf.fill([4], 2.0) / x, None),
    "more zeros minus": (lambda tf, x: tf.zeros([2, 1, 4]) - x, None),
    "less zero": (lambda tf, x: x - tf.zeros([4]), None),
}


@pytest.mark.parametrize("reduce", ["reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod"])
def test_reducing_an_axis_of_size_one_is_a_no_op_or_reshape(tf, reduce):
    function = getattr(tf, reduce)
    entering, leaving = input_and_output(tf, lambda x: function(x, [1], keepdims=True), [None, 1, 4])
    assert unchanged_input(leaving.op) is entering
    _, leaving = input_and_output(tf, lambda x: function(x, [1]), [None, 1, 4])
    assert unchanged_input(leaving.op) is None
    assert simpler_operation(leaving.op) == "Reshape"
    for keepdims in (True, False):
        _, leaving = input_and_output(
            tf, lambda x, keepdims=keepdims: function(x, [1, 2], keepdims), [None, 1, 4]
        )
        assert unchanged_input(leaving.op) is None
        assert simpler_operation(leaving.op) is None


@pytest.mark.parametrize(("function", "simpler"), SIMPLER.values(), ids=SIMPLER.keys())
def test_operations_with_special_constants_have_a_simpler_operation(tf, function, simpler):
    _, leaving = input_and_output(tf, lambda x: function(tf, x), [None, 4])
    assert simpler_operation(leaving.op) == simpler


@pytest.mark.parametrize(
    ("offset", "mean", "training", "simpler"),
    [(0.0, 0.0, False, "Mul"), (0.5, 0.0, False, None), (0.0, 0.5, False, None), (0.0, 0.0, True, None)],
)
def test_a_batch_norm_without_a_shift_is_a_product(tf, offset, mean, training, simpler):
    def norm(x):
        size = 0 if training else 4
        fixed = [tf.fill([4], offset), tf.fill([size], mean), tf.fill([size], 2.0)]
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=tf.ones([4]), offset=fixed[0], mean=fixed[1], variance=fixed[2], is_training=training
        )[0]

    _, leaving = input_and_output(tf, norm, [None, 2, 2, 4])
    assert simpler_operation(leaving.op) == simpler


def test_computed_constants_are_evaluated(tf):
    """As in a batch-norm of elementary operations, whose shift computes to 0."""
    mean, scale = tf.zeros([4]), tf.fill([4], 2.0)
    entering, leaving = input_and_output(
        tf, lambda x: x + (tf.zeros([4]) - mean * tf.math.rsqrt(scale)), [None, 4]
    )
    values = constant_values(leaving.graph, leaving.op.inputs)
    assert unchanged_input(leaving.op, values) is entering


def test_constant_values_omits_inputs_random_numbers_and_branches(tf):
    def function(x):
        drawn, halves = tf.random.uniform([4]), tf.math.rsqrt(tf.fill([4], 4.0))
        return tf.stack([x, tf.sqrt(x), drawn, halves, tf.cond(x[0] > 0, lambda: halves * 2, lambda: halves)])

    _, leaving = input_and_output(tf, function, [4])
    values = constant_values(leaving.graph, leaving.op.inputs)
    assert list(values) == [leaving.op.inputs[3].name]
    np.testing.assert_array_equal(values[leaving.op.inputs[3].name], [0.5] * 4)
