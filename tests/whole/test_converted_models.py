"""Many small models through the real converter: each row matches its converted node."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from tests.support.converted_graph import disagreements

pytestmark = pytest.mark.convert
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((2, 3, 4)).astype(np.float32)
W = RNG.standard_normal((4, 4)).astype(np.float32)
B, C = RNG.uniform(0.5, 2, (2, 4)).astype(np.float32)
IMAGE = RNG.standard_normal((2, 12, 12, 3)).astype(np.float32)
SEQUENCE = RNG.standard_normal((2, 10, 6)).astype(np.float32)
VOLUME = RNG.standard_normal((2, 6, 6, 6, 2)).astype(np.float32)
VECTOR = RNG.standard_normal((3, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def examine(model, given, cache):
    """The unmapped rows, and the rows whose converted node computes something else.

    The weights are those of the source, each of which is known.
    """
    source = as_source(model)
    artifacts = convert(source, format="graph", cache=cache)
    feeds = normalise_feeds(given, artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache)
    assert reference.weights.findings == ()
    unmapped = [layer.name for layer in reference.plan.layers if layer.coverage == "unmapped"]
    return unmapped, disagreements(artifacts, feeds[0], reference)


FUNCTIONS = {
    "several": lambda tf, x, y: tf.concat(
        [
            tf.where(x @ W + B > 0, x - y, y - x)[:, 1:3],
            tf.reduce_sum(tf.split(x * 2.0, 2, axis=1)[1], 1, keepdims=True),
            tf.gather(y, [0, 2], axis=1),
        ],
        1,
    ),
    "swapped": lambda tf, x, y: (tf.nn.relu(x - y), tf.tanh(y - x)),
    "selected": lambda tf, x, y: (tf.where(x > 0, x, y), tf.where(x > 0, y, x)),
    "squares": lambda tf, x, y: x * y + x * x,
    "scaled square": lambda tf, x, y: (tf.tanh(x * x * 1.7 * 0.3), y),
    "scaled and divided square": lambda tf, x, y: (tf.tanh(x * x * 1.7 / 0.3), y),
    "long chain behind a product": lambda tf, x, y: tf.tanh(x * y * 1.7 * B * 0.9 * C) * 2.0,
    "cube between factors": lambda tf, x, y: (x**3 * 1.7 * B, x * B * x * 0.3 * x * C, y),
    "shared factors": lambda tf, x, y: tf.tanh(x * 1.7 + y * 1.7 * 0.3) + x * 1.7,
    "doubled behind factors": lambda tf, x, y: (x * B * C * 0.9 * (y + y) * 1.7, x - y),
    "constants between sums": lambda tf, x, y: (1.5 - (x + y), 0.3 - (x - y) - 1.7, (x - y) + B - C),
    "constants between quotients": lambda tf, x, y: x / (y * y + 1.0) * 1.7 / 0.3,
    "squares of scaled tensors": lambda tf, x, y: ((x * 1.7) * (x * 1.7) * -0.7, (y - B) * (y - B) * 0.3),
    "powers": lambda tf, x, y: tf.concat(
        [tf.pow(x, 2.0), tf.sqrt(tf.abs(y)), tf.pow(tf.abs(x) + 2.0, -0.5)], 0
    ),
    "logarithms": lambda tf, x, y: (
        tf.math.log(1.0 + tf.abs(x)),
        tf.exp(y) - 1.0,
        tf.math.log(tf.nn.softmax(x)),
    ),
    "squared difference": lambda tf, x, y: tf.reduce_mean(tf.square(x - y), -1),
    "constants in a row": lambda tf, x, y: (
        tf.nn.relu((2.0 - (x - 1.0)) * 3.0 / 4.0) + ((y + 1.0) + 2.0) * 3.0
    ),
    "a square over a constant": lambda tf, x, y: x - y * y / 3.0,
    "signs": lambda tf, x, y: (x + (-y), x - (-y), (-x) + y, -(x - y)),
    "sums": lambda tf, x, y: tf.nn.relu(x + y + x * 2.0 + y * 3.0) + tf.add_n([x, y, tf.tanh(x)]),
    "one tensor added three times": lambda tf, x, y: tf.nn.relu(x + x + x) + y,
    "a common factor": lambda tf, x, y: x * C + y * C,
    "duplicate computation": lambda tf, x, y: (tf.tanh(x) + y, tf.nn.relu(tf.tanh(x))),
    "without effect": lambda tf, x, y: (
        tf.nn.relu(tf.reshape(tf.transpose(tf.transpose(x * 1.0)), [-1, 4])) + y
    ),
    "reshaped": lambda tf, x, y: tf.nn.relu(tf.reshape(tf.reshape(x, [-1, 2]), [4, -1])),
    "moved after a concatenation": lambda tf, x, y: tf.concat([tf.exp(x), tf.exp(y)], 1),
    "nested concatenations": lambda tf, x, y: tf.concat(
        [tf.concat([x, y], 1), tf.nn.relu(tf.concat([y, x], 1)), tf.concat([tf.exp(x), y], 1)], 1
    ),
    "products": lambda tf, x, y: (x @ W + B) * (x @ W + C) + (y @ W) * C + B,
    "transposed product": lambda tf, x, y: tf.nn.softmax(x @ tf.transpose(y)),
    "comparisons": lambda tf, x, y: (
        tf.logical_and(x > 0, tf.logical_not(y > 0)),
        tf.where(tf.logical_not(x > y), x, y),
    ),
    "integers": lambda tf, x, y: (tf.argmax(x, -1), tf.cast(tf.cast(y, tf.int32), tf.float32)),
    "shapes": lambda tf, x, y: (
        tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None] * x + tf.fill(tf.shape(y), 2.0)
    ),
    "top": lambda tf, x, y: tf.math.top_k(x + y, 2),
    "unstacked": lambda tf, x, y: tf.stack(tf.unstack(tf.reshape(x, [3, 4]), axis=0)[::-1], axis=1),
    "loop": lambda tf, x, y: (
        tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.tanh(a @ W)), (0, x))[1] * y
    ),
    "loop with several results": lambda tf, x, y: tf.while_loop(
        lambda i, a, b: i < 3, lambda i, a, b: (i + 1, tf.tanh(a @ W), a + b), (0, x, y)
    )[1:],
    "nested loop": lambda tf, x, y: tf.while_loop(
        lambda i, a: i < tf.shape(x)[0],
        lambda i, a: (
            i + 1,
            tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, tf.tanh(b) + y), (0, a))[1] * 2.0,
        ),
        (0, x),
    ),
    "tensor list": lambda tf, x, y: tf.map_fn(lambda row: tf.tanh(row) + row[0], x) * y,
    "branch": lambda tf, x, y: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2.0, lambda: y - 1.0) + 1.0,
    "einsum": lambda tf, x, y: tf.einsum("bi,ij->bj", x, W) + tf.einsum("bi,bj->ij", x, y)[:3],
    "quotients": lambda tf, x, y: (1.0 / (tf.abs(x) + 1.0), y / tf.sqrt(tf.abs(x) + 1.0)),
    "returned input": lambda tf, x, y: {"same": x, "constant": tf.constant([1.0, 2.0]), "y": tf.nn.relu(y)},
    "output returned twice": lambda tf, x, y: {
        "a": tf.nn.relu(x),
        "b": tf.identity(tf.nn.relu(x)),
        "c": y + 1.0,
    },
    "nested branch": lambda tf, x, y: tf.cond(
        tf.reduce_sum(x) > 0,
        lambda: tf.cond(tf.reduce_max(y) > 0, lambda: (x, tf.tanh(y)), lambda: (y, x)),
        lambda: (x - y, y),
    ),
    "strings": lambda tf, x, y: tf.strings.regex_replace(
        tf.where(x > 0, tf.constant("yes!"), tf.constant("no?")), "[!?]", ""
    ),
    "scalars": lambda tf, x, y: (tf.reduce_max(x) * tf.reduce_min(y), tf.argmax(tf.reduce_sum(y, 0))),
    "wide integers": lambda tf, x, y: tf.cast(tf.cast(x * 10.0, tf.int64) * 3, tf.float32) + y,
    "complex": lambda tf, x, y: tf.abs(tf.signal.fft(tf.cast(x + y, tf.complex64))),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_functions(tf, cache, function):
    spec = tf.TensorSpec([None, 4], tf.float32)
    model = tf.function(lambda x, y: function(tf, x, y), input_signature=[spec, spec])
    assert examine(model, (X, Y), cache) == ([], {})


def squeeze_and_excite(k, x):
    y = k.Conv2D(4, 3, activation="swish", name="conv")(x)
    z = k.GlobalAveragePooling2D(keepdims=True, name="pool")(y)
    z = k.Dense(2, activation="relu", name="less")(z)
    return k.Multiply(name="scale")([y, k.Dense(4, activation="sigmoid", name="more")(z)])


def residual(k, x):
    x = k.BatchNormalization(name="bn1")(k.Conv2D(4, 3, padding="same", name="c1")(x))
    y = k.BatchNormalization(name="bn2")(k.Conv2D(4, 1, name="c2")(x))
    x = k.ReLU(name="r1")(k.Add(name="add1")([x, y]))
    return k.ReLU(name="r2")(k.Add(name="add2")([x, k.Conv2D(4, 3, padding="same", name="c3")(x)]))


def fire(k, x):
    branches = [
        k.Conv2D(2, size, padding="same", activation="relu", name=f"expand{size}")(x) for size in (1, 3)
    ]
    return k.Conv2D(2, 1, name="next")(k.Concatenate(name="join")(branches))


def transformer(k, x):
    x = k.LayerNormalization(name="n1")(k.Add(name="a1")([x, k.MultiHeadAttention(2, 3, name="mha")(x, x)]))
    y = k.Dense(6, name="f2")(k.Dense(12, activation="relu", name="f1")(x))
    return k.LayerNormalization(name="n2")(k.Add(name="a2")([x, y]))


def prelu(k, x):
    x = k.PReLU(shared_axes=[1, 2], name="p1")(k.Conv2D(4, 3, name="c1")(x))
    return k.PReLU(name="p2")(k.Conv2D(4, 3, name="c2")(x))


LAYERS = {
    "squeeze and excite": (IMAGE, squeeze_and_excite),
    "residual": (IMAGE, residual),
    "fire": (IMAGE, fire),
    "transformer": (SEQUENCE, transformer),
    "prelu": (IMAGE, prelu),
    "leaky": (
        IMAGE,
        lambda k, x: k.LeakyReLU(name="l")(k.BatchNormalization(name="n")(k.Conv2D(4, 3, name="c")(x))),
    ),
    "elu, softplus": (VECTOR, lambda k, x: k.Dense(4, "softplus", name="b")(k.Dense(4, "elu", name="a")(x))),
    "swish": (IMAGE, lambda k, x: k.DepthwiseConv2D(3, activation="swish", name="d")(x)),
    "separable": (
        IMAGE,
        lambda k, x: k.SeparableConv2D(5, 3, depth_multiplier=2, activation="relu", name="s")(x),
    ),
    "dilated": (
        IMAGE,
        lambda k, x: k.BatchNormalization(name="n")(
            k.Conv2D(5, 3, dilation_rate=2, padding="same", name="c")(x)
        ),
    ),
    "transposed": (
        IMAGE,
        lambda k, x: k.ReLU(name="r")(
            k.BatchNormalization(name="n")(k.Conv2DTranspose(5, 3, strides=2, name="c")(x))
        ),
    ),
    "norm first": (IMAGE, lambda k, x: k.Conv2D(3, 3, name="c")(k.BatchNormalization(name="n")(x))),
    "layer norm": (SEQUENCE, lambda k, x: k.LayerNormalization(axis=[1, 2], name="n")(x)),
    "dense on sequences": (SEQUENCE, lambda k, x: k.Dense(3, activation="relu", name="d")(x)),
    "attention": (SEQUENCE, lambda k, x: k.Attention(name="a")([x, x])),
    "gru": (SEQUENCE, lambda k, x: k.GRU(5, name="g")(x)),
    "stacked lstm": (
        SEQUENCE,
        lambda k, x: k.LSTM(4, name="b")(k.LSTM(5, return_sequences=True, name="a")(x)),
    ),
    "conv1d": (
        SEQUENCE,
        lambda k, x: k.GlobalMaxPooling1D(name="g")(
            k.Conv1D(4, 3, padding="causal", activation="relu", name="c")(x)
        ),
    ),
    "volumes": (
        VOLUME,
        lambda k, x: k.MaxPooling3D(2, name="p")(k.BatchNormalization(name="n")(k.Conv3D(4, 3, name="c")(x))),
    ),
    "norms": (
        IMAGE,
        lambda k, x: k.UnitNormalization(name="u")(
            k.GroupNormalization(2, name="g")(k.Conv2D(4, 3, activation="elu", name="c")(x))
        ),
    ),
    "tanh": (VECTOR, lambda k, x: k.Dense(3, name="b")(k.Dense(4, "tanh", name="a")(x))),
    "one channel": (IMAGE, lambda k, x: k.Conv2D(1, 1, activation="sigmoid", name="c")(x)),
    "upsampling": (
        IMAGE,
        lambda k, x: k.UpSampling2D(interpolation="bilinear", name="b")(k.UpSampling2D(name="a")(x)),
    ),
}


def built(module, feed, layers):
    x = module.Input(feed.shape[1:], name="x")
    model = module.Model(x, layers(module.layers, x), name="m")
    rng = np.random.default_rng(1)
    # Also the variances of batch-norms, so they are positive; none is a neutral element.
    model.set_weights([rng.uniform(0.1, 0.6, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
@pytest.mark.parametrize(("feed", "layers"), LAYERS.values(), ids=LAYERS.keys())
def test_layers(cache, keras, feed, layers):
    model = built(pytest.importorskip(keras), feed, layers)
    assert examine(model, feed, cache) == ([], {})


def test_wrong_conversion_is_never_mapped_as_right(tf, cache):
    """The converter fuses a PReLU into a shared convolution, so other readers get the PReLU's output."""
    keras = pytest.importorskip("tf_keras")

    def layers(k, x):
        y = k.Conv2D(4, 3, name="conv")(x)
        return k.Concatenate(name="join")(
            [k.PReLU(shared_axes=[1, 2], name="prelu")(y), k.Softmax(name="soft")(y)]
        )

    unmapped, wrong = examine(built(keras, IMAGE, layers), IMAGE, cache)
    assert unmapped or wrong
    assert "join/concat" in wrong
