"""The magnitudes and term counts of an operation bound its float32 error."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures import build, inputs
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.reference.rounding.magnitudes import Magnitudes, of_both_sides
from tests.support.layer_alone_cases import graph_of, load, one_layer
from tests.support.rounding_layers import (
    LAMBDA,
    MATRIX,
    ROWS,
    U,
    X,
    batch_norm,
    const,
    generator,
    layers,
    measured,
)

pytestmark = pytest.mark.convert


ULPS = 8
"""The largest errors of TensorFlow's functions, in units of roundoff of the result."""


RNG = generator()


BIAS = RNG.normal(0, 1, 7).astype(np.float32)


PER_CHANNEL = RNG.uniform(0.5, 2, (4, 6)).astype(np.float32)


LAYERS = layers(PER_CHANNEL)


@pytest.fixture(autouse=True, scope="module")
def _tensorflow():
    pytest.importorskip("tensorflow")


UNARY = [
    "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "tanh", "sigmoid", "softplus", "softsign",
    "elu", "selu", "erf", "erfc", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "atanh", "log_softmax",
]  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_the_magnitude_explains_the_float32_error_of_a_layer(name):
    arithmetic, value, exact = measured(LAYERS[name], x=X)
    _require_explained(arithmetic, value, exact)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("before", ["input", "computed"])
def test_the_magnitude_explains_the_float32_error_of_a_function(name, before):
    x = RNG.uniform(0.05, 0.9, (50, 40)).astype(np.float32)
    x = -x if name in ("elu", "selu") else x

    def layer(tf, x):
        function = next(getattr(home, name) for home in (tf.math, tf.nn) if hasattr(home, name))
        return function(x if before == "input" else (x + const(tf, 30, x)) - const(tf, 30, x))

    arithmetic, value, exact = measured(layer, x=x)
    _require_explained(arithmetic, value, exact)
    assert arithmetic.functions


def _require_explained(arithmetic, value, exact):
    assert arithmetic.known
    assert not arithmetic.exact
    magnitude = np.abs(value) if arithmetic.magnitude is None else arithmetic.magnitude
    assert magnitude.shape == value.shape
    assert magnitude.dtype == np.float32
    assert (magnitude >= np.abs(value)).all()
    error = np.abs(value - exact)
    assert (error <= (LAMBDA * np.sqrt(arithmetic.terms) + ULPS) * U * magnitude + 1e-37).all()
    assert error.max() > 0  # otherwise nothing was tested
    # A magnitude far above the error would hide real errors.
    assert np.median(magnitude) < 2000 * max(np.abs(exact).max(), 1)


@pytest.mark.parametrize("added", ["bias_add", "add"])
def test_the_magnitude_of_a_product_includes_factors_and_bias(added):
    def layer(tf, x):
        product, bias = tf.matmul(x, const(tf, MATRIX, x)), const(tf, BIAS, x)
        return tf.nn.relu(tf.nn.bias_add(product, bias) if added == "bias_add" else product + bias)

    arithmetic, _, _ = measured(layer, x=ROWS)
    np.testing.assert_allclose(arithmetic.magnitude, np.abs(ROWS) @ np.abs(MATRIX) + np.abs(BIAS), rtol=1e-5)
    assert arithmetic.terms == 41
    assert arithmetic.functions == ()


def test_the_magnitude_of_a_sum_includes_all_summands():
    arithmetic, _, _ = measured(lambda tf, x: x - x[:, ::-1], x=ROWS)
    np.testing.assert_array_equal(arithmetic.magnitude, np.abs(ROWS) + np.abs(ROWS[:, ::-1]))
    assert arithmetic.terms == 2
    arithmetic, _, _ = measured(lambda tf, x: tf.add_n([x, x[:, ::-1], -x[::-1]]), x=ROWS)
    entered = np.abs(ROWS) + np.abs(ROWS[:, ::-1]) + np.abs(ROWS[::-1])
    np.testing.assert_array_equal(arithmetic.magnitude, entered)
    assert arithmetic.terms == 3


def test_the_magnitude_of_a_batch_norm_includes_a_mean_that_cancels():
    x = X + np.float32(1000)
    mean = np.full(6, 1000, np.float32)
    arithmetic, value, exact = measured(lambda tf, x: batch_norm(tf, x, PER_CHANNEL, mean), x=x)
    _require_explained(arithmetic, value, exact)
    assert np.abs(value - exact).max() > 100 * U * np.abs(value).max()

    def fused(tf, x):
        scale, offset, _, variance = (const(tf, value, x) for value in PER_CHANNEL)
        return tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=const(tf, mean, x),
            variance=variance,
            is_training=False,
            epsilon=1e-3,
        )[0]

    alone, value = one_layer(fused, x=x)
    arithmetic = Magnitudes(alone).of("y", {"x": x}, value)
    scale, offset, _, variance = PER_CHANNEL
    entered = (np.abs(x) + mean) * scale / np.sqrt(variance + np.float32(1e-3)) + offset
    np.testing.assert_allclose(arithmetic.magnitude, entered, rtol=1e-5)
    assert (arithmetic.terms, arithmetic.functions) == (4, ("Rsqrt",))


