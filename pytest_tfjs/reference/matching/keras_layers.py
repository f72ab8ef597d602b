"""Plans a layers model's comparison from its Keras 2 config: one row for each layer call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_tfjs.compare.layers import Layer, named_output
from pytest_tfjs.models.keras_config import (
    MODELS,
    Call,
    Called,
    Path,
    address_of,
    calls_of,
    in_order,
    inputs_of,
    layers_of,
    output_names_of,
    outputs_of,
)
from pytest_tfjs.reference.comparison_plan import Plan

_WRAPPED = ("layer", "backward_layer", "cell", "cells")
"""Config keys under which a wrapper or an RNN has its inner layers."""


def plan_keras(source: Mapping[str, Any], converted: Mapping[str, Any]) -> Plan:
    """A plan with every layer of the source's config, and every layer that only the artifacts' config has.

    Both are `{"class_name": ..., "config": ...}` of a Functional or Sequential model.
    """
    rows, twins = _Planner(), _Planner()
    plan, in_artifacts = rows.plan(source), {layer.name: layer for layer in twins.plan(converted).layers}
    swapped = _swapped(rows.outputs, twins.outputs)
    layers = [_compared_with(layer, in_artifacts.pop(layer.name, None)) for layer in plan.layers]
    layers = [_unmapped(layer, swapped[layer.name]) if layer.name in swapped else layer for layer in layers]
    layers.extend(_unmapped(layer, "only the artifacts have this layer") for layer in in_artifacts.values())
    compared = {layer.name for layer in layers if layer.coverage == "compared"}
    return Plan(tuple(layers), {name: at for name, at in plan.tensors.items() if name in compared})


def _swapped(source: Sequence[str], converted: Sequence[str]) -> dict[str, str]:
    """Why outputs cannot be compared, by row, where the artifacts return the same rows in another order."""
    if sorted(source) != sorted(converted):
        return {}
    places = {row: other for row, other in zip(source, converted, strict=True) if row != other}
    return {
        row: f"the outputs {row!r} and {other!r} are swapped in the artifacts"
        if places.get(other) == row
        else f"the artifacts return {other!r} in place of this output"
        for row, other in places.items()
    }


def _compared_with(layer: Layer, twin: Layer | None) -> Layer:
    if twin is None:
        return _unmapped(layer, "the artifacts do not have this layer")
    return layer if twin.op == layer.op else _unmapped(layer, f"its class in the artifacts is {twin.op}")


def _unmapped(layer: Layer, reason: str) -> Layer:
    return replace(layer, coverage="unmapped", reason=reason, tap=None)


@dataclass
class _Planner:
    layers: dict[str, Layer] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def plan(self, model: Mapping[str, Any]) -> Plan:
        for row, names in zip(self._model(model, (), {}), output_names_of(model), strict=True):
            self.outputs += row
            for name in row:
                self.layers[name] = named_output(replace(self.layers[name], output=True), names)
        return Plan(tuple(self.layers.values()), self.tensors)

    def _model(
        self, model: Mapping[str, Any], path: Path, entering: Mapping[Call, tuple[str, ...]]
    ) -> list[tuple[str, ...]]:
        """Adds the rows of `model`, nested at `path`; returns the rows that compute each of its outputs.

        `entering`: the rows that compute its inputs.
        """
        rows: dict[Call, tuple[str, ...]] = dict(entering)
        calls = calls_of(model)
        outputs = outputs_of(model)
        used = {call for called in calls for call in called.inputs} | set(outputs)
        for called in in_order(calls):
            # An input is a row only if the outermost model returns it.
            returned = not path and (called.name, called.number, 0) in outputs
            if called.layer["class_name"] == "InputLayer" and not returned:
                continue
            behind = [rows.get(call, ()) for call in called.inputs]
            inner: list[tuple[str, ...]] = []
            if called.layer["class_name"] in MODELS:
                inside = (*path, called.step)
                fed = dict(zip(inputs_of(called.layer), behind, strict=False))
                inner = self._model(called.layer, inside, fed)
            before = tuple(dict.fromkeys(row for group in behind for row in group))
            for index in sorted({i for n, k, i in used if (n, k) == (called.name, called.number)} | {0}):
                row = self._row(called, index, path, inner[index] if index < len(inner) else before)
                rows[called.name, called.number, index] = (row.name,)
            if called.layer["class_name"] not in MODELS:
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

    def _name(self, called: Called, path: Path) -> str:
        scopes = (_numbered(scope, ordinal) for scope, ordinal, _ in path)
        return "/".join((*scopes, _numbered(called.name, called.ordinal)))

    def _row(self, called: Called, index: int, path: Path, inputs: tuple[str, ...]) -> Layer:
        row = Layer(
            name=self._name(called, path) + (f":{index}" if index else ""),
            op=_operation(called.layer),
            inputs=inputs,
            shape=None,
            dtype=None,
            coverage="compared",
            tap=address_of(called, index, path),
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
    """The layers in a wrapper, at any depth, each with its path of names."""
    for inner in _inner_layers(layer):
        name = f"{scope}{inner['config']['name']}"
        yield name, inner
        yield from _within(inner, f"{name}/")


def _inner_layers(layer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if layer["class_name"] in MODELS:
        return [inner for inner in layers_of(layer) if inner["class_name"] != "InputLayer"]
    values = [layer["config"].get(key) for key in _WRAPPED]
    layers = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
    return [inner for inner in layers if isinstance(inner, Mapping) and "class_name" in inner]
