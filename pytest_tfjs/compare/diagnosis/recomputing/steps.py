"""A layer as a sequence of operations, evaluated in numpy in double precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.elementwise import ELEMENTWISE
from pytest_tfjs.compare.diagnosis.recomputing.recurrent import RECURRENT
from pytest_tfjs.compare.diagnosis.recomputing.shaping import SHAPING
from pytest_tfjs.compare.diagnosis.recomputing.spatial import SPATIAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_OPERATIONS: Mapping[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]] = {
    **ELEMENTWISE,
    **SHAPING,
    **SPATIAL,
    **RECURRENT,
}


class CannotRecompute(Exception):  # noqa: N818  (the message is reported as it is: what could not be tried, and why)
    """An operation, or a use of one, cannot be recomputed; the text says which."""


@dataclass(frozen=True)
class Step:
    """One operation, by its graph node name, on arrays or the results of earlier steps.

    `inputs`: an array, or the number of an earlier step of the same layer. `attributes`: as the graph
    operation has them, in Python builtins (`padding` is `"SAME"`); a missing one has TensorFlow's default.
    Interpretations without an attribute in TensorFlow have their own names; see `interpretations`.
    """

    op: str
    inputs: tuple[Array | int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def evaluate(steps: Sequence[Step]) -> Array:
    """The result of the last step; floats are computed in float64, integers in their own dtype.

    Raises CannotRecompute for an unknown operation or unsuitable inputs.
    """
    values: list[Array] = []
    for step in steps:
        operation = _OPERATIONS.get(step.op)
        if operation is None:
            raise CannotRecompute(f"{step.op} cannot be recomputed in numpy")
        inputs = [values[one] if isinstance(one, int) else widened(one) for one in step.inputs]
        try:
            with np.errstate(all="ignore"):
                values.append(np.asarray(operation(inputs, step.attributes)))
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise CannotRecompute(f"{step.op} cannot be recomputed on these inputs: {error}") from error
    return values[-1]


def known(op: str) -> bool:
    """Whether an operation of this name can be recomputed."""
    return op in _OPERATIONS


def widened(array: Array) -> Array:
    """The array in float64 or complex128 if it is inexact, else unchanged."""
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    return array
