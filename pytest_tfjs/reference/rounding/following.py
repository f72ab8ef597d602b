"""Follows rounding errors through the operations of a layer, to its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import PASS_THROUGH, PIECEWISE_LINEAR
from pytest_tfjs.reference.rounding.operation_rules import rounded
from pytest_tfjs.reference.rounding.rounding_step import EXACT, Rounded, Step, UnknownRounding, magnitude

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_KEEPS_ERRORS = PASS_THROUGH | PIECEWISE_LINEAR
_LARGER = 2.0**20
"""Added sizes are made this much larger than all others, which then round nothing away of them."""


@dataclass(frozen=True)
class Followed:
    """A layer's operations, the rounding of each tensor by name, and the functions that were evaluated."""

    steps: tuple[Step, ...]
    found: Mapping[str, Rounded]
    functions: tuple[str, ...]

    def size_of(self, step: Step) -> Array:
        """The size of an operation's first output."""
        size = self.found[step.output].size
        return magnitude(step.result()) if size is None else size


def follow(
    operations: Sequence[Any],
    known: Mapping[str, Rounded],
    read: Callable[[str], Array],
    added: Mapping[str, Array] | None = None,
) -> Followed:
    """Applies the rules of `operation_rules` to the operations of a layer, in their order.

    `known`: the rounding of tensors that enter. `added`: what to add to the sizes of tensors, by name. Raises
    UnknownRounding where an operation has no rule.
    """
    found, functions, steps = dict(known), dict[str, None](), []
    for operation in operations:
        step = Step(operation, tuple(found.get(tensor.name, EXACT) for tensor in operation.inputs), read)
        outputs, evaluated = rounded(step)
        functions.update(dict.fromkeys(evaluated))
        found.update(zip((tensor.name for tensor in operation.outputs), outputs, strict=True))
        more = (added or {}).get(step.output)
        if more is not None:
            size = found[step.output].size
            size = magnitude(step.result()) if size is None else size
            found[step.output] = Rounded(size + more, max(found[step.output].roundings, 1))
        steps.append(step)
    return Followed(tuple(steps), found, tuple(functions))


class Reached:
    """How much of an error within a layer reaches its result, to first order."""

    def __init__(self, followed: Followed, tensor: str, read: Callable[[str], Array]) -> None:
        self._followed, self._tensor, self._read = followed, tensor, read

    def by(self, errors: Mapping[str, Array]) -> Array | None:
        """The error of the layer's result from errors of tensors, by name; None where it is 0.

        Each array has the shape of its tensor and the unit of the activation.
        """
        if not errors:
            return None
        steps = self._followed.steps
        first = min(number for number, step in enumerate(steps) if step.output in errors)
        if len(errors) == 1 and all(step.op in _KEEPS_ERRORS for step in steps[first + 1 :]):
            return next(iter(errors.values()))
        largest = max(float(error.max()) for error in errors.values())
        sizes = [self._followed.size_of(step) for step in steps if step.gives_numbers]
        unit = _LARGER * max(1e-30, *(float(np.max(size, initial=0)) for size in sizes)) / largest
        raised = {name: (error * unit).astype(np.float32) for name, error in errors.items()}
        made = {tensor.name for step in steps for tensor in step.operation.outputs}
        entering = {name: known for name, known in self._followed.found.items() if name not in made}
        with np.errstate(all="ignore"):
            try:
                after = follow([step.operation for step in steps], entering, self._read, raised)
            except UnknownRounding:
                return None
            found = (self._size_in(after) - self._size_in(self._followed)) / unit
        found = np.maximum(np.nan_to_num(found, nan=0, posinf=0, neginf=0), 0)
        return found.astype(np.float32) if found.any() else None

    def _size_in(self, followed: Followed) -> Array:
        size = followed.found[self._tensor].size
        return magnitude(self._read(self._tensor)) if size is None else size
