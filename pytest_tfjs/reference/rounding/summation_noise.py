"""Measures how much the order of summation changes a layer's sums, on a sample of elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import MATRIX_PRODUCTS
from pytest_tfjs.reference.rounding.term_counts import is_transposed

if TYPE_CHECKING:
    from pytest_tfjs.reference.rounding.rounding_step import Step

Array = np.ndarray[Any, np.dtype[Any]]

SAMPLE = 128
"""The most elements in a sample."""

_ORDERS = 3
_MOST_NUMBERS = 1 << 21
_SEED = 4


def noise_of(step: Step, added: Array | None = None) -> float | None:
    """The relative noise of summing in float32 in random orders.

    It is the root mean square difference to the sum in float64, over a sample of the output's elements,
    divided by the root mean square of the sums of magnitudes of these elements. The sample and the orders are
    the same each time. `added`: a number that is added to each element, such as a bias, with which kernels
    may begin. None for an operation without a sum, or one whose summands are unknown.
    """
    summands = sampled_summands(step)
    if summands is None or summands[1].shape[1] < 2:  # noqa: PLR2004  (one number has one order)
        return None
    flat, numbers = summands
    if added is not None:
        numbers = np.concatenate([numbers, np.float32(added.reshape(-1)[flat, None])], -1)
    exact = np.sum(numbers, -1, dtype=np.float64)
    magnitude = _rms(np.sum(np.abs(numbers), -1, dtype=np.float64))
    if not (math.isfinite(magnitude) and magnitude > 0):
        return None
    rng = np.random.default_rng(_SEED)
    off = [
        # `accumulate` adds one after another; `sum` would add in pairs.
        np.add.accumulate(numbers[:, rng.permutation(numbers.shape[1])], -1)[:, -1] - exact
        for _ in range(_orders(*numbers.shape))
    ]
    return _rms(np.concatenate(off)) / magnitude


def _orders(elements: int, numbers: int) -> int:
    """How often to sum each element, so that few elements do not make a measure by chance."""
    most = _ORDERS * _MOST_NUMBERS // (elements * numbers)
    return max(_ORDERS, min(_ORDERS * SAMPLE // elements, most))


def sampled_summands(step: Step, most: int = SAMPLE) -> tuple[Array, Array] | None:
    """A sample of an operation's output: flat indices of elements, and the numbers that each one sums.

    The numbers are float32, one row for each element; padding counts as 0. For a mean they are the numbers
    averaged. None for an operation without a sum, or one whose summands are unknown.
    """
    if step.op in MATRIX_PRODUCTS:
        return _of_matrices(step, most)
    if step.op in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        return _of_convolution(step, most)
    if step.op == "Conv2DBackpropInput":
        return _of_transposed(step, most)
    if step.op in ("Sum", "Mean"):
        return _of_axes(step, most)
    return None


def _of_matrices(step: Step, most: int) -> tuple[Array, Array]:
    a, b = step.value(0), step.value(1)
    if is_transposed(step.operation, ("transpose_a", "adj_x")):
        a = a.swapaxes(-1, -2)
    if is_transposed(step.operation, ("transpose_b", "adj_y")):
        b = b.swapaxes(-1, -2)
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*outer, a.shape[-2], b.shape[-1])
    flat, at = _sample(shape, a.shape[-1], most)
    a = np.broadcast_to(a, (*outer, *a.shape[-2:]))
    b = np.broadcast_to(b, (*outer, *b.shape[-2:])).swapaxes(-1, -2)
    return flat, _products(a[at[:-1]], b[(*at[:-2], at[-1])])


def _of_axes(step: Step, most: int) -> tuple[Array, Array]:
    x = step.value(0)
    axes = sorted({int(axis) % x.ndim for axis in np.atleast_1d(step.value(1))}) if x.ndim else []
    outer = [axis for axis in range(x.ndim) if axis not in axes]
    moved = x.transpose(*outer, *axes).reshape(*(x.shape[axis] for axis in outer), -1)
    flat, at = _sample(moved.shape[:-1], moved.shape[-1], most)
    return flat, np.asarray(moved[at], np.float32).reshape(len(flat), -1)


def _of_convolution(step: Step, most: int) -> tuple[Array, Array] | None:
    if step.attribute("data_format").decode() not in ("NHWC", "NDHWC"):
        return None
    x, kernel = step.value(0), step.value(1)
    depthwise = step.op == "DepthwiseConv2dNative"
    space = x.ndim - 2
    strides, dilations = (step.attribute(name)[1:-1] for name in ("strides", "dilations"))
    spans = [(size - 1) * by + 1 for size, by in zip(kernel.shape, dilations, strict=False)]
    pads = _pads(step, x.shape[1:-1], spans, strides)
    sizes = [
        (size + before + after - span) // stride + 1
        for size, (before, after), span, stride in zip(x.shape[1:-1], pads, spans, strides, strict=True)
    ]
    channels = kernel.shape[-2] * kernel.shape[-1] if depthwise else kernel.shape[-1]
    shape = (x.shape[0], *sizes, channels)
    flat, at = _sample(shape, int(np.prod(kernel.shape[: space if depthwise else -1])), most)
    positions = [
        (at[1 + axis] * strides[axis] - pads[axis][0])[:, None] + np.arange(size) * dilations[axis]
        for axis, size in enumerate(kernel.shape[:space])
    ]
    patches = _patches(x, at[0], positions)
    if depthwise:
        taken = kernel.reshape(*kernel.shape[:space], -1)[..., at[-1]]
        source = at[-1] // kernel.shape[-1]
        inner = np.take_along_axis(patches, source.reshape(-1, *[1] * (space + 1)), -1)[..., 0]
        return flat, _products(inner, np.moveaxis(taken, -1, 0))
    # A kernel with fewer channels than the image belongs to a grouped convolution.
    groups = x.shape[-1] // kernel.shape[-2]
    first = at[-1] // (channels // groups) * kernel.shape[-2]
    within = first[:, None] + np.arange(kernel.shape[-2])
    inner = np.take_along_axis(patches, within.reshape(len(flat), *[1] * space, -1), -1)
    return flat, _products(inner, np.moveaxis(kernel[..., at[-1]], -1, 0))


def _of_transposed(step: Step, most: int) -> tuple[Array, Array] | None:
    """A transposed convolution sums at p the elements at (p + pad - k)/stride, for each k of the window."""
    shape, kernel, x = (step.value(index) for index in range(3))
    strides, dilations = (step.attribute(name)[1:-1] for name in ("strides", "dilations"))
    if step.attribute("data_format").decode() != "NHWC" or set(dilations) != {1}:
        return None
    window = kernel.shape[:2]
    sizes = tuple(int(size) for size in shape)
    pads = _pads(step, sizes[1:3], list(window), strides)
    flat, at = _sample(sizes, int(np.prod(window)) * kernel.shape[-1], most)
    positions = []
    for axis, size in enumerate(window):
        reached = (at[1 + axis] + pads[axis][0])[:, None] - np.arange(size)
        positions.append(np.where(reached % strides[axis], -1, reached // strides[axis]))
    return flat, _products(_patches(x, at[0], positions), np.moveaxis(kernel[:, :, at[-1]], 2, 0))


def _pads(step: Step, sizes: tuple[int, ...], spans: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """The padding before and after each spatial axis."""
    padding = step.attribute("padding").decode()
    if padding == "EXPLICIT":
        pads = step.attribute("explicit_paddings")[2:-2]
        return list(zip(pads[::2], pads[1::2], strict=True))
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    total = [
        max((-(-size // stride) - 1) * stride + span - size, 0)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    return [(each // 2, each - each // 2) for each in total]


def _patches(x: Array, images: Array, positions: list[Array]) -> Array:
    """The patches of the images at `positions` (one row for each patch, by axis); 0 outside the image."""
    space = len(positions)
    inside: Any = True
    index: list[Array] = [images.reshape(-1, *[1] * space)]
    for axis, position in enumerate(positions):
        shape = [len(position), *[1] * space]
        shape[1 + axis] = position.shape[1]
        spread = position.reshape(shape)
        length = x.shape[1 + axis]
        inside = inside & (spread >= 0) & (spread < length)
        index.append(np.clip(spread, 0, length - 1))
    found: Array = np.where(np.asarray(inside)[..., None], x[tuple(index)], 0)
    return found


def _sample(shape: tuple[int, ...], terms: int, most: int) -> tuple[Array, tuple[Array, ...]]:
    """Flat indices into `shape`, the same each time, and the same indices as one array for each axis."""
    size = math.prod(shape)
    count = min(most, size, max(1, _MOST_NUMBERS // max(terms, 1)))
    flat = np.sort(np.random.default_rng(_SEED).choice(size, count, replace=False))
    return flat, np.unravel_index(flat, shape) if shape else ()


def _products(a: Array, b: Array) -> Array:
    rows = len(a)
    return (np.asarray(a, np.float32) * np.asarray(b, np.float32)).reshape(rows, -1)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
