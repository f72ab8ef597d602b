"""Recognises operations without effect, such as a multiplication by 1.

Keras makes them (`beta * x` in swish, the transposition in a Tensordot), and the converter removes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import BATCH_NORMS, PADS, PASS_THROUGH, REDUCTIONS, RESHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfjs.reference.graph import Ref

Array = np.ndarray[Any, np.dtype[Any]]

_NEUTRAL = {
    "AddV2": (0, (0, 1)),
    "Add": (0, (0, 1)),
    "BiasAdd": (0, (1,)),
    "Sub": (0, (1,)),
    "Mul": (1, (0, 1)),
    "RealDiv": (1, (1,)),
    "Pow": (1, (1,)),
    "Pad": (0, (1,)),
    "PadV2": (0, (1,)),
    "MirrorPad": (0, (1,)),
    "Tile": (1, (1,)),
}
"""The neutral constant of each operation, and the input positions where it is neutral."""

_STRUCTURAL = PADS | {"Tile"}
"""Operations whose constant is not broadcast with the other input."""

_SHIFTS = slice(2, 4)
"""The input positions of a batch-norm's offset and mean."""

_SIMPLER = {"Sub": ("Neg", 0), "RealDiv": ("Reciprocal", 1)}
"""The simpler operation for each operation whose first operand is this constant."""

_INVOLUTIONS = frozenset({"Neg", "LogicalNot", "Reciprocal"})


def decisive_operands(operation: Any) -> Iterator[Any]:
    """The inputs whose constant values can turn a tf.Operation into a simpler one."""
    _, places = _NEUTRAL.get(operation.type, (0, ()))
    yield from (operation.inputs[place] for place in places)
    if operation.type in _SIMPLER:
        yield operation.inputs[0]
    if operation.type in BATCH_NORMS:
        yield from operation.inputs[_SHIFTS]


def unchanged_input(operation: Any, values: Mapping[str, Array] | None = None) -> Any | None:
    """The input that a tf.Operation returns unchanged, judged by its constants and static shapes; or None.

    `values`: further constants of the graph, by tensor name.
    """
    kind, inputs = operation.type, operation.inputs
    if kind in _NEUTRAL:
        return _beside_neutral(operation, values or {})
    if kind == "Transpose":
        return _untransposed(operation)
    if kind in RESHAPES:
        return _unreshaped(operation)
    if kind in _WHOLE:
        return inputs[0] if _WHOLE[kind](operation) else None
    if kind in _INVOLUTIONS and _origin(inputs[0]).op.type == kind:
        return _origin(inputs[0]).op.inputs[0]
    return None


def neutral_ref(op: str, inputs: Sequence[Ref], values: Mapping[str, Array]) -> Ref | None:
    """The input that a converted node returns unchanged, provided that the shape stays the same.

    `values`: the artifacts' weights by name.
    """
    neutral, places = (0, ()) if op in _STRUCTURAL else _NEUTRAL.get(op, (0, ()))
    for place in places:
        value = values.get(inputs[place][0])
        if value is not None and _is_all(neutral, value):
            return inputs[1 - place]
    return None


def simpler_operation(operation: Any, values: Mapping[str, Array] | None = None) -> str | None:
    """A simpler operation with the same result, given this operation's constants; None if there is none.

    The converter makes these replacements: a batch-norm without a shift, 0 - x, 1 / x, a mean of one number.
    `values` as in `unchanged_input`.
    """
    known = values or {}
    if operation.type in BATCH_NORMS:
        shifts = [_value(tensor, known) for tensor in operation.inputs[_SHIFTS]]
        if operation.get_attr("is_training") or not all(x is not None and _is_all(0, x) for x in shifts):
            return None
        return "Mul"
    if operation.type in REDUCTIONS:
        return "Reshape" if _is_over_ones(operation) and not operation.get_attr("keep_dims") else None
    if operation.type in _SIMPLER:
        simpler, neutral = _SIMPLER[operation.type]
        constant, other = _value(operation.inputs[0], known), operation.inputs[1]
        if constant is None or not _is_all(neutral, constant):
            return None
        return simpler if _leaves_shape(constant.shape, other.shape) else None
    return None


def _beside_neutral(operation: Any, values: Mapping[str, Array]) -> Any | None:
    neutral, places = _NEUTRAL[operation.type]
    for place in places:
        other = operation.inputs[1 - place]
        value = _value(operation.inputs[place], values)
        if value is None or not _is_all(neutral, value):
            continue
        if operation.type in _STRUCTURAL or _leaves_shape(value.shape, other.shape):
            return other
    return None


