"""Builds a graph model that consists of one layer of another graph model."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.alone.content import AloneContent, ModelInput, unique
from pytest_tfjs.models.alone.graph_planner import GraphPlanner, tensor_name
from pytest_tfjs.models.alone.plan import CannotRunAloneError
from pytest_tfjs.models.topology import functions_called, graph_functions, tensorflow_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.models.alone.plan import GraphPlan
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.weights import Array

_RESOURCES = ("HashTable", "MutableHashTable", "VarHandle")
"""Prefixes of operations that hold values between runs, which are filled when a model is loaded."""

_PRIVATE = "_"
"""Prefix of attributes that mean nothing to TF.js."""


def graph_content(
    artifacts: Artifacts, tap: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> AloneContent:
    """The nodes between the tensor at `tap` and the nearest ones that can be fed; see `single_layer_model`.

    Raises CannotRunAloneError, with the reason.
    """
    plan = GraphPlanner(artifacts, known).plan(tap)
    _check_resources(artifacts, plan)
    nodes = {*plan.nodes, *plan.weights}
    taken = set(nodes)
    names = {tensor: unique(_placeholder_name(tensor), taken) for tensor in plan.fed}
    part = [_renamed(node, names, nodes) for node in artifacts.topology["node"] if node["name"] in nodes]
    functions = _functions(artifacts.topology, part)
    inside = (node["name"] for function in functions for node in function.get("nodeDef", ()))
    used = {*nodes, *inside}
    topology = {**artifacts.topology, "node": part, "library": {"function": functions}}
    return AloneContent(
        fed=tuple(ModelInput(names[tensor], one.row, one.source_input) for tensor, one in plan.fed.items()),
        address={"node": plan.target},
        weights=frozenset(name for name in artifacts.weight_names() if name in used),
        model_json=partial(_model_json, topology, plan.target),
        described=tuple(_described(node) for node in part if node["op"] != "Const"),
    )


def _check_resources(artifacts: Artifacts, plan: GraphPlan) -> None:
    ops = {node.name: node.op for node in artifacts.nodes()}
    for name in (*plan.nodes, *plan.resources):
        if name in plan.resources or ops[name].startswith(_RESOURCES):
            raise CannotRunAloneError(
                f"the layer reads {name!r}, a table or variable that is filled only in the whole model"
            )


def _renamed(node: Mapping[str, Any], names: Mapping[str, str], nodes: set[str]) -> dict[str, Any]:
    """The node with the new names of its inputs, and without control inputs from other nodes."""
    inputs = []
    for ref in node.get("input", ()):
        if ref.startswith("^"):
            inputs += [ref] if ref[1:] in nodes else []
        else:
            inputs.append(names.get(tensor_name(ref), ref))
    return {**node, "input": inputs} if "input" in node else dict(node)


def _functions(topology: Mapping[str, Any], part: list[dict[str, Any]]) -> list[Any]:
    """The functions that the nodes call, directly or through other functions."""
    library = graph_functions(topology)
    found: dict[str, Any] = {}
    ahead = [name for node in part for name in functions_called(node.get("attr", {}))]
    while ahead:
        name = ahead.pop()
        if name in library and name not in found:
            found[name] = library[name]
            for node in library[name].get("nodeDef", ()):
                ahead += functions_called(node.get("attr", {}))
    return [one for name, one in library.items() if name in found]


def _model_json(topology: Mapping[str, Any], target: str, fed: Mapping[str, Array]) -> dict[str, Any]:
    placeholders = [
        {
            "name": name,
            "op": "Placeholder",
            "attr": {"dtype": {"type": _dtype(value)}, "shape": {"shape": _shape(value)}},
        }
        for name, value in fed.items()
    ]
    inputs = {
        name: {"name": f"{name}:0", "dtype": _dtype(value), "tensorShape": _shape(value)}
        for name, value in fed.items()
    }
    return {
        "format": "graph-model",
        "modelTopology": {**topology, "node": [*placeholders, *topology["node"]]},
        "signature": {"inputs": inputs, "outputs": {"output": {"name": target}}},
    }


def _described(node: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {
        name: _value(value) for name, value in sorted(node.get("attr", {}).items()) if name[0] != _PRIVATE
    }
    return {
        "name": node["name"],
        "op": node["op"],
        "inputs": list(node.get("input", ())),
        "attributes": attributes,
    }


def _value(attribute: Mapping[str, Any]) -> Any:
    """An attribute of a NodeDef in protobuf's JSON, as one would write it."""
    for kind, value in attribute.items():
        if kind == "list":
            return [_plain(each, item) for each, items in value.items() for item in items]
        return _plain(kind, value)
    return None


def _plain(kind: str, value: Any) -> Any:
    if kind == "s":
        return base64.b64decode(value).decode("utf-8", "replace")
    if kind == "shape":
        return [int(dim.get("size", 0)) for dim in value.get("dim", ())]
    if kind == "func":
        return value["name"]
    return int(value) if kind == "i" else value


def _dtype(value: Array) -> str:
    return tensorflow_dtype("str" if value.dtype.kind in "OSU" else value.dtype.name)


def _shape(value: Array) -> dict[str, Any]:
    return {"dim": [{"size": str(size)} for size in value.shape]}


def _placeholder_name(tensor: str) -> str:
    name, _, index = tensor.rpartition(":")
    return name if index == "0" else f"{name}_{index}"
