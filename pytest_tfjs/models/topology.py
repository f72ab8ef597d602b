"""Reads inputs, outputs and graph nodes from the topology in `model.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.dtypes import DTYPES_BY_NUMBER, NUMPY_NAMES
from pytest_tfjs.models.keras_config import check_wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

# Placeholders that TensorFlow puts into loops; version 1.0 of the converter did not remove them.
_LEFT_OVER = "unused_control_flow_input"


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one input or output.

    None as a size matches any size, and None as the shape any rank. `dtype` is numpy's name, or `str` for
    strings. `tensor` is the tensor's name in a graph model, such as `Identity_1:0`.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    tensor: str | None = None


@dataclass(frozen=True)
class GraphNode:
    """One node of a graph model. Inputs are written `name`, `name:1` or `^control`; attr is JSON."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attr: Mapping[str, Any]


def tensorflow_dtype(name: str) -> str:
    """TensorFlow's name for numpy's (`DT_FLOAT` for `float32`). Raises ValueError for others."""
    for numpy_name, tfjs_name in NUMPY_NAMES.items():
        if tfjs_name == name:
            return numpy_name
    raise ValueError(f"graph models do not support the dtype {name!r}")


def graph_nodes(topology: Mapping[str, Any]) -> tuple[GraphNode, ...]:
    """The nodes of a graph model's topology, in file order."""
    nodes = tuple(map(_node, topology["node"]))
    names = {node.name for node in nodes}
    if len(names) != len(nodes):
        twice = Counter(node.name for node in nodes).most_common(1)[0][0]
        raise ValueError(f"two nodes have the name {twice!r}")
    return nodes


def _node(node: Mapping[str, Any]) -> GraphNode:
    name, op, inputs, attr = node["name"], node["op"], node.get("input", []), node.get("attr", {})
    if not all(isinstance(text, str) and text for text in (name, op)):
        raise ValueError(f"a node has the invalid name {name!r} or operation {op!r}")
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise ValueError(f"the node {name!r} has the invalid inputs {inputs!r:.200}")
    if not isinstance(attr, dict) or not all(map(_is_attribute, attr.values())):
        raise ValueError(f"the node {name!r} has the invalid attributes {attr!r:.200}")
    return GraphNode(name, op, tuple(inputs), attr)


def _is_attribute(value: Any) -> bool:
    """Whether this is the value of an attribute, such as `{"i": "3"}` or `{"func": {"name": "f"}}`."""
    if not isinstance(value, dict) or not isinstance(value.get("list", {}), dict):
        return False
    functions = value.get("list", {}).get("func", [])
    return isinstance(functions, list) and all(
        isinstance(function, dict) and isinstance(function.get("name"), str)
        for function in [*functions, *([value["func"]] if "func" in value else [])]
    )


