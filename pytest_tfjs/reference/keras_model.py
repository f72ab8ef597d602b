"""Runs a Keras 2 model with every layer's activation as an output."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]


class TappedKerasModel:
    """A copy of a Keras 2 model, so that the user's own model gains no nodes and keeps its state."""

    def __init__(self, model: Any) -> None:
        import tf_keras

        self.config: dict[str, Any] = json.loads(model.to_json())
        self._copy = tf_keras.models.clone_model(model)
        for layer in model.layers:
            # One by one: a layer used both here and in a nested model is two layers in the copy, as in TF.js.
            self._copy.get_layer(layer.name).set_weights(layer.get_weights())

    def run(self, feed: Sequence[Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (a plan's addresses) in one pass; `feed` is in the order of the inputs."""
        import tf_keras

        wanted = {name: _parse(name) for name in tensors}
        outputs = _tensors(self._copy, list(wanted.values()))
        tapped = tf_keras.Model(self._copy.inputs, list(outputs))
        values = tapped([np.asarray(array) for array in feed], training=False)
        flat = values if isinstance(values, (list, tuple)) else [values]
        return {name: np.asarray(value) for name, value in zip(wanted, flat, strict=True)}


_Address = tuple[tuple[tuple[str, int], ...], str, int, int]


def _parse(tensor: str) -> _Address:
    path, name, call, index = json.loads(tensor)
    return tuple((scope, again) for scope, again in path), name, call, index


def _tensors(model: Any, addresses: Sequence[_Address]) -> list[Any]:
    """The symbolic tensors at `addresses`; those in nested models as the outer one feeds them."""
    found: dict[_Address, Any] = {}
    nested: dict[tuple[str, int], list[_Address]] = defaultdict(list)
    for address in addresses:
        path, name, call, index = address
        if path:
            nested[path[0]].append(address)
        else:
            outputs = model.get_layer(name).get_output_at(call)
            found[address] = outputs[index] if isinstance(outputs, (list, tuple)) else outputs
    for (outer, again), inner in nested.items():
        layer = model.get_layer(outer)
        tensors = _tensors(layer, [(path[1:], name, call, i) for path, name, call, i in inner])
        found.update(zip(inner, _apply(layer, tensors, layer.get_input_at(again)), strict=True))
    return [found[address] for address in addresses]


def _apply(layer: Any, tensors: list[Any], entering: Any) -> list[Any]:
    import tf_keras

    values = tf_keras.Model(layer.inputs, tensors)(entering)
    return list(values) if isinstance(values, (list, tuple)) else [values]
