"""Recomputes a diverged layer in Python: step by step in numpy, and for changed feeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.feed_changes import feed_changes
from pytest_tfjs.compare.diagnosis.recomputing.keras_layers import keras_steps
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step
from pytest_tfjs.compare.diagnosis.semantics import Trial, error_left
from pytest_tfjs.compare.operations import PASS_THROUGH
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.keras_config import alike
from pytest_tfjs.reference.constants import constant_values
from pytest_tfjs.reference.identity_operations import unchanged_input
from pytest_tfjs.reference.reference_model import (
    GraphReferenceModel,
    KerasReferenceModel,
    load_reference_model,
)
from pytest_tfjs.reference.running.layer_alone import attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.reference.running.layer_alone import GraphAlone, Subgraph

Array = np.ndarray[Any, np.dtype[Any]]

_INTERPRETATIONS = "other interpretations"
_DECLARED = "comparing the layer's attributes in model.json"


@dataclass(frozen=True)
class LayerFindings:
    """The operations of one layer for one feed, and the results of trials in Python.

    `steps`: the operations in the source, on the reference's own inputs; `declared`: those in the artifacts.
    `over_artifacts`: the activation that TensorFlow computes from the artifacts; None for a layers model, as
    TensorFlow cannot read its artifacts. `declared_alike`: whether the artifacts of a layers model have the
    layer's class and config from the source. `feeds`: the trials with changed feeds. `not_tried`: sentences
    on what could not be tried.
    """

    steps: tuple[Step, ...] | None = None
    declared: tuple[Step, ...] | None = None
    over_artifacts: Array | None = None
    declared_alike: bool = False
    feeds: tuple[Trial, ...] = ()
    not_tried: tuple[str, ...] = ()


def examine_layer(
    source: Source,
    artifacts: Artifacts,
    feeds: Sequence[Feed],
    reference: Reference,
    *,
    name: str,
    number: int,
    tapped: Array | None,
) -> LayerFindings:
    """Examines the layer `name` for the feed `number`; needs TensorFlow and loads the model.

    `tapped`: the browser's activation of the layer in the whole model; None skips the trials.
    """
    model = load_reference_model(source, artifacts, feeds)
    found = _Examination(model, artifacts, feeds[number], reference, name=name, number=number)
    found.read()
    if tapped is not None:
        found.try_feeds(tapped)
    return LayerFindings(
        found.steps,
        found.declared,
        found.over_artifacts,
        found.declared_alike,
        tuple(found.tried),
        tuple(found.not_tried),
    )


class _Examination:
    def __init__(
        self, model: Any, artifacts: Artifacts, feed: Feed, reference: Reference, *, name: str, number: int
    ) -> None:
        self._model = model
        self._artifacts = artifacts
        self._feed = feed
        self._reference = reference
        self._name = name
        self._number = number
        self.steps: tuple[Step, ...] | None = None
        self.declared: tuple[Step, ...] | None = None
        self.over_artifacts: Array | None = None
        self.declared_alike = False
        self.tried: list[Trial] = []
        self.not_tried: list[str] = []

    def read(self) -> None:
        """Reads the layer's steps on both sides; notes what could not be read."""
        if isinstance(self._model, KerasReferenceModel):
            self.declared_alike = bool(self._try(_DECLARED, self._is_declared_alike))
            self.steps = self._try(_INTERPRETATIONS, self._keras_steps)
            if self.steps is None:
                self.not_tried.pop()
                self.steps = self._try(_INTERPRETATIONS, self._traced_steps)
            else:
                self.declared = self._try(_DECLARED, self._declared_keras_steps)
        elif isinstance(self._model, GraphReferenceModel):
            # With quantised weights, only the artifacts have the values that the reference is computed with.
            side = self._model.alone if self._artifacts.quantised else self._model.source_alone
            self.steps = self._try(_INTERPRETATIONS, lambda: self._graph_steps(side()))
            self.declared = self._try(_DECLARED, lambda: self._graph_steps(self._model.alone()))
            self.over_artifacts = self._try("running the artifacts in TensorFlow", self._run_artifacts)

    def try_feeds(self, tapped: Array) -> None:
        """Runs the source up to this layer once for each changed feed."""
        expected = self._reference.activations(self._number, [self._name])[self._name]
        run = self._model.from_artifacts if self._artifacts.quantised else self._model.from_source
        for change, changed in feed_changes(self._feed.reference):
            try:
                recomputed = run(replace(self._feed, reference=changed), [self._name])[self._name]
            except Exception as error:  # noqa: BLE001  (a model may raise anything for other values)
                lines = str(error).splitlines()
                self.not_tried.append(f"the feed {change}: {lines[0] if lines else repr(error)}")
                continue
            # Otherwise the layer does not depend on the change.
            if error_left(recomputed, expected, tapped) > 0:
                self.tried.append(Trial(change, error_left(tapped, recomputed, expected)))

    def _try(self, what: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (CannotRecompute, TfjsError) as error:
            self.not_tried.append(f"{what}: {error}")
            return None

    def _values(self, rows: Sequence[str]) -> dict[str, Array]:
        """The reference's activations of rows, and the feed's inputs, by name."""
        inputs = dict(self._feed.reference)
        compared = [row for row in rows if row not in inputs]
        return {**inputs, **self._reference.activations(self._number, compared)}

    def _run_artifacts(self) -> Array:
        alone = self._model.alone()
        result: Array = alone.run(self._name, self._values(alone.inputs_of(self._name)))
        return result

    def _graph_steps(self, alone: GraphAlone) -> tuple[Step, ...]:
        subgraph = alone.subgraph(self._name)
        return steps_of(subgraph, self._values(list(subgraph.inputs)))

    def _traced_steps(self) -> tuple[Step, ...]:
        return self._graph_steps(self._model.alone())

    def _is_declared_alike(self) -> bool:
        layer = self._model.layer_of(self._name)
        class_name, config = self._model.declared_of(self._name)
        own_name = class_name.rpartition(">")[2]  # a registered class has a package before it
        return own_name == type(layer).__name__ and alike(layer.get_config(), config)

    def _keras_steps(self) -> tuple[Step, ...]:
        layer = self._model.layer_of(self._name)
        return self._steps_by(type(layer).__name__, layer.get_config())

    def _declared_keras_steps(self) -> tuple[Step, ...]:
        class_name, config = self._model.declared_of(self._name)
        return self._steps_by(class_name, config)

    def _steps_by(self, class_name: str, config: Mapping[str, Any]) -> tuple[Step, ...]:
        rows = list(self._model.alone().subgraph(self._name).inputs)
        values = self._values(rows)
        weights = self._model.weights_in_order(self._name)
        return keras_steps(class_name, config, weights, [values[row] for row in rows])


def steps_of(subgraph: Subgraph, values: Mapping[str, Array]) -> tuple[Step, ...]:
    """The operations of a subgraph as steps; `values`: its inputs, by layer name.

    Constant expressions become constants of the steps that use them, and operations without effect are left
    out, as a converter may do. Raises CannotRecompute where an operation uses another output than the
    first of another operation.
    """
    if not subgraph.operations:
        raise CannotRecompute("the layer only copies another layer's activation")
    made: dict[str, Array | int] = {
        tensor: values[row] for row, tensor in subgraph.inputs.items() if row in values
    }
    steps: list[Step] = []
    taken = [tensor for operation in subgraph.operations for tensor in operation.inputs]
    constants = constant_values(subgraph.operations[0].graph, taken)

    def entering(tensor: Any) -> Array | int:
        if tensor.name in made:
            return made[tensor.name]
        if tensor.name in constants:
            return constants[tensor.name]
        raise CannotRecompute(
            "the layer has an operation with several outputs, which cannot be recomputed in numpy"
        )

    computed = {name.rpartition(":")[0] for name in constants}
    for operation in subgraph.operations:
        if operation.name in computed:
            continue
        unchanged = unchanged_input(operation, constants)
        if unchanged is not None and operation is not subgraph.result:
            made[f"{operation.name}:0"] = entering(unchanged)
            continue
        inputs = tuple(map(entering, operation.inputs))
        if operation.type in PASS_THROUGH and operation is not subgraph.result:
            made[f"{operation.name}:0"] = inputs[0]
        else:
            made[f"{operation.name}:0"] = len(steps)
            steps.append(Step(operation.type, inputs, _attributes(operation)))
    return tuple(steps)


def _attributes(operation: Any) -> dict[str, Any]:
    attributes = attributes_of(operation)
    if operation.type == "Cast":
        attributes["DstT"] = operation.outputs[0].dtype.name
    return attributes
