"""The noise of summation order, estimated from sampled elements."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.rounding.rounding_step import Step
from pytest_tfjs.reference.rounding.summation_noise import noise_of, sampled_summands
from tests.support.layer_alone_cases import one_layer
from tests.support.rounding_layers import (
    KERNEL,
    LAMBDA,
    MATRIX,
    ROWS,
    U,
    X,
    const,
    generator,
    layers,
    measured,
)

pytestmark = pytest.mark.convert


RNG = generator()


PER_CHANNEL = RNG.uniform(0.5, 2, (4, 6)).astype(np.float32)


LAYERS = layers(PER_CHANNEL)


@pytest.fixture(autouse=True, scope="module")
def _tensorflow():
    pytest.importorskip("tensorflow")


CONVOLUTIONS = {
    "same, strides": (KERNEL, {"strides": [1, 2, 3, 1], "padding": "SAME"}),
    "valid": (KERNEL, {"strides": [1, 2, 2, 1], "padding": "VALID"}),
    "explicit": (
        KERNEL,
        {"strides": [1, 1, 1, 1], "padding": [[0, 0], [2, 1], [0, 3], [0, 0]]},
    ),
    "dilated": (KERNEL, {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 2, 3, 1]}),
    "oblong": (KERNEL[:1], {"strides": [1, 1, 1, 1], "padding": "SAME"}),
    "of one image's pixels": (KERNEL[:1, :1], {"strides": [1, 1, 1, 1], "padding": "VALID"}),
}


VOLUME = RNG.normal(0, 1, (2, 4, 5, 6, 3)).astype(np.float32)


SUMS = {
    **{
        f"convolution, {name}": (lambda tf, x, k=kernel, o=options: tf.nn.conv2d(x, k, **o), X)
        for name, (kernel, options) in CONVOLUTIONS.items()
    },
    "groups": (lambda tf, x: tf.nn.conv2d(x, KERNEL[:, :, :3], 1, "SAME"), X),
    "depthwise, strides": (lambda tf, x: tf.nn.depthwise_conv2d(x, KERNEL, [1, 2, 2, 1], "SAME"), X),
    "depthwise, valid": (lambda tf, x: tf.nn.depthwise_conv2d(x, KERNEL[..., :1], [1, 1, 1, 1], "VALID"), X),
    **{
        f"transposed, {padding}, {stride}": (
            lambda tf, x, p=padding, s=stride, n=size: tf.nn.conv2d_transpose(
                x, KERNEL[:2].swapaxes(2, 3), [2, n[0], n[1], 8], s, p
            ),
            X,
        )
        for padding, stride, size in (
            ("SAME", 2, (18, 17)),
            ("SAME", 3, (25, 27)),
            ("VALID", 2, (18, 19)),
            ("SAME", 1, (9, 9)),
        )
    },
    "volume": (lambda tf, x: tf.nn.conv3d(x, KERNEL[:2, None, :, :3], [1, 1, 2, 1, 1], "SAME"), VOLUME),
    "product": (lambda tf, x: tf.matmul(x, MATRIX), ROWS),
    "product, turned": (
        lambda tf, x: tf.matmul(x, MATRIX, transpose_a=True, transpose_b=True),
        ROWS[:, :7].T,
    ),
    "products": (lambda tf, x: tf.matmul(x, KERNEL[0, 0]), X),
    "products, turned": (lambda tf, x: tf.matmul(x, x, transpose_b=True), X),
    "sum": (lambda tf, x: tf.reduce_sum(x, [-1, 1]), X),
    "sum of all": (lambda tf, x: tf.reduce_sum(x), X),
}


@pytest.mark.parametrize("name", SUMS)
def test_sampled_summands_add_up_to_the_element(name):
    layer, x = SUMS[name]
    alone, value = one_layer(layer, x=x)
    step = main_step(alone, {"x": x})
    flat, numbers = sampled_summands(step)
    assert len(flat) == min(128, value.size)
    assert len(set(flat.tolist())) == len(flat)
    sums = numbers.sum(-1, dtype=np.float64)
    size = np.abs(numbers).sum(-1, dtype=np.float64)
    off = np.abs(sums - value.reshape(-1)[flat])
    assert (off <= LAMBDA * np.sqrt(numbers.shape[1] + 1) * U * size + 1e-30).all()
    if numbers.shape[1] > 8:
        assert U / 50 < noise_of(step) < U * np.sqrt(numbers.shape[1])
    assert noise_of(step) == noise_of(step)


def main_step(alone, activations):
    subgraph = alone.subgraph("y")
    operation = subgraph.operations[-1]

    def read(tensor):
        from pytest_tfjs.reference.running.layer_alone import constant_value

        rows = {at: row for row, at in subgraph.inputs.items()}
        return (
            activations[rows[tensor]]
            if tensor in rows
            else constant_value(alone.graph.get_tensor_by_name(tensor).op)
        )

    return Step(operation, (), read)


def test_noise_equals_the_error_of_other_summation_orders():
    """The noise of sums of n random numbers grows as n, as partial sums grow as √n; integers have none."""
    rng = np.random.default_rng(3)
    found = {}
    for n in (64, 4096):
        x = rng.normal(0, 1, (40, n)).astype(np.float32)
        alone, _ = one_layer(lambda tf, x: tf.reduce_sum(x, -1), x=x)
        found[n] = noise_of(main_step(alone, {"x": x})) * n  # in units of one number
    assert 32 < found[4096] / found[64] < 128
    by_hand = []
    for order in (rng.permutation(4096) for _ in range(4)):
        total = np.zeros(40, np.float32)
        for at in order:
            total += x[:, at]
        by_hand.append(total - x.sum(-1, dtype=np.float64))
    size = np.sqrt(np.mean(np.square(np.abs(x).sum(-1, dtype=np.float64))))
    assert found[4096] / 4096 == pytest.approx(np.sqrt(np.mean(np.square(by_hand))) / size, rel=0.3)
    whole = rng.integers(-50, 50, (40, 300)).astype(np.float32)
    alone, _ = one_layer(lambda tf, x: tf.reduce_sum(x, -1), x=whole)
    assert noise_of(main_step(alone, {"x": whole})) == 0


def test_only_layers_with_one_sum_have_noise():
    one, _, _ = measured(lambda tf, x: tf.nn.relu(tf.matmul(x, const(tf, MATRIX, x)) + 1), x=ROWS)
    assert one.noise > U / 50

    def of_rows(tf, x):
        shape = tf.shape(x)
        rows = tf.reshape(x, [tf.reduce_prod(shape[:-1]), shape[-1]])
        product = tf.matmul(rows, const(tf, KERNEL[0, 0], x))
        return tf.reshape(product, tf.concat([shape[:-1], [8]], 0))

    assert measured(of_rows, x=X)[0].noise > U / 50
    for layer in (LAYERS["layer norm"], LAYERS["separable"], LAYERS["sums"]):
        assert measured(layer, x=X)[0].noise is None
