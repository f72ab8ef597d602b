"""Translates a Keras 2 layer into steps, from its class, config, weights and inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_ACTIVATIONS = {
    "linear": "Identity",
    "relu": "Relu",
    "relu6": "Relu6",
    "elu": "Elu",
    "selu": "Selu",
    "sigmoid": "Sigmoid",
    "hard_sigmoid": "HardSigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "swish": "Swish",
    "silu": "Swish",
    "gelu": "Gelu",
    "mish": "Mish",
    "exponential": "Exp",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}


def keras_steps(
    class_name: str, config: Mapping[str, Any], weights: Sequence[Array], inputs: Sequence[Array]
) -> tuple[Step, ...]:
    """The layer's steps. Raises CannotRecompute for a class, or an activation, that is not supported."""
    make = _LAYERS.get(class_name)
    if make is None:
        raise CannotRecompute(f"{class_name} cannot be recomputed in numpy")
    try:
        return tuple(make(config, list(weights), list(inputs)))
    except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        raise CannotRecompute(
            f"{class_name} with this config cannot be recomputed in numpy: {error!r}"
        ) from error


def activation_op(name: Any) -> str:
    """The operation of a Keras activation."""
    if isinstance(name, dict):
        name = name.get("config") if isinstance(name.get("config"), str) else name.get("class_name")
    op = _ACTIVATIONS.get(str(name or "linear").lower())
    if op is None:
        raise CannotRecompute(f"the activation {name!r} cannot be recomputed in numpy")
    return op


def _activated(steps: list[Step], config: Mapping[str, Any]) -> list[Step]:
    op = activation_op(config.get("activation"))
    return steps if op == "Identity" else [*steps, Step(op, (len(steps) - 1,))]


def _biased(
    steps: list[Step], weights: Sequence[Array], attributes: Mapping[str, Any] | None = None
) -> list[Step]:
    if not weights:
        return steps
    return [*steps, Step("BiasAdd", (len(steps) - 1, weights[0]), attributes or {})]


def _format(config: Mapping[str, Any]) -> str:
    return "NCHW" if config.get("data_format") == "channels_first" else "NHWC"


def _spread(pair: Any, data_format: str) -> list[int]:
    rows, columns = (pair, pair) if isinstance(pair, int) else pair
    return [1, 1, rows, columns] if data_format == "NCHW" else [1, rows, columns, 1]


