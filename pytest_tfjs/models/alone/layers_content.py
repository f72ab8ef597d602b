"""Builds a layers model that consists of one layer of another layers model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.alone.content import AloneContent, ModelInput, unique
from pytest_tfjs.models.alone.keras_tensors import KerasTensors, Output
from pytest_tfjs.models.alone.layers_planner import LayersPlanner
from pytest_tfjs.models.alone.plan import CannotRunAloneError
from pytest_tfjs.models.keras_config import MODELS, Call, Called, calls_of

if TYPE_CHECKING:
    from pytest_tfjs.models.alone.keras_tensors import Scope
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.weights import Array

_NAME = "alone"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")


def layers_content(
    artifacts: Artifacts, tap: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> AloneContent:
    """The layers between the tensor at `tap` and the nearest ones that can be fed; see `single_layer_model`.

    Raises CannotRunAloneError, with the reason, where the layer's plan cannot be made or has a mask: the
    model's inputs are tensors without masks, so it would compute something else than the whole model.
    """
    model = artifacts.topology.get("model_config", artifacts.topology)
    names = [spec.name for spec in artifacts.inputs]
    tensors = KerasTensors(model, names, known)
    content = _Builder(artifacts, tensors).build(tap)
    for step in reversed(LayersPlanner(tensors).plan(tap).steps):
        if any(mask is not None for mask in step.masks):
            name = step.layer[-1]
            raise CannotRunAloneError(
                f"the layer {name!r} takes a mask, which a reproducer cannot feed to it"
            )
    return content


_Layer = tuple[str, ...]
"""A layer: its name behind those of the nested models that it is in."""


@dataclass
class _Included:
    """A layer of the new model, and its calls with the tensors that they take there."""

    layer: Mapping[str, Any]
    calls: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.layer["config"]["name"])


@dataclass
class _Builder:
    """Collects the layers that lead to one tensor, with their calls renumbered."""

    artifacts: Artifacts
    tensors: KerasTensors
    included: dict[_Layer, _Included] = field(default_factory=dict)
    fed: dict[str, ModelInput] = field(default_factory=dict)

    def build(self, tap: Mapping[str, Any]) -> AloneContent:
        scope, (layer, call, index) = self.tensors.at(tap)
        called = scope.calls[layer, call]
        if called.is_model:
            raise CannotRunAloneError("the layer is a nested model, whose layers are compared instead")
        if called.layer["class_name"] == "InputLayer":
            raise CannotRunAloneError("the layer is an input of the model, so it computes nothing")
        name, number, index = self._add(scope, called, index)
        names = [one.name for one in self.included.values()]
        if len(set(names)) < len(names):
            raise CannotRunAloneError(
                "layers of different nested models have the same name, but a reproducer needs unique names: "
                f"{', '.join(sorted(names))}"
            )
        scopes = tuple(scope for one in self.included.values() for scope in _scopes(one.layer))
        return AloneContent(
            fed=tuple(self.fed.values()),
            address={"path": [name], "node": number, "tensor": index},
            weights=frozenset(one for one in self.artifacts.weight_names() if one.startswith(scopes)),
            model_json=partial(
                _model_json, self.artifacts.topology, list(self.included.values()), (name, number, index)
            ),
            described=tuple(
                {"name": one.name, "class": one.layer["class_name"], "config": one.layer["config"]}
                for one in self.included.values()
            ),
        )

    def _add(self, scope: Scope, called: Called, index: int) -> Call:
        """Includes a call of a layer and all that leads to it; gives its output in the new model."""
        layer = (*(name for name, _, _ in scope.path), called.name)
        call = json.dumps([scope.path, called.ordinal])
        if layer not in self.included or call not in self.included[layer].calls:
            node = self._inbound(scope, called)  # first, as TF.js numbers a layer's calls as it makes them
            self.included.setdefault(layer, _Included(called.layer)).calls[call] = node
        return called.name, list(self.included[layer].calls).index(call), index

    def _inbound(self, scope: Scope, called: Called) -> list[Any]:
        """The inbound node of the call in the new model, in the form of the layer's config."""
        nodes = called.layer.get("inbound_nodes")
        if not nodes:  # in a Sequential model
            return [[*self._source(scope, call), {}] for call in called.inputs]
        names = {name for name, _ in scope.calls}
        changed = _rewritten(nodes[called.ordinal], names, partial(self._source, scope))
        assert isinstance(changed, list)
        return changed

    def _source(self, scope: Scope, call: Call) -> Call:
        """The tensor of the new model for one of the whole model; adds what computes or feeds it."""
        source = self.tensors.source(scope, call)
        if isinstance(source, Output):
            return self._add(source.call.scope, source.call.called, source.index)
        return self._feed(row=source.row, source_input=source.source_input)

    def _feed(self, *, row: str | None = None, source_input: str | None = None) -> Call:
        key = f"row {row}" if row is not None else f"input {source_input}"
        if key not in self.fed:
            # The names of all of the model's layers are taken: one may yet be added.
            taken = {*self.tensors.root.names(), *(one.name for one in self.fed.values())}
            name = unique(f"in_{_UNSAFE.sub('_', row or source_input or '')}", taken)
            self.fed[key] = ModelInput(name, row, source_input)
        return self.fed[key].name, 0, 0


def _rewritten(value: Any, names: set[str], source: Callable[[Call], Call]) -> Any:
    """A node of a config with each `["layer", call, tensor, ...]` in it replaced by what `source` gives."""
    if isinstance(value, Mapping):
        return {key: _rewritten(item, names, source) for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    head: list[Any] = []
    if value[2:] and isinstance(value[0], str) and all(isinstance(i, int) for i in value[1:3]):
        head = list(source((value[0], value[1], value[2])) if value[0] in names else value[:3])
        value = value[3:]
    return [*head, *(_rewritten(item, names, source) for item in value)]


def _scopes(layer: Mapping[str, Any]) -> Iterator[str]:
    """How the names of the layer's weights begin: with its own name, or that of a layer of a model in it."""
    if layer["class_name"] not in MODELS:
        yield f"{layer['config']['name']}/"
    for model in _models_in(layer):
        for called in calls_of(model):
            yield from _scopes(called.layer)


def _models_in(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("class_name") in MODELS and "config" in value:
            yield value
        else:
            for item in value.values():
                yield from _models_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _models_in(item)


def _model_json(
    topology: Mapping[str, Any], layers: list[_Included], output: Call, fed: Mapping[str, Array]
) -> dict[str, Any]:
    inputs = [_input(name, value) for name, value in fed.items()]
    configs = [{**one.layer, "name": one.name, "inbound_nodes": list(one.calls.values())} for one in layers]
    config = {
        "name": _NAME,
        "layers": [*inputs, *configs],
        "input_layers": [[name, 0, 0] for name in fed],
        "output_layers": [list(output)],
    }
    about = {key: topology[key] for key in ("keras_version", "backend") if key in topology}
    model = {"class_name": "Functional", "config": config}
    return {"format": "layers-model", "modelTopology": {**about, "model_config": model}}


def _input(name: str, value: Array) -> dict[str, Any]:
    """The config of an input of any batch size."""
    shape = [None, *value.shape[1:]]
    dtype = "string" if value.dtype.kind in "OSU" else value.dtype.name
    config = {"name": name, "batch_input_shape": shape, "dtype": dtype}
    return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}
