"""Which input or output of a converted model is which of its source's: by name, and by dtype and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_tfjs.models.topology import TensorSpec

_KINDS = {"float": "float", "bfloat": "float", "int": "int", "uint": "int", "complex": "complex"}


def candidates(
    converted: Sequence[TensorSpec], source: Sequence[TensorSpec], *, tensors_tell: bool
) -> list[tuple[int, ...]]:
    """For each of the source's, the converted ones that it can be, by their numbers; none where none fits.

    A name of the signature that both have settles it, where dtype and shape agree; else all that agree and
    whose name settled nothing are left. With `tensors_tell` the names of tensors do as well: those of inputs
    are the model's own, those of outputs (`Identity_1`) say no more than a number in an order.
    """
    settled: dict[int, int] = {}
    for named in (_by_name, _by_tensor) if tensors_tell else (_by_name,):
        for number, spec in enumerate(source):
            if number not in settled:
                found = named(spec, converted, settled.values())
                if len(found) == 1:
                    settled[number] = found[0]
    return [
        (settled[number],)
        if number in settled
        else tuple(at for at, one in enumerate(converted) if at not in settled.values() and agrees(one, spec))
        for number, spec in enumerate(source)
    ]


def disagreeing(
    converted: Sequence[TensorSpec], source: Sequence[TensorSpec], *, tensors_tell: bool
) -> list[tuple[TensorSpec, TensorSpec]]:
    """Pairs, the converted one first, that have one name and that cannot be one tensor.

    `tensors_tell` as in `candidates`: without it a name that only numbers an order is none.
    """
    named = {spec.name: spec for spec in source}
    return [
        (one, named[one.name])
        for one in converted
        if one.name in named and (tensors_tell or not _is_of_tensor(one)) and not agrees(one, named[one.name])
    ]


def told_by(one: TensorSpec, spec: TensorSpec, *, tensors_tell: bool, by_value: bool) -> str | None:
    """By what a converted one was found to be the source's `spec`; None where it has its name."""
    if one.name == spec.name:
        return None
    if tensors_tell and _node(one) in (spec.name, _node(spec)):
        return "the name of its tensor"
    return "the values" if by_value else "dtype and shape"


def agrees(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether the two can be one tensor: the same kind of dtype, and shapes that differ in nothing known."""
    if _kind(one.dtype) != _kind(other.dtype):
        return False
    if one.shape is None or other.shape is None:
        return True
    return len(one.shape) == len(other.shape) and all(
        None in (a, b) or a == b for a, b in zip(one.shape, other.shape, strict=True)
    )


def described(specs: Sequence[TensorSpec]) -> str:
    """The specs, for a message."""
    return ", ".join(f"'{spec.name}' {spec.dtype} {_shape(spec)}" for spec in specs) or "none"


def _by_name(spec: TensorSpec, converted: Sequence[TensorSpec], taken: Collection[int]) -> list[int]:
    return [
        at
        for at, one in enumerate(converted)
        if at not in taken and one.name == spec.name and not _is_of_tensor(one) and agrees(one, spec)
    ]


def _by_tensor(spec: TensorSpec, converted: Sequence[TensorSpec], taken: Collection[int]) -> list[int]:
    names = {spec.name, _node(spec)}
    return [
        at
        for at, one in enumerate(converted)
        if at not in taken and _node(one) in names and agrees(one, spec)
    ]


def _is_of_tensor(spec: TensorSpec) -> bool:
    """Whether the name is the tensor's, because the signature was lost."""
    return spec.name == _node(spec)


def _node(spec: TensorSpec) -> str:
    return (spec.tensor or spec.name).partition(":")[0]


def _kind(dtype: str) -> str:
    return _KINDS.get(dtype.rstrip("0123456789"), dtype)


def _shape(spec: TensorSpec) -> str:
    if spec.shape is None:
        return "of any shape"
    return "[" + ", ".join("any" if size is None else str(size) for size in spec.shape) + "]"
