"""The diagnosis names known differences of backends, and effects of half precision."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert]

tf = pytest.importorskip("tensorflow")
NAN = float("nan")


@pytest.fixture
def diagnosis(tfjs, tmp_path):
    """A function that runs a model of one vector and returns the diagnosis of its divergence."""

    def diagnose(function, x, **settings):
        made = tf.Module()
        made.call = tf.function(function, input_signature=[tf.TensorSpec([None], x.dtype, name="x")])
        tf.saved_model.save(made, str(tmp_path / "saved"), signatures=made.call)
        comparison = tfjs.compare(tmp_path / "saved", x, **settings)
        assert comparison.verdict == "diverged"
        assert tfjs.target.backend == comparison.target.backend
        return comparison.diagnosis

    return diagnose


@pytest.mark.tfjs(backends="webgl")
def test_zero_over_zero_on_webgl_is_named(diagnosis):
    found = diagnosis(lambda x: {"y": x / (x * x)}, np.float32([0, 1, 2, 4]))
    assert found.kind == "kernel"
    assert "webgl is wrong, but cpu on chrome agrees with Python" in found.said
    assert "RealDiv with 0/0 = 1" in found.said


@pytest.mark.tfjs(backends="wasm")
def test_nan_dropped_by_maximum_on_wasm_is_named(diagnosis):
    found = diagnosis(lambda x: {"y": tf.maximum(1.0, tf.sqrt(x))}, np.float32([-1, 4, 9]))
    assert found.kind == "kernel"
    assert "wasm is wrong, but cpu on chrome agrees with Python" in found.said
    assert "Maximum that ignores NaN" in found.said


@pytest.mark.tfjs(backends="webgl")
def test_sine_of_large_angles_on_webgl_is_a_kernel_fault(diagnosis):
    found = diagnosis(lambda x: {"y": tf.sin(x)}, np.float32([1e6, 1, 2e6, 3.3e6]))
    assert found.kind == "kernel"
    assert "webgl is wrong, but cpu on chrome agrees with Python" in found.said


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
def test_overflowing_integer_product_is_a_kernel_fault(tfjs, diagnosis):
    if tfjs.target.backend == "wasm":
        pytest.skip("wasm wraps as Python does, and agrees")
    found = diagnosis(lambda x: {"y": x * x}, np.tile(np.int32([3, 65537, 123456789]), 50))
    assert found.kind == "kernel"
    arithmetic = {"cpu": "rounded to float32", "webgl": "in float32"}
    assert f"Mul {arithmetic[tfjs.target.backend]}, keeping the last 32 bits" in found.said


@pytest.mark.tfjs(backends="webgl:f16")
def test_half_precision_overflow_is_named(diagnosis):
    found = diagnosis(lambda x: {"y": tf.exp(x)}, np.float32([1, 2, 20]))
    assert found.kind == "half range"
    assert "half precision overflows above 65504, but |reference| reaches 4.85e+08" in found.said


@pytest.mark.tfjs(backends="webgl:f16")
def test_integers_over_65504_in_half_precision_are_out_of_range(diagnosis):
    # TF.js computes fewer than 128 integers in JavaScript.
    found = diagnosis(lambda x: {"y": x + 1}, np.tile(np.int32([3, 65503, 70000]), 50))
    assert found.kind == "half range"


@pytest.mark.tfjs(backends="webgl:f16")
def test_values_flushed_by_half_precision_are_named(diagnosis):
    found = diagnosis(lambda x: {"y": x * 1e-6}, np.float32([0.01, 0.02, 0.03]))
    assert found.kind == "half range"
    assert "are 0 in the browser and below 6.1e-05 in Python" in found.said


@pytest.mark.tfjs(backends="webgl:f16")
def test_half_precision_resolution_is_named(diagnosis):
    x = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    found = diagnosis(lambda x: {"y": tf.tanh(x) * 1.3}, x, rtol=1e-6, atol=1e-6)
    assert found.kind == "half resolution"
    assert "times 2**-11 of the layer's largest value" in found.said
