"""One operation of a layer and the rounding errors of its inputs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = np.ndarray[Any, np.dtype[Any]]


class UnknownRounding(Exception):  # noqa: N818  (control flow, never shown to a user)
    """No rounding rule exists for an operation."""


@dataclass(frozen=True)
class Rounded:
    """The rounding of a tensor within a layer.

    `size`: the sum of the magnitudes that entered each element, at least |value|, in the tensor's shape; None
    means |value| itself. `roundings`: the most roundings one after another that an element went through; 0
    for an exact tensor.
    """

    size: Array | None = None
    roundings: int = 0


EXACT = Rounded()


@dataclass(frozen=True)
class Step:
    """An operation with the rounding of its inputs.

    `read` gives the value of a tensor (`node:0`). Sizes are float32 arrays, for complex tensors too.
    """

    operation: Any
    inputs: tuple[Rounded, ...]
    read: Callable[[str], Array]

    @property
    def op(self) -> str:
        """The operation's name."""
        return str(self.operation.type)

    @property
    def output(self) -> str:
        """The name of the first output."""
        return str(self.operation.outputs[0].name)

    @property
    def roundings(self) -> int:
        """The most roundings of any input."""
        return max((known.roundings for known in self.inputs), default=0)

    @property
    def plain(self) -> bool:
        """Whether the size of every input is |value|."""
        return all(known.size is None for known in self.inputs)

    @property
    def gives_numbers(self) -> bool:
        """Whether any output is float or complex."""
        return any(tensor.dtype.is_floating or tensor.dtype.is_complex for tensor in self.operation.outputs)

    def value(self, index: int) -> Array:
        """The value of an input."""
        return self.read(self.operation.inputs[index].name)

    def result(self, index: int = 0) -> Array:
        """The value of an output."""
        return self.read(self.operation.outputs[index].name)

    def size(self, index: int) -> Array:
        """The size of an input."""
        size = self.inputs[index].size
        return magnitude(self.value(index)) if size is None else size

    def is_inexact(self, index: int) -> bool:
        """Whether an input is float or complex; other dtypes do not round."""
        dtype = self.operation.inputs[index].dtype
        return bool(dtype.is_floating or dtype.is_complex)

    def outputs_of_sizes(self) -> list[Array]:
        """The outputs of the operation for the sizes of its inexact inputs and the values of the others."""
        values = [
            self.size(index) if self.is_inexact(index) else self.value(index)
            for index in range(len(self.inputs))
        ]
        return run_operation(self.operation, values)

    def attribute(self, name: str) -> Any:
        """An attribute, as TensorFlow gives it."""
        return self.operation.get_attr(name)


def magnitude(value: Array) -> Array:
    """|value| in float32."""
    return np.abs(value).astype(np.float32, copy=False)


def run_operation(operation: Any, values: Sequence[Array]) -> list[Array]:
    """The outputs of a graph's operation, run eagerly on other inputs."""
    import tensorflow as tf

    arguments: dict[str, Any] = {}
    inferred: set[str] = set()
    waiting = [
        tf.constant(value, None if tensor.dtype.is_floating or tensor.dtype.is_complex else tensor.dtype)
        for value, tensor in zip(values, operation.inputs, strict=True)
    ]
    for argument in operation.op_def.input_arg:
        inferred |= {argument.type_attr, argument.number_attr, argument.type_list_attr}
        count = None
        if argument.number_attr:
            count = operation.get_attr(argument.number_attr)
        elif argument.type_list_attr:
            count = len(operation.get_attr(argument.type_list_attr))
        arguments[argument.name] = waiting[0] if count is None else waiting[:count]
        del waiting[: 1 if count is None else count]
    for attribute in operation.op_def.attr:
        if attribute.name not in inferred:
            arguments[attribute.name] = operation.get_attr(attribute.name)
    function = getattr(tf.raw_ops, operation.type)
    # Some arguments have another name in Python; the order is the same.
    taken = [name for name in inspect.signature(function).parameters if name != "name"]
    others = iter([name for name in taken if name not in arguments])
    named = {name if name in taken else next(others, name): value for name, value in arguments.items()}
    found = function(**named)
    return [np.asarray(value) for value in (found if isinstance(found, (list, tuple)) else [found])]
