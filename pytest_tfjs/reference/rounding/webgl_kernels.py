"""The roundings that webgl's kernels add to those of the operation, by design (TF.js 4.22).

- `conv_packed_gpu_depthwise.ts`: the packed depthwise convolution starts each sum at 1e-15 and subtracts that
  at the end. `DepthwiseConv2dNative.ts` and `FusedDepthwiseConv2D.ts` choose it with the flag
  WEBGL_PACK_DEPTHWISECONV, for strides of at most 2 along rows and a depth multiplier of 1.
- `scatter_gpu.ts` (TensorScatterUpdate, SparseToDense) and `onehot_gpu.ts` choose between two numbers x and y
  by GLSL's mix(x, y, a), which GPUs compute as x + a·(y - x).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.reference.rounding.rounding_step import magnitude, run_operation
from pytest_tfjs.reference.rounding.term_counts import terms_of

if TYPE_CHECKING:
    from pytest_tfjs.reference.rounding.rounding_step import Step

Array = np.ndarray[Any, np.dtype[Any]]

START = 1e-15
"""What the packed depthwise convolution starts its sums at."""

_LARGEST_PACKED_STRIDE = 2
_MULTIPLIER_AXIS = 3
_COLUMNS = 2

_MOST_REPLACED = 2.0**10
"""A number that is replaced counts up to this multiple of the root mean square of those that replace it.

mix() loses what is put in the place of a larger number: that is an error, not rounding.
"""


def is_packed_depthwise(step: Step) -> bool:
    """Whether webgl computes the operation by its packed depthwise convolution, where the flags allow it."""
    return (
        step.op == "DepthwiseConv2dNative"
        and step.attribute("data_format") == b"NHWC"
        and step.attribute("strides")[_COLUMNS] <= _LARGEST_PACKED_STRIDE
        and step.value(1).shape[_MULTIPLIER_AXIS] == 1
    )


def rounded_at_start(step: Step) -> float:
    """The error of a packed depthwise convolution from starting at 1e-15, in units of u.

    Each product is added to a number of about 1e-15, and that is subtracted.
    """
    return START * (terms_of(step) + 1)


def mixed(step: Step) -> Array | None:
    """The error that mix() adds to each element of an operation's output, in units of u.

    None for an operation that copies, and where nothing is rounded because all that is replaced is 0.
    """
    if not step.gives_numbers:
        return None  # differences of integers are exact
    if step.op == "OneHot":
        before = step.value(3)
        replaced = step.result() != before
    elif step.op in ("TensorScatterUpdate", "SparseToDense"):
        before = step.value(0 if step.op == "TensorScatterUpdate" else 3)
        replaced = _replaced(step)
    else:
        return None
    after = step.result()
    rounds = replaced & (before != 0)
    if not rounds.any():
        return None
    with np.errstate(all="ignore"):
        sizes = magnitude(after[replaced & np.isfinite(after)])
        usual = np.sqrt(np.mean(np.square(sizes, dtype=np.float64))) if sizes.size else 0.0
        apart = np.minimum(magnitude(after - before), _MOST_REPLACED * usual)
        found: Array = np.where(rounds, apart + magnitude(after), 0).astype(np.float32)
    return np.where(np.isfinite(found), found, np.float32(0))


def _replaced(step: Step) -> Array:
    """Which elements of the output are updates."""
    values = [step.value(index) for index in range(len(step.inputs))]
    updates, default = (2, 0) if step.op == "TensorScatterUpdate" else (2, 3)
    values[updates], values[default] = np.ones_like(values[updates]), np.zeros_like(values[default])
    found: Array = run_operation(step.operation, values)[0] != 0
    return found
