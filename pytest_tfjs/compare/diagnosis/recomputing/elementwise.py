"""Elementwise operations in numpy: arithmetic, functions and activations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

# Klambauer et al. 2017, "Self-normalizing neural networks", equation 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def hard_sigmoid(x: Array, slope: float = 0.2) -> Array:
    """The line of this slope through 1/2, clipped to 0..1: 0.2 in Keras 2 and TF.js, 1/6 in Keras 3."""
    return np.clip(slope * x + 0.5, 0.0, 1.0)


def _gelu(x: Array, *, approximate: bool) -> Array:
    """Hendrycks & Gimpel 2016, equations 1 (with the error function) and 2 (with tanh)."""
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _relu(x: Array, attributes: Mapping[str, Any], most: float = math.inf) -> Array:
    """max(x, 0); with `products`, as a GPU's kernel may do, x * 1 or x * 0, so that -Inf gives NaN."""
    if attributes.get("products"):
        return np.asarray(np.minimum(x, most) * (x >= 0))
    return np.clip(x, 0, most)


def _leaky_relu(x: Array, attributes: Mapping[str, Any]) -> Array:
    """x, or alpha * x if negative; with `products`, both times 0 or 1, so that Inf and -Inf give NaN."""
    slanted = attributes.get("alpha", 0.2) * x
    if attributes.get("products"):
        return np.asarray((x < 0) * slanted + (x >= 0) * x)
    return np.where(x > 0, x, slanted)


def _thresholded_relu(x: Array, attributes: Mapping[str, Any]) -> Array:
    """Keras's ReLU with a threshold: x from there on, at most `most`, and alpha * (x - threshold) before."""
    least, most = attributes["threshold"], attributes.get("most")
    above = x if most is None else np.minimum(x, most)
    return np.where(x >= least, above, attributes.get("alpha", 0.0) * (x - least))


ACTIVATIONS: Mapping[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "Identity": lambda x, _: x,
    "Relu": _relu,
    "Relu6": lambda x, a: _relu(x, a, 6),
    "LeakyRelu": _leaky_relu,
    "Elu": lambda x, a: _elu(x, a.get("alpha", 1.0)),
    "Selu": lambda x, _: _SELU_SCALE * _elu(x, _SELU_ALPHA),
    "Sigmoid": lambda x, _: sigmoid(x),
    "HardSigmoid": lambda x, a: hard_sigmoid(x, a.get("slope", 0.2)),
    "Tanh": lambda x, _: np.tanh(x),
    "Softplus": lambda x, _: _softplus(x),
    "Softsign": lambda x, _: x / (1 + np.abs(x)),
    "Swish": lambda x, a: x * sigmoid(a.get("beta", 1.0) * x),
    "HardSwish": lambda x, _: x * hard_sigmoid(x, 1 / 6),
    "Mish": lambda x, _: x * np.tanh(_softplus(x)),
    "Gelu": lambda x, a: _gelu(x, approximate=a.get("approximate", False)),
    "Exp": lambda x, _: np.exp(x),
}


def rounded(x: Array, rounding: str) -> Array:
    """To whole numbers; `rounding` is `half to even` (TensorFlow), `half up` (JavaScript), `half away`."""
    if rounding == "half up":
        return np.asarray(np.floor(x + 0.5))
    if rounding == "half away":
        return np.asarray(np.copysign(np.floor(np.abs(x) + 0.5), x))
    return np.asarray(np.rint(x))


def _cast(x: Array, attributes: Mapping[str, Any]) -> Array:
    dtype = np.dtype(attributes["DstT"])
    if dtype.kind in "iu" and x.dtype.kind == "f":
        x = {"down": np.floor, "to nearest": np.rint}.get(attributes.get("rounding", ""), np.trunc)(x)
    return x.astype(np.float64 if dtype.kind == "f" else dtype)


def _divided(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    a, b = inputs
    quotient = a / b
    if attributes.get("zero_over_zero") is not None:
        quotient = np.where((a == 0) & (b == 0), attributes["zero_over_zero"], quotient)
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return np.where(b == 0, 0, np.trunc(quotient)).astype(a.dtype)
    return np.asarray(quotient)


def _floor_div(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    a, b = inputs
    if attributes.get("division") != "truncated":
        return np.asarray(np.floor_divide(a, b))
    quotient = np.asarray(np.trunc(a / b))
    return quotient.astype(a.dtype) if a.dtype.kind in "iu" else quotient


def _floor_mod(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    truncated = attributes.get("division") == "truncated"
    return np.asarray(np.fmod(*inputs) if truncated else np.mod(*inputs))


def _multiplied(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    a, b = inputs
    held = attributes.get("held")
    if held is None:
        return np.asarray(a * b)
    if held == "rounded":
        product = (a.astype(np.float64) * b.astype(np.float64)).astype(np.float32)
    else:
        product = a.astype(np.float32) * b.astype(np.float32)
    whole = product.astype(np.float64)
    if attributes.get("stops"):
        bounds = np.iinfo(a.dtype)
        whole = np.clip(whole, bounds.min, bounds.max)
    return whole.astype(np.int64).astype(a.dtype)


def _greatest(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    return np.asarray((np.fmax if attributes.get("nan") == "dropped" else np.maximum)(*inputs))


def _least(inputs: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    return np.asarray((np.fmin if attributes.get("nan") == "dropped" else np.minimum)(*inputs))


def _of(activation: Callable[[Array, Mapping[str, Any]], Array]) -> Any:
    return lambda inputs, attributes: activation(inputs[0], attributes)


def _plain(function: Callable[..., Any]) -> Any:
    return lambda inputs, _: np.asarray(function(*inputs))


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Square": np.square, "Sqrt": np.sqrt, "Log": np.log, "Sign": np.sign,
    "Log1p": np.log1p, "Expm1": np.expm1, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin,
    "Acos": np.arccos, "Atan": np.arctan, "Atan2": np.arctan2, "Sinh": np.sinh, "Cosh": np.cosh,
    "Floor": np.floor, "Ceil": np.ceil, "Erf": _erf, "IsNan": np.isnan,
    "Rsqrt": lambda x: 1 / np.sqrt(x), "Reciprocal": lambda x: 1 / x,
    "Add": np.add, "AddV2": np.add, "AddN": lambda *each: sum(each[1:], each[0]),
    "Sub": np.subtract, "Pow": np.power, "SquaredDifference": lambda a, b: np.square(a - b),
    "DivNoNan": lambda a, b: np.where(b == 0, 0, a / b), "ClipByValue": np.clip,
    "Greater": np.greater, "GreaterEqual": np.greater_equal, "Less": np.less, "LessEqual": np.less_equal,
    "Equal": np.equal, "NotEqual": np.not_equal, "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or, "LogicalNot": np.logical_not, "Select": np.where, "SelectV2": np.where,
    "Prelu": lambda x, alpha: np.where(x > 0, x, alpha * x),
}  # fmt: skip

ELEMENTWISE: Mapping[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {
    **{name: _of(activation) for name, activation in ACTIVATIONS.items()},
    **{name: _plain(function) for name, function in _FUNCTIONS.items()},
    "Round": lambda inputs, attributes: rounded(inputs[0], attributes.get("rounding", "half to even")),
    "Cast": lambda inputs, attributes: _cast(inputs[0], attributes),
    "ReLU": _of(_thresholded_relu),
    "RealDiv": _divided,
    "Div": _divided,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "Mul": _multiplied,
    "Maximum": _greatest,
    "Minimum": _least,
}
