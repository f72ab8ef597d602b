"""Accuracy of functions such as Exp and Tanh, by backend, in units in the last place (ulp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.compare.dtypes import LARGEST_HALF, SMALLEST_NORMAL_HALF, ULP, WHOLE_IN_FLOAT, WHOLE_IN_HALF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GPU_BACKENDS = frozenset({"webgl", "webgpu"})


def is_held(largest: float, dtype: str | None, backend: str, *, half: bool) -> bool:
    """Whether a backend can represent an activation of that dtype whose largest finite |value| is `largest`.

    Half precision has no numbers above 65504 and few below 2**-14. webgl stores integers as floats, which are
    exact up to 2**24, or up to 2**11 in half precision.
    """
    if dtype is None or dtype.startswith(("bool", "str")):
        return True
    if dtype.startswith(("int", "uint")):
        return backend != "webgl" or largest <= (WHOLE_IN_HALF if half else WHOLE_IN_FLOAT)
    return not half or largest == 0 or SMALLEST_NORMAL_HALF <= largest <= LARGEST_HALF


@dataclass(frozen=True)
class Units:
    """The greatest error of a function: `ULP * (relative * P + absolute)`, with P as in `compare.allowance`.

    P is at least |y| + |x·f'(x)| / 2, so that `relative` covers errors that grow with the argument: the error
    of exp(x) on a GPU, (3 + 2·|x|)·|y| units, needs only `relative=4`.
    """

    relative: float
    absolute: float = 0.0

    def __add__(self, other: Units) -> Units:
        """The greatest error of two functions together."""
        return Units(self.relative + other.relative, self.absolute + other.absolute)


NONE = Units(0.0)

# JavaScript's Math computes in double precision and rounds to float32 once: half a unit. The rest is the
# error of the reference, whose vectorised functions have up to 4 units of |y|, and more where they compute
# a difference.
_DEFAULT = Units(4.0)
_CPU: Mapping[str, Units] = {
    "Elu": Units(4.0, 1.0),
    # TF.js computes Abramowitz & Stegun (1964), 7.1.26, |error| <= 1.5e-7, except on wasm.
    "Erf": Units(4.0, 2.0),
    "Erfc": Units(4.0, 4.0),
    "Selu": Units(4.0, 2.0),
}
# C++ in float32. Differences of numbers near 1, or of an angle and a multiple of π/2, have absolute errors
# in units of 1.
_WASM: Mapping[str, Units] = {
    "Acosh": Units(4.0, 4.0),
    "Asinh": Units(4.0, 4.0),
    "Atanh": Units(4.0, 2.0),
    "Cos": Units(4.0, 4.0),
    "Elu": Units(4.0, 1.0),
    "Erf": Units(4.0, 2.0),
    "Erfc": Units(4.0, 4.0),
    "Expm1": Units(4.0, 2.0),
    "Log1p": Units(4.0, 2.0),
    "Selu": Units(4.0, 2.0),
    "Sigmoid": Units(6.0),
    "Sin": Units(4.0, 4.0),
    "Sinh": Units(4.0, 2.0),
    "Softplus": Units(4.0, 2.0),
    "Tan": Units(4.0, 4.0),
    "Tanh": Units(4.0, 1.0),
}
# The accuracy that GLSL and WGSL specify for exp, log, division, ... (Vulkan 1.3, "Precision of
# GLSL.std.450 Instructions"; WGSL 15.7.4, "Floating Point Accuracy"), inserted into the formulas of TF.js's
# shaders; 4 units are the reference's. OpenGL ES 3 specifies none, but its drivers share their compilers
# with Vulkan's.
_GPU_DEFAULT = Units(8.0, 4.0)
_GPU: Mapping[str, Units] = {
    "Acos": Units(4096.0, 6.77e-5 / ULP),
    "Acosh": Units(8.0, 6.0),
    "Asin": Units(4096.0, 6.77e-5 / ULP),
    "Asinh": Units(8.0, 6.0),
    "Atan": Units(4096.0),
    "Atan2": Units(4096.0),
    "Atanh": Units(8.0, 6.0),
    "Cos": Units(4.0, 2.0**-11 / ULP),
    "Cosh": Units(8.0),
    "Elu": Units(8.0, 4.0),
    "Erf": Units(8.0, 8.0),
    "Erfc": Units(8.0, 8.0),
    "Exp": Units(4.0 + 4.0),
    "Expm1": Units(8.0, 4.0),
    "Log": Units(3.0 + 4.0, 2.0**-21 / ULP),
    "Log1p": Units(3.0 + 4.0, 2.0**-21 / ULP + 1.0),
    "Pow": Units(16.0 + 4.0),
    "RealDiv": Units(2.5 + 0.5),
    "Reciprocal": Units(2.5 + 0.5),
    "Rsqrt": Units(2.0 + 2.0),
    "Selu": Units(8.0, 8.0),
    "Sigmoid": Units(8.0),
    "Sin": Units(4.0, 2.0**-11 / ULP),
    "Sinh": Units(8.0, 4.0),
    "Softplus": Units(8.0, 6.0),
    "Sqrt": Units(2.0 + 2.5),
    "Tan": Units(4096.0, 4096.0),
    "Tanh": Units(8.0, 4.0),
}
_ALIASES = {
    "Div": "RealDiv",
    "DivNoNan": "RealDiv",
    "FloorDiv": "RealDiv",
    "Inv": "Reciprocal",
    "Softmax": "Exp",
    "LogSoftmax": "Exp",
}


def units_of(functions: Iterable[str], backend: str) -> Units:
    """The greatest error of functions together, in browser and reference; each function counts once.

    `functions`: names of graph operations; those that are in no table get the backend's default.
    """
    if backend in GPU_BACKENDS:
        table, default = _GPU, _GPU_DEFAULT
    else:
        table, default = (_CPU if backend == "cpu" else _WASM), _DEFAULT
    return sum((table.get(_ALIASES.get(name, name), default) for name in dict.fromkeys(functions)), NONE)
