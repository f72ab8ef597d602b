"""Derivatives of elementwise functions, and the functions that each operation evaluates."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import BATCH_NORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = np.ndarray[Any, np.dtype[Any]]

_SELU_SLOPE = 1.0507009873554805
_SELU_LOWEST = 1.7580993408473766

OF_ARGUMENT: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "Log": lambda x: 1 / x,
        "Log1p": lambda x: 1 / (1 + x),
        "Softsign": lambda x: 1 / np.square(1 + np.abs(x)),
        "Erf": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
        "Erfc": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
        "Sin": np.cos,
        "Cos": np.sin,
        "Asin": lambda x: 1 / np.sqrt(1 - x * x),
        "Acos": lambda x: 1 / np.sqrt(1 - x * x),
        "Atan": lambda x: 1 / (1 + x * x),
        "Sinh": np.cosh,
        "Cosh": np.sinh,
        "Asinh": lambda x: 1 / np.sqrt(1 + x * x),
        "Acosh": lambda x: 1 / np.sqrt(x * x - 1),
        "Atanh": lambda x: 1 / (1 - x * x),
    }
)
"""dy/dx of each function of x, up to its sign, from x."""

OF_RESULT: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "Exp": lambda y: y,
        "Expm1": lambda y: y + 1,
        "Sqrt": lambda y: np.where(y == 0, 0, 0.5 / y),
        "Rsqrt": lambda y: 0.5 * y**3,
        "Reciprocal": lambda y: y * y,
        "Inv": lambda y: y * y,
        "Tanh": lambda y: 1 - y * y,
        "Sigmoid": lambda y: y * (1 - y),
        "Softplus": lambda y: -np.expm1(-y),
        "Elu": lambda y: np.where(y > 0, 1, y + 1),
        "Selu": lambda y: np.where(y > 0, _SELU_SLOPE, y + _SELU_LOWEST),
        "Tan": lambda y: 1 + y * y,
    }
)
"""dy/dx of each function y of x, up to its sign, from y."""

_EVALUATED = {
    "Softmax": ("Exp", "RealDiv"),
    "LogSoftmax": ("Exp", "Log"),
    **dict.fromkeys(BATCH_NORMS, ("Rsqrt",)),
    "FFT": ("Sin", "Cos"),
    "IFFT": ("Sin", "Cos"),
    "RFFT": ("Sin", "Cos"),
    "IRFFT": ("Sin", "Cos"),
    "ComplexAbs": ("Sqrt",),
    "Mean": ("RealDiv",),
    "AvgPool": ("RealDiv",),
    "AvgPool3D": ("RealDiv",),
    **dict.fromkeys(("Div", "RealDiv", "DivNoNan", "Xdivy", "FloorDiv", "FloorMod", "Mod"), ("RealDiv",)),
    "Pow": ("Pow",),
}

FUNCTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {**{op: (op,) for op in (*OF_ARGUMENT, *OF_RESULT)}, **_EVALUATED}
)
"""The functions that each operation evaluates; both by the names of graph operations."""
