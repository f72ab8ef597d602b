"""Runs a model in Python, layer by layer, with the source's weights or with the artifacts'."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.tensorflow.layer_calls import read_calls
from pytest_tfjs.reference.graph import Graph, Node, converted_node, parse_ref, renamed, value_digest
from pytest_tfjs.reference.identity_operations import neutral_ref
from pytest_tfjs.reference.matching.graph_layers import plan_graph
from pytest_tfjs.reference.matching.groups import by_layer, by_scope
from pytest_tfjs.reference.matching.keras_layers import plan_keras
from pytest_tfjs.reference.matching.signature_matching import identical_signatures, match_signatures
from pytest_tfjs.reference.running.converted_graph import ConvertedGraph
from pytest_tfjs.reference.running.frozen_graph import FrozenGraph
from pytest_tfjs.reference.running.keras_model import TappedKerasModel, half_of, weight_name
from pytest_tfjs.reference.running.layer_alone import GraphAlone
from pytest_tfjs.reference.running.tapped_graph import TappedGraph
from pytest_tfjs.reference.running.traced_keras import trace_keras
from pytest_tfjs.reference.weights.computed_constants import ComputedConstants
from pytest_tfjs.reference.weights.graph_weights import GraphWeights
from pytest_tfjs.reference.weights.keras_weights import check_keras_weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.weight_check import WeightCheck
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.reference.comparison_plan import Plan

Array = np.ndarray[Any, np.dtype[Any]]
StoredActivations = Callable[[Sequence[str]], Mapping[str, Array]]
"""Reads the activations of some layers; layers that were not stored are left out."""


class ReferenceModel(Protocol):
    """A model that Python runs, with the plan of its layers.

    Layers are named as in the plan and must be compared ones. Activations have TensorFlow's dtypes. Half
    precision is computed in float32, as in TF.js.
    """

    plan: Plan

    @property
    def half(self) -> Mapping[str, str]:
        """The dtype of each compared layer that the source itself computes in half precision, by name."""

    def sizes(self, feed: Feed, layers: Sequence[str]) -> dict[str, int]:
        """About how many bytes each layer's activation takes, without keeping any activation."""

    def from_source(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the source's own weights, in one pass."""

    def as_written(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """As `from_source`, but in half precision where the source has it."""

    def from_artifacts(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the artifacts' weights, dequantised, in one pass.

        Raises SourceError where they cannot be computed.
        """

    def check_weights(self, feed: Feed, stored: StoredActivations | None = None) -> WeightCheck:
        """Compares the artifacts' weights with the source's.

        `stored` reads activations for this feed, with the source's weights, that are already computed.
        """

    def alone(self) -> GraphAlone:
        """The compared layers, each to be run alone with the artifacts' weights.

        Raises SourceError where TensorFlow cannot build a graph of them.
        """

    def source_alone(self) -> GraphAlone:
        """The same layers in the source's own graph. They cannot be run with other weights."""

    def refolded(self, weights: Collection[str], epsilon: Callable[[float], float], /) -> Mapping[str, Array]:
        """The values that weights with a folded batch-norm would have if its epsilon were another.

        `epsilon` gives the other epsilon for the batch-norm's own. Weights without a batch-norm are left out.
        """

    def computed_constants(self) -> ComputedConstants:
        """The constants that the converter computed, and that may differ from the source's by rounding."""


def load_reference_model(source: Source, artifacts: Artifacts, feeds: Sequence[Feed]) -> ReferenceModel:
    """Loads the source and plans its layers.

    `feeds` help to match the outputs of prebuilt artifacts whose output names were lost.
    Raises SourceError where the source cannot be read or has no graph; ArtifactsError where prebuilt
    artifacts were not converted from this source, or their outputs cannot be matched.
    """
    return (
        KerasReferenceModel(source, artifacts)
        if artifacts.format == "layers"
        else GraphReferenceModel(source, artifacts, feeds)
    )


class KerasReferenceModel:
    """A ReferenceModel for a layers model: runs the Keras 2 model."""

    def __init__(self, source: Source, artifacts: Artifacts) -> None:
        self._model = source.load()
        self._artifacts = artifacts
        self._tapped = TappedKerasModel(self._model)
        topology = artifacts.topology.get("model_config", artifacts.topology)
        self.plan = plan_keras(self._tapped.config, topology)

    def sizes(self, feed: Feed, layers: Sequence[str]) -> dict[str, int]:
        """About how many bytes each layer's activation takes."""
        tensors = {name: self.plan.tensors[name] for name in layers}
        sizes = self._tapped.sizes(list(feed.reference.values()), list(dict.fromkeys(tensors.values())))
        return {name: sizes[tensor] for name, tensor in tensors.items()}

    @cached_property
    def half(self) -> Mapping[str, str]:
        """The dtype of each compared layer that the source itself computes in half precision, by name."""
        found = {name: half_of(self.layer_of(name)) for name in self.plan.tensors}
        return {name: dtype for name, dtype in found.items() if dtype is not None}

    def from_source(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the source's own weights."""
        return self._run(self._tapped, feed, layers)

    def as_written(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """As `from_source`, but in half precision where the source has it."""
        return self._run(TappedKerasModel(self._model, as_written=True), feed, layers)

    def from_artifacts(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the artifacts' weights."""
        return self._run(self._with_stored_weights, feed, layers)

    def check_weights(self, feed: Feed, stored: StoredActivations | None = None) -> WeightCheck:
        """Compares the artifacts' weights with the source's."""
        del feed, stored
        return check_keras_weights(self._stored_weights, self._artifacts.storage(), self._model)

    def alone(self) -> GraphAlone:
        """The compared layers, each to be run alone."""
        model = self._with_stored_weights if self._artifacts.quantised else self._tapped
        return GraphAlone(trace_keras(model, self.plan, [spec.name for spec in self._artifacts.inputs]))

    def source_alone(self) -> GraphAlone:
        """The same layers: a layers model has those of the source."""
        return self.alone()

    def refolded(self, weights: Collection[str], epsilon: Callable[[float], float], /) -> Mapping[str, Array]:
        """Empty: a layers model keeps its batch-norms."""
        del weights, epsilon
        return {}

    def computed_constants(self) -> ComputedConstants:
        """None: a layers model has the source's weights only."""
        return ComputedConstants()

    def layer_of(self, name: str) -> Any:
        """The source's Keras layer of a compared layer."""
        path, layer = self._address(name)
        model = self._model
        for scope in path:
            model = model.get_layer(scope)
        return model.get_layer(layer)

    def declared_of(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """A compared layer's class name and config in the artifacts. Raises SourceError if they lack it."""
        path, layer = self._address(name)
        found = self._artifacts.topology.get("model_config", self._artifacts.topology)
        for step in (*path, layer):
            config = found["config"]
            layers = config["layers"] if isinstance(config, dict) else config
            named = [one for one in layers if (one.get("name") or one["config"].get("name")) == step]
            if not named:
                raise SourceError(f"the artifacts have no layer {step!r}")
            found = named[0]
        return str(found["class_name"]), found["config"]

    def weights_in_order(self, name: str) -> list[Array]:
        """The weights that a compared layer's reference is computed with, in Keras's order."""
        layer = self.layer_of(name)
        stored = self._stored_weights if self._artifacts.quantised else {}
        pairs = zip(layer.weights, layer.get_weights(), strict=True)
        return [stored.get(weight_name(weight), own) for weight, own in pairs]

    def _address(self, name: str) -> tuple[tuple[str, ...], str]:
        path, layer, _, _ = json.loads(self.plan.tensors[name])
        return tuple(scope for scope, _ in path), layer

    @cached_property
    def _stored_weights(self) -> Mapping[str, Array]:
        return self._artifacts.read_weights()

    @cached_property
    def _with_stored_weights(self) -> TappedKerasModel:
        return TappedKerasModel(self._model, self._stored_weights)

    def _run(self, model: TappedKerasModel, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        tensors = {name: self.plan.tensors[name] for name in layers}
        values = model.run(list(feed.reference.values()), list(dict.fromkeys(tensors.values())))
        return {name: values[tensor] for name, tensor in tensors.items()}


def _converted_nodes(artifacts: Artifacts, weights: Mapping[str, Array]) -> list[Node]:
    """The nodes of `model.json`, with digests of their weights and the inputs that they pass through."""
    digests = {name: value_digest(value) for name, value in weights.items()}
    nodes = (
        converted_node(node.name, node.op, node.inputs, node.attr, digests.get(node.name))
        for node in artifacts.nodes()
    )
    return [replace(node, neutral=neutral_ref(node.op, node.inputs, weights)) for node in nodes]


class GraphReferenceModel:
    """A ReferenceModel for a graph model: runs the SavedModel's frozen graph and the converted graph.

    The artifacts' weights are decoded once and live as long as this object.
    """

    def __init__(self, source: Source, artifacts: Artifacts, feeds: Sequence[Feed]) -> None:
        assert artifacts.saved_model is not None
        assert artifacts.signature is not None
        self._artifacts = artifacts
        nodes = _converted_nodes(artifacts, self._stored_weights)
        lowered = any(node.op in ("Switch", "Merge") for node in nodes)
        self._frozen = FrozenGraph(artifacts.saved_model, artifacts.signature, lower_control_flow=lowered)
        self._signature = (
            match_signatures(artifacts, self._frozen, feeds, lambda: self._converted)
            if source.kind == "prebuilt"
            else identical_signatures(artifacts)
        )
        source_outputs, converted_outputs = (
            tuple(map(parse_ref, side)) for side in zip(*self._signature.outputs, strict=True)
        )
        used = {name for node in nodes for name, _ in node.inputs}
        # Old converters left unused placeholders of loops behind.
        live = [node for node in nodes if node.op != "Placeholder" or node.name in used]
        self._nodes = Graph.of(renamed(live, self._signature.renamed), converted_outputs)
        calls = read_calls(artifacts.saved_model)
        grouping = by_scope if calls is None else by_layer(calls)
        source_graph = Graph(self._frozen.graph.nodes, source_outputs)
        keys = artifacts.output_keys
        names = [(*(keys[name] for name in known if name in keys), *known) for known in self._signature.names]
        plan = plan_graph(source_graph, self._nodes, grouping, names=names)
        self.plan = replace(plan, notes=self._signature.notes)

    def sizes(self, feed: Feed, layers: Sequence[str]) -> dict[str, int]:
        """About how many bytes each layer's activation takes."""
        tensors = {name: self.plan.tensors[name] for name in layers}
        sizes = self._frozen.sizes(self._given(feed), list(dict.fromkeys(tensors.values())))
        return {name: sizes[tensor] for name, tensor in tensors.items()}

    def from_source(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the source's own weights."""
        tensors = {name: self.plan.tensors[name] for name in layers}
        values = self._frozen.run(self._given(feed), list(dict.fromkeys(tensors.values())))
        return {name: values[tensor] for name, tensor in tensors.items()}

    @cached_property
    def half(self) -> Mapping[str, str]:
        """The dtype of each compared layer that the source itself computes in half precision, by name.

        If only layers that are not compared do, they are given by the names of their operations.
        """
        constant = self._frozen.graph.constants
        half = {name: dtype for name, dtype in self._frozen.half.items() if name not in constant}
        nodes = {name: parse_ref(tensor)[0] for name, tensor in self.plan.tensors.items()}
        return {name: half[node] for name, node in nodes.items() if node in half} or half

    def as_written(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """As `from_source`, but in half precision where the source has it."""
        tensors = {name: self.plan.tensors[name] for name in layers}
        values = self._frozen.run_as_written(self._given(feed), list(dict.fromkeys(tensors.values())))
        return {name: values[tensor] for name, tensor in tensors.items()}

    def from_artifacts(self, feed: Feed, layers: Sequence[str]) -> Mapping[str, Array]:
        """Activations with the artifacts' weights."""
        taps = {name: self._tap(name) for name in layers}
        values = self._converted.run(self._given_converted(feed), list(dict.fromkeys(taps.values())))
        return {name: values[tensor] for name, tensor in taps.items()}

    def check_weights(self, feed: Feed, stored: StoredActivations | None = None) -> WeightCheck:
        """Compares the artifacts' weights with the source's."""
        inputs = {layer.name: layer.inputs for layer in self.plan.layers}

        def run(row: Layer, constants: Mapping[str, Array]) -> tuple[Array, Array]:
            layer = row.name
            entering = [name for name in inputs[layer] if name in self._taps]
            values = dict(stored([*entering, layer])) if stored is not None else {}
            missing = [name for name in (*entering, layer) if name not in values]
            values.update(self.from_source(feed, missing) if missing else {})
            fed = self._given_converted(feed) | {f"{name}:0": value for name, value in constants.items()}
            fed |= {self._tap(name): values[name] for name in entering}
            tap = self._tap(layer)
            return self._converted.run(fed, [tap])[tap], values[layer]

        return self._weights.check(run)

    def alone(self) -> GraphAlone:
        """The compared layers, each to be run alone."""
        names = {operation.name for operation in self._converted.graph.get_operations()}
        inputs = {spec.name: spec.tensor for spec in self._artifacts.inputs if spec.tensor is not None}
        tapped = TappedGraph(
            graph=self._converted.graph,
            run=self._converted.run,
            inputs={name: at for name, at in inputs.items() if at.partition(":")[0] in names},
            taps=self._taps,
            weights={name: name for name in self._artifacts.weight_names() if name in names},
            copies={},
        )
        return GraphAlone(tapped)

    def refolded(self, weights: Collection[str], epsilon: Callable[[float], float], /) -> Mapping[str, Array]:
        """The values that weights with a folded batch-norm would have with another epsilon."""
        return self._weights.refolded(weights, epsilon)

    def computed_constants(self) -> ComputedConstants:
        """The constants that the converter computed, and that may differ from the source's by rounding."""
        return self._weights.computed_constants()

    @cached_property
    def _weights(self) -> GraphWeights:
        storage = self._artifacts.storage()
        return GraphWeights(self._stored_weights, storage, self._frozen, self._nodes, layers=self.plan.layers)

    def source_alone(self) -> GraphAlone:
        """The same layers in the source's own graph. They cannot be run with other weights."""
        graph = self._frozen
        inputs = {
            name: at
            for name, at in self._signature.inputs.items()
            if at.partition(":")[0] in graph.graph.nodes
        }
        return GraphAlone(TappedGraph(graph.tf_graph, graph.run, inputs, self.plan.tensors, {}, {}))

    @cached_property
    def _stored_weights(self) -> Mapping[str, Array]:
        return self._artifacts.read_weights()

    @cached_property
    def _converted(self) -> ConvertedGraph:
        return ConvertedGraph(self._artifacts, self._stored_weights)

    @cached_property
    def _taps(self) -> Mapping[str, str]:
        return {layer.name: layer.tap["node"] for layer in self.plan.layers if layer.tap is not None}

    def _tap(self, layer: str) -> str:
        return self._taps[layer]

    def _given(self, feed: Feed) -> dict[str, Array]:
        tensors = self._signature.inputs
        return {tensors[name]: value for name, value in feed.reference.items() if name in tensors}

    def _given_converted(self, feed: Feed) -> dict[str, Array]:
        tensors = {spec.name: spec.tensor for spec in self._artifacts.inputs}
        return {
            tensor: value for name, value in feed.reference.items() if (tensor := tensors[name]) is not None
        }