def _untransposed(operation: Any) -> Any | None:
    axes = _static(operation.inputs[1])
    if axes is None:
        return None
    if bool(np.all(axes == np.arange(axes.size))):
        return operation.inputs[0]
    before = _origin(operation.inputs[0])
    earlier = _static(before.op.inputs[1]) if before.op.type == "Transpose" else None
    restored = earlier is not None and bool(np.all(earlier[axes] == np.arange(axes.size)))
    return before.op.inputs[0] if restored else None


def _unreshaped(operation: Any) -> Any | None:
    before = operation.inputs[0]
    while not _same_shape(before.shape, operation.outputs[0].shape):
        if _origin(before).op.type not in RESHAPES:
            return None
        before = _origin(before).op.inputs[0]
    return before


def _casts_nothing(operation: Any) -> bool:
    return bool(operation.inputs[0].dtype == operation.outputs[0].dtype)


def _adds_nothing(operation: Any) -> bool:
    return len(operation.inputs) == 1


def _reduces_nothing(operation: Any) -> bool:
    """Whether a reduction is over axes of size 1 and keeps them."""
    return bool(operation.get_attr("keep_dims")) and _is_over_ones(operation)


def _is_over_ones(operation: Any) -> bool:
    axes, shape = _static(operation.inputs[1]), operation.inputs[0].shape
    return axes is not None and shape.rank is not None and all(shape[int(axis)] == 1 for axis in axes.flat)


def _cuts_off_nothing(operation: Any) -> bool:
    """Whether a Slice begins at 0 and ends at the end, along each axis."""
    begin, size = _static(operation.inputs[1]), _static(operation.inputs[2])
    shape = operation.inputs[0].shape
    if begin is None or size is None or shape.rank is None or begin.any():
        return False
    return all(taken in (-1, whole) for taken, whole in zip(size, shape, strict=True))


def _skips_nothing(operation: Any) -> bool:
    """Whether a StridedSlice returns its whole input; its masks mark the bounds that are missing."""
    shape = operation.inputs[0].shape
    begin, end, strides = (_static(each) for each in operation.inputs[1:4])
    others = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    if begin is None or end is None or strides is None or shape.rank is None or (strides != 1).any():
        return False
    if any(operation.get_attr(mask) for mask in others):
        return False
    no_begin, no_end = operation.get_attr("begin_mask"), operation.get_attr("end_mask")
    return all(
        (no_begin >> axis & 1 or first == 0)
        and (no_end >> axis & 1 or (shape[axis] is not None and last >= shape[axis]))
        for axis, (first, last) in enumerate(zip(begin, end, strict=True))
    )


_WHOLE = {
    "Cast": _casts_nothing,
    "AddN": _adds_nothing,
    "ReverseV2": _is_over_ones,
    **dict.fromkeys(REDUCTIONS, _reduces_nothing),
    "Slice": _cuts_off_nothing,
    "StridedSlice": _skips_nothing,
}
"""For each operation, a function that tells whether it returns its first input unchanged."""


def _origin(tensor: Any) -> Any:
    """The tensor that `tensor` equals, skipping identities."""
    while tensor.op.type in PASS_THROUGH and len(tensor.op.inputs):
        tensor = tensor.op.inputs[0]
    return tensor


def _is_all(number: int, value: Array) -> bool:
    return bool(value.size) and bool(np.all(value == number))


def _value(tensor: Any, values: Mapping[str, Array]) -> Array | None:
    return values[tensor.name] if tensor.name in values else _static(tensor)


def _static(tensor: Any) -> Array | None:
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    return None if value is None else np.asarray(value)


def _leaves_shape(shape: tuple[int, ...], other: Any) -> bool:
    """Whether broadcasting with a tensor of `shape` keeps the static shape `other`."""
    if other.rank is None or len(shape) > other.rank:
        return False
    trailing = other.as_list()[other.rank - len(shape) :]
    return all(size in (1, other) for size, other in zip(shape, trailing, strict=True))


def _same_shape(before: Any, after: Any) -> bool:
    """Whether both static shapes are equal; one unknown size then must be equal too."""
    if before.rank is None or after.rank is None:
        return False
    sizes: list[int | None] = before.as_list()
    return bool(sizes == after.as_list()) and sizes.count(None) <= 1
