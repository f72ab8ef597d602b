"""Operations over the rows and columns of images in numpy: convolution, pooling, resizing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.shaping import channels_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]
Pads = tuple[int, int]

_ROWS_AND_COLUMNS = (0, 1)


def pads_of(sizes: Sequence[int], window: Sequence[int], attributes: Mapping[str, Any]) -> tuple[Pads, Pads]:
    """The padding before and after rows and columns; `window` and strides with dilation counted in.

    `SAME` puts the odd one after them; under `odd="before"` it is put before them, as PyTorch and Caffe do.
    """
    padding = attributes.get("padding", "VALID")
    if padding == "EXPLICIT":
        flat = [int(each) for each in attributes["explicit_paddings"]]
        first = 2 * _first(attributes)
        return (flat[first], flat[first + 1]), (flat[first + 2], flat[first + 3])
    found = []
    for axis in _ROWS_AND_COLUMNS:
        total = 0
        if padding == "SAME":
            stride = _pair(attributes, "strides")[axis]
            total = max((math.ceil(sizes[axis] / stride) - 1) * stride + window[axis] - sizes[axis], 0)
        before = total - total // 2 if attributes.get("odd") == "before" else total // 2
        found.append((before, total - before))
    return found[0], found[1]


def _first(attributes: Mapping[str, Any]) -> int:
    """The axis of the rows."""
    return 2 if channels_first(attributes) else 1


def _pair(attributes: Mapping[str, Any], key: str) -> tuple[int, int]:
    values = attributes.get(key) or [1, 1, 1, 1]
    first = _first(attributes)
    return int(values[first]), int(values[first + 1])


def _last(array: Array, attributes: Mapping[str, Any]) -> Array:
    return np.moveaxis(array, 1, -1) if channels_first(attributes) else array


def _back(array: Array, attributes: Mapping[str, Any]) -> Array:
    return np.moveaxis(array, -1, 1) if channels_first(attributes) else array


def _windows(
    x: Array, window: tuple[int, int], attributes: Mapping[str, Any], fill: float
) -> Iterator[tuple[int, int, Array]]:
    """For each place in the window its row, its column, and the elements that stand there for all outputs."""
    strides, dilations = _pair(attributes, "strides"), _pair(attributes, "dilations")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(window, dilations, strict=True)]
    pads = pads_of(x.shape[1:3], spans, attributes)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    counts = [
        (size - span) // stride + 1
        for size, span, stride in zip(padded.shape[1:3], spans, strides, strict=True)
    ]
    for row in range(window[0]):
        for column in range(window[1]):
            top, left = row * dilations[0], column * dilations[1]
            rows = slice(top, top + (counts[0] - 1) * strides[0] + 1, strides[0])
            columns = slice(left, left + (counts[1] - 1) * strides[1] + 1, strides[1])
            yield row, column, padded[:, rows, columns]


def _convolved(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, kernel = _last(inputs[0], attributes), _turned(inputs[1], attributes)
    groups = x.shape[-1] // kernel.shape[2]
    if groups * kernel.shape[2] != x.shape[-1]:
        raise ValueError(
            f"the input has {x.shape[-1]} channels, not a multiple of the kernel's {kernel.shape[2]}"
        )
    each, filters = kernel.shape[2], kernel.shape[3] // groups
    parts = []
    for group in range(groups):
        part = x[..., group * each : (group + 1) * each]
        weights = kernel[..., group * filters : (group + 1) * filters]
        windows = _windows(part, kernel.shape[:2], attributes, 0.0)
        parts.append(sum(part @ weights[row, column] for row, column, part in windows))
    return _back(np.concatenate(parts, axis=-1), attributes)


def _convolved_by_channel(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, kernel = _last(inputs[0], attributes), _turned(inputs[1], attributes)
    windows = _windows(x, kernel.shape[:2], attributes, 0.0)
    total: Any = sum(part[..., np.newaxis] * kernel[row, column] for row, column, part in windows)
    if attributes.get("multiplier") == "first":  # the outputs of one channel stand apart, not side by side
        total = total.swapaxes(-1, -2)
    return _back(total.reshape(*total.shape[:-2], -1), attributes)


def _turned(kernel: Array, attributes: Mapping[str, Any]) -> Array:
    """The kernel with its rows and columns swapped or reversed, or with its channels reversed."""
    turn = attributes.get("kernel")
    if turn == "transposed":
        return kernel.swapaxes(0, 1)
    if turn == "rotated":
        return kernel[::-1, ::-1]
    return kernel[:, :, ::-1] if turn == "channels reversed" else kernel


def _deconvolved(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """The gradient of a convolution for its input; `inputs`: the shape of that, the kernel, the gradient."""
    shape, kernel, x = inputs[0], _turned(inputs[1], attributes), _last(inputs[2], attributes)
    first = _first(attributes)
    sizes = [int(size) for size in shape[first : first + 2]]
    strides = _pair(attributes, "strides")
    pads = pads_of(sizes, kernel.shape[:2], attributes)
    out = np.zeros(
        (x.shape[0], *(size + sum(pad) for size, pad in zip(sizes, pads, strict=True)), kernel.shape[2])
    )
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            rows = slice(row, row + (x.shape[1] - 1) * strides[0] + 1, strides[0])
            columns = slice(column, column + (x.shape[2] - 1) * strides[1] + 1, strides[1])
            out[:, rows, columns] += x @ kernel[row, column].T
    (top, _), (left, _) = pads
    return _back(out[:, top : top + sizes[0], left : left + sizes[1]], attributes)


def _pool_max(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x = _last(inputs[0], attributes)
    fill = 0.0 if attributes.get("outside") == "zero" else -math.inf
    parts = [part for _, _, part in _windows(x, _pair(attributes, "ksize"), attributes, fill)]
    return _back(np.maximum.reduce(parts), attributes)


def _pool_mean(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, size = _last(inputs[0], attributes), _pair(attributes, "ksize")
    total: Any = sum(part for _, _, part in _windows(x, size, attributes, 0.0))
    count: Any = size[0] * size[1]
    if attributes.get("outside") != "counted":
        count = sum(part for _, _, part in _windows(np.ones_like(x), size, attributes, 0.0))
    return _back(total / count, attributes)


def _places(old: int, new: int, attributes: Mapping[str, Any]) -> Array:
    """Where the centres of `new` pixels stand on `old` ones, in float32 as TensorFlow counts."""
    corners = attributes.get("align_corners", False) and new > 1
    scale = np.float32((old - 1) / (new - 1) if corners else old / new)
    numbers = np.arange(new, dtype=np.float32)
    return (numbers + np.float32(0.5)) * scale if attributes.get("half_pixel_centers") else numbers * scale


def _resized_nearest(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, sizes = inputs[0], [int(size) for size in inputs[1]]
    aligned = attributes.get("align_corners", False)
    for axis, new in enumerate(sizes, start=1):
        places = _places(x.shape[axis], new, attributes)
        nearest = np.floor(places + np.float32(0.5)) if aligned else np.floor(places)
        x = np.take(x, np.clip(nearest.astype(np.int64), 0, x.shape[axis] - 1), axis=axis)
    return x


def _resized_linear(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, sizes = inputs[0].astype(np.float64), [int(size) for size in inputs[1]]
    for axis, new in enumerate(sizes, start=1):
        last = x.shape[axis] - 1
        places = _places(x.shape[axis], new, attributes)
        places = places - np.float32(0.5) if attributes.get("half_pixel_centers") else places
        below = np.floor(places)
        low = np.clip(below, 0, last).astype(np.int64)
        high = np.clip(np.ceil(places), 0, last).astype(np.int64)
        share = (places - below).reshape(-1, *(1,) * (x.ndim - 1 - axis))
        x = np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share
    return x


def _depth_to_space(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, block = _last(inputs[0], attributes), int(attributes["block_size"])
    batch, rows, columns, depth = x.shape
    depth //= block * block
    if attributes.get("order") == "channels first":  # as ONNX's CRD, and PyTorch's pixel shuffle
        x = x.reshape(batch, rows, columns, depth, block, block).transpose(0, 1, 4, 2, 5, 3)
    else:
        x = x.reshape(batch, rows, columns, block, block, depth).transpose(0, 1, 3, 2, 4, 5)
    return _back(x.reshape(batch, rows * block, columns * block, depth), attributes)


def _space_to_depth(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, block = _last(inputs[0], attributes), int(attributes["block_size"])
    batch, rows, columns, depth = x.shape
    x = x.reshape(batch, rows // block, block, columns // block, block, depth)
    order = (0, 1, 3, 5, 2, 4) if attributes.get("order") == "channels first" else (0, 1, 3, 2, 4, 5)
    x = x.transpose(order).reshape(batch, rows // block, columns // block, depth * block * block)
    return _back(x, attributes)


SPATIAL: Mapping[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {
    "Conv2D": _convolved,
    "DepthwiseConv2dNative": _convolved_by_channel,
    "Conv2DBackpropInput": _deconvolved,
    "MaxPool": _pool_max,
    "AvgPool": _pool_mean,
    "ResizeBilinear": _resized_linear,
    "ResizeNearestNeighbor": _resized_nearest,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
