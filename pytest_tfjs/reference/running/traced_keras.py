"""A Keras 2 model as one TensorFlow graph, so that its layers can be run one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.models.keras_config import MODELS
from pytest_tfjs.reference.running.tapped_graph import Session, TappedGraph, failures, unable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.reference.plan import Plan
    from pytest_tfjs.reference.running.keras_model import TappedKerasModel

Array = np.ndarray[Any, np.dtype[Any]]

_ROW = "pytest_tfjs_row_"


def traced(model: TappedKerasModel, plan: Plan, inputs: Sequence[str]) -> TappedGraph:
    """The graph that TensorFlow makes of `model`, with the layers of `plan`.

    `inputs` are the names of the model's inputs in their order. What the layers of a nested model compute is
    in the graph once for them, and once for the nested model, which therefore copies the last of its layers.
    Raises SourceError where TensorFlow cannot make a graph of it.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    rows = {layer.name: plan.tensors[layer.name] for layer in plan.layers if layer.coverage == "compared"}
    addresses = list(dict.fromkeys(rows.values()))
    call = model.tapped(addresses)

    def values(*given: Any) -> list[Any]:
        # What a layer's tensor is called changes where functions are inlined; what takes it stays.
        return [tf.identity(value, f"{_ROW}{at}") for at, value in enumerate(call(list(given)))]

    try:
        function = tf.function(values, autograph=False).get_concrete_function(*model.specs())
        frozen = convert_variables_to_constants_v2(
            function, lower_control_flow=False, aggressive_inlining=True
        )
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(frozen.graph.as_graph_def(), name="")
    except failures() as error:
        raise unable("the model as a graph", error) from error
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

    def run(given: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        try:
            return session.run(given, tensors)
        except failures() as error:
            raise unable(f"{tensors[-1]!r} of the model", error) from error

    return run


def _weights(model: TappedKerasModel, function: Any) -> dict[str, str]:
    """The constants that freezing makes of the variables: they have the names of what passed these in."""
    names = {id(variable.handle): name for variable, name in model.variables()}
    return {names[id(outer)]: inner.op.name for outer, inner in function.graph.captures if id(outer) in names}
