"""A part of a graph model as a graph model of its own."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.operations import PLACEHOLDERS
from pytest_tfjs.models.alone.cut import Cut, Fed, unique
from pytest_tfjs.models.topology import tensorflow_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.weights import Array

_RESOURCES = ("HashTable", "MutableHashTable", "VarHandle")
"""How the operations begin that hold something between runs; it is filled when the model is loaded."""

_PRIVATE = "_"
"""How attributes begin that mean nothing to TF.js."""


def cut(artifacts: Artifacts, tap: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Cut:
    """The nodes between the tensor at `tap` and the nearest ones that can be fed; see `excerpt`.

    Raises ValueError where they cannot stand alone.
    """
    nodes = {node["name"]: node for node in artifacts.topology["node"]}
    target = _tensor(str(tap["node"]))
    sources = {_tensor(str(spec.tensor)): Fed("", source_input=spec.name) for spec in artifacts.inputs}
    for row, address in known.items():
        sources.setdefault(_tensor(str(address["node"])), Fed("", row=row))
    kept, entering = _walk(nodes, target, sources)
    taken = set(kept)
    names = {tensor: unique(_placeholder_name(tensor), taken) for tensor in entering}
    part = [_renamed(node, names, kept) for name, node in nodes.items() if name in kept]
    functions = _functions(artifacts.topology, part)
    inside = (node["name"] for function in functions for node in function.get("nodeDef", ()))
    used = {*kept, *inside}
    fed = tuple(Fed(names[tensor], found.row, found.source_input) for tensor, found in entering.items())
    topology = {**artifacts.topology, "node": part, "library": {"function": functions}}
    return Cut(
        fed=fed,
        address={"node": target},
        weights=frozenset(name for name in artifacts.weight_names() if name in used),
        content=partial(_content, topology, target),
        described=tuple(_described(node) for node in part if node["op"] != "Const"),
    )


def _walk(
    nodes: Mapping[str, Mapping[str, Any]], target: str, sources: Mapping[str, Fed]
) -> tuple[set[str], dict[str, Fed]]:
    """The names of the nodes that compute `target`, and the tensors that they are fed, in edge order."""
    kept: set[str] = set()
    entering: dict[str, Fed] = {}
    ahead = [_node(target)]
    while ahead:
        name = ahead.pop()
        if name in kept:
            continue
        node = nodes.get(name)
        if node is None:
            raise ValueError(f"the artifacts have no node {name!r}")
        _check(node)
        kept.add(name)
        for tensor in map(_tensor, _data_inputs(node)):
            if tensor in sources and tensor != target:
                entering.setdefault(tensor, sources[tensor])
            else:
                ahead.append(_node(tensor))
    return kept, entering


def _check(node: Mapping[str, Any]) -> None:
    if node["op"] in PLACEHOLDERS:
        raise ValueError(f"it takes {node['name']!r}, an input that nothing feeds")
    if node["op"].startswith(_RESOURCES):
        raise ValueError(f"it takes {node['name']!r}, which is filled when the whole model is loaded")


def _data_inputs(node: Mapping[str, Any]) -> Iterator[str]:
    return (ref for ref in node.get("input", ()) if not ref.startswith("^"))


def _renamed(node: Mapping[str, Any], names: Mapping[str, str], kept: set[str]) -> dict[str, Any]:
    """The node with its inputs' new names, without the control inputs that are not there."""
    inputs = []
    for ref in node.get("input", ()):
        if ref.startswith("^"):
            inputs += [ref] if ref[1:] in kept else []
        else:
            inputs.append(names.get(_tensor(ref), ref))
    return {**node, "input": inputs} if "input" in node else dict(node)


def _functions(topology: Mapping[str, Any], part: list[dict[str, Any]]) -> list[Any]:
    """The functions that the nodes call, and those that these call."""
    library = {one["signature"]["name"]: one for one in topology.get("library", {}).get("function", ())}
    found: dict[str, Any] = {}
    ahead = [name for node in part for name in _called(node)]
    while ahead:
        name = ahead.pop()
        if name in library and name not in found:
            found[name] = library[name]
            ahead.extend(other for node in library[name].get("nodeDef", ()) for other in _called(node))
    return [one for name, one in library.items() if name in found]


def _called(node: Mapping[str, Any]) -> Iterator[str]:
    for value in node.get("attr", {}).values():
        for function in [value.get("func"), *value.get("list", {}).get("func", ())]:
            if function is not None:
                yield function["name"]


def _content(topology: Mapping[str, Any], target: str, fed: Mapping[str, Array]) -> dict[str, Any]:
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


def _tensor(ref: str) -> str:
    """`name:0` for `name`, others as they are."""
    _, colon, index = ref.rpartition(":")
    return ref if colon and index.isdigit() else f"{ref}:0"


def _node(tensor: str) -> str:
    return tensor.rpartition(":")[0]
