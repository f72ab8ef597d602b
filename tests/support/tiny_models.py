"""Converted models written by hand, whose results are known exactly."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KERNEL = np.array([[1, -2], [3, 4], [-5, 6]], np.float32)
BIAS = np.array([0.5, -0.5], np.float32)
X = np.array([[1, 2, 3], [-1, 0, 1]], np.float32)
DENSE = X @ KERNEL + BIAS
RELU = np.maximum(DENSE, 0)
_DTYPES = {
    "float32": "DT_FLOAT",
    "int32": "DT_INT32",
    "bool": "DT_BOOL",
    "str": "DT_STRING",
    "complex64": "DT_COMPLEX64",
}


def write_model(
    folder: Path, topology: Mapping[str, Any], weights: Mapping[str, np.ndarray], **more: Any
) -> Path:
    """A model.json with one shard; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = [
        {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}
        for name, value in weights.items()
    ]
    assert {spec["dtype"] for spec in specs} <= _DTYPES.keys()
    shard = "group1-shard1of1.bin"
    (folder / shard).write_bytes(b"".join(value.tobytes() for value in weights.values()))
    manifest = [{"paths": [shard], "weights": specs}] if specs else []
    path = folder / "model.json"
    path.write_text(json.dumps({"modelTopology": topology, "weightsManifest": manifest, **more}))
    return path


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


def node(op: str, name: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    """A node of a graph model."""
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def dtype_attribute(dtype: str) -> dict[str, str]:
    return {"type": _DTYPES[dtype]}


def placeholder(name: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    dims = {"dim": [{"size": str(size)} for size in shape]}
    return node("Placeholder", name, dtype=dtype_attribute(dtype), shape={"shape": dims})


def constant(name: str, value: np.ndarray) -> dict[str, Any]:
    """A constant, whose value is the weight of that name."""
    dims = {"dim": [{"size": str(size)} for size in value.shape]}
    dtype = dtype_attribute(value.dtype.name)
    tensor = {"dtype": dtype["type"], "tensorShape": dims}
    return node("Const", name, dtype=dtype, value={"tensor": tensor})


def write_graph_model(
    folder: Path,
    nodes: Sequence[Mapping[str, Any]],
    weights: Mapping[str, np.ndarray],
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
) -> Path:
    """`inputs` and `outputs`: the signature, from its keys to the names of tensors."""
    signature = {
        "inputs": {key: {"name": name} for key, name in inputs.items()},
        "outputs": {key: {"name": name} for key, name in outputs.items()},
    }
    topology = {"node": list(nodes), "library": {}, "versions": {"producer": 1882}}
    return write_model(folder, topology, weights, format="graph-model", signature=signature)


def dense_graph(folder: Path) -> Path:
    """The same as `dense_model` as a graph: input `x`, nodes `product`, `sum`, `relu`, and the output `y`."""
    nodes = [
        placeholder("serving_x", -1, 3),
        constant("kernel", KERNEL),
        constant("bias", BIAS),
        node("MatMul", "product", "serving_x", "kernel", transpose_a={"b": False}, transpose_b={"b": False}),
        node("AddV2", "sum", "product", "bias"),
        node("Relu", "relu", "sum"),
        node("Identity", "Identity", "relu"),
    ]
    return write_graph_model(
        folder,
        nodes,
        {"kernel": KERNEL, "bias": BIAS},
        inputs={"x": "serving_x:0"},
        outputs={"y": "Identity:0"},
    )


def string_value(text: str) -> str:
    """A string attribute as model.json holds it."""
    return base64.b64encode(text.encode()).decode()
