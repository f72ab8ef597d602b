"""Detects whether reading activations changes the outputs; if so, fewer are read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer

Extent = Literal["all", "boundaries", "outputs"]
Cause = Literal["reading", "nondeterministic"]

_BLOCK = 1 << 16
# Operations and Keras classes with weights: a compiler starts a fused kernel there.
_WEIGHTED = re.compile(
    r"Conv|MatMul|Dense|Einsum|RNN|LSTM|GRU|Bidirectional|TimeDistributed|Attention|Embedding"
)


@dataclass(frozen=True)
class Observation:
    """The effect of reading activations on the outputs.

    `checked`: outputs that were held, bit for bit, against those of a run that reads nothing else; `altered`:
    those of them that were not the same. `cause`: `reading`, or `nondeterministic` where two runs that read
    nothing differ as well; None where nothing was altered. `read`: from which rows activations were read in
    the end. `settled`: whether the outputs were the same then.
    """

    checked: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    cause: Cause | None = None
    read: Extent = "all"
    settled: bool = True

    def __str__(self) -> str:
        """The effect in words; empty if nothing was altered."""
        if self.cause is None:
            return ""
        names = ", ".join(repr(name) for name in self.altered[:3])
        names += f" and {len(self.altered) - 3} more" if len(self.altered) > 3 else ""  # noqa: PLR2004
        if self.cause == "nondeterministic":
            return (
                f"two runs on the same feed gave different outputs ({names}), although only the "
                "outputs were read. The model is not deterministic. The compared layers and the compared "
                "outputs come from different runs"
            )
        text = f"reading activations changed the outputs ({names})"
        if self.settled:
            return f"{text}, so {_READ[self.read]}. This left the outputs unchanged"
        text += f", even when {_READ[self.read]}"
        return f"{text}. The compared outputs come from a run that read only the outputs"


_READ: Mapping[Extent, str] = {
    "all": "all layers were read",
    "boundaries": "only layers with weights, layers that feed several others, and outputs were read",
    "outputs": "only the outputs were read",
}


def fingerprint(array: NDArray[Any]) -> bytes:
    """A digest that two arrays share if shape, dtype and all bits are the same; all NaN are equal."""
    digest = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    if array.dtype.kind in "OSU":
        digest.update(repr(array.tolist()).encode())
        return digest.digest()
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        digest.update(_one_nan(flat[start : start + _BLOCK]).data)
    return digest.digest()


def _one_nan(block: NDArray[Any]) -> NDArray[np.uint8]:
    block = np.ascontiguousarray(block)
    if block.dtype.kind == "c":
        block = block.view(block.real.dtype)
    if block.dtype.kind == "f":
        block = np.where(np.isnan(block), block.dtype.type(np.nan), block)
    return block.view(np.uint8)


def differing(
    one: Mapping[tuple[int, str], bytes], other: Mapping[tuple[int, str], bytes]
) -> tuple[str, ...]:
    """The outputs, once each, whose fingerprints differ for some feed."""
    return tuple(dict.fromkeys(key[1] for key in one if key in other and one[key] != other[key]))


def fewer(layers: Sequence[Layer], extent: Extent) -> tuple[Layer, ...]:
    """The layers, with only those at fusion boundaries, or only the outputs, still compared.

    Boundaries are rows with weights, rows that enter several others, and outputs. Another row is fused into
    the compared row that its activation enters next, or is eliminated where there is none.
    """
    if extent == "all":
        return tuple(layers)
    takers = _takers(layers)
    compared = {
        layer.name
        for layer in layers
        if layer.coverage == "compared" and (layer.output or _is_boundary(layer, takers, extent))
    }
    dropped = {
        layer.name: layer for layer in layers if layer.coverage == "compared" and layer.name not in compared
    }
    return tuple(_without(layer, dropped, takers, compared) for layer in layers)


def _takers(layers: Sequence[Layer]) -> dict[str, list[str]]:
    takers: dict[str, list[str]] = {}
    for layer in layers:
        if layer.coverage == "compared":
            for name in layer.inputs:
                takers.setdefault(name, []).append(layer.name)
    return takers


def _is_boundary(layer: Layer, takers: Mapping[str, Sequence[str]], extent: Extent) -> bool:
    parts = len(takers.get(layer.name, ())) > 1
    return extent == "boundaries" and (parts or _WEIGHTED.search(layer.op) is not None)


def _without(
    layer: Layer, dropped: Mapping[str, Layer], takers: Mapping[str, Sequence[str]], compared: set[str]
) -> Layer:
    if layer.name not in dropped:
        inputs = dict.fromkeys(name for given in layer.inputs for name in _compared_before(given, dropped))
        into = layer.into
        if into is not None and into in dropped:
            into = _next_compared(into, takers, compared) or into
        return replace(layer, inputs=tuple(inputs), into=into)
    into = _next_compared(layer.name, takers, compared)
    text = "not read: reading it changes the outputs"
    if into is None:
        return replace(layer, inputs=(), shape=None, dtype=None, tap=None, coverage="eliminated", reason=text)
    reason = f"{text}; it is compared as part of {into!r}"
    return replace(
        layer, inputs=(), shape=None, dtype=None, tap=None, coverage="fused", into=into, reason=reason
    )


def _next_compared(name: str, takers: Mapping[str, Sequence[str]], compared: set[str]) -> str | None:
    """The nearest compared layer downstream of `name`."""
    ahead, seen = list(takers.get(name, ())), set()
    for taker in ahead:
        if taker in compared:
            return taker
        if taker not in seen:
            seen.add(taker)
            ahead.extend(takers.get(taker, ()))
    return None


def _compared_before(name: str, dropped: Mapping[str, Layer]) -> Iterator[str]:
    """The compared layers that lead to `name` through layers that are no longer compared, or `name`."""
    stack, seen = [name], set()
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in dropped:
            stack.extend(reversed(dropped[one].inputs))
        else:
            yield one
