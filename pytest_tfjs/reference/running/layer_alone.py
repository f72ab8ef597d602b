"""Runs one layer of a model in TensorFlow, on any inputs and with any weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import ACTIVATIONS, BATCH_NORMS, CONTRACTIONS, PASS_THROUGH, RANDOM
from pytest_tfjs.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.running.tapped_graph import TappedGraph

Array = np.ndarray[Any, np.dtype[Any]]

_MAIN = CONTRACTIONS | BATCH_NORMS

_PLAIN_KINDS = frozenset({"s", "i", "f", "b", "list"})
"""Fields of an `AttrValue` that hold a text, a number or a list."""

_INTERNAL = frozenset({"value", "shape", "_output_shapes", "_class", "container", "shared_name"})
"""Attributes that do not say what an operation computes."""


@dataclass(frozen=True)
class Subgraph:
    """The part of a graph that computes one layer from the nearest other layers.

    `inputs`: the tensor of each layer and model input that enters. `weights`: the constant of each weight
    that enters, by the artifacts' names. `operations`: the `tf.Operation`s between these and the layer in the
    order of computation, without constants; empty where the layer is a copy of another. `tensor`: the layer's
    own tensor.
    """

    inputs: Mapping[str, str]
    weights: Mapping[str, str]
    operations: tuple[Any, ...]
    tensor: str

    @property
    def result(self) -> Any:
        """The operation whose output is the layer's tensor; None for a copy."""
        return self.operations[-1] if self.operations else None

    @property
    def computing_result(self) -> Any:
        """The last operation that does not merely pass its input on; None for a copy."""
        return next((op for op in reversed(self.operations) if op.type not in PASS_THROUGH), None)


