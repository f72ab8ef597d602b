"""Bounds for sums of few summands, of equal summands, and onto a large bias."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import LAMBDA
from pytest_tfjs.reference.rounding.magnitudes import Magnitudes
from pytest_tfjs.reference.rounding.uneven_sums import LAMBDA_OF_ONE, POWER, unevenness
from tests.support.float32_sums import judged, one_by_one
from tests.support.layer_alone_cases import one_layer

U = 2.0**-24
RNG = np.random.default_rng(5)
needs_tensorflow = pytest.mark.convert


def normal(*shape, scale=1.0):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def uniform(low, high, *shape):
    return RNG.uniform(low, high, shape).astype(np.float32)


def measured(build, **inputs):
    pytest.importorskip("tensorflow")
    alone, value = one_layer(build, **inputs)
    return Magnitudes(alone).of("y", inputs, value), value


# ---- few summands: the probability that sound elements exceed the bound ----

SUMMANDS = {
    "normal": lambda n: normal(n) * normal(n),
    "relu": lambda n: np.maximum(normal(n), 0) * normal(n),
    "positive": lambda n: np.abs(normal(n)),
    **{
        f"{k} positive, {m} negative": lambda n, k=k, m=m: np.r_[
            np.ones(k), -np.ones(m), normal(n - k - m, scale=1e-4)
        ]
        for k, m in ((1, 0), (2, 0), (3, 0), (4, 0), (8, 0), (1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 2))
    },
    "of all sizes": lambda n: np.exp(2 * normal(n)),
    "of all sizes and both signs": lambda n: np.exp(3 * normal(n)) * np.sign(normal(n)),
}


def probability(summands: np.ndarray, bound: float, orders: int = 1500) -> float:
    """The mean probability that |browser - reference| > bound·u·P, over pairs of random orders.

    The rounding of each addition is uniform in half a unit in the last place of its partial sum, to either
    side. The sum of many is normal but for its fourth cumulant, which makes large sums rarer; the exponent is
    taken to that order (H. E. Daniels, Annals of Mathematical Statistics 25 (1954), p. 631). The significand
    of the sum takes eight values.
    """
    rng = np.random.default_rng(len(summands))
    most = (np.abs(summands).sum() + abs(summands.sum())) / 2
    variances, fourths = [], []
    for step in range(8):
        scaled = summands[summands != 0] * 2.0 ** (step / 8)
        order = np.argsort(rng.random((orders, len(scaled))), axis=1)
        partial = np.abs(np.cumsum(scaled[order], -1)[:, 1:]) + 1e-300
        half_units = 2.0 ** (np.floor(np.log2(partial)) - 24) / (U * most * 2.0 ** (step / 8))
        variances.append((half_units**2).sum(-1) / 3)
        fourths.append((half_units**4).sum(-1) * 2 / 15)
    variance, fourth = np.concatenate(variances), np.concatenate(fourths)
    other = rng.permutation(len(variance))
    z = bound / np.sqrt(variance + variance[other])
    rarer = np.exp(-(fourth + fourth[other]) / (variance + variance[other]) ** 2 * z**4 / 24)
    return float((np.vectorize(math.erfc)(z / math.sqrt(2)) * rarer).mean())


@pytest.mark.parametrize("terms", [9, 27, 64, 576])
@pytest.mark.parametrize("kind", SUMMANDS)
def test_of_ten_million_elements_none_exceeds_the_bound_by_chance(kind, terms):
    summands = SUMMANDS[kind](terms).astype(np.float64)
    most = (np.abs(summands).sum() + abs(summands.sum())) / 2
    uneven = float(unevenness(np.abs(summands.sum()), np.square(summands).sum(), most))
    count = np.count_nonzero(summands)
    bound = max(LAMBDA * np.sqrt(terms), LAMBDA_OF_ONE * uneven**POWER * np.sqrt(count)) + 1
    # Of n summands the roundings of 2·(n - 1) additions add up to no more than that, in units of u·P.
    assert bound >= 2 * (count - 1) or probability(summands, bound) < 1e-13


def test_lambda_alone_is_too_small_for_one_large_summand_and_large_enough_for_many():
    assert probability(SUMMANDS["1 positive, 0 negative"](576), LAMBDA * 24) > 1e-9
    assert probability(SUMMANDS["positive"](576), LAMBDA * 24) < 1e-13


# ---- which elements ----


@needs_tensorflow
@pytest.mark.parametrize("kind", ["dense", "dense, relu", "convolution", "product of two inputs", "mean"])
def test_no_element_of_usual_sums_has_an_excess(kind):
    image, rows = np.maximum(normal(2, 9, 9, 16), 0), np.maximum(normal(4, 512), 0)
    w, kernel = normal(512, 32, scale=0.05), normal(3, 3, 16, 32, scale=0.1)
    builds = {
        "dense": (lambda tf, x: x @ tf.constant(w) + tf.constant(w[0]), {"x": rows}),
        "dense, relu": (lambda tf, x: tf.nn.relu(tf.nn.bias_add(x @ w, w[0])), {"x": rows}),
        "convolution": (lambda tf, x: tf.nn.conv2d(x, tf.constant(kernel), 1, "VALID"), {"x": image}),
        "product of two inputs": (lambda tf, x, y: x @ y, {"x": rows, "y": w}),
        "mean": (lambda tf, x: tf.reduce_mean(x, -1) * tf.constant(np.float32(2)), {"x": rows}),
    }
    build, inputs = builds[kind]
    assert measured(build, **inputs)[0].excess is None


AVERAGED = 5
"""The first channels of these average; the others are random."""


def averaging(*shape):
    kernel = normal(*shape, scale=0.05)
    kernel[..., :AVERAGED] = 1 / np.prod(shape[:-1])
    return kernel


FLAT_IMAGE, FLAT_ROWS = np.full((1, 12, 12, 48), 0.7, np.float32), np.full((2, 2048), 0.1, np.float32)
EQUAL = {
    "dense": (lambda tf, x: x @ averaging(2048, 12), {"x": FLAT_ROWS}),
    "dense and bias": (lambda tf, x: tf.nn.bias_add(x @ averaging(2048, 12), normal(12)), {"x": FLAT_ROWS}),
    "negative": (lambda tf, x: x @ averaging(2048, 12), {"x": -FLAT_ROWS}),
    "two inputs": (lambda tf, x, y: x @ y, {"x": FLAT_ROWS, "y": averaging(2048, 12)}),
    "convolution": (lambda tf, x: tf.nn.conv2d(x, averaging(3, 3, 48, 12), 1, "VALID"), {"x": FLAT_IMAGE}),
    "padded": (lambda tf, x: tf.nn.conv2d(x, averaging(5, 5, 48, 12), 1, "SAME"), {"x": FLAT_IMAGE}),
    "half of the inputs": (
        lambda tf, x: x @ averaging(2048, 12),
        {"x": np.where(np.arange(2048) % 2, FLAT_ROWS, 0)},
    ),
    "einsum": (lambda tf, x: tf.einsum("bi,io->bo", x, averaging(2048, 12)), {"x": FLAT_ROWS}),
}


@needs_tensorflow
@pytest.mark.parametrize("kind", EQUAL)
def test_channels_of_equal_summands_have_an_excess_and_the_others_none(kind):
    build, inputs = EQUAL[kind]
    arithmetic, value = measured(build, **inputs)
    excess = arithmetic.excess
    assert excess.shape == value.shape
    assert (excess[..., :AVERAGED] > 0).all()
    # Elements of few summands at a border may have some.
    assert np.median(excess[..., AVERAGED:]) == 0
    terms = arithmetic.terms - ("bias" in kind)
    assert (excess <= 2 * (terms + 1) * arithmetic.magnitude).all()


@needs_tensorflow
@pytest.mark.parametrize("number", [0.1, 0.7, 123.4])
@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
def test_channels_of_equal_summands_pass_in_every_order(backend, number):
    w = averaging(2048, 8)
    x = np.full((1, 2048), number, np.float32)
    arithmetic, _ = measured(lambda tf, x: x @ w, x=x)
    actual = one_by_one(x[0][:, None] * w)[None]
    exact = (x.astype(np.float64) @ w.astype(np.float64)).astype(np.float32)
    assert judged(actual, exact, arithmetic, backend=backend).metrics.mismatched == 0
    wrong = actual.copy()
    wrong[0, AVERAGED] += np.float32(0.1) * number
    found = judged(wrong, exact, arithmetic, backend=backend)
    assert found.metrics.mismatched == 1


@needs_tensorflow
def test_nearly_equal_summands_are_equal_and_those_that_differ_by_a_tenth_are_not():
    ones = np.full((4096, 2), 1 / 4096, np.float32)
    for spread, expected in ((1e-4, True), (0.1, False)):
        x = (0.7 * (1 + normal(1, 4096, scale=spread))).astype(np.float32)
        excess = measured(lambda tf, x: x @ ones, x=x)[0].excess
        assert (excess is not None) is expected


@needs_tensorflow
def test_equal_summands_of_both_signs_are_not_equal():
    w = np.full((2048, 2), 1 / 2048, np.float32)
    w[:, 1] *= np.where(RNG.random(2048) < 0.3, -1, 1)
    excess = measured(lambda tf, x: x @ w, x=np.full((1, 2048), 0.7, np.float32))[0].excess
    assert (excess[0] > 0).tolist() == [True, False]


BELOW_BIAS = {
    "dense": lambda tf, x, w, b: tf.nn.bias_add(x @ w, b),
    "sum of the bias and a product": lambda tf, x, w, b: b + x @ w,
    "difference": lambda tf, x, w, b: x @ w - b,
    "activation": lambda tf, x, w, b: tf.nn.relu6(x @ w + b),
    "sigmoid": lambda tf, x, w, b: tf.nn.sigmoid(tf.nn.bias_add(x @ w, b)),
    "convolution of one pixel": lambda tf, x, w, b: tf.nn.bias_add(
        tf.nn.conv2d(x[:, None, None], w[None, None], 1, "SAME"), b
    ),
    "convolution of a signal": lambda tf, x, w, b: (
        tf.squeeze(tf.nn.conv2d(x[:, None, None], w[None, None], 1, "SAME"), [1]) + b
    ),
    "dense on rows of rows": lambda tf, x, w, b: tf.reshape(x @ w, [2, 2, 16]) + b,
}


@needs_tensorflow
@pytest.mark.parametrize("kind", BELOW_BIAS)
def test_products_below_the_last_place_of_the_bias_may_be_lost(kind):
    w, b, x = np.abs(normal(1024, 16, scale=0.05)), uniform(0.5, 1, 16), uniform(0, 1e-6, 4, 1024)
    arithmetic, value = measured(lambda tf, x: BELOW_BIAS[kind](tf, x, tf.constant(w), tf.constant(b)), x=x)
    lost = (x @ w / U).reshape(value.shape)
    slope = (value * (1 - value) if kind == "sigmoid" else 1) * np.ones_like(value)
    rounded = (3 * 32 + 1) * (np.abs(b) + 1e-4) * slope
    allowed = arithmetic.excess + np.broadcast_to(rounded, value.shape)
    assert (allowed >= 0.99 * np.minimum(lost, 1024 * np.abs(b)) * slope).all()
    assert (arithmetic.excess <= 1.01 * lost * slope + 1).all()
    assert arithmetic.noise is None or arithmetic.noise / U > 20


@needs_tensorflow
@pytest.mark.parametrize("scale", [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2])
@pytest.mark.parametrize("terms", [64, 1024])
@pytest.mark.parametrize("kind", ["spread", "narrow", "beside random channels"])
def test_summing_onto_the_bias_passes(kind, terms, scale):
    b = uniform(0.5, 1, 32)
    x, w = uniform(0, scale, 1, terms), np.abs(normal(terms, 32, scale=0.05))
    if kind == "narrow":
        x, w = uniform(0.9 * scale, 1.1 * scale, 1, terms), uniform(0.045, 0.055, terms, 32)
    if kind == "beside random channels":
        w[:, 4:] *= 1e6 * np.sign(normal(terms, 28))
    arithmetic, _ = measured(lambda tf, x: tf.nn.bias_add(x @ w, b), x=x)
    onto = one_by_one(np.vstack([b[None], x[0][:, None] * w]))[None]
    exact = (x.astype(np.float64) @ w.astype(np.float64) + b).astype(np.float32)
    found = judged(onto, exact, arithmetic, backend="wasm")
    assert found.passed, (found.failed_by, found.share)
    without = onto - b
    assert not judged(without, exact, arithmetic, backend="wasm").passed
