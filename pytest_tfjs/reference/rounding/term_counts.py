"""Counts the products added up for each element of a convolution or matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import MATRIX_PRODUCTS, TRANSPOSED_CONVOLUTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.rounding.rounding_step import Step

Array = np.ndarray[Any, np.dtype[Any]]

_TRANSPOSED_A = ("transpose_a", "adj_x")
_CONVOLUTIONS = frozenset({"Conv2D", "Conv3D"})


def terms_of(step: Step) -> int:
    """The most products that an element of a contraction's output sums."""
    if step.op in MATRIX_PRODUCTS:
        shape = step.value(0).shape
        return int(shape[-2] if is_transposed(step.operation, _TRANSPOSED_A) else shape[-1])
    if step.op == "Einsum":
        sizes = _labelled(step)
        output = step.attribute("equation").decode().partition("->")[2]
        return int(np.prod([size for label, size in sizes.items() if label not in output], dtype=np.int64))
    kernel = step.value(1).shape
    if step.op in _CONVOLUTIONS:
        return int(np.prod(kernel[:-1]))
    if step.op in TRANSPOSED_CONVOLUTIONS:
        return int(np.prod(kernel[:-2])) * int(kernel[-1])
    return int(np.prod(kernel[:2]))


def is_transposed(operation: Any, names: tuple[str, ...]) -> bool:
    """Whether one of the attributes `names`, those of a matrix product for one operand, is set."""
    attributes = operation.node_def.attr
    return any(bool(operation.get_attr(name)) for name in names if name in attributes)


def _labelled(step: Step) -> Mapping[str, int]:
    """The size of each labelled axis of an Einsum; the axes of an ellipsis are never summed."""
    sizes: dict[str, int] = {}
    for index, labels in enumerate(step.attribute("equation").decode().partition("->")[0].split(",")):
        shape = step.value(index).shape
        before, _, after = labels.partition("...")
        sizes.update(zip(before, shape, strict=False))
        sizes.update(zip(reversed(after), reversed(shape), strict=False))
    return sizes
