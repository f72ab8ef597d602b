"""Compares converted nodes, run in TensorFlow, with a plan's reference activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.reference.running.converted_graph import ConvertedGraph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.capture import Reference


def run_converted(
    artifacts: Artifacts, feed: Mapping[str, np.ndarray], tensors: Sequence[str]
) -> dict[str, Any]:
    """The values of `tensors` (`node:0`) of a graph model; `feed` is by the signature's input names."""
    given = {spec.tensor: feed[spec.name] for spec in artifacts.inputs}
    return ConvertedGraph(artifacts).run(given, tensors)


def disagreements(
    artifacts: Artifacts, feed: Feed, reference: Reference, rtol: float = 1e-4
) -> dict[str, str]:
    """The compared layers of a plan whose converted nodes compute something else, and how far off they are.

    `feed` is the first one of those captured.
    """
    layers = [layer for layer in reference.plan.layers if layer.tap is not None]
    values = run_converted(artifacts, feed.reference, [layer.tap["node"] for layer in layers])
    activations = reference.activations(0)
    found = {
        layer.name: _difference(values[layer.tap["node"]], activations[layer.name], rtol) for layer in layers
    }
    return {name: text for name, text in found.items() if text}


def _difference(actual: Any, expected: np.ndarray, rtol: float) -> str:
    actual = np.asarray(actual)
    if actual.dtype.kind in "OSU":
        return "" if np.array_equal(actual, expected) else f"{actual} for {expected}"
    if actual.shape != expected.shape:
        return f"shape {actual.shape} for {expected.shape}"
    scale = float(np.abs(expected).max(initial=0)) if expected.dtype.kind != "b" else 1.0
    if np.allclose(actual.astype(expected.dtype), expected, rtol=rtol, atol=rtol * scale, equal_nan=True):
        return ""
    return f"off by {np.abs(actual - expected).max()} in {scale}"