def test_the_magnitude_of_a_batch_norm_in_training_mode():
    x = X + np.float32(30)
    scale, offset = PER_CHANNEL[:2]

    def training(tf, x):
        return tf.compat.v1.nn.fused_batch_norm(
            x, const(tf, scale, x), const(tf, offset, x), epsilon=1e-3, is_training=True
        )[0]

    alone, value = one_layer(training, x=x)
    wide = x.astype(np.float64)
    apart = wide - wide.mean((0, 1, 2))
    exact = apart * scale / np.sqrt(wide.var((0, 1, 2)) + 1e-3) + offset
    arithmetic = Magnitudes(alone).of("y", {"x": x}, value)
    _require_explained(arithmetic, value, exact)
    assert (arithmetic.terms, arithmetic.noise) == (2 * 9 * 9, None)


def test_the_magnitude_of_resizing_includes_rounded_coordinates():
    alone, value = one_layer(lambda tf, x: tf.image.resize(x, [13, 17]), x=X)
    arithmetic = Magnitudes(alone).of("y", {"x": X}, value)
    rows, columns = (_between(9, size) for size in (13, 17))
    exact = np.einsum("ih,jw,nhwc->nijc", rows, columns, X.astype(np.float64))
    _require_explained(arithmetic, value, exact)


def _between(size_in, size_out):
    """The weights of bilinear resizing of one axis, with centres at half pixels."""
    at = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    low = np.minimum(np.floor(at).astype(int), size_in - 2)
    weights = np.zeros((size_out, size_in))
    weights[np.arange(size_out), low] = 1 - (at - low)
    weights[np.arange(size_out), low + 1] = at - low
    return weights


EXACT = {
    "reshaped": lambda tf, x: tf.transpose(tf.reshape(x, [2, 81, 6]), [0, 2, 1]),
    "padded": lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [0, 0]], constant_values=1.5),
    "joined": lambda tf, x: tf.concat([x[:, 1:], tf.reverse(x, [2])], 1),
    "relu6": lambda tf, x: tf.nn.relu6(x),
    "greatest": lambda tf, x: tf.nn.max_pool2d(tf.maximum(x, -x), 3, 2, "SAME"),
    "compared": lambda tf, x: x > 0,
    "cast": lambda tf, x: tf.cast(tf.round(x), tf.int32),
    "gathered": lambda tf, x: tf.gather(x, [1, 1, 0], axis=2),
    "argmax": lambda tf, x: tf.one_hot(tf.argmax(x, -1), 6),
    "larger": lambda tf, x: tf.image.resize(x, [18, 18], "nearest"),
}


@pytest.mark.parametrize("name", EXACT)
def test_operations_that_copy_or_select_are_exact(name):
    alone, value = one_layer(EXACT[name], x=X)
    arithmetic = Magnitudes(alone).of("y", {"x": X}, value)
    assert arithmetic.exact
    assert arithmetic.magnitude is None