class GraphAlone:
    """Runs the compared layers of one model alone: feeds the tensors before a layer, fetches the layer's own.

    The weights are the artifacts', except for a layers model that is not quantised: there they are the
    source's, and its reference is computed with the same.
    """

    def __init__(self, tapped: TappedGraph) -> None:
        self._tapped = tapped
        self._weight_names = {constant: name for name, constant in tapped.weights.items()}
        # The graph is walked once for each layer, however often the layer is run.
        self.subgraph = cache(self._walk)

    @property
    def graph(self) -> Any:
        """The `tf.Graph`."""
        return self._tapped.graph

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The compared layers and model inputs from which a layer is computed, in the graph's order."""
        return tuple(self.subgraph(name).inputs)

    def run(
        self,
        name: str,
        inputs: Mapping[str, Array],
        weights: Mapping[str, Array] | None = None,
        *,
        before_activation: bool = False,
    ) -> Array:
        """A layer's activation, in TensorFlow's dtype.

        `inputs` has those of `inputs_of`; others are ignored. `weights` replace the layer's own, by the names
        of `weights_of`. `before_activation` gives the input of the activation function that the layer ends
        with, if it ends with one. Raises SourceError where an input is missing, a weight is unknown, or the
        layer cannot be run alone.
        """
        self._require(name)
        subgraph = self.subgraph(name)
        tensor = subgraph.tensor
        if before_activation:
            result = subgraph.computing_result
            if result is not None and result.type in ACTIVATIONS:
                tensor = result.inputs[0].name
        return self.values(name, inputs, [tensor], weights)[tensor]

    def values(
        self,
        name: str,
        inputs: Mapping[str, Array],
        tensors: list[str],
        weights: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """The values of tensors of a layer's subgraph; arguments and errors as for `run`."""
        self._require(name)
        subgraph = self.subgraph(name)
        missing = [layer for layer in subgraph.inputs if layer not in inputs]
        if missing:
            raise SourceError(
                f"layer {name!r} needs inputs that are missing: {', '.join(map(repr, missing))}"
            )
        unknown = [weight for weight in weights or {} if weight not in subgraph.weights]
        if unknown:
            names = ", ".join(subgraph.weights) or "none"
            raise SourceError(f"layer {name!r} has no weight {unknown[0]!r}; its weights: {names}")
        fed = {tensor: self._cast(tensor, inputs[layer]) for layer, tensor in subgraph.inputs.items()}
        for weight, value in (weights or {}).items():
            tensor = f"{subgraph.weights[weight]}:0"
            fed[tensor] = self._cast(tensor, value)
        found = {tensor: fed[tensor] for tensor in tensors if tensor in fed}
        rest = [tensor for tensor in tensors if tensor not in found]
        return {**found, **(self._tapped.run(fed, rest) if rest else {})}

    def weights_of(self, name: str) -> Mapping[str, Array]:
        """The weights that enter a layer without passing another compared layer, by the artifacts' names."""
        return {
            weight: constant_value(self._tapped.graph.get_operation_by_name(constant))
            for weight, constant in self.subgraph(name).weights.items()
        }

    def attributes(self, name: str) -> Mapping[str, Any]:
        """What a layer computes.

        `ops`: its operations in order, without those that pass their input on; `op`: the first contraction or
        batch-norm among them, else the last; `activation`: the activation that it ends with, or None. Then
        the attributes of `op` as TensorFlow names them (`strides`, `padding`, `epsilon`, `alpha`, ...).
        """
        operations = [op for op in self.subgraph(name).operations if op.type not in PASS_THROUGH]
        if not operations:
            return {"ops": ("Identity",), "op": "Identity", "activation": None}
        main = next((op for op in operations if op.type in _MAIN), operations[-1])
        last = operations[-1].type
        return {
            **attributes_of(main),
            "ops": tuple(op.type for op in operations),
            "op": main.type,
            "activation": last if last in ACTIVATIONS else None,
        }

    def obstacle(self, name: str) -> str | None:
        """Why a layer cannot be run alone, in words; None where it can."""
        if name not in self._tapped.taps:
            return "it is not a compared layer"
        for operation in self.subgraph(name).operations:
            if operation.type in RANDOM:
                return f"{operation.name!r} draws random numbers"
            if operation.type == "Placeholder":
                return f"it uses {operation.name!r}, which is not an input of the model"
        return None

    def _require(self, name: str) -> None:
        obstacle = self.obstacle(name)
        if obstacle is not None:
            raise SourceError(f"layer {name!r} cannot be run alone: {obstacle}")

    def computing_layer(self, name: str) -> str:
        """The layer that computes an activation: the last one inside, for a nested model; else `name`."""
        while name in self._tapped.copies:
            name = self._tapped.copies[name]
        return name

    def _walk(self, name: str) -> Subgraph:
        tapped = self._tapped
        if name in tapped.copies:
            # Both its own tensor and that of the layer it copies are fed.
            tensor = tapped.taps[tapped.copies[name]]
            return Subgraph({tapped.copies[name]: tensor}, {}, (), tensor)
        tensor = tapped.taps[name]
        owner = tapped.owners.get(tensor, name)
        if owner != name:
            return Subgraph({owner: tensor}, {}, (), tensor)
        operations = self._operations_before(tensor)
        entering = [before for operation in operations for before in operation.inputs]
        return Subgraph(
            inputs={
                tapped.owners[before.name]: before.name for before in entering if before.name in tapped.owners
            },
            weights={
                self._weight_names[before.op.name]: before.op.name
                for before in entering
                if before.name not in tapped.owners and before.op.name in self._weight_names
            },
            operations=operations,
            tensor=tensor,
        )

    def _operations_before(self, tensor: str) -> tuple[Any, ...]:
        """The operations that compute `tensor` from constants and from tensors of layers and inputs."""
        done: dict[str, Any] = {}
        seen: set[str] = set()
        stack = [(self._tapped.graph.get_tensor_by_name(tensor).op, False)]
        while stack:
            operation, ready = stack.pop()
            if ready:
                done[operation.name] = operation
            elif operation.name not in seen:
                seen.add(operation.name)
                stack.append((operation, True))
                stack += [
                    (before.op, False)
                    for before in reversed(list(operation.inputs))
                    if before.name not in self._tapped.owners and before.op.type != "Const"
                ]
        return tuple(done.values())

    def _cast(self, tensor: str, value: Array) -> Array:
        """The value in the dtype of the graph's tensor, which may be wider than the browser's."""
        wanted = self._tapped.graph.get_tensor_by_name(tensor).dtype.as_numpy_dtype
        return value if value.dtype.kind in "OSU" else np.asarray(value, wanted)


def constant_value(operation: Any) -> Array:
    """The value of a Const operation."""
    import tensorflow as tf

    value: Array = tf.make_ndarray(operation.get_attr("value"))
    return value


def attributes_of(operation: Any) -> dict[str, Any]:
    """The attributes of an operation that are numbers, bools, texts, or lists of these."""
    found = {
        name: _plain(operation.get_attr(name))
        for name in operation.node_def.attr
        if name not in _INTERNAL and operation.node_def.attr[name].WhichOneof("value") in _PLAIN_KINDS
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        return None if None in items else items
    return value if isinstance(value, (str, int, float, bool)) else None
