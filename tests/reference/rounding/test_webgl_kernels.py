"""Errors that webgl's kernels add by design: sums from 1e-15, and mix() for copies."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.rounding.magnitudes import Magnitudes
from tests.support.float32_sums import judged
from tests.support.layer_alone_cases import one_layer

pytestmark = pytest.mark.convert

RNG = np.random.default_rng(5)
START = np.float32(1e-15)
GPU_U = 2.0**-23


@pytest.fixture(autouse=True, scope="module")
def _tensorflow():
    pytest.importorskip("tensorflow")


def normal(*shape, scale=1.0):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def measured(build, **inputs):
    alone, value = one_layer(build, **inputs)
    return Magnitudes(alone).of("y", inputs, value), value


# ---- the packed depthwise convolution ----


def depthwise(size=3, stride=1, multiplier=1, dilation=1):
    kernel = normal(size, size, 8, multiplier)
    return lambda tf, x: tf.nn.depthwise_conv2d(
        x, kernel, [1, stride, stride, 1], "SAME", dilations=[dilation, dilation]
    )


IMAGE = normal(1, 10, 10, 8)


@pytest.mark.parametrize(
    ("build", "terms"),
    [
        (depthwise(), 9),
        (depthwise(size=5), 25),
        (depthwise(size=1), 1),
        (depthwise(stride=2), 9),
        (depthwise(dilation=2), 9),
        (lambda tf, x: tf.nn.relu6(depthwise()(tf, x) + normal(8)), 9),
    ],
)
def test_a_packed_depthwise_convolution_starts_at_1e15(build, terms):
    found, _ = measured(build, x=IMAGE)
    assert found.started == pytest.approx(1e-15 * (terms + 1), rel=1e-6, abs=0)


@pytest.mark.parametrize(
    "build",
    [
        depthwise(stride=3),
        depthwise(multiplier=2),
        lambda tf, x: tf.nn.conv2d(x, normal(3, 3, 8, 8), 1, "SAME"),
        lambda tf, x: tf.nn.avg_pool2d(x, 3, 1, "SAME"),
    ],
)
def test_other_convolutions_start_at_0(build):
    assert measured(build, x=IMAGE)[0].started == 0


def test_the_error_of_the_start_is_followed_through_the_layer():
    pointwise = normal(1, 1, 8, 4)
    separable, _ = measured(
        lambda tf, x: tf.nn.separable_conv2d(x, normal(3, 3, 8, 1), pointwise, [1, 1, 1, 1], "SAME"), x=IMAGE
    )
    most = np.abs(pointwise).sum((0, 1, 2)).max()
    assert separable.started == pytest.approx(1e-14 * most, rel=1e-4, abs=0)
    scaled, _ = measured(lambda tf, x: tf.constant(np.float32(100)) * depthwise()(tf, x), x=IMAGE)
    assert scaled.started == pytest.approx(1e-12, rel=1e-4, abs=0)


def packed(x, kernel):
    """As conv_packed_gpu_depthwise.ts: without padding, one addition after another."""
    size = kernel.shape[0]
    rows, columns = x.shape[1] - size + 1, x.shape[2] - size + 1
    total = np.full((1, rows, columns, x.shape[3]), START)
    for row in range(size):
        for column in range(size):
            total = total + x[:, row : row + rows, column : column + columns] * kernel[row, column, :, 0]
    return total - START


@pytest.mark.parametrize("sign", ["both", "one"])
@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e-12, 1e-16, 1e-22, 1e-30])
def test_the_packed_kernel_passes_only_where_it_runs(scale, size, sign):
    x = np.maximum(normal(1, 16, 16, 8), 0) * np.float32(scale)
    kernel = normal(size, size, 8, 1) if sign == "both" else np.full((size, size, 8, 1), 0.3, np.float32)
    arithmetic, value = measured(lambda tf, x: tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID"), x=x)
    actual = packed(x, kernel)
    allowed = judged(actual, value, arithmetic, backend="webgl", packed=True)
    assert allowed.passed, (allowed.failed_by, allowed.share)
    if scale == 1e-22:
        for backend in ("webgl", "wasm", "cpu", "webgpu"):
            assert not judged(actual, value, arithmetic, backend=backend).passed
    if scale > 1e-22:
        wrong = kernel.copy()
        wrong[0, 0, 3] *= np.float32(1.01)
        assert not judged(packed(x, wrong), value, arithmetic, backend="webgl", packed=True).passed


# ---- mix() ----


def mix(before, after):
    return before + (after - before)


def scattered(tf, x, rows):
    return tf.tensor_scatter_nd_update(x, [[1], [4]], rows)


def test_an_update_is_rounded_on_webgl_and_the_rest_is_copied():
    x, rows = normal(8, 64), normal(2, 64)
    arithmetic, value = measured(scattered, x=x, rows=rows)
    assert arithmetic.exact
    actual = x.copy()
    actual[[1, 4]] = mix(x[[1, 4]], rows)
    assert (actual != value).sum() > 10
    assert judged(actual, value, arithmetic, op="TensorScatterUpdate", backend="webgl").passed
    for backend in ("cpu", "wasm", "webgpu"):
        assert not judged(actual, value, arithmetic, op="TensorScatterUpdate", backend=backend).passed
    moved = value.copy()
    moved[2, 3] = np.nextafter(moved[2, 3], np.float32(9))
    found = judged(moved, value, arithmetic, op="TensorScatterUpdate", backend="webgl")
    assert found.metrics.worst == (2, 3)
    half = actual.astype(np.float16).astype(np.float32)
    assert not judged(half, value, arithmetic, op="TensorScatterUpdate", backend="webgl").passed


@pytest.mark.parametrize("replaced", [0.0, -1.0, 1e3, -1e9, np.inf])
def test_an_update_that_is_lost_in_a_large_number_is_an_error(replaced):
    x, rows = np.full((8, 64), replaced, np.float32), normal(2, 64)
    arithmetic, value = measured(scattered, x=x, rows=rows)
    assert (arithmetic.mixed is None) == (replaced == 0)
    actual = value.copy()
    with np.errstate(invalid="ignore"):
        actual[[1, 4]] = mix(x[[1, 4]], rows)
    passed = judged(actual, value, arithmetic, op="TensorScatterUpdate", backend="webgl").passed
    assert passed == (abs(replaced) < 1e9)


def test_an_update_of_nan_takes_nothing_from_the_others():
    x, rows = normal(8, 64), normal(2, 64)
    rows[0, 5] = np.nan
    arithmetic, value = measured(scattered, x=x, rows=rows)
    assert np.count_nonzero(arithmetic.mixed) == 127
    actual = x.copy()
    actual[[1, 4]] = mix(x[[1, 4]], rows)
    assert judged(actual, value, arithmetic, op="TensorScatterUpdate", backend="webgl").passed


@pytest.mark.parametrize("dtype", ["complex64", "bool", "uint8", "int32"])
def test_updates_of_other_dtypes_are_copies(dtype):
    """Complex numbers may round; no dtype may count as an operation without a rule."""

    def build(tf, x):
        z = tf.complex(x, -x) if dtype == "complex64" else tf.cast(x, dtype)
        updated = tf.tensor_scatter_nd_update(z, [[1], [4]], z[:2])
        return updated if dtype == "complex64" else tf.cast(updated, tf.float32)

    found, _ = measured(build, x=np.abs(normal(8, 3)))
    assert (found.exact, found.tried) == (True, False)
    assert (found.mixed is None) == (dtype != "complex64")


@pytest.mark.parametrize(
    ("dtype", "on", "off"), [("complex64", 1 + 2j, 2 + 0j), ("bool", False, True), ("int32", 3, 1)]
)
def test_one_hot_codes_of_other_dtypes_are_copies(dtype, on, off):
    def build(tf, x):
        codes = tf.one_hot(tf.cast(x, tf.int32), 5, on, off, dtype=dtype)
        return codes if dtype == "complex64" else tf.cast(codes, tf.float32)

    found, _ = measured(build, x=np.abs(normal(4)))
    assert (found.exact, found.tried) == (True, False)
    assert (found.mixed is None) == (dtype != "complex64")


def test_other_operations_that_webgl_computes_by_mix():
    def dense(tf, x):
        return tf.raw_ops.SparseToDense(
            sparse_indices=[[1, 2], [3, 4]], output_shape=[6, 7], sparse_values=x, default_value=0.3
        )

    values = np.float32([0.7, -1.1])
    arithmetic, value = measured(dense, x=values)
    assert np.count_nonzero(arithmetic.mixed) == 2
    assert judged(mix(np.float32(0.3), value), value, arithmetic, op="SparseToDense", backend="webgl").passed
    arithmetic, value = measured(lambda tf, x: tf.one_hot(tf.cast(x, tf.int32), 5, 0.9, 0.1), x=normal(4))
    actual = np.where(value == np.float32(0.1), value, mix(np.float32(0.1), value))
    assert judged(actual, value, arithmetic, op="OneHot", backend="webgl").passed
    arithmetic, _ = measured(lambda tf, x: tf.one_hot(tf.cast(x, tf.int32), 5), x=normal(4))
    assert arithmetic.exact
    assert arithmetic.mixed is None


def test_a_scatter_adds_what_has_the_same_index():
    updates = normal(6, 4)

    def scatter(indices):
        return lambda tf, x: tf.scatter_nd([[index] for index in indices], x, [8, 4])

    once, value = measured(scatter(range(6)), x=updates)
    assert once.exact
    assert judged(value, value, once, op="ScatterNd").passed
    thrice, value = measured(scatter([0, 1, 1, 2, 1, 3]), x=updates)
    assert (thrice.exact, thrice.terms) == (False, 3)
    other = value.copy()
    other[1] = updates[4] + (updates[2] + updates[1])
    assert judged(other, value, thrice, op="ScatterNd").passed
