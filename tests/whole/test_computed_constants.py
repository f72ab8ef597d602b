"""Constants that the converter computed may be off by rounding, and by no more."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from pytest_tfjs import Prebuilt

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="wasm")]

RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 40, 16)).astype(np.float32)
COUNTS = RNG.integers(100, 41245, (40, 1)).astype(np.int32)
FACTORS = [RNG.uniform(0.5, 2, 16).astype(np.float32) for _ in range(6)]
MATRIX = RNG.normal(size=(16, 5)).astype(np.float32)


def module_of(compute):
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 40, 16], tf.float32, name="x")])
        def serve(self, x):
            return {"y": compute(tf, x)}

    return Module()


def counts(tf):
    return tf.cast(tf.constant(COUNTS), tf.float32)


COMPUTED = {
    "root": lambda tf, x: x * tf.sqrt(counts(tf)),
    "logarithm": lambda tf, x: x / tf.math.log(counts(tf)),
    "sum behind a product": lambda tf, x: tf.tanh(x + tf.math.rsqrt(counts(tf))),
    "matrix": lambda tf, x: x @ (tf.exp(tf.constant(MATRIX)) * 0.1),
}
CHAINS = {
    "products": lambda _, x: x * FACTORS[0] * FACTORS[1] / FACTORS[2] * FACTORS[3] * FACTORS[4],
    "factors of a square": lambda _, x: x * x * np.float32(1.7) / np.float32(0.3) * FACTORS[0],
    "sums that cancel": lambda _, x: x + np.float32(1e4) * FACTORS[0] + (1 - np.float32(1e4) * FACTORS[0]),
    "a product with a constant": lambda tf, x: (x @ tf.constant(MATRIX)) * FACTORS[0][:5] * FACTORS[1][:5],
}


def with_changed_constant(artifacts, folder, change):
    """A copy of the artifacts whose constants of several floats are changed in their bytes."""
    shutil.copytree(artifacts.model_json.parent, folder)
    at, changed = 0, 0
    (group,) = json.loads((folder / "model.json").read_text())["weightsManifest"]
    shard = folder / group["paths"][0]
    content = bytearray(shard.read_bytes())
    for weight in group["weights"]:
        size = 4 * int(np.prod(weight["shape"]))
        if weight["dtype"] == "float32" and np.prod(weight["shape"]) > 1:
            values = np.frombuffer(bytes(content[at : at + size]), "<f4")
            content[at : at + size] = change(values).astype("<f4").tobytes()
            changed += 1
        at += size
    shard.write_bytes(bytes(content))
    assert changed == 1
    return folder / "model.json"


def three_units_up(values):
    return (values.view("<i4") + 3).astype("<i4").view("<f4")


@pytest.mark.tfjs(backends="wasm,cpu")
@pytest.mark.parametrize("which", COMPUTED)
def test_a_constant_of_another_tensorflow_is_close(tfjs, tmp_path, which):
    model = module_of(COMPUTED[which])
    path = with_changed_constant(tfjs.convert(model), tmp_path / "changed", three_units_up)
    tfjs.assert_close(Prebuilt(path, model), X)


@pytest.mark.parametrize("which", COMPUTED)
def test_a_constant_that_is_off_by_a_thousandth_is_not(tfjs, tmp_path, which):
    model = module_of(COMPUTED[which])
    path = with_changed_constant(tfjs.convert(model), tmp_path / "changed", lambda values: values * 1.001)
    comparison = tfjs.compare(Prebuilt(path, model), X)
    assert comparison.verdict == "diverged"
    assert len(comparison.weight_check.differences) == 1
    assert any(one.made_error for one in comparison.layers)


@pytest.mark.parametrize("which", CHAINS)
def test_operations_that_became_one_constant_are_close(tfjs, which):
    comparison = tfjs.assert_close(module_of(CHAINS[which]), X)
    assert comparison.weight_check.counts.get("folded")
    assert all(one.layer.coverage in ("compared", "fused", "eliminated") for one in comparison.layers)


@pytest.mark.parametrize("which", ["products", "factors of a square"])
def test_a_constant_of_another_tensorflow_for_several_operations_is_close(tfjs, tmp_path, which):
    model = module_of(CHAINS[which])
    path = with_changed_constant(tfjs.convert(model), tmp_path / "changed", three_units_up)
    tfjs.assert_close(Prebuilt(path, model), X)


def test_a_chain_with_a_wrong_factor_diverges(tfjs, tmp_path):
    model = module_of(CHAINS["products"])
    path = with_changed_constant(tfjs.convert(model), tmp_path / "changed", lambda values: values * 1.00001)
    comparison = tfjs.compare(Prebuilt(path, model), X)
    assert comparison.verdict == "diverged"
