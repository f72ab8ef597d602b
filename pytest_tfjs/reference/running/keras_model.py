"""Runs a Keras 2 model with the activations of its layers as outputs."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.tensorflow.float32_layers import declare_float32
from pytest_tfjs.reference.running.frozen_graph import nbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]


def weight_name(weight: Any) -> str:
    """The name that artifacts have for a Keras variable: its own without `:0`."""
    return str(weight.name).partition(":")[0]


class TappedKerasModel:
    """A copy of a Keras 2 model that gives the activations of its layers; the user's model is not changed.

    `weights`, by the artifacts' names, replace the model's own. Layers in half precision compute in float32,
    as in TF.js, unless `as_written`. Raises SourceError where a shape differs.
    """

    def __init__(
        self, model: Any, weights: Mapping[str, Array] | None = None, *, as_written: bool = False
    ) -> None:
        import tf_keras

        self.config: dict[str, Any] = json.loads(model.to_json())
        widened = half_of(model) is not None and not as_written
        self._copy = tf_keras.models.clone_model(model, clone_function=_in_float32 if widened else None)
        self._variables: list[tuple[Any, str]] = []
        for layer in model.layers:
            # By layer: one used both here and in a nested model is two layers in the copy, as in TF.js.
            twin = self._copy.get_layer(layer.name)
            twin.set_weights(_values(layer, weights or {}))
            self._variables += zip(twin.weights, map(weight_name, layer.weights), strict=True)

    def run(self, feed: Sequence[Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (addresses of a plan) in one pass; `feed` is in the order of the inputs."""
        values = self.tapped(tensors)([np.asarray(array) for array in feed])
        return {name: np.asarray(value) for name, value in zip(tensors, values, strict=True)}

    def sizes(self, feed: Sequence[Array], tensors: Sequence[str]) -> dict[str, int]:
        """The bytes that the values of `tensors` take, without keeping any of them."""
        import tensorflow as tf

        symbols = dict(zip(tensors, self._symbols(tensors), strict=True))
        batch = feed[0].shape[0] if feed and feed[0].ndim else 1
        shapes = {name: _static_shape(symbol.shape, batch) for name, symbol in symbols.items()}
        if unknown := [name for name, shape in shapes.items() if shape is None]:
            tapped = self.tapped(unknown)
            # A graph releases each activation as soon as its shape is taken.
            shapes_of = tf.function(lambda arrays: [tf.shape(value) for value in tapped(arrays)])
            found = shapes_of([tf.constant(array) for array in feed])
            shapes.update((name, tuple(map(int, shape))) for name, shape in zip(unknown, found, strict=True))
        return {name: nbytes(shapes[name] or (), symbols[name].dtype) for name in tensors}

    def _symbols(self, tensors: Sequence[str]) -> list[Any]:
        return _tensors(self._copy, [_parse(name) for name in tensors])

    def specs(self) -> list[Any]:
        """The `tf.TensorSpec`s of the inputs, in order."""
        import tensorflow as tf

        return [tf.TensorSpec(symbol.shape, symbol.dtype) for symbol in self._copy.inputs]

    def variables(self) -> Sequence[tuple[Any, str]]:
        """The variables, each with the artifacts' name for it."""
        return self._variables

    def tapped(self, tensors: Sequence[str]) -> Callable[[list[Any]], list[Any]]:
        """A function of the inputs that gives the values of `tensors`; stateful layers begin anew here."""
        import tf_keras

        model = tf_keras.Model(self._copy.inputs, self._symbols(tensors))
        self._copy.reset_states()

        def call(arrays: list[Any]) -> list[Any]:
            values = model(arrays, training=False)
            return list(values) if isinstance(values, (list, tuple)) else [values]

        return call


def half_of(layer: Any) -> str | None:
    """`float16` or `bfloat16` if a Keras layer, or one inside it, computes in that dtype; else None."""
    dtypes = (getattr(one, "compute_dtype", None) for one in (layer, *layer.submodules))
    return next((dtype for dtype in dtypes if dtype in ("float16", "bfloat16")), None)


def _in_float32(layer: Any) -> Any:
    config = copy.deepcopy(layer.get_config())
    declare_float32(config)
    return layer.__class__.from_config(config)


def _static_shape(shape: Any, batch: int) -> tuple[int, ...] | None:
    """The shape with the batch size filled in; None where another size is unknown."""
    if shape.rank is None:
        return None
    filled = tuple(batch if size is None and axis == 0 else size for axis, size in enumerate(shape.as_list()))
    return None if None in filled else filled


def _values(layer: Any, weights: Mapping[str, Array]) -> list[Array]:
    """The layer's weights in its own order, each replaced by the one in `weights` if there is one."""
    return [
        _value(weight_name(weight), own, weights)
        for weight, own in zip(layer.weights, layer.get_weights(), strict=True)
    ]


def _value(name: str, own: Array, weights: Mapping[str, Array]) -> Array:
    value = weights.get(name, own)
    if value.shape != own.shape:
        raise SourceError(
            f"the artifacts' weight {name!r} has shape {list(value.shape)}, but the source's has "
            f"{list(own.shape)}: they belong to different models. Convert the source again"
        )
    return value


_Address = tuple[tuple[tuple[str, int], ...], str, int, int]


def _parse(tensor: str) -> _Address:
    path, name, call, index = json.loads(tensor)
    return tuple((scope, call_of_scope) for scope, call_of_scope in path), name, call, index


def _tensors(model: Any, addresses: Sequence[_Address]) -> list[Any]:
    """The symbolic tensors at `addresses`; inside nested models, those of the outer model's call."""
    found: dict[_Address, Any] = {}
    nested: dict[tuple[str, int], list[_Address]] = defaultdict(list)
    for address in addresses:
        path, name, call, index = address
        if path:
            nested[path[0]].append(address)
        else:
            outputs = model.get_layer(name).get_output_at(call)
            found[address] = outputs[index] if isinstance(outputs, (list, tuple)) else outputs
    for (outer, outer_call), inner in nested.items():
        layer = model.get_layer(outer)
        tensors = _tensors(layer, [(path[1:], name, call, i) for path, name, call, i in inner])
        found.update(zip(inner, _apply(layer, tensors, layer.get_input_at(outer_call)), strict=True))
    return [found[address] for address in addresses]


def _apply(layer: Any, tensors: list[Any], entering: Any) -> list[Any]:
    import tf_keras

    values = tf_keras.Model(layer.inputs, tensors)(entering)
    return list(values) if isinstance(values, (list, tuple)) else [values]