def graph_functions(topology: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The functions of a graph model (bodies of loops and branches) by name, as the topology has them.

    Raises ValueError, or what a missing or mistyped part raises, if one of them is damaged.
    """
    functions: dict[str, Mapping[str, Any]] = {}
    for function in (topology.get("library") or {}).get("function", ()):
        name = function["signature"]["name"]
        if not isinstance(name, str) or name in functions:
            raise ValueError(f"a function has the invalid name {name!r}")
        for node in function.get("nodeDef", ()):
            _node(node)
        functions[name] = function
    return functions


def functions_called(attributes: Mapping[str, Any]) -> Iterator[str]:
    """The names of the functions that a node with these attributes calls."""
    for value in attributes.values():
        for function in [value.get("func"), *value.get("list", {}).get("func", ())]:
            if function is not None:
                yield function["name"]


def graph_signature(content: Mapping[str, Any]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a graph model: from its signature, or without one from its nodes."""
    signature = _signature(content)
    inputs = _signature_tensors(signature.get("inputs"))
    outputs = _signature_tensors(signature.get("outputs"))
    nodes = graph_nodes(content["modelTopology"])
    graph_functions(content["modelTopology"])
    return inputs or tuple(_placeholders(nodes)), outputs or tuple(_unused_nodes(nodes))


def has_signature(content: Mapping[str, Any]) -> bool:
    """Whether a graph model has a signature with outputs."""
    return bool(_signature(content).get("outputs"))


def captured_resources(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The tensors of a graph model's signature that hold resources (lookup tables): TF.js feeds these."""
    inputs = _signature(content).get("inputs") or {}
    return tuple(str(info["name"]) for info in inputs.values() if info.get("resourceId") is not None)


def _signature(content: Mapping[str, Any]) -> Mapping[str, Any]:
    # Versions 1.4 to 2.3 wrote it into the user's metadata.
    return content.get("signature") or (content.get("userDefinedMetadata") or {}).get("signature") or {}


def layers_signature(content: Mapping[str, Any]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a layers model, from its Keras topology; the outputs' shapes are unknown."""
    topology = content["modelTopology"]
    return _keras_signature(topology.get("model_config", topology))


def _signature_tensors(tensors: Mapping[str, Any] | None) -> tuple[TensorSpec, ...]:
    # TF.js itself feeds resources (lookup tables).
    return tuple(
        TensorSpec(_bare(key), _shape(value.get("tensorShape")), _dtype(value.get("dtype")), value["name"])
        for key, value in (tensors or {}).items()
        if value.get("dtype") != "DT_RESOURCE" and "resourceId" not in value
    )


def _placeholders(nodes: tuple[GraphNode, ...]) -> Iterator[TensorSpec]:
    for node in nodes:
        if node.op == "Placeholder" and not node.name.startswith(_LEFT_OVER):
            shape = node.attr.get("shape", {}).get("shape")
            yield TensorSpec(
                node.name, _shape(shape), _dtype(node.attr["dtype"].get("type")), f"{node.name}:0"
            )


def _unused_nodes(nodes: tuple[GraphNode, ...]) -> Iterator[TensorSpec]:
    used = {_bare(name.lstrip("^")) for node in nodes for name in node.inputs}
    for node in nodes:
        if node.name not in used and node.op not in ("Const", "Placeholder", "NoOp"):
            yield TensorSpec(node.name, None, _dtype(node.attr.get("T", {}).get("type")), f"{node.name}:0")


def _bare(name: str) -> str:
    """`name` for `name:0`: the converter writes tensor names as signature keys where tensors are alike."""
    head, colon, index = name.rpartition(":")
    return head if colon and index.isdigit() else name


def _shape(shape: Mapping[str, Any] | None) -> tuple[int | None, ...] | None:
    if shape is None or shape.get("unknownRank"):
        return None
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
    return tuple(size if size >= 0 else None for size in sizes)


def _dtype(name: Any) -> str:
    name = DTYPES_BY_NUMBER.get(name, name) if isinstance(name, int) else name
    return NUMPY_NAMES.get(name, "float32") if isinstance(name, str) else "float32"


def _keras_signature(model: Mapping[str, Any]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    config = model["config"]
    _check_layers(config["layers"] if isinstance(config, dict) else config)
    if model["class_name"] == "Sequential":
        return _sequential_signature(config)
    check_wiring(model)
    layers = {layer.get("name") or layer["config"]["name"]: layer for layer in config["layers"]}
    inputs = [_keras_input(name, layers[name]) for name, _, _ in _references(config["input_layers"])]
    outputs = [
        TensorSpec(name if index == 0 else f"{name}:{index}", None, _keras_dtype(layers[name]["config"]))
        for name, _, index in _references(config["output_layers"])
    ]
    return tuple(inputs), tuple(outputs)


def _check_layers(layers: Any) -> None:
    """Raises TypeError where an entry is not a layer, ValueError where two layers have one name."""
    if not isinstance(layers, list):
        raise TypeError(f"the layers are {layers!r:.100}")
    names = [layer["config"]["name"] for layer in layers]
    if not all(isinstance(text, str) for text in [*names, *(layer["class_name"] for layer in layers)]):
        raise TypeError("the name or the class of a layer is not a string")
    if len(set(names)) != len(names):
        raise ValueError(f"two layers have the name {Counter(names).most_common(1)[0][0]!r}")


def _sequential_signature(config: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    layers = config["layers"] if isinstance(config, dict) else config
    first, last = layers[0], layers[-1]
    if "layers" in first["config"]:
        inputs, _ = _keras_signature(first)
    else:
        name = first["config"]["name"]
        inputs = (_keras_input(name if first["class_name"] == "InputLayer" else f"{name}_input", first),)
    return inputs, (TensorSpec(last["config"]["name"], None, _keras_dtype(last["config"])),)


def _references(value: Any) -> Iterator[tuple[str, int, int]]:
    """`(layer, node, tensor)` for each `["layer", 0, 0]` in one such list, a list or a dict of them."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item)
    elif value and isinstance(value[0], str):
        yield value[0], int(value[1]), int(value[2])
    else:
        for item in value:
            yield from _references(item)


def _keras_input(name: str, layer: Mapping[str, Any]) -> TensorSpec:
    config = layer["config"]
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    return TensorSpec(name, None if shape is None else tuple(shape), _keras_dtype(config))


def _keras_dtype(config: Mapping[str, Any]) -> str:
    dtype = config.get("dtype")
    if isinstance(dtype, Mapping):  # a precision policy
        dtype = dtype.get("config", {}).get("name")
    return {"string": "str", None: "float32", "mixed_float16": "float16"}.get(dtype, str(dtype))
