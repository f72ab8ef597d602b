"""Graphs in half precision are rewritten to compute what TF.js computes from the artifacts."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.tensorflow.float32_graphs import BFLOAT16, FLOAT16, half_operations, in_float32

pytestmark = pytest.mark.convert

tf = pytest.importorskip("tensorflow")

X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def definition_of(compute):
    """The GraphDef of a function of `x`, with its result under the name `y`."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        tf.identity(compute(x), name="y")
    return graph.as_graph_def()


def run(definition, fetched="y:0"):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(fetched, {"x:0": X})


def dtypes_of(definition):
    nodes = [*definition.node, *(node for one in definition.library.function for node in one.node_def)]
    return {value.type for node in nodes for value in node.attr.values()}


def product(dtype):
    return definition_of(lambda x: tf.matmul(tf.cast(x, dtype), tf.cast(W, dtype, name="w"), name="product"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_activations_are_in_float32_and_constants_stay_rounded(dtype):
    written = product(dtype)
    found = in_float32(written, rounded_constants=True)
    rounded = tf.cast(tf.cast(W, dtype), tf.float32).numpy()
    np.testing.assert_allclose(run(found), X @ rounded, rtol=1e-6, atol=1e-6)
    assert np.abs(run(found) - run(written).astype(np.float32)).max() > 1e-5
    np.testing.assert_array_equal(run(found, "w:0"), rounded)
    assert {node.name for node in found.node} >= {"x", "w", "product", "y"}
    assert not dtypes_of(found) & {FLOAT16, BFLOAT16}


def test_constants_are_not_rounded_unless_asked_for():
    found = in_float32(product("float16"), rounded_constants=False)
    np.testing.assert_array_equal(run(found, "w:0"), W)


def test_only_the_given_dtypes_are_replaced():
    def compute(x):
        half = tf.cast(tf.tanh(tf.cast(x, tf.float16)), tf.float32)
        return tf.cast(tf.exp(tf.cast(half, tf.bfloat16)), tf.float32)

    found = in_float32(definition_of(compute), [BFLOAT16], rounded_constants=True)
    assert BFLOAT16 not in dtypes_of(found)
    assert FLOAT16 in dtypes_of(found)
    assert set(half_operations(found).values()) == {"float16"}


def test_constants_with_several_outputs_have_a_constant_for_each():
    def compute(x):
        first, second = tf.split(tf.cast(W.T, tf.float16), [1, 2], name="parts")
        return tf.cast(x, tf.float16) * first + tf.cast(tf.size(second), tf.float16)

    found = in_float32(definition_of(compute), rounded_constants=True)
    np.testing.assert_allclose(run(found), X * W.T[:1].astype(np.float16) + 8, rtol=1e-5, atol=1e-5)


def test_functions_are_rewritten_under_new_names():
    def compute(x):
        @tf.function
        def body(at, value):
            return at + 1, tf.tanh(tf.matmul(value, tf.cast(np.full((4, 4), 0.3, np.float32), value.dtype)))

        with tf.compat.v1.get_default_graph().as_default():
            _, value = tf.while_loop(lambda at, _: at < 3, body, (0, tf.cast(x, tf.float16)))
        return value

    tf.compat.v1.enable_control_flow_v2()
    written = definition_of(compute)
    found = in_float32(written, rounded_constants=True)
    names = [{one.signature.name for one in each.library.function} for each in (written, found)]
    assert names[0]
    assert not names[0] & names[1]
    expected = X
    for _ in range(3):
        expected = np.tanh(expected @ np.full((4, 4), np.float16(0.3), np.float32))
    np.testing.assert_allclose(run(found), expected, rtol=1e-5, atol=1e-5)


def test_a_graph_without_half_precision_is_left_alone():
    definition = definition_of(tf.tanh)
    assert in_float32(definition, rounded_constants=True) is definition
    assert half_operations(definition) == {}


def test_a_node_that_calls_a_function_in_half_precision_counts():
    @tf.function
    def inner(x):
        return tf.cast(tf.cast(x, tf.float16) * 2, tf.float32)

    @tf.function
    def other(x):
        return x * 2

    spec = tf.TensorSpec([2, 4], tf.float32)
    for called, expected in ((inner, {"float16"}), (other, set())):
        graph = tf.function(lambda x, called=called: called(x) + 1).get_concrete_function(spec).graph
        assert set(half_operations(graph.as_graph_def()).values()) == expected
