"""Runs a Keras 2 model with every layer's activation as an output."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.running.frozen_graph import nbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]


def weight_name(weight: Any) -> str:
    """The name that artifacts have for a Keras variable: its own without `:0`."""
    return str(weight.name).partition(":")[0]


class TappedKerasModel:
    """A copy of a Keras 2 model, so that the user's own model gains no nodes and keeps its state.

    `weights`, by the names that artifacts have, take the place of the model's own. Raises SourceError where
    one has another shape.
    """

    def __init__(self, model: Any, weights: Mapping[str, Array] | None = None) -> None:
        import tf_keras

        self.config: dict[str, Any] = json.loads(model.to_json())
        self._copy = tf_keras.models.clone_model(model)
        self._variables: list[tuple[Any, str]] = []
        for layer in model.layers:
            # One by one: a layer used both here and in a nested model is two layers in the copy, as in TF.js.
            twin = self._copy.get_layer(layer.name)
            twin.set_weights(_values(layer, weights or {}))
            self._variables += zip(twin.weights, map(weight_name, layer.weights), strict=True)

    def run(self, feed: Sequence[Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (a plan's addresses) in one pass; `feed` is in the order of the inputs."""
        values = self.tapped(tensors)([np.asarray(array) for array in feed])
        return {name: np.asarray(value) for name, value in zip(tensors, values, strict=True)}

    def sizes(self, feed: Sequence[Array], tensors: Sequence[str]) -> dict[str, int]:
        """The bytes that the values of `tensors` take, from their shapes; nothing is held to learn them."""
        import tensorflow as tf

        symbols = dict(zip(tensors, self._symbols(tensors), strict=True))
        batch = feed[0].shape[0] if feed and feed[0].ndim else 1
        shapes = {name: _static_shape(symbol.shape, batch) for name, symbol in symbols.items()}
        if unknown := [name for name, shape in shapes.items() if shape is None]:
            tapped = self.tapped(unknown)
            # As a graph, which lets go of what it computed as soon as the shape is taken.
            asked = tf.function(lambda given: [tf.shape(value) for value in tapped(given)])
            found = asked([tf.constant(array) for array in feed])
            shapes.update((name, tuple(map(int, shape))) for name, shape in zip(unknown, found, strict=True))
        return {name: nbytes(shapes[name] or (), symbols[name].dtype) for name in tensors}

    def _symbols(self, tensors: Sequence[str]) -> list[Any]:
        return _tensors(self._copy, [_parse(name) for name in tensors])

    def specs(self) -> list[Any]:
        """The `tf.TensorSpec`s of the inputs, in their order."""
        import tensorflow as tf

        return [tf.TensorSpec(symbol.shape, symbol.dtype) for symbol in self._copy.inputs]

    def variables(self) -> Sequence[tuple[Any, str]]:
        """The variables, each with the name that artifacts have for it."""
        return self._variables

    def tapped(self, tensors: Sequence[str]) -> Callable[[list[Any]], list[Any]]:
        """A function of the inputs that gives the values of `tensors`."""
        import tf_keras

        model = tf_keras.Model(self._copy.inputs, self._symbols(tensors))

        def call(given: list[Any]) -> list[Any]:
            values = model(given, training=False)
            return list(values) if isinstance(values, (list, tuple)) else [values]

        return call


def _static_shape(shape: Any, batch: int) -> tuple[int, ...] | None:
    """The shape with the batch's size filled in; None where more than that is not known."""
    if shape.rank is None:
        return None
    filled = tuple(batch if size is None and axis == 0 else size for axis, size in enumerate(shape.as_list()))
    return None if None in filled else filled


def _values(layer: Any, weights: Mapping[str, Array]) -> list[Array]:
    """The layer's weights in its own order, those given in place of its own."""
    return [
        _value(weight_name(weight), own, weights)
        for weight, own in zip(layer.weights, layer.get_weights(), strict=True)
    ]


def _value(name: str, own: Array, weights: Mapping[str, Array]) -> Array:
    given = weights.get(name, own)
    if given.shape != own.shape:
        raise SourceError(
            f"the artifacts' weight {name!r} has shape {list(given.shape)}, but the source's has "
            f"{list(own.shape)}: they belong to different models. Convert the source again"
        )
    return given


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
