"""Reads a Keras 2 model's config as a graph: each call of a layer, and its input tensors.

The config is that of `model.get_config()` and `model.json`: `{"class_name": ..., "config": ...}` of a
Functional or Sequential model. It numbers a layer's calls as the model does that TF.js builds from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MODELS = frozenset({"Functional", "Model", "Sequential"})

Call = tuple[str, int, int]
"""How a config names a tensor: the layer, the number of its call, the index of the output."""

Path = tuple[tuple[str, int, bool], ...]
"""A path through nested models: each one's name, the ordinal of its call, whether it is the only call."""

_UNNAMED_INPUT: Call = ("", 0, 0)
"""Stands for the input of a Sequential model without an InputLayer."""


@dataclass(frozen=True)
class Called:
    """One call of a layer: its number in the config, its ordinal, and whether it is the layer's only call.

    `arguments`: the keyword arguments of the call, such as `training`.
    """

    layer: Mapping[str, Any]
    number: int
    ordinal: int
    only: bool
    inputs: tuple[Call, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer["config"]["name"])

    @property
    def is_model(self) -> bool:
        """Whether the layer is a nested model."""
        return self.layer["class_name"] in MODELS

    @property
    def step(self) -> tuple[str, int, bool]:
        """This call of a nested model, as one step of a Path."""
        return self.name, self.ordinal, self.only


def address_of(called: Called, index: int, path: Path) -> dict[str, Any]:
    """The address of a call's output, within the nested models of `path`; see `browsers.jobs.Tap`."""
    steps = [name if only else [name, ordinal + 1] for name, ordinal, only in path]
    address: dict[str, Any] = {"path": [*steps, called.name], "tensor": index}
    if not called.is_model or not called.only:
        address["node"] = called.ordinal + called.is_model
    return address


def calls_of(model: Mapping[str, Any]) -> list[Called]:
    """Each call of each layer of `model`, with its input tensors."""
    if model["class_name"] == "Sequential":
        return _chain(layers_of(model))
    calls: list[Called] = []
    names = {layer["config"]["name"] for layer in layers_of(model)}
    for layer in layers_of(model):
        nodes = layer.get("inbound_nodes") or [[]]
        for ordinal, node in enumerate(nodes):
            inputs = tuple(references(node, names))
            number, only = ordinal + first_call(layer), len(nodes) == 1
            calls.append(Called(layer, number, ordinal, only, inputs, dict(_arguments(node))))
    return calls


def _arguments(node: Any) -> Iterator[tuple[str, Any]]:
    """The keyword arguments in an inbound node: each follows a tensor, as in `["layer", 0, 0, {...}]`."""
    if isinstance(node, (list, tuple)):
        if node[3:] and isinstance(node[0], str) and isinstance(node[3], Mapping):
            yield from node[3].items()
        else:
            for item in node:
                yield from _arguments(item)


def _chain(layers: list[Mapping[str, Any]]) -> list[Called]:
    calls: list[Called] = []
    before: tuple[Call, ...] = () if _begins_with_input(layers) else (_UNNAMED_INPUT,)
    for layer in layers:
        calls.append(Called(layer, first_call(layer), 0, True, before))
        before = ((layer["config"]["name"], first_call(layer), 0),)
    return calls


def first_call(layer: Mapping[str, Any]) -> int:
    """The config's number for the first call of `layer`: 1 for a model, whose construction counts as 0."""
    if layer["class_name"] == "Sequential":
        return int(_begins_with_input(layers_of(layer)))
    return int(layer["class_name"] in MODELS)


def layers_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a model's layers, in file order."""
    config = model["config"]
    return list(config["layers"] if isinstance(config, Mapping) else config)


def _begins_with_input(layers: list[Mapping[str, Any]]) -> bool:
    return bool(layers[0]["class_name"] == "InputLayer")


