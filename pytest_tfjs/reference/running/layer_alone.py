"""One layer alone, in Python: what it gives for any inputs and any weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.compare.operations import ACTIVATIONS, BATCH_NORMS, CONTRACTIONS, PASS_THROUGH, RANDOM
from pytest_tfjs.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.running.tapped_graph import TappedGraph

Array = np.ndarray[Any, np.dtype[Any]]

_HEAVY = CONTRACTIONS | BATCH_NORMS
_PLAIN_KINDS = frozenset({"s", "i", "f", "b", "list"})
"""Fields of an `AttrValue` that hold a text, a number or a list."""

_UNTOLD = frozenset({"value", "shape", "_output_shapes", "_class", "container", "shared_name"})


class Alone(Protocol):
    """Runs the compared layers of one model, each by itself, with the artifacts' weights.

    Those of a layers model whose weights are not quantised are the source's, as its reference is.
    """

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The compared layers and model inputs from which a layer is computed, in the artifacts' order."""

    def run(
        self,
        name: str,
        inputs: Mapping[str, Array],
        weights: Mapping[str, Array] | None = None,
        *,
        before_activation: bool = False,
    ) -> Array:
        """A layer's activation, computed from `inputs` (by the names of `inputs_of`; others are ignored).

        `weights`, by the names of `weights_of`, take the place of the artifacts' own, in this layer alone.
        `before_activation` gives what enters the activation that the layer ends with, if it ends with one.
        The dtype is TensorFlow's. Raises SourceError where an input is missing, or it cannot be run alone.
        """

    def weights_of(self, name: str) -> Mapping[str, Array]:
        """The weights that enter a layer with no other compared layer between, by the artifacts' names."""

    def attributes(self, name: str) -> Mapping[str, Any]:
        """What a layer computes, as TensorFlow has it.

        `ops`: its operations in order; `op`: the contraction or batch-norm among them, else the last;
        `activation`: the activation that it ends with, or None. Then the attributes of `op` by their names
        (`strides`, `padding`, `explicit_paddings`, `dilations`, `data_format`, `epsilon`, `alpha`, ...).
        """

    def why_not(self, name: str) -> str | None:
        """Why a layer cannot be run alone, in words; None where it can."""


@dataclass(frozen=True)
class Region:
    """The part of a graph that computes one layer from the nearest others.

    `given`: the layers and model inputs that enter, with their tensors. `weights`: the artifacts' weights
    that enter, with their constants' names. `operations`: the `tf.Operation`s between, in the order of
    computation, without constants; empty where the layer is another's copy. `tensor`: the layer's own.
    """

    given: Mapping[str, str]
    weights: Mapping[str, str]
    operations: tuple[Any, ...]
    tensor: str

    @property
    def result(self) -> Any:
        """The operation whose output the layer is; None where it is a copy."""
        return self.operations[-1] if self.operations else None

    @property
    def computing_result(self) -> Any:
        """The operation that computes the layer, where others then pass it on; None where it is a copy."""
        return next((op for op in reversed(self.operations) if op.type not in PASS_THROUGH), None)


