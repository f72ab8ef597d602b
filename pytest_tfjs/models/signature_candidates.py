"""Matches converted inputs and outputs with the source's, by name, dtype and shape.

reference/matching/signature_matching.py decides between several candidates, by computed values.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_tfjs.models.topology import TensorSpec

_KINDS = {"float": "float", "bfloat": "float", "int": "int", "uint": "int", "complex": "complex"}


def candidates(
    converted: Sequence[TensorSpec], source: Sequence[TensorSpec], *, by_tensor_name: bool
) -> list[tuple[int, ...]]:
    """For each tensor of the source, the numbers of the converted tensors that may be it; maybe none.

    Equal names in both signatures decide, where dtype and shape agree. Otherwise the candidates are all
    tensors of this dtype and shape that no name has decided. With `by_tensor_name`, equal tensor names decide
    too: an input's tensor name is the model's own, but an output's (`Identity_1`) is only a number.
    """
    decided: dict[int, int] = {}
    for named in (_by_name, _by_tensor) if by_tensor_name else (_by_name,):
        for number, spec in enumerate(source):
            if number not in decided:
                found = named(spec, converted, decided.values())
                if len(found) == 1:
                    decided[number] = found[0]
    return [
        (decided[number],)
        if number in decided
        else tuple(at for at, one in enumerate(converted) if at not in decided.values() and agrees(one, spec))
        for number, spec in enumerate(source)
    ]


def conflicting(
    converted: Sequence[TensorSpec], source: Sequence[TensorSpec], *, by_tensor_name: bool
) -> list[tuple[TensorSpec, TensorSpec]]:
    """Pairs with equal names but different dtypes or shapes, the converted tensor first.

    `by_tensor_name` as in `candidates`: without it, tensor names that stand in for lost names do not count.
    """
    named = {spec.name: spec for spec in source}
    return [
        (one, named[one.name])
        for one in converted
        if one.name in named
        and (by_tensor_name or not _is_of_tensor(one))
        and not agrees(one, named[one.name])
    ]


def swapped(pairs: Sequence[tuple[TensorSpec, TensorSpec]]) -> tuple[str, str] | None:
    """The names of two of the `conflicting` pairs that fit each other's source; None if there are none."""
    for (one, own), (other, others_own) in itertools.combinations(pairs, 2):
        if agrees(one, others_own) and agrees(other, own):
            return one.name, other.name
    return None


def matched_by(one: TensorSpec, spec: TensorSpec, *, by_tensor_name: bool, by_value: bool) -> str | None:
    """What matched `one` with the source's `spec`, in words; None for equal names."""
    if one.name == spec.name:
        return None
    if by_tensor_name and _node(one) in (spec.name, _node(spec)):
        return "the name of its tensor"
    return "the values" if by_value else "dtype and shape"


def agrees(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether two specs may be one tensor: the same kind of dtype, and equal sizes where both are known."""
    if _kind(one.dtype) != _kind(other.dtype):
        return False
    if one.shape is None or other.shape is None:
        return True
    return len(one.shape) == len(other.shape) and all(
        None in (a, b) or a == b for a, b in zip(one.shape, other.shape, strict=True)
    )


def describe(specs: Sequence[TensorSpec]) -> str:
    """Names, dtypes and shapes for a message."""
    return ", ".join(f"'{spec.name}' {spec.dtype} {_shape(spec)}" for spec in specs) or "none"


def _by_name(spec: TensorSpec, converted: Sequence[TensorSpec], used: Collection[int]) -> list[int]:
    return [
        at
        for at, one in enumerate(converted)
        if at not in used and one.name == spec.name and not _is_of_tensor(one) and agrees(one, spec)
    ]


def _by_tensor(spec: TensorSpec, converted: Sequence[TensorSpec], used: Collection[int]) -> list[int]:
    names = {spec.name, _node(spec)}
    return [
        at for at, one in enumerate(converted) if at not in used and _node(one) in names and agrees(one, spec)
    ]


def _is_of_tensor(spec: TensorSpec) -> bool:
    """Whether the name is that of the tensor, because the signature was lost."""
    return spec.name == _node(spec)


def _node(spec: TensorSpec) -> str:
    return (spec.tensor or spec.name).partition(":")[0]


def _kind(dtype: str) -> str:
    return _KINDS.get(dtype.rstrip("0123456789"), dtype)


def _shape(spec: TensorSpec) -> str:
    if spec.shape is None:
        return "of any shape"
    return "[" + ", ".join("any" if size is None else str(size) for size in spec.shape) + "]"
