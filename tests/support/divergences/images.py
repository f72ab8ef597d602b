"""Divergences of operations on images: pooling, boxes, crops and transforms."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import KINDS, Known

_CPU, _GPU, _WASM = "tfjs-backend-cpu/src/", "tfjs-backend-webgl/src/", "tfjs-backend-wasm/src/"
_RNG = np.random.default_rng(3)
_IMAGES = _RNG.standard_normal((2, 5, 5, 2)).astype(np.float32)
_BELOW_0 = (-0.1 - np.abs(_RNG.standard_normal((1, 4, 4, 2)))).astype(np.float32)
_ELEMENT = _RNG.standard_normal((2, 2, 2)).astype(np.float32)
_SHIFT = [1.0, 0, 0.3, 0, 1.0, 0.2, 0, 0]


def _pool_with_places(tf, x):
    return tf.raw_ops.MaxPoolWithArgmax(
        input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], Targmax=tf.int32, padding="VALID", name="faulty"
    )


def _places(tf, x):
    pooled, places = _pool_with_places(tf, x)
    return {"pooled": tf.multiply(pooled, 1.5, name="after"), "places": places}


def _dilated(tf, x):
    element = tf.constant(_ELEMENT)
    return tf.nn.dilation2d(x, element, [1] * 4, "SAME", "NHWC", [1] * 4, name="faulty")


def _crops(tf, x):
    boxes = tf.constant([[0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.9, 0.8]])
    return tf.image.crop_and_resize(x, boxes, [1, 0], [3, 3], name="faulty")


def _transformed(matrices, mode="CONSTANT", interpolation="BILINEAR"):
    return lambda tf, x: tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.constant(matrices, tf.float32),
        output_shape=[5, 5],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode=mode,
        name="faulty",
    )


def _suppressed(tf, boxes, scores):
    return tf.image.non_max_suppression(boxes, scores, 4, iou_threshold=0.5, name="faulty")


_TRANSFORM = "`ImageProjectiveTransformV3` (Keras' `RandomRotation`, `RandomZoom`, `RandomTranslation`)"

CASES = {
    "pool of low numbers": Known(
        "`MaxPool`",
        "all numbers under the window are below -1e20, or -Inf",
        "-1e20: the search for the largest starts there",
        "mask with -1e9 instead of -Inf",
        f"{_GPU}pool_gpu.ts#L55",
        lambda tf, x: tf.nn.max_pool2d(x, 2, 2, "VALID", name="faulty"),
        {"x": _BELOW_0 * np.float32(1e21)},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "pool with places of negative numbers": Known(
        "`MaxPoolWithArgmax`",
        "all numbers under the window are negative",
        "1.2e-38 and the place 0: the search for the largest starts at the smallest positive number",
        "add a constant before it and subtract the constant after it",
        f"{_WASM}cc/kernels/MaxPoolWithArgmax.cc",
        lambda tf, x: _pool_with_places(tf, x)[0],
        {"x": _BELOW_0},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "places of equal numbers": Known(
        "`MaxPoolWithArgmax`",
        "the largest number is several times under the window, such as 0 after ReLU",
        "the last of their places instead of the first",
        "add a small slope over the image, such as `1e-6 * tf.range(...)`",
        f"{_GPU}pool_gpu.ts#L59",
        _places,
        {"x": np.float32([1, 1, 0, 2, 1, 0, 2, 2, 3, 3, 3, 3, 0, 0, 4, 3]).reshape(1, 4, 4, 1)},
        ("webgl", "wasm"),
        ("cpu",),
        blamed="faulty:1",
    ),
    "dilation of negative numbers": Known(
        "`Dilation2D`",
        "all sums of image and filter are negative",
        "1.2e-38: the search for the largest starts at the smallest positive number",
        "add a constant before it and subtract the constant after it",
        f"{_WASM}cc/dilation2d_impl.h",
        _dilated,
        {"x": _IMAGES[:1] - 9},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "pool of NaN": Known(
        "`MaxPool`",
        "a number under the window is NaN",
        "-Inf; TensorFlow gives NaN or the largest number",
        "replace NaN with `tf.where` before it",
        f"{_WASM}cc/kernels/MaxPool.cc",
        lambda tf, x: tf.nn.max_pool2d(
            tf.math.cos(tf.multiply(x, 1e38, name="steep"), name="wave"), 2, 2, "VALID", name="faulty"
        ),
        {"x": np.float32([50, 1e-37, 2e-37, 0] * 4).reshape(1, 4, 4, 1)},
        ("wasm",),
    ),
    "crops of several images": Known(
        "`CropAndResize` (`tf.image.crop_and_resize`)",
        "several images, and boxes that are not of the image with their own number",
        "box 0 is cut from image 0, box 1 from image 1, whatever `box_indices` says",
        "`tf.gather(images, box_indices)` before it, with box indices 0, 1, 2, ...",
        f"{_GPU}crop_and_resize_gpu.ts#L106",
        _crops,
        {"x": _IMAGES},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "transform of several images": Known(
        _TRANSFORM,
        "several images",
        "all images but the first are the fill value",
        "one image at a time",
        f"{_CPU}kernels/Transform.ts#L111",
        _transformed([_SHIFT, _SHIFT]),
        {"x": _IMAGES},
        ("cpu",),
        ("wasm", "webgl"),
    ),
    "reflecting transform": Known(
        _TRANSFORM,
        "fill mode `reflect` (the default of these layers), places left of or above the image",
        "other pixels: negative places are compared with unsigned sizes",
        "fill mode `constant` or `nearest`",
        f"{_WASM}cc/kernels/Transform.cc",
        _transformed([[1.0, 0, -2.3, 0, 1.0, -1.2, 0, 0]], "REFLECT"),
        {"x": _IMAGES[:1]},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "transform by half a pixel": Known(
        _TRANSFORM,
        "interpolation `nearest`, places that lie half a pixel left of or above the image",
        "the first row and column instead of the fill value: -0.5 is rounded up",
        "interpolation `bilinear`",
        f"{_CPU}kernels/Transform.ts",
        _transformed([[1.0, 0, -0.5, 0, 1.0, -0.5, 0, 0]], interpolation="NEAREST"),
        {"x": _IMAGES[:1]},
        ("cpu", "webgl"),
        ("wasm",),
    ),
    "boxes at the threshold": Known(
        "`NonMaxSuppressionV3`, `V4`, `V5` (`tf.image.non_max_suppression`)",
        "the overlap (IoU) of two boxes equals the threshold",
        "the box with the lower score is dropped; TensorFlow keeps it",
        "a threshold that no overlap hits, such as 0.5001",
        "tfjs-core/src/backends/non_max_suppression_impl.ts#L106",
        _suppressed,
        {
            "boxes": np.float32([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]),
            "scores": np.float32([0.9, 0.8, 0.7, 0.6]),
        },
        ("cpu", "wasm", "webgl"),
        kinds=KINDS,
        blamed="faulty/NonMaxSuppressionV3",
    ),
}