class GraphAlone:
    """An `Alone` on a graph: feeds the tensors before a layer, and fetches the layer's own."""

    def __init__(self, tapped: TappedGraph) -> None:
        self._tapped = tapped
        self._names = {constant: name for name, constant in tapped.weights.items()}
        # One walk for each layer, however often it is run.
        self.region = cache(self._walk)

    @property
    def graph(self) -> Any:
        """The `tf.Graph`."""
        return self._tapped.graph

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The compared layers and model inputs from which a layer is computed."""
        return tuple(self.region(name).given)

    def run(
        self,
        name: str,
        inputs: Mapping[str, Array],
        weights: Mapping[str, Array] | None = None,
        *,
        before_activation: bool = False,
    ) -> Array:
        """A layer's activation, computed from `inputs`."""
        self._require(name)
        region = self.region(name)
        tensor = region.tensor
        if before_activation:
            result = region.computing_result
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
        """The values of tensors of a layer's region, computed from the layer's `inputs`."""
        self._require(name)
        region = self.region(name)
        missing = [row for row in region.given if row not in inputs]
        if missing:
            raise SourceError(
                f"layer {name!r} needs inputs that are missing: {', '.join(map(repr, missing))}"
            )
        unknown = [weight for weight in weights or {} if weight not in region.weights]
        if unknown:
            raise SourceError(
                f"layer {name!r} has no weight {unknown[0]!r}; it has: {', '.join(region.weights) or 'none'}"
            )
        given = {tensor: self._fit(tensor, inputs[row]) for row, tensor in region.given.items()}
        for weight, value in (weights or {}).items():
            tensor = f"{region.weights[weight]}:0"
            given[tensor] = self._fit(tensor, value)
        found = {tensor: given[tensor] for tensor in tensors if tensor in given}
        rest = [tensor for tensor in tensors if tensor not in found]
        return {**found, **(self._tapped.run(given, rest) if rest else {})}

    def weights_of(self, name: str) -> Mapping[str, Array]:
        """The weights that enter a layer."""
        return {
            weight: constant_value(self._tapped.graph.get_operation_by_name(constant))
            for weight, constant in self.region(name).weights.items()
        }

    def attributes(self, name: str) -> Mapping[str, Any]:
        """What a layer computes, as TensorFlow has it."""
        operations = [op for op in self.region(name).operations if op.type not in PASS_THROUGH]
        if not operations:
            return {"ops": ("Identity",), "op": "Identity", "activation": None}
        main = next((op for op in operations if op.type in _HEAVY), operations[-1])
        last = operations[-1].type
        return {
            **attributes_of(main),
            "ops": tuple(op.type for op in operations),
            "op": main.type,
            "activation": last if last in ACTIVATIONS else None,
        }

    def why_not(self, name: str) -> str | None:
        """Why a layer cannot be run alone."""
        if name not in self._tapped.taps:
            return "it is not compared"
        for operation in self.region(name).operations:
            if operation.type in RANDOM:
                return f"{operation.name!r} draws random numbers"
            if operation.type == "Placeholder":
                return f"it uses {operation.name!r}, which is not an input of the model"
        return None

    def _require(self, name: str) -> None:
        reason = self.why_not(name)
        if reason is not None:
            raise SourceError(f"layer {name!r} cannot be run alone: {reason}")

    def computed_as(self, name: str) -> str:
        """The layer within a nested model that computes the nested model's own activation; else `name`."""
        while name in self._tapped.copies:
            name = self._tapped.copies[name]
        return name

    def _walk(self, name: str) -> Region:
        tapped = self._tapped
        if name in tapped.copies:
            # Its own tensor is fed, as is that of the layer that it copies.
            tensor = tapped.taps[tapped.copies[name]]
            return Region({tapped.copies[name]: tensor}, {}, (), tensor)
        tensor = tapped.taps[name]
        owner = tapped.owners.get(tensor, name)
        if owner != name:
            return Region({owner: tensor}, {}, (), tensor)
        operations = self._before(tensor)
        entering = [before for operation in operations for before in operation.inputs]
        return Region(
            given={
                tapped.owners[before.name]: before.name for before in entering if before.name in tapped.owners
            },
            weights={
                self._names[before.op.name]: before.op.name
                for before in entering
                if before.name not in tapped.owners and before.op.name in self._names
            },
            operations=operations,
            tensor=tensor,
        )

    def _before(self, tensor: str) -> tuple[Any, ...]:
        """The operations that compute `tensor` from those with owners and from constants."""
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

    def _fit(self, tensor: str, value: Array) -> Array:
        """The value in the dtype of the graph's tensor, which may be wider than the browser's."""
        wanted = self._tapped.graph.get_tensor_by_name(tensor).dtype.as_numpy_dtype
        return value if value.dtype.kind in "OSU" else np.asarray(value, wanted)


def constant_value(operation: Any) -> Array:
    """The value of a Const."""
    import tensorflow as tf

    value: Array = tf.make_ndarray(operation.get_attr("value"))
    return value


def attributes_of(operation: Any) -> dict[str, Any]:
    """The attributes of an operation that are numbers, texts, or lists of these."""
    found = {
        name: _plain(operation.get_attr(name))
        for name in operation.node_def.attr
        if name not in _UNTOLD and operation.node_def.attr[name].WhichOneof("value") in _PLAIN_KINDS
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        items = [_plain(item) for item in value]
        return None if None in items else items
    return value if isinstance(value, (str, int, float, bool)) else None
