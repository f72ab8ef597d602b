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

_WRAPPED = ("layer", "backward_layer", "cell", "cells")
"""Where the config of a wrapper, or of an RNN, has the layers within it."""

Call = tuple[str, int, int]
"""Layer, number of the call, index of the output: how a config names a tensor."""

_UNNAMED_INPUT: Call = ("", 0, 0)
"""The input of a Sequential model that does not begin with an InputLayer."""


def plan_keras(source: Mapping[str, Any], converted: Mapping[str, Any]) -> Plan:
    """Accounts for every layer of the source's config, and for those that the artifacts' config alone has.

    Both are `{"class_name": ..., "config": ...}` of a Functional or Sequential model.
    """
    rows = _Planner().plan(source)
    theirs = {layer.name: layer for layer in _Planner().plan(converted).layers}
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


_Path = tuple[tuple[str, int, bool], ...]
"""Through nested models: each one's name, which of its calls it is, and whether that is the only one."""


@dataclass
class _Planner:
    layers: dict[str, Layer] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)

    def plan(self, model: Mapping[str, Any]) -> Plan:
        for row in self._model(model, (), {}):
            for name in row:
                self.layers[name] = replace(self.layers[name], output=True)
        return Plan(tuple(self.layers.values()), self.tensors)

    def _model(
        self, model: Mapping[str, Any], path: _Path, entering: Mapping[Call, tuple[str, ...]]
    ) -> list[tuple[str, ...]]:
        """Adds the rows of `model`, nested at `path`; gives the rows behind each of its outputs.

        `entering` are the rows behind its own inputs.
        """
        rows: dict[Call, tuple[str, ...]] = dict(entering)
        calls = _calls(model)
        outputs = _outputs(model)
        used = {call for called in calls for call in called.inputs} | set(outputs)
        for called in _in_order(calls):
            # An input is a row only where the whole model gives it back.
            given_back = not path and (called.name, called.number, 0) in outputs
            if called.layer["class_name"] == "InputLayer" and not given_back:
                continue
            behind = [rows.get(call, ()) for call in called.inputs]
            inner: list[tuple[str, ...]] = []
            if called.layer["class_name"] in _MODELS:
                inside = (*path, (called.name, called.ordinal, called.only))
                given = dict(zip(_inputs(called.layer), behind, strict=False))
                inner = self._model(called.layer, inside, given)
            before = tuple(dict.fromkeys(row for group in behind for row in group))
            for index in sorted({i for n, k, i in used if (n, k) == (called.name, called.number)} | {0}):
                row = self._row(called, index, path, inner[index] if index < len(inner) else before)
                rows[called.name, called.number, index] = (row.name,)
            if called.layer["class_name"] not in _MODELS:
                self._add_wrapped(called.layer, self._name(called, path))
        return [rows.get(call, ()) for call in outputs]

    def _add_wrapped(self, wrapper: Mapping[str, Any], name: str) -> None:
        for scope, layer in _within(wrapper):
            row = Layer(
                name=f"{name}/{scope}",
                op=_operation(layer),
                inputs=(),
                shape=None,
                dtype=None,
                coverage="fused",
                into=name,
                reason=f"the browser computes it as part of {name!r}, which wraps it",
            )
            self.layers[row.name] = row

    def _name(self, called: _Called, path: _Path) -> str:
        scopes = (_numbered(scope, ordinal) for scope, ordinal, _ in path)
        return "/".join((*scopes, _numbered(called.name, called.ordinal)))

    def _row(self, called: _Called, index: int, path: _Path, inputs: tuple[str, ...]) -> Layer:
        is_model = called.layer["class_name"] in _MODELS
        tap: dict[str, Any] = {
            "path": [
                *(scope if only else [scope, ordinal + 1] for scope, ordinal, only in path),
                called.name,
            ],
            "tensor": index,
        }
        if not is_model or not called.only:
            tap["node"] = called.ordinal + is_model
        row = Layer(
            name=self._name(called, path) + (f":{index}" if index else ""),
            op=_operation(called.layer),
            inputs=inputs,
            shape=None,
            dtype=None,
            coverage="compared",
            tap=tap,
        )
        self.layers[row.name] = row
        place = [[[scope, ordinal] for scope, ordinal, _ in path], called.name, called.ordinal, index]
        self.tensors[row.name] = json.dumps(place)
        return row


