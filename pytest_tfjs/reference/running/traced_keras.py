"""Traces a Keras 2 model into one TensorFlow graph, so that its layers can be run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.models.keras_config import MODELS
from pytest_tfjs.models.tensorflow.state_changes import changes_variables
from pytest_tfjs.reference.running.tapped_graph import Session, TappedGraph, cannot_run, tensorflow_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.reference.comparison_plan import Plan
    from pytest_tfjs.reference.running.keras_model import TappedKerasModel

Array = np.ndarray[Any, np.dtype[Any]]

_ROW = "pytest_tfjs_row_"


def trace_keras(model: TappedKerasModel, plan: Plan, inputs: Sequence[str]) -> TappedGraph:
    """The graph of `model`, with the compared layers of `plan` as taps.

    `inputs`: the names of the model's inputs, in order. The layers of a nested model are in the graph twice,
    once as rows of their own and once inside the nested model; so the nested model counts as a copy of its
    last layer. Raises SourceError where TensorFlow cannot trace the model.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    rows = {layer.name: plan.tensors[layer.name] for layer in plan.layers if layer.coverage == "compared"}
    addresses = list(dict.fromkeys(rows.values()))
    call = model.tapped(addresses)

    def values(*arrays: Any) -> list[Any]:
        # Inlining functions renames a layer's tensor, but not the identity that takes it.
        return [tf.identity(value, f"{_ROW}{at}") for at, value in enumerate(call(list(arrays)))]

    try:
        function = tf.function(values, autograph=False).get_concrete_function(*model.specs())
        if changes_variables(function):
            # Freezing would fail too, and leave functions behind that TensorFlow fails to remove later.
            raise ValueError("it changes variables when it runs")
        frozen = convert_variables_to_constants_v2(
            function, lower_control_flow=False, aggressive_inlining=True
        )
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(frozen.graph.as_graph_def(), name="")
    except tensorflow_errors() as error:
        raise cannot_run("the model as a graph", error) from error
    at = {
        address: graph.get_operation_by_name(f"{_ROW}{number}").inputs[0].name
        for number, address in enumerate(addresses)
    }
    return TappedGraph(
        graph=graph,
        run=_runner(graph),
        inputs=dict(zip(inputs, (tensor.name for tensor in function.inputs), strict=False)),
        taps={row: at[address] for row, address in rows.items()},
        weights=_weights(model, function),
        copies={
            layer.name: layer.inputs[0]
            for layer in plan.layers
            if layer.op in MODELS and layer.name in rows and len(layer.inputs) == 1
        },
    )


def _runner(graph: Any) -> Any:
    session = Session(graph)

    def run(fed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        try:
            return session.run(fed, tensors)
        except tensorflow_errors() as error:
            raise cannot_run(f"{tensors[-1]!r} of the model", error) from error

    return run


def _weights(model: TappedKerasModel, function: Any) -> dict[str, str]:
    """The constant of each weight: freezing names it after the placeholder that captured the variable."""
    names = {id(variable.handle): name for variable, name in model.variables()}
    return {names[id(outer)]: inner.op.name for outer, inner in function.graph.captures if id(outer) in names}
