"""Layers models written by hand, whose results are known exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.tiny_models import BIAS, KERNEL, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer of a Sequential model's configuration."""
    return {"class_name": class_name, "config": {"name": name, **config}}


def input_layer(name: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    return layer("InputLayer", name, batch_input_shape=[None, *shape], dtype=dtype)


def sequential(name: str, layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def functional(
    name: str,
    layers: Sequence[tuple[Mapping[str, Any], Sequence[Sequence[tuple[str, int, int]]]]],
    inputs: Sequence[str],
    outputs: Sequence[tuple[str, int, int]],
) -> dict[str, Any]:
    """A functional model: each layer with its inbound nodes, each a list of tensors (layer, node, tensor)."""
    return {
        "class_name": "Functional",
        "config": {
            "name": name,
            "layers": [
                {
                    **entry,
                    "name": entry["config"]["name"],
                    "inbound_nodes": [[[*tensor, {}] for tensor in node] for node in nodes],
                }
                for entry, nodes in layers
            ],
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [list(output) for output in outputs],
        },
    }


def write_layers_model(folder: Path, model: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Path:
    topology = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": model}
    return write_model(folder, topology, weights, format="layers-model", generatedBy="keras v2.15.0")


def dense_model(folder: Path) -> Path:
    """Input `x` of 3, a dense layer `dense` of 2, and `relu`."""
    layers = [
        input_layer("x", 3),
        layer("Dense", "dense", units=2),
        layer("Activation", "relu", activation="relu"),
    ]
    return write_layers_model(
        folder, sequential("tiny", layers), {"dense/kernel": KERNEL, "dense/bias": BIAS}
    )
