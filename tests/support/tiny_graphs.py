"""Graph models written by hand, whose results are known exactly."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.support.tiny_models import BIAS, DTYPES, KERNEL, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np


def node(op: str, name: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    """A node of a graph model."""
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def dtype_attribute(dtype: str) -> dict[str, str]:
    return {"type": DTYPES[dtype]}


def placeholder(name: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    dims = {"dim": [{"size": str(size)} for size in shape]}
    return node("Placeholder", name, dtype=dtype_attribute(dtype), shape={"shape": dims})


def constant(name: str, value: np.ndarray) -> dict[str, Any]:
    """A constant, whose value is the weight of that name."""
    dims = {"dim": [{"size": str(size)} for size in value.shape]}
    dtype = dtype_attribute(value.dtype.name)
    tensor = {"dtype": dtype["type"], "tensorShape": dims}
    return node("Const", name, dtype=dtype, value={"tensor": tensor})


def string_value(text: str) -> str:
    """A string attribute as model.json holds it."""
    return base64.b64encode(text.encode()).decode()


def write_graph(
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
    return write_graph(
        folder,
        nodes,
        {"kernel": KERNEL, "bias": BIAS},
        inputs={"x": "serving_x:0"},
        outputs={"y": "Identity:0"},
    )
