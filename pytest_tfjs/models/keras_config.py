"""A Keras 2 model's config read as a graph: the calls of its layers, and the tensors that enter each.

The config is the one that `model.get_config()` gives and that `model.json` holds,
`{"class_name": ..., "config": ...}` of a Functional or Sequential model. In it a layer's calls are numbered
as they are in the model that TF.js builds from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MODELS = frozenset({"Functional", "Model", "Sequential"})

Call = tuple[str, int, int]
"""Layer, number of the call, index of the output: how a config names a tensor."""

Path = tuple[tuple[str, int, bool], ...]
"""Through nested models: each one's name, which of its calls it is, and whether that is the only one."""

_UNNAMED_INPUT: Call = ("", 0, 0)
"""The input of a Sequential model that does not begin with an InputLayer."""


@dataclass(frozen=True)
class Called:
    """One call of a layer: its number in the config, its place among its calls, and if it is the only one."""

    layer: Mapping[str, Any]
    number: int
    ordinal: int
    only: bool
    inputs: tuple[Call, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer["config"]["name"])

    @property
    def is_model(self) -> bool:
        """Whether it is a model within the model."""
        return self.layer["class_name"] in MODELS

    @property
    def step(self) -> tuple[str, int, bool]:
        """Of a nested model: the part of a path that leads into this call of it."""
        return self.name, self.ordinal, self.only


def address_of(called: Called, index: int, path: Path) -> dict[str, Any]:
    """Where the page finds an output of a call in the nested models of `path`; see `browsers.jobs.Tap`."""
    steps = [name if only else [name, ordinal + 1] for name, ordinal, only in path]
    address: dict[str, Any] = {"path": [*steps, called.name], "tensor": index}
    if not called.is_model or not called.only:
        address["node"] = called.ordinal + called.is_model
    return address


def calls_of(model: Mapping[str, Any]) -> list[Called]:
    """Each call of each layer of `model`, with the tensors that enter it."""
    if model["class_name"] == "Sequential":
        return _chain(layers_of(model))
    calls: list[Called] = []
    names = {layer["config"]["name"] for layer in layers_of(model)}
    for layer in layers_of(model):
        nodes = layer.get("inbound_nodes") or [[]]
        for ordinal, node in enumerate(nodes):
            inputs = tuple(references(node, names))
            calls.append(Called(layer, ordinal + first_call(layer), ordinal, len(nodes) == 1, inputs))
    return calls


def _chain(layers: list[Mapping[str, Any]]) -> list[Called]:
    calls: list[Called] = []
    before: tuple[Call, ...] = () if _begins_with_input(layers) else (_UNNAMED_INPUT,)
    for layer in layers:
        calls.append(Called(layer, first_call(layer), 0, True, before))
        before = ((layer["config"]["name"], first_call(layer), 0),)
    return calls


def first_call(layer: Mapping[str, Any]) -> int:
    """The config's number for the first call of `layer`: before those of a model comes its own making."""
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


def check_wiring(model: Mapping[str, Any]) -> None:
    """Raises ValueError where a layer of a Functional model waits for what never comes.

    That is, for a layer or a call that is not there, or for itself: TF.js would wait for ever.
    """
    calls = calls_of(model)
    known = {
        (call.name, call.number)
        for call in calls
        if call.layer.get("inbound_nodes") or call.layer["class_name"] == "InputLayer"
    }
    for layer in layers_of(model):
        name, nodes = layer["config"]["name"], layer.get("inbound_nodes") or []
        if layer.get("name", name) != name:
            raise ValueError(f"the layer {name!r} is called {layer['name']!r} too")
        tensors = (tensor for node in nodes if isinstance(node, list) for tensor in node)
        for tensor in tensors:
            if isinstance(tensor, list) and tensor[2:] and (tensor[0], tensor[1]) not in known:
                raise ValueError(
                    f"the layer {name!r} takes the call {tensor[1]} of {tensor[0]!r}, which is not there"
                )
        if layer["class_name"] in MODELS and layer["class_name"] != "Sequential":
            check_wiring(layer)
    for _ in in_order(calls):
        pass


def inputs_of(model: Mapping[str, Any]) -> list[Call]:
    """The tensors that are a model's inputs, in their order."""
    if model["class_name"] == "Sequential":
        layers = layers_of(model)
        return [(layers[0]["config"]["name"], 0, 0) if _begins_with_input(layers) else _UNNAMED_INPUT]
    return list(references(model["config"]["input_layers"], None))


def outputs_of(model: Mapping[str, Any]) -> list[Call]:
    """The tensors that are a model's outputs, in their order."""
    if model["class_name"] == "Sequential":
        last = layers_of(model)[-1]
        return [(last["config"]["name"], first_call(last), 0)]
    return list(references(model["config"]["output_layers"], None))


def references(value: Any, names: set[str] | None) -> Iterator[Call]:
    """Each `["layer", call, tensor, ...]` within nested lists and dicts; other strings are arguments."""
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
