"""Describes the half precision of the source: which layers, and its effect on outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import BFLOAT16_ROUNDOFF, HALF_ROUNDOFF, LARGEST_HALF
from pytest_tfjs.compare.numbers.compression import cost
from pytest_tfjs.reference.running.casts import listed
from pytest_tfjs.reference.running.tapped_graph import tensorflow_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.activation_store import Stored
    from pytest_tfjs.reference.reference_model import ReferenceModel

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDOFF = {"float16": HALF_ROUNDOFF, "bfloat16": BFLOAT16_ROUNDOFF}


def half_precision_notes(
    model: ReferenceModel, feeds: Sequence[Feed], activations: Stored
) -> tuple[str, ...]:
    """A note on the half precision of the source; none where the source has no half precision.

    `activations`: those of the source, computed in float32.
    """
    if not model.half:
        return ()
    names = [layer.name for layer in model.plan.layers if layer.name in model.half]
    dtypes = sorted(set(model.half.values()))
    coarse = " and ".join(
        f"{dtype} (each result is off by up to {_ROUNDOFF[dtype]:.1g} of its value)" for dtype in dtypes
    )
    what = listed(names) if names else "parts of the model"
    note = (
        f"Python computes {what} in {coarse}. TF.js has no half precision and computes in float32, and so "
        f"does the reference here. {_effect(model, feeds, activations)}"
    )
    return (note,)


def _effect(model: ReferenceModel, feeds: Sequence[Feed], activations: Stored) -> str:
    """How far half precision moves the source's outputs, in words."""
    outputs = [layer.name for layer in model.plan.layers if layer.output and layer.name in model.plan.tensors]
    kind = "/".join(sorted(set(model.half.values())))
    shares: dict[str, float] = {}
    for number, feed in enumerate(feeds):
        stored = activations.read(number, [name for name in outputs if name in activations.sizes(number)])
        try:
            written = model.as_written(feed, list(stored))
        except tensorflow_errors():
            return f"TensorFlow cannot run the model in {kind} on this machine"
        for name, value in stored.items():
            share = cost(_plain(written[name]), value).share
            shares[name] = max(share, shares.get(name, 0.0))
    if not shares:
        return f"The effect of {kind} on the outputs is not known"
    worst = max(shares, key=lambda name: shares[name])
    if np.isinf(shares[worst]):
        return _nonfinite(model, feeds, kind, worst)
    return (
        f"{kind} moves Python's own outputs by up to {shares[worst]:.1e} of their largest value ({worst!r})"
    )


def _nonfinite(model: ReferenceModel, feeds: Sequence[Feed], kind: str, output: str) -> str:
    """Which layer first has NaN or Inf in half precision only, in words."""
    text = f"In Python, {output!r} has NaN or Inf where float32 has numbers"
    for feed in feeds:
        for name in (layer.name for layer in model.plan.layers if layer.name in model.plan.tensors):
            wide = _plain(model.from_source(feed, [name])[name])
            half = _plain(model.as_written(feed, [name])[name])
            if wide.dtype.kind != "f" or wide.shape != half.shape:
                continue
            lost = np.isfinite(wide) & ~np.isfinite(half)
            if lost.any():
                largest = float(np.abs(wide[lost]).max())
                limit = f", above {LARGEST_HALF:.0f}, the largest float16" if largest > LARGEST_HALF else ""
                return (
                    f"{text}: {name!r} is the first, {half[lost][0]} in {kind} and "
                    f"{wide[lost][0]:.3g} in float32 (up to {largest:.3g}{limit})"
                )
    return text


def _plain(value: Array) -> Array:
    """The value in a dtype that numpy computes with: bfloat16 is an extension of it."""
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.name in _ROUNDOFF else value