def _windowed(config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    data_format = _format(config)
    return {
        "padding": str(config.get("padding", "valid")).upper(),
        "strides": _spread(config.get("strides", 1), data_format),
        "dilations": _spread(config.get("dilation_rate", 1), data_format),
        "data_format": data_format,
        **more,
    }


def _convolution(op: str) -> Callable[..., list[Step]]:
    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        attributes = _windowed(config)
        first = Step(op, (inputs[0], weights[0]), attributes)
        return _activated(_biased([first], weights[1:], {"data_format": _format(config)}), config)

    return make


def _separable(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    first = Step("DepthwiseConv2dNative", (inputs[0], weights[0]), _windowed(config))
    second = Step("Conv2D", (0, weights[1]), {"data_format": _format(config), "padding": "VALID"})
    return _activated(_biased([first, second], weights[2:], {"data_format": _format(config)}), config)


def _transposed(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    if config.get("output_padding") is not None or _format(config) == "NCHW":
        raise CannotRecompute(
            "a Conv2DTranspose with output_padding or channels_first cannot be recomputed in numpy"
        )
    attributes, x, kernel = _windowed(config), inputs[0], weights[0]
    sizes = []
    for axis in (0, 1):
        stride, size = attributes["strides"][1 + axis], kernel.shape[axis]
        more = max(size - stride, 0) if attributes["padding"] == "VALID" else 0
        sizes.append(x.shape[1 + axis] * stride + more)
    shape = np.array([x.shape[0], *sizes, kernel.shape[2]])
    first = Step("Conv2DBackpropInput", (shape, kernel, x), attributes)
    return _activated(_biased([first], weights[1:]), config)


def _one_dimensional(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    """As TensorFlow and TF.js do: an image of one row."""
    if config.get("padding") == "causal" or config.get("data_format") == "channels_first":
        raise CannotRecompute("a causal or channels_first Conv1D cannot be recomputed in numpy")
    one = {key: [1, *np.atleast_1d(config.get(key, 1)).tolist()] for key in ("strides", "dilation_rate")}
    attributes = _windowed({**config, **one, "data_format": None})
    steps = [
        Step("ExpandDims", (inputs[0], np.array(1))),
        Step("Conv2D", (0, weights[0][np.newaxis]), attributes),
        Step("Squeeze", (1,), {"squeeze_dims": [1]}),
    ]
    return _activated(_biased(steps, weights[1:]), config)


def _dense(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    return _activated(_biased([Step("MatMul", (inputs[0], weights[0]))], weights[1:]), config)


def _batch_norm(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    remaining = list(weights)
    channels = remaining[-1].shape
    gamma = remaining.pop(0) if config.get("scale", True) else np.ones(channels)
    beta = remaining.pop(0) if config.get("center", True) else np.zeros(channels)
    axis = config.get("axis", -1)
    attributes = {"epsilon": config.get("epsilon", 1e-3), "axis": axis[0] if isinstance(axis, list) else axis}
    return [Step("FusedBatchNormV3", (inputs[0], gamma, beta, *remaining), attributes)]


def _layer_norm(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    remaining = list(weights)
    gamma = remaining.pop(0) if config.get("scale", True) else np.ones(inputs[0].shape[-1])
    beta = remaining.pop(0) if config.get("center", True) else np.zeros(gamma.shape)
    attributes = {"epsilon": config.get("epsilon", 1e-3), "axis": config.get("axis", -1)}
    return [Step("LayerNorm", (inputs[0], gamma, beta), attributes)]


def _function(op: str, **keys: tuple[str, float]) -> Callable[..., list[Step]]:
    """A layer of one operation on its input; `keys`: the config's key and default of each attribute."""

    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        del weights
        return [Step(op, (inputs[0],), {name: config.get(key, usual) for name, (key, usual) in keys.items()})]

    return make


def _relu(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    slope, most, least = (config.get(key) for key in ("negative_slope", "max_value", "threshold"))
    if least:
        attributes = {"threshold": float(least), "alpha": float(slope or 0), "most": most}
        return [Step("ReLU", (inputs[0],), attributes)]
    if slope:
        first = Step("LeakyRelu", (inputs[0],), {"alpha": float(slope)})
        return [first] if most is None else [first, Step("Minimum", (0, np.array(most, np.float64)))]
    if most is None:
        return [Step("Relu", (inputs[0],))]
    if most == 6:  # noqa: PLR2004
        return [Step("Relu6", (inputs[0],))]
    return [Step("ClipByValue", (inputs[0], np.array(0.0), np.array(most, np.float64)))]


def _activation(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    return [Step(activation_op(config.get("activation")), (inputs[0],))]


def _pool(op: str) -> Callable[..., list[Step]]:
    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        del weights
        size = config.get("pool_size", 2)
        pooling = {**config, "strides": config.get("strides") or size, "dilation_rate": 1}
        attributes = _windowed(pooling, ksize=_spread(size, _format(config)))
        return [Step(op, (inputs[0],), attributes)]

    return make


def _over_all(op: str, axes: Sequence[int]) -> Callable[..., list[Step]]:
    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        del weights
        shift = 1 if config.get("data_format") == "channels_first" else 0
        over = np.array([axis + shift for axis in axes])
        return [Step(op, (inputs[0], over), {"keep_dims": bool(config.get("keepdims", False))})]

    return make


def _enlarged(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    x, size = inputs[0], config.get("size", 2)
    rows, columns = (size, size) if isinstance(size, int) else size
    return _resized(config, x, (x.shape[1] * rows, x.shape[2] * columns))


def _resizing(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    return _resized(config, inputs[0], (config["height"], config["width"]))


def _resized(config: Mapping[str, Any], x: Array, sizes: tuple[int, int]) -> list[Step]:
    op = {"nearest": "ResizeNearestNeighbor", "bilinear": "ResizeBilinear"}[
        config.get("interpolation", "nearest")
    ]
    if _format(config) == "NCHW":
        raise CannotRecompute("resizing with channels_first cannot be recomputed in numpy")
    return [Step(op, (x, np.array(sizes)), {"half_pixel_centers": True, "align_corners": False})]


def _padded(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    pads = np.zeros((inputs[0].ndim, 2), np.int64)
    first = 2 if config.get("data_format") == "channels_first" else 1
    padding = config.get("padding", 1)
    if isinstance(padding, int):
        padding = [[padding, padding]] * (inputs[0].ndim - 2)
    pads[first : first + len(padding)] = [[one, one] if isinstance(one, int) else one for one in padding]
    return [Step("Pad", (inputs[0], pads))]


def _flattened(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del config, weights
    x = inputs[0]
    return [Step("Reshape", (x, np.array([x.shape[0], math.prod(x.shape[1:])])))]


def _reshaped(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    return [Step("Reshape", (inputs[0], np.array([inputs[0].shape[0], *config["target_shape"]])))]


def _permuted(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    return [Step("Transpose", (inputs[0], np.array([0, *config["dims"]])))]


def _merged(op: str) -> Callable[..., list[Step]]:
    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        del config, weights
        steps = [Step(op, (inputs[0], inputs[1]))]
        for entering in inputs[2:]:
            steps.append(Step(op, (len(steps) - 1, entering)))
        return steps

    return make


def _averaged(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    steps = _merged("AddV2")(config, weights, inputs)
    return [*steps, Step("RealDiv", (len(steps) - 1, np.array(float(len(inputs)))))]


def _joined(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    return [Step("ConcatV2", (*inputs, np.array(config.get("axis", -1))))]


def _scaled(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del weights
    scale, offset = (
        np.asarray(config.get(key, usual), np.float64) for key, usual in (("scale", 1), ("offset", 0))
    )
    return [Step("Mul", (inputs[0], scale)), Step("AddV2", (0, offset))]


def _embedded(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
    del config
    return [Step("GatherV2", (weights[0], inputs[0].astype(np.int64), np.array(0)))]


def _recurrent(op: str) -> Callable[..., list[Step]]:
    def make(config: Mapping[str, Any], weights: list[Array], inputs: list[Array]) -> list[Step]:
        if config.get("return_state") or len(inputs) > 1:
            raise CannotRecompute(
                f"a {op} with an initial state or return_state cannot be recomputed in numpy"
            )
        flags = ("return_sequences", "go_backwards", "reset_after")
        attributes: dict[str, Any] = {key: bool(config.get(key, False)) for key in flags}
        for key, usual in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            attributes[key] = activation_op(config.get(key, usual))
        return [Step(op, (inputs[0], *weights), attributes)]

    return make


_LAYERS: Mapping[str, Callable[..., list[Step]]] = {
    "Dense": _dense,
    "Conv1D": _one_dimensional,
    "Conv2D": _convolution("Conv2D"),
    "DepthwiseConv2D": _convolution("DepthwiseConv2dNative"),
    "SeparableConv2D": _separable,
    "Conv2DTranspose": _transposed,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _function("LeakyRelu", alpha=("alpha", 0.3)),
    "ELU": _function("Elu", alpha=("alpha", 1.0)),
    "PReLU": lambda _, weights, inputs: [Step("Prelu", (inputs[0], weights[0]))],
    "Softmax": _function("Softmax", axis=("axis", -1)),
    "MaxPooling2D": _pool("MaxPool"),
    "AveragePooling2D": _pool("AvgPool"),
    "GlobalAveragePooling1D": _over_all("Mean", [1]),
    "GlobalAveragePooling2D": _over_all("Mean", [1, 2]),
    "GlobalMaxPooling1D": _over_all("Max", [1]),
    "GlobalMaxPooling2D": _over_all("Max", [1, 2]),
    "UpSampling2D": _enlarged,
    "Resizing": _resizing,
    "Rescaling": _scaled,
    "ZeroPadding1D": _padded,
    "ZeroPadding2D": _padded,
    "Flatten": _flattened,
    "Reshape": _reshaped,
    "Permute": _permuted,
    "Dropout": _function("Identity"),
    "Add": _merged("AddV2"),
    "Subtract": _merged("Sub"),
    "Multiply": _merged("Mul"),
    "Maximum": _merged("Maximum"),
    "Minimum": _merged("Minimum"),
    "Average": _averaged,
    "Concatenate": _joined,
    "Embedding": _embedded,
    "GRU": _recurrent("GRU"),
    "LSTM": _recurrent("LSTM"),
}
