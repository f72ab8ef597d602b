"""The layers of a Keras 2 model, from its config alone: each call of a layer is a row.

The config is the one that `model.get_config()` gives and that `model.json` holds. In it a layer's calls are
numbered as they are in the model that TF.js builds from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_tfjs.compare.layers import Layer
from pytest_tfjs.reference.plan import Plan

_MODELS = frozenset({"Functional", "Model", "Sequential"})

Call = tuple[str, int, int]
"""Layer, number of the call, index of the output: how a config names a tensor."""


def plan_keras(source: Mapping[str, Any], converted: Mapping[str, Any]) -> Plan:
    """Accounts for every layer of the source's config, and for those that the artifacts' config alone has.

    Both are `{"class_name": ..., "config": ...}` of a Functional or Sequential model.
    """
    rows = _Planner().model(source, (), {})
    theirs = {layer.name: layer for layer in _Planner().model(converted, (), {}).layers}
    layers = [_held_against(layer, theirs.pop(layer.name, None)) for layer in rows.layers]
    layers.extend(_unmapped(layer, "only the artifacts have this layer") for layer in theirs.values())
    compared = {layer.name for layer in layers if layer.coverage == "compared"}
    return Plan(tuple(layers), {name: at for name, at in rows.tensors.items() if name in compared})


def _held_against(layer: Layer, twin: Layer | None) -> Layer:
    if twin is None:
        return _unmapped(layer, "the artifacts have no such layer")
    return layer if twin.op == layer.op else _unmapped(layer, f"in the artifacts it is {twin.op}")


def _unmapped(layer: Layer, reason: str) -> Layer:
    return replace(layer, coverage="unmapped", reason=reason, tap=None)


_Path = tuple[tuple[str, int], ...]
"""Through nested models: each one's name and the number of its call."""


@dataclass
class _Planner:
    layers: dict[str, Layer] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)

    def model(self, model: Mapping[str, Any], path: _Path, entering: Mapping[Call, tuple[str, ...]]) -> Plan:
        """Adds the rows of `model`, nested at `path`; `entering` are the rows behind its own inputs."""
        rows: dict[Call, tuple[str, ...]] = dict(entering)
        calls = _calls(model)
        outputs = set(_outputs(model))
        used = {call for _, _, inputs in calls for call in inputs} | outputs
        for layer, number, inputs in _in_order(calls):
            before = tuple(dict.fromkeys(row for call in inputs for row in rows.get(call, ())))
            name = layer["config"]["name"]
            if layer["class_name"] == "InputLayer":
                continue
            if layer["class_name"] in _MODELS:
                behind = (rows.get(call, ()) for call in inputs)
                inner = dict(zip(_inputs(layer), behind, strict=False))
                self.model(layer, (*path, (name, number)), inner)
            for index in sorted({i for n, k, i in used if (n, k) == (name, number)} | {0}):
                row = self._row(layer, (name, number, index), path, before)
                rows[name, number, index] = (row.name,)
                if not path and (name, number, index) in outputs:
                    self.layers[row.name] = replace(row, output=True)
        return Plan(tuple(self.layers.values()), self.tensors)

    def _row(self, layer: Mapping[str, Any], call: Call, path: _Path, inputs: tuple[str, ...]) -> Layer:
        name, number, index = call
        scopes = [_numbered(scope, again) for scope, again in path]
        row = Layer(
            name="/".join((*scopes, _numbered(name, number))) + (f":{index}" if index else ""),
            op=_operation(layer),
            inputs=inputs,
            shape=None,
            dtype=None,
            coverage="compared",
            tap={
                "path": [*([scope, again] if again else scope for scope, again in path), name],
                "node": number,
                "tensor": index,
            },
        )
        self.layers[row.name] = row
        self.tensors[row.name] = json.dumps([path, name, number, index])
        return row


def _numbered(name: str, call: int) -> str:
    return f"{name}#{call + 1}" if call else name


def _operation(layer: Mapping[str, Any]) -> str:
    inner = layer["config"].get("layer")
    if isinstance(inner, Mapping) and "class_name" in inner:
        return f"{layer['class_name']}({inner['class_name']})"
    return str(layer["class_name"])


_LayerCall = tuple[Mapping[str, Any], int, tuple[Call, ...]]


def _calls(model: Mapping[str, Any]) -> list[_LayerCall]:
    """Each call of each layer of `model`, with the tensors that enter it."""
    config = model["config"]
    if model["class_name"] == "Sequential":
        return _chain(config["layers"] if isinstance(config, Mapping) else config)
    calls: list[_LayerCall] = []
    names = {layer["config"]["name"] for layer in config["layers"]}
    for layer in config["layers"]:
        nodes = layer.get("inbound_nodes") or [[]]
        for number, node in enumerate(nodes):
            calls.append((layer, number, tuple(dict.fromkeys(_references(node, names)))))
    return calls


def _chain(layers: list[Mapping[str, Any]]) -> list[_LayerCall]:
    calls: list[_LayerCall] = []
    before: tuple[Call, ...] = ()
    for layer in layers:
        calls.append((layer, 0, before))
        before = ((layer["config"]["name"], 0, 0),)
    return calls


def _in_order(calls: list[_LayerCall]) -> Iterator[_LayerCall]:
    """The calls such that each follows those whose outputs it takes."""
    known = {(layer["config"]["name"], number) for layer, number, _ in calls}
    done: set[tuple[str, int]] = set()
    waiting = list(calls)
    while waiting:
        held = []
        for call in waiting:
            layer, number, inputs = call
            if all((name, k) in done or (name, k) not in known for name, k, _ in inputs):
                done.add((layer["config"]["name"], number))
                yield call
            else:
                held.append(call)
        if len(held) == len(waiting):
            raise ValueError(
                f"the model's config is not a graph: {held[0][0]['config']['name']!r} waits for itself"
            )
        waiting = held


def _inputs(model: Mapping[str, Any]) -> list[Call]:
    config = model["config"]
    if model["class_name"] == "Sequential":
        layers = config["layers"] if isinstance(config, Mapping) else config
        first = layers[0]["config"]["name"]
        return [(first, 0, 0)] if layers[0]["class_name"] == "InputLayer" else []
    return list(_references(config["input_layers"], None))


def _outputs(model: Mapping[str, Any]) -> list[Call]:
    config = model["config"]
    if model["class_name"] == "Sequential":
        layers = config["layers"] if isinstance(config, Mapping) else config
        return [(layers[-1]["config"]["name"], 0, 0)]
    return list(_references(config["output_layers"], None))


def _references(value: Any, names: set[str] | None) -> Iterator[Call]:
    """Each `["layer", call, tensor, ...]` within nested lists and dicts; other strings are arguments."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item, names)
    elif isinstance(value, (list, tuple)):
        if value[2:] and isinstance(value[0], str) and all(isinstance(i, int) for i in value[1:3]):
            if names is None or value[0] in names:
                yield value[0], value[1], value[2]
            value = value[3:]
        for item in value:
            yield from _references(item, names)
