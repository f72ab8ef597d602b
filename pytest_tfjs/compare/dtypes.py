"""Dtypes of TensorFlow, numpy and TF.js by name, and the limits of float16 and float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# Names


NUMPY_NAMES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_BFLOAT16": "bfloat16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "str",
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
}
"""numpy's name of each dtype of TensorFlow, by the name in a graph's JSON; text is `str`."""

DTYPES_BY_NUMBER = {
    1: "DT_FLOAT",
    2: "DT_DOUBLE",
    3: "DT_INT32",
    4: "DT_UINT8",
    7: "DT_STRING",
    8: "DT_COMPLEX64",
    9: "DT_INT64",
    10: "DT_BOOL",
    19: "DT_HALF",
}
"""The numbers that TF.js accepts for dtypes in a graph's JSON (TensorFlow's `types.proto`)."""

_BROWSER_NAMES = {"f": "float32", "i": "int32", "u": "int32", "c": "complex64", "V": "float32"}


def browser_dtype(dtype: np.dtype[Any]) -> str | None:
    """The dtype, by numpy's name, in which TF.js holds numbers of `dtype`; None for bools and text.

    TF.js has one float, one integer and one complex dtype.
    """
    return _BROWSER_NAMES.get(dtype.kind)  # V: bfloat16, which numpy knows as an extension only


# Limits


ULP = 2.0**-23
"""One unit in the last place of a float32, relative to the power of two below it."""

ROUNDOFF = 2.0**-24
"""The largest relative error of rounding to float32."""

SMALLEST_NORMAL = 2.0**-126
"""The smallest normal float32: programs may take numbers below it for 0."""

FLUSHED = 2.0 * SMALLEST_NORMAL
"""What two programs may differ by where either takes float32 numbers below `SMALLEST_NORMAL` for 0."""

LARGEST_HALF = 65504.0
"""The largest finite float16."""

SMALLEST_NORMAL_HALF = 2.0**-14
"""The smallest normal float16: GPUs may take numbers below it for 0."""

SMALLEST_HALF = 2.0**-24
"""The smallest float16 above 0."""

HALF_ROUNDOFF = 2.0**-11
"""The largest relative error of rounding to float16."""

BFLOAT16_ROUNDOFF = 2.0**-8
"""The largest relative error of rounding to bfloat16."""

HALF_ULP = 2.0**-10
"""One unit in the last place of a float16, relative to the power of two below it."""

WHOLE_IN_FLOAT = 2.0**24
"""float32 holds every integer up to this."""

WHOLE_IN_HALF = 2.0**11
"""float16 holds every integer up to this."""