def in_order(calls: list[Called]) -> Iterator[Called]:
    """The calls in topological order. Raises ValueError for a cycle."""
    existing = {(call.name, call.number) for call in calls}
    done: set[tuple[str, int]] = set()
    waiting = list(calls)
    while waiting:
        blocked = []
        for call in waiting:
            if all((name, k) in done or (name, k) not in existing for name, k, _ in call.inputs):
                done.add((call.name, call.number))
                yield call
            else:
                blocked.append(call)
        if len(blocked) == len(waiting):
            raise ValueError(f"the model's config has a cycle: {blocked[0].name!r} depends on its own output")
        waiting = blocked


def check_wiring(model: Mapping[str, Any]) -> None:
    """Raises ValueError where a layer of a Functional model takes a missing call, or its own output.

    TF.js would wait for it without end.
    """
    calls = calls_of(model)
    existing = {
        (call.name, call.number)
        for call in calls
        if call.layer.get("inbound_nodes") or call.layer["class_name"] == "InputLayer"
    }
    for layer in layers_of(model):
        name, nodes = layer["config"]["name"], layer.get("inbound_nodes") or []
        if layer.get("name", name) != name:
            raise ValueError(f"the layer {name!r} has a second name, {layer['name']!r}, in the same config")
        tensors = (tensor for node in nodes if isinstance(node, list) for tensor in node)
        for tensor in tensors:
            if isinstance(tensor, list) and tensor[2:] and (tensor[0], tensor[1]) not in existing:
                raise ValueError(
                    f"the layer {name!r} takes the output of call {tensor[1]} of {tensor[0]!r}, "
                    "which does not exist"
                )
        if layer["class_name"] in MODELS and layer["class_name"] != "Sequential":
            check_wiring(layer)
    for _ in in_order(calls):
        pass


def inputs_of(model: Mapping[str, Any]) -> list[Call]:
    """A model's input tensors, in order."""
    if model["class_name"] == "Sequential":
        layers = layers_of(model)
        return [(layers[0]["config"]["name"], 0, 0) if _begins_with_input(layers) else _UNNAMED_INPUT]
    return list(references(model["config"]["input_layers"], None))


def outputs_of(model: Mapping[str, Any]) -> list[Call]:
    """A model's output tensors, in order."""
    if model["class_name"] == "Sequential":
        last = layers_of(model)[-1]
        return [(last["config"]["name"], first_call(last), 0)]
    return list(references(model["config"]["output_layers"], None))


def output_names_of(model: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The names of each of a model's outputs, in order: the key in a dict, and Keras's own."""
    outputs = outputs_of(model)
    own: list[str] = []
    for name, _, _ in outputs:
        unique, number = name, 1
        while unique in own:
            unique, number = f"{name}_{number}", number + 1
        own.append(unique)
    config = model["config"]
    declared = config.get("output_layers") if isinstance(config, Mapping) else None
    if not isinstance(declared, Mapping):
        return [(name,) for name in own]
    keys = [str(key) for key, value in declared.items() for _ in references(value, None)]
    return list(zip(keys, own, strict=True))


def references(value: Any, names: set[str] | None) -> Iterator[Call]:
    """Each `["layer", call, tensor, ...]` within nested lists and dicts. Other strings are arguments."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from references(item, names)
    elif isinstance(value, (list, tuple)):
        if value[2:] and isinstance(value[0], str) and all(isinstance(i, int) for i in value[1:3]):
            if names is None or value[0] in names:
                yield value[0], value[1], value[2]
            value = value[3:]
        for item in value:
            yield from references(item, names)


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs of a layer mean the same inference, whichever version of Keras wrote them.

    What only training, the weights' first values or precision depend on does not count.
    """
    return bool(_essence(one) == _essence(other))


_BESIDE_INFERENCE = ("_initializer", "_regularizer", "_constraint")


def _essence(value: Any) -> Any:
    """A config without what inference does not depend on; tuples are lists, and defaults are left out."""
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            return [str(value["class_name"]).rpartition(">")[2], _essence(value["config"])]
        return {
            key: _essence(item)
            for key, item in value.items()
            if item is not None
            and key not in ("name", "dtype", "trainable", "batch_input_shape", "build_config")
            and not key.endswith(_BESIDE_INFERENCE)
        }
    if isinstance(value, (list, tuple)):
        return [_essence(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
