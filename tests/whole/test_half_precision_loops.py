"""Loops in half precision are within the allowance on a GPU that truncates."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.reference.rounding.magnitudes import Magnitudes
from tests.support.comparisons import layer
from tests.support.layer_alone_cases import one_layer

pytestmark = pytest.mark.convert
UNITS = 8


@pytest.fixture(autouse=True, scope="module")
def _tensorflow():
    pytest.importorskip("tensorflow")


def cut_off(x):
    """x truncated towards 0 to half precision."""
    stored = x.astype(np.float16)
    over = np.abs(stored.astype(np.float32)) > np.abs(x)
    stored[over] = np.nextafter(stored[over], np.float16(0))
    return stored.astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def in_half(x, kernel, recurrent, bias):
    """An LSTM that stores every result in half precision."""
    x, kernel, recurrent, bias = map(cut_off, (x, kernel, recurrent, bias))
    state = carry = np.zeros((x.shape[1], UNITS), np.float32)
    for step in x:
        product = np.concatenate([step, state], 1) @ np.concatenate([kernel, recurrent])
        summed = cut_off(cut_off(product) + bias)
        i, f, c, o = np.split(summed, 4, 1)
        i, f, o = (cut_off(sigmoid(gate)) for gate in (i, f, o))
        carry = cut_off(cut_off(f * carry) + cut_off(i * cut_off(np.tanh(c))))
        state = cut_off(o * cut_off(np.tanh(carry)))
    return state


def lstm(kernel, recurrent, bias):
    """The same LSTM in a TensorFlow loop."""

    def build(tf, x):
        def body(number, state, carry):
            i, f, c, o = tf.split(x[number] @ kernel + state @ recurrent + bias, 4, 1)
            carry = tf.sigmoid(f) * carry + tf.sigmoid(i) * tf.tanh(c)
            return number + 1, tf.sigmoid(o) * tf.tanh(carry), carry

        zero = tf.zeros([x.shape[1], UNITS])
        return tf.while_loop(lambda number, *_: number < x.shape[0], body, (0, zero, zero))[1]

    return build


@pytest.mark.parametrize("steps", [4, 12, 40])
@pytest.mark.parametrize("seed", range(4))
def test_lstm_with_truncated_values_is_within_the_allowance(steps, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (steps, 3, UNITS)).astype(np.float32)
    weights = [rng.normal(0, 0.5, shape).astype(np.float32) for shape in [(UNITS, 4 * UNITS)] * 2]
    weights.append(rng.normal(0, 0.3, 4 * UNITS).astype(np.float32))
    alone, reference = one_layer(lstm(*weights), x=x)
    arithmetic = Magnitudes(alone).of("y", {"x": x}, reference)
    assert arithmetic.tried
    allowed = allowance(layer("y", op="While"), arithmetic, reference, backend="webgl", half=True)

    def judged(actual):
        return measure_local(actual, reference, arithmetic, allowed)

    found = judged(in_half(x, *weights))
    assert found.passed, found.share
    assert found.share > 0.05
    without_bias = in_half(x, *weights[:2], np.zeros_like(weights[2]))
    assert judged(without_bias).failed_by == "element"
