"""Operations over axes in numpy: matrix products, reductions, norms, padding, slicing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import BATCH_NORMS, MATRIX_PRODUCTS, PADS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]


def channels_first(attributes: Mapping[str, Any]) -> bool:
    """Whether the channels are axis 1 instead of the last axis."""
    return str(attributes.get("data_format", "NHWC")).startswith("NC")


def _bias_add(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, bias = inputs
    if channels_first(attributes):
        bias = bias.reshape(1, -1, *(1,) * (x.ndim - 2))
    return np.asarray(x + bias)


def _matmul(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    a, b = inputs
    if attributes.get("transpose_a") or attributes.get("adj_x"):
        a = a.swapaxes(-1, -2)
    if attributes.get("transpose_b") or attributes.get("adj_y"):
        b = b.swapaxes(-1, -2)
    return np.asarray(a @ b)


def _axes(axes: Array | int | Sequence[int]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.asarray(axes).reshape(-1))


def _reduction(function: Callable[..., Any]) -> Any:
    def reduce(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
        keep = bool(attributes.get("keep_dims", False))
        return np.asarray(function(inputs[0], axis=_axes(inputs[1]), keepdims=keep))

    return reduce


def _position(function: Callable[..., Any]) -> Any:
    def find(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
        del attributes
        (axis,) = _axes(inputs[1]) if len(inputs) > 1 else (0,)
        return np.asarray(function(inputs[0], axis=axis))

    return find


def _softmax(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    axis = attributes.get("axis", -1)
    powers = np.exp(inputs[0] - inputs[0].max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _cumsum(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, (axis,) = inputs[0], _axes(inputs[1])
    if attributes.get("reverse"):
        x = np.flip(x, axis)
    total = np.cumsum(x, axis=axis)
    if attributes.get("exclusive"):
        total = total - x
    return np.flip(total, axis) if attributes.get("reverse") else total


def _batch_norm(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """Ioffe & Szegedy 2015, algorithm 2, with statistics of the training."""
    x, gamma, beta, mean, variance = inputs
    axis = 1 if channels_first(attributes) else attributes.get("axis", -1)
    shape = [1] * x.ndim
    shape[axis] = -1
    gamma, beta, mean, variance = (each.reshape(shape) for each in (gamma, beta, mean, variance))
    return np.asarray(gamma * (x - mean) / np.sqrt(variance + attributes.get("epsilon", 1e-4)) + beta)


def _layer_norm(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """Ba, Kiros & Hinton 2016, equation 4, over the last axis or `axis`."""
    x, gamma, beta = inputs
    axes = _axes(attributes.get("axis", -1))
    shape = [x.shape[axis] if axis in {each % x.ndim for each in axes} else 1 for axis in range(x.ndim)]
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    scaled = (x - mean) / np.sqrt(variance + attributes.get("epsilon", 1e-3))
    return np.asarray(scaled * gamma.reshape(shape) + beta.reshape(shape))


def _reshape(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x = inputs[0]
    if attributes.get("channels") == "first":  # flattened as if the channels came before the rows
        x = np.moveaxis(x, -1, 1)
    return x.reshape(_axes(inputs[1]))


def _squeeze(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    axes = tuple(attributes.get("squeeze_dims") or attributes.get("axis") or ())
    return np.squeeze(inputs[0], axis=axes or None)


def _pad(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    x, pads = inputs[0], np.asarray(inputs[1])
    if attributes.get("side") == "other":
        pads = pads[:, ::-1]
    mode = attributes.get("mode")
    if mode == "SYMMETRIC":
        return np.pad(x, pads, mode="symmetric")
    if mode is not None:
        return np.pad(x, pads, mode="reflect")
    return np.pad(x, pads, constant_values=inputs[2].item() if len(inputs) > 2 else 0)  # noqa: PLR2004


def _slice(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    del attributes
    x, begins, sizes = inputs
    ranges = zip(_axes(begins), _axes(sizes), strict=True)
    return x[tuple(slice(begin, None if size < 0 else begin + size) for begin, size in ranges)]


def _strided_slice(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """As Python indexes; bit `n` of each mask is of the index's item `n`."""
    x, *bounds = inputs
    index: list[Any] = []
    for number, (begin, end, stride) in enumerate(zip(*map(_axes, bounds), strict=True)):
        masked = {name for name, mask in attributes.items() if name.endswith("mask") and mask >> number & 1}
        if "ellipsis_mask" in masked:
            index.append(Ellipsis)
        elif "new_axis_mask" in masked:
            index.append(None)
        elif "shrink_axis_mask" in masked:
            index.append(begin)
        else:
            first, last = None if "begin_mask" in masked else begin, None if "end_mask" in masked else end
            index.append(slice(first, last, stride))
    return np.asarray(x[tuple(index)])


def _gather(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    del attributes
    (axis,) = _axes(inputs[2]) if len(inputs) > 2 else (0,)  # noqa: PLR2004
    return np.take(inputs[0], inputs[1], axis=axis)


def _concatenated(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    del attributes
    return np.concatenate(inputs[:-1], axis=_axes(inputs[-1])[0])


SHAPING: Mapping[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {
    "BiasAdd": _bias_add,
    **dict.fromkeys(MATRIX_PRODUCTS, _matmul),
    "Einsum": lambda inputs, attributes: np.einsum(attributes["equation"], *inputs),
    "Mean": _reduction(np.mean),
    "Sum": _reduction(np.sum),
    "Max": _reduction(np.max),
    "Min": _reduction(np.min),
    "Prod": _reduction(np.prod),
    "All": _reduction(np.all),
    "Any": _reduction(np.any),
    "ArgMax": _position(np.argmax),
    "ArgMin": _position(np.argmin),
    "Softmax": _softmax,
    "LogSoftmax": lambda inputs, attributes: np.log(_softmax(inputs, attributes)),
    "Cumsum": _cumsum,
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    "LayerNorm": _layer_norm,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": lambda inputs, _: np.expand_dims(inputs[0], _axes(inputs[1])[0]),
    "Transpose": lambda inputs, _: np.transpose(inputs[0], _axes(inputs[1])),
    "ConcatV2": _concatenated,
    "Pack": lambda inputs, attributes: np.stack(inputs, axis=attributes.get("axis", 0)),
    **dict.fromkeys(PADS, _pad),
    "Tile": lambda inputs, _: np.tile(inputs[0], _axes(inputs[1])),
    "BroadcastTo": lambda inputs, _: np.broadcast_to(inputs[0], _axes(inputs[1])),
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "GatherV2": _gather,
    "ReverseV2": lambda inputs, _: np.flip(inputs[0], _axes(inputs[1])),
}