def _numbered(name: str, call: int) -> str:
    return f"{name}#{call + 1}" if call else name


def _operation(layer: Mapping[str, Any]) -> str:
    inner = layer["config"].get("layer")
    if isinstance(inner, Mapping) and "class_name" in inner:
        return f"{layer['class_name']}({inner['class_name']})"
    return str(layer["class_name"])


def _within(layer: Mapping[str, Any], scope: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The layers in a wrapper, and those in them, each with its name among the others."""
    for inner in _held(layer):
        name = f"{scope}{inner['config']['name']}"
        yield name, inner
        yield from _within(inner, f"{name}/")


def _held(layer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if layer["class_name"] in _MODELS:
        return [inner for inner in _layers(layer) if inner["class_name"] != "InputLayer"]
    values = [layer["config"].get(key) for key in _WRAPPED]
    layers = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
    return [inner for inner in layers if isinstance(inner, Mapping) and "class_name" in inner]


@dataclass(frozen=True)
class _Called:
    """One call of a layer: its number in the config, its place among its calls, and if it is the only one."""

    layer: Mapping[str, Any]
    number: int
    ordinal: int
    only: bool
    inputs: tuple[Call, ...]

    @property
    def name(self) -> str:
        return str(self.layer["config"]["name"])


def _calls(model: Mapping[str, Any]) -> list[_Called]:
    """Each call of each layer of `model`, with the tensors that enter it."""
    if model["class_name"] == "Sequential":
        return _chain(_layers(model))
    calls: list[_Called] = []
    names = {layer["config"]["name"] for layer in _layers(model)}
    for layer in _layers(model):
        nodes = layer.get("inbound_nodes") or [[]]
        for ordinal, node in enumerate(nodes):
            inputs = tuple(_references(node, names))
            calls.append(_Called(layer, ordinal + _first_call(layer), ordinal, len(nodes) == 1, inputs))
    return calls


def _chain(layers: list[Mapping[str, Any]]) -> list[_Called]:
    calls: list[_Called] = []
    before: tuple[Call, ...] = () if _begins_with_input(layers) else (_UNNAMED_INPUT,)
    for layer in layers:
        calls.append(_Called(layer, _first_call(layer), 0, True, before))
        before = ((layer["config"]["name"], _first_call(layer), 0),)
    return calls


def _first_call(layer: Mapping[str, Any]) -> int:
    """The config's number for the first call of `layer`: before those of a model comes its own making."""
    if layer["class_name"] == "Sequential":
        return int(_begins_with_input(_layers(layer)))
    return int(layer["class_name"] in _MODELS)


def _layers(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    config = model["config"]
    return list(config["layers"] if isinstance(config, Mapping) else config)


def _begins_with_input(layers: list[Mapping[str, Any]]) -> bool:
    return bool(layers[0]["class_name"] == "InputLayer")


def _in_order(calls: list[_Called]) -> Iterator[_Called]:
    """The calls such that each follows those whose outputs it takes."""
    known = {(call.name, call.number) for call in calls}
    done: set[tuple[str, int]] = set()
    waiting = list(calls)
    while waiting:
        held = []
        for call in waiting:
            if all((name, k) in done or (name, k) not in known for name, k, _ in call.inputs):
                done.add((call.name, call.number))
                yield call
            else:
                held.append(call)
        if len(held) == len(waiting):
            raise ValueError(f"the model's config is not a graph: {held[0].name!r} waits for itself")
        waiting = held


def _inputs(model: Mapping[str, Any]) -> list[Call]:
    if model["class_name"] == "Sequential":
        layers = _layers(model)
        return [(layers[0]["config"]["name"], 0, 0) if _begins_with_input(layers) else _UNNAMED_INPUT]
    return list(_references(model["config"]["input_layers"], None))


def _outputs(model: Mapping[str, Any]) -> list[Call]:
    if model["class_name"] == "Sequential":
        last = _layers(model)[-1]
        return [(last["config"]["name"], _first_call(last), 0)]
    return list(_references(model["config"]["output_layers"], None))


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
