"""On webgl:f16, models in the range of half precision are close; others are reported."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.families import FAMILIES
from fixtures.family import Case
from pytest_tfjs.report.failure_message import failure_message
from tests.support.sizes import slow_except

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="webgl:f16", alone="all")]

LARGEST_HALF = 65504

# Of the 121 cases of small families on webgl, all except those below are close.
HELD = [
    Case(FAMILIES["convolutions"], 2, "graph"),
    Case(FAMILIES["conv3d"], 2, "layers"),
    Case(FAMILIES["activations"], 2, "layers"),
    Case(FAMILIES["attention_by_products"], 2, "layers"),
    Case(FAMILIES["transformer"], 3, "graph"),
    Case(FAMILIES["text"], 2, "graph"),
    Case(FAMILIES["gru_after"], 3, "graph"),
]

# Keras 3 divides by a norm no smaller than 1e-12: the largest possible factor is 1e12.
LEAVING = {
    Case(FAMILIES["merge"], 3, "graph"): ("cosine_1/Minimum", "cosine_1/Minimum_1"),
    Case(FAMILIES["merge_subtract"], 3, "graph"): ("cosine_1/Minimum", "cosine_1/Minimum_1"),
    Case(FAMILIES["unit_norm"], 3, "graph"): ("unit_norm_1/Minimum",),
}


@pytest.mark.parametrize("case", slow_except(["conv3d-keras2-layers", "text-keras2-graph"], HELD))
def test_model_within_half_precision_is_close(tfjs, tmp_path, case):
    model = case.family.save(case.keras, tmp_path)
    comparison = tfjs.assert_close(model, case.family.inputs(), format=case.format)
    seen = [row.metrics for row in comparison.layers if row.metrics is not None]
    assert max(metrics.scale for metrics in seen) < LARGEST_HALF
    # Such errors would diverge in float32, so half precision was judged.
    assert max(metrics.max_abs / metrics.scale for metrics in seen if metrics.scale) > 1e-4


@pytest.mark.parametrize("case", slow_except(["unit_norm-keras3-graph"], LEAVING))
def test_value_outside_half_precision_is_reported(tfjs, tmp_path, case):
    model = case.family.save(case.keras, tmp_path)
    comparison = tfjs.compare(model, case.family.inputs(), format=case.format)
    message = failure_message(comparison)
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", LEAVING[case]), message
    assert comparison.diagnosis.kind == "half range", message


@pytest.mark.parametrize("format_", slow_except(["layers"], ["graph", "layers"]))
def test_only_the_layer_that_overflows_is_blamed(tfjs, tmp_path, format_):
    unet = FAMILIES["unet"]
    model = unet.save(2, tmp_path)
    tfjs.assert_close(model, unet.inputs(), format=format_)
    feed = {name: 30_000 * value for name, value in unet.inputs().items()}
    comparison = tfjs.compare(model, feed, format=format_)
    message = failure_message(comparison)
    largest = {row.layer.name: row.metrics.scale for row in comparison.layers if row.metrics is not None}
    assert comparison.verdict == "diverged"
    rows = {row.layer.name: row.layer for row in comparison.layers}
    left = {name for name, scale in largest.items() if scale > LARGEST_HALF}
    assert set(comparison.first_divergence) <= {name for name in left if not left & set(rows[name].inputs)}, (
        message
    )
    assert comparison.first_divergence
    assert comparison.diagnosis.kind == "half range", message


def test_half_precision_rounding_is_reported_without_blame(tfjs, tmp_path):
    """Differences of numbers near 1000, where half precision has a spacing of 0.5."""
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(3)
    kernels = [tf.constant((rng.standard_normal((6, 6)) / 2).astype(np.float32)) for _ in range(2)]

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
        def serve(self, x):
            x = tf.tanh(tf.matmul(x, kernels[0], name="before"), name="small")
            far = tf.nn.relu(tf.add(x, 1000.0, name="away"), name="far")
            back = tf.subtract(far, tf.reduce_mean(far, axis=1, keepdims=True, name="mean"), name="back")
            return tf.matmul(back, kernels[1], name="after")

    module = Model()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    comparison = tfjs.compare(tmp_path / "model", rng.standard_normal((3, 6)).astype(np.float32))
    message = failure_message(comparison)
    assert not any(row.made_error for row in comparison.layers), message
    assert (comparison.verdict, comparison.growth.end) == ("diverged", "after"), message
    assert comparison.diagnosis.kind == "half resolution", message


ROOTS = {
    "sqrt": lambda tf, x: tf.sqrt(x, name="value"),
    "cube root": lambda tf, x: tf.pow(x, 1 / 3, name="value"),
    "log": lambda tf, x: tf.math.log(x, name="value"),
}


@pytest.mark.parametrize(
    ("function", "verdict"), [("sqrt", "close"), ("cube root", "close"), ("log", "diverged")]
)
def test_underflow_is_allowed_for_where_its_effect_is_bounded(tfjs, function, verdict):
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": ROOTS[function](tf, x)}

    x = np.concatenate([np.geomspace(1e-9, 3e-8, 200), np.linspace(0.01, 4, 200)]).astype(np.float32)
    comparison = tfjs.compare(Module(), x)
    assert comparison.verdict == verdict, comparison.reason
