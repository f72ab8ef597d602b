"""Models in float16 and bfloat16 are close to what TF.js computes, and a note says so."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.models.artifacts import with_weights

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="wasm")]

IMAGES = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)
X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
MIXED = ["mixed_float16", "mixed_bfloat16"]


def image_model(package, policy):
    """Convolutions with batch-norms to fold, pooling and a dense layer in half precision."""
    keras = pytest.importorskip(package)
    keras.utils.set_random_seed(3)
    random = {"beta_initializer": "random_normal", "moving_mean_initializer": "random_normal"}
    x = y = keras.Input((12, 12, 3), name="x")
    y = keras.layers.Conv2D(8, 3, dtype=policy, bias_initializer="normal", name="conv")(y)
    y = keras.layers.BatchNormalization(dtype=policy, name="norm", **random)(y)
    y = keras.layers.ReLU(dtype=policy, name="relu")(y)
    y = keras.layers.DepthwiseConv2D(3, dtype=policy, name="depthwise")(y)
    y = keras.layers.BatchNormalization(dtype=policy, name="norm_2", **random)(y)
    y = keras.layers.GlobalAveragePooling2D(dtype=policy, name="pool")(y)
    y = keras.layers.Dense(8, activation="tanh", dtype=policy, name="dense")(y)
    return keras.Model(x, keras.layers.Dense(2, dtype="float32", name="out")(y), name="images")


def token_model(package, policy):
    """An embedding and a recurrent layer, whose loop is a function of the graph."""
    keras = pytest.importorskip(package)
    keras.utils.set_random_seed(3)
    x = keras.Input((6,), name="ids", dtype="int32")
    y = keras.layers.Embedding(20, 8, dtype=policy, name="embedding")(x)
    y = keras.layers.LSTM(6, dtype=policy, name="lstm")(y)
    return keras.Model(x, keras.layers.Dense(5, activation="softmax", dtype=policy, name="out")(y))


def module_of(compute, dtype="float32"):
    """A module with a signature that computes `y` from `x`, of the given dtype."""
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], getattr(tf, dtype), name="x")])
        def serve(self, x):
            return {"y": compute(tf, x)}

    return Module()


def note_of(comparison):
    return next(note for note in comparison.notes if note.startswith("Python computes"))


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize(
    ("package", "format_"), [("tf_keras", "layers"), ("tf_keras", "graph"), ("keras", "graph")]
)
def test_image_models_are_close(tfjs, package, format_, policy):
    comparison = tfjs.assert_close(image_model(package, policy), IMAGES, format=format_)
    dtype = policy.removeprefix("mixed_")
    assert dtype in note_of(comparison)
    moved = float(re.search(rf"{dtype} moves Python's own outputs by up to (\S+) of", note_of(comparison))[1])
    assert 1e-5 < moved < 0.1
    assert comparison.weight_check.differences == ()


@pytest.mark.slow
@pytest.mark.parametrize("policy", [*MIXED, "float16"])
@pytest.mark.parametrize(
    ("package", "format_"), [("tf_keras", "layers"), ("tf_keras", "graph"), ("keras", "graph")]
)
def test_token_models_are_close(tfjs, package, format_, policy):
    ids = np.random.default_rng(0).integers(0, 20, (2, 6)).astype(np.int32)
    comparison = tfjs.assert_close(token_model(package, policy), ids, format=format_)
    assert policy.removeprefix("mixed_") in note_of(comparison)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_models_with_weights_in_half_precision_are_close(tfjs, format_, policy):
    tfjs.assert_close(image_model("tf_keras", policy), IMAGES, format=format_)


COMPUTED = {
    "products": lambda tf, x, dtype: tf.nn.softmax(tf.matmul(tf.cast(x, dtype), tf.cast(W, dtype))),
    "rounding": lambda tf, x, dtype: tf.round(tf.matmul(tf.cast(x, dtype), tf.cast(W, dtype)) * 4.0),
    "loop": lambda tf, x, dtype: tf.while_loop(
        lambda at, _: at < 3, lambda at, y: (at + 1, tf.tanh(y * 1.5)), (0, tf.cast(x, dtype))
    )[1],
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("which", COMPUTED)
def test_functions_with_casts_are_close(tfjs, which, dtype):
    def compute(tf, x):
        return tf.cast(COMPUTED[which](tf, x, dtype), tf.float32)

    assert dtype in note_of(tfjs.assert_close(module_of(compute), X))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_inputs_and_outputs_may_be_in_half_precision(tfjs, dtype):
    tf = pytest.importorskip("tensorflow")
    model = module_of(lambda tf, x: tf.tanh(x * 1.5), dtype)
    tfjs.assert_close(model, tf.cast(X, dtype).numpy())


def test_overflow_in_float16_is_no_fault_of_the_browser(tfjs):
    model = module_of(
        lambda tf, x: tf.math.log1p(tf.cast(tf.cast(x * 20, tf.float16) ** 2 * 300, tf.float32))
    )
    comparison = tfjs.assert_close(model, X)
    assert re.search(r"is the first, inf in float16 and \S+ in float32 .*above 65504", note_of(comparison))


def test_a_wrong_weight_is_still_found(tfjs, tmp_path):
    model = image_model("tf_keras", "mixed_float16")
    artifacts = tfjs.convert(model, format="layers")
    kernel = artifacts.read_weights()["dense/kernel"].copy()
    kernel[0, 0] *= 1.01
    changed = with_weights(artifacts, {"dense/kernel": kernel}, tmp_path)
    comparison = tfjs.compare(Prebuilt(changed.model_json, model), IMAGES)
    assert comparison.verdict == "diverged"
    assert next(one for one in comparison.layers if one.layer.name == "dense").made_error


def test_models_in_float32_have_no_such_note(tfjs):
    comparison = tfjs.assert_close(module_of(lambda tf, x: tf.tanh(x)), X)
    assert not [note for note in comparison.notes if "half precision" in note]