def test_integers_and_their_sums_are_exact():
    x = np.arange(6, dtype=np.int32)
    alone, value = one_layer(lambda tf, x: tf.cumsum(x * x) // 2, x=x)
    assert Magnitudes(alone).of("y", {"x": x}, value).exact


def test_a_nested_model_has_the_arithmetic_of_its_last_layer(cache):
    keras = pytest.importorskip("tf_keras")
    inner = keras.Sequential(
        [keras.layers.Dense(4, name="turn"), keras.layers.Dense(3, name="shift")], name="in"
    )
    x = keras.Input((4,), name="x")
    twice = keras.Sequential([keras.layers.Rescaling(2.0, name="double"), inner], name="out")
    loaded = load(keras.Model(x, twice(x)), np.float32([[1, -2, 3, 0.5]]), cache, format="layers")
    magnitudes, values = Magnitudes(loaded.alone), loaded.activations
    shift = magnitudes.of("out/in/shift", values, values["out/in/shift"])
    assert shift.terms == 5
    for name in ("out", "out/in"):
        found = magnitudes.of(name, values, values[name])
        assert magnitudes.inputs_of(name) == ("out/in/turn",)
        assert (found.exact, found.terms, found.noise) == (False, 5, shift.noise)
        np.testing.assert_array_equal(found.magnitude, shift.magnitude)


def test_a_layer_without_a_rule_is_estimated_by_perturbation(cache):
    """A loop multiplies a difference by 1000, which the magnitude must show."""

    def layer(tf, x):
        def body(step, state):
            return step + 1, state * const(tf, 10, x)

        difference = x - tf.reverse(x, [1])
        return tf.while_loop(lambda step, _: step < 3, body, (0, difference))[1]

    x = np.float32(100) + RNG.uniform(0, 1e-3, (4, 50)).astype(np.float32)
    alone, value = one_layer(layer, x=x)
    arithmetic = Magnitudes(alone).of("y", {"x": x}, value)
    assert arithmetic.known
    assert arithmetic.noise is None
    exact = np.sqrt(2) * 100 * 1000  # of two independent roundings
    assert np.median(arithmetic.magnitude) == pytest.approx(exact, rel=0.3)
    assert arithmetic.magnitude.min() > exact / 2
    again = Magnitudes(alone).of("y", {"x": x}, value)
    np.testing.assert_array_equal(arithmetic.magnitude, again.magnitude)


def test_arithmetic_is_unknown_for_random_layers_and_missing_inputs():
    x = np.ones((2, 3), np.float32)
    alone = graph_of(lambda tf, x: x * tf.random.uniform([2, 3]), x=x)
    assert not Magnitudes(alone).of("y", {"x": x}, x).known
    alone, value = one_layer(lambda tf, x: tf.sin(x), x=x)
    assert not Magnitudes(alone).of("y", {}, value).known


def test_the_magnitude_is_finite_even_if_values_are_not():
    x = np.float32([[1e30, 1, 2], [np.nan, -1, 0.5]])
    with np.errstate(all="ignore"):
        alone, value = one_layer(lambda tf, x: tf.exp(x) - tf.square(x), x=x)
        arithmetic = Magnitudes(alone).of("y", {"x": x}, value)
    finite = np.isfinite(value)
    assert np.isfinite(arithmetic.magnitude[finite]).all()
    assert (arithmetic.magnitude[finite] >= np.abs(value[finite])).all()


@pytest.mark.parametrize("format_", ["graph", "layers"])
@pytest.mark.parametrize("name", ["cnn", "text"])
def test_the_arithmetic_of_every_layer_of_a_sample_is_known(cache, name, format_):
    pytest.importorskip("tf_keras")
    loaded = load(build(name, 2), inputs(name), cache, format=format_)
    magnitudes = Magnitudes(loaded.alone)
    for row in loaded.plan.tensors:
        value = loaded.activations[row]
        arithmetic = magnitudes.of(row, loaded.activations, value)
        assert arithmetic.known, row
        if "conv" in row.lower() and arithmetic.terms > 8:
            assert arithmetic.noise > U / 50
            assert arithmetic.magnitude.shape == value.shape


OURS = Arithmetic(terms=9, magnitude=np.float32([3, 1]), functions=("Exp",), noise=1e-7, constants=1e-6)
THEIRS = Arithmetic(terms=20, magnitude=np.float32([2, 5]), functions=("Exp", "Sqrt"), noise=3e-7)


def test_a_constant_for_several_operations_has_the_arithmetic_of_both_sides():
    reference = np.float32([1, -4])
    for ours, theirs in ((OURS, THEIRS), (THEIRS, OURS)):
        found = of_both_sides(ours, theirs, reference)
        assert (found.terms, found.noise, found.exact) == (21, 3e-7, False)
        assert found.magnitude.tolist() == [3, 5]
        assert sorted(found.functions) == ["Exp", "Sqrt"]
        assert found.constants == ours.constants
    # Without a magnitude, it is the reference's.
    plain = of_both_sides(OURS, Arithmetic(terms=2), reference)
    assert (plain.terms, plain.magnitude.tolist()) == (10, [3, 4])
    assert of_both_sides(Arithmetic(), Arithmetic(terms=2), reference).magnitude is None


def test_a_copy_in_the_artifacts_has_the_arithmetic_of_the_source():
    found = of_both_sides(Arithmetic(exact=True), THEIRS, np.float32([1, 2]))
    assert (found.exact, found.terms, found.functions) == (False, 21, ("Exp", "Sqrt"))


@pytest.mark.parametrize("source", [Arithmetic(exact=True), Arithmetic(known=False)])
def test_a_source_that_rounds_nothing_or_is_unknown_adds_nothing(source):
    assert of_both_sides(OURS, source, np.float32([1, 2])) is OURS
