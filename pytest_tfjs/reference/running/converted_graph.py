"""Runs a converted graph model in TensorFlow, with the weights as the artifacts store them.

Neither the browser nor the source is needed. TensorFlow has no kernels for some operations of the converter:
fused ones are replaced by the operations that TF.js computes for them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import FUSED_ACTIVATIONS, FUSED_CONTRACTIONS
from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.tensorflow.float32_graphs import in_float32
from pytest_tfjs.reference.running.tapped_graph import Session, first_line, tensorflow_errors
from pytest_tfjs.reference.running.tfjs_operations import TFJS_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts

Array = np.ndarray[Any, np.dtype[Any]]

_CONVOLUTION = ("strides", "padding", "dilations", "data_format", "explicit_paddings")
_SHARED_ATTRIBUTES = {
    "Conv2D": _CONVOLUTION,
    "DepthwiseConv2dNative": _CONVOLUTION,
    "MatMul": ("transpose_a", "transpose_b"),
}
"""The attributes that an operation has in common with the fused one."""

_TABLE_INITIALIZERS = frozenset(
    {"LookupTableImport", "LookupTableImportV2", "InitializeTable", "InitializeTableV2"}
)


_NOT_EXECUTED = "which TensorFlow.js does not execute"
_CHECKS = ("Assert", "CheckNumerics", "Print", "PrintV2")
"""Operations for debugging, which a converter may leave out."""


class ConvertedGraph:
    """A graph model's nodes and stored weights as a TensorFlow graph: `graph`.

    `weights`: the artifacts' weights, where they are decoded already.
    Raises SourceError, with TensorFlow's reason, where TensorFlow cannot build the graph.
    """

    def __init__(self, artifacts: Artifacts, weights: Mapping[str, Array] | None = None) -> None:
        import tensorflow as tf

        self._artifacts = artifacts
        self.graph = tf.Graph()
        self._initializers: list[str] = []
        try:
            weights = artifacts.read_weights() if weights is None else weights
            with self.graph.as_default():
                tables = self._import_tables(weights)
                graph_def = _graph_def(artifacts.topology, weights)
                tf.import_graph_def(graph_def, name="", input_map=tables)
                self._import_fillers(weights)
        except tensorflow_errors() as error:
            raise self._cannot_run(error) from error
        self._session = Session(self.graph, self._initializers)
        self._names = frozenset(operation.name for operation in self.graph.get_operations())

    def run(self, fed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (`node:0`) in one pass; `fed`: values for inputs and any other tensors.

        Values for nodes that the graph lacks are ignored. Raises SourceError where a node does not run.
        """
        feeds = {name: value for name, value in fed.items() if name.partition(":")[0] in self._names}
        try:
            return self._session.run(feeds, tensors)
        except tensorflow_errors() as error:
            raise self._cannot_run(error) from error

    def _import_tables(self, weights: Mapping[str, Array]) -> dict[str, Any]:
        """Builds the lookup tables from their own graph; the tensor for each input that is a table."""
        import tensorflow as tf

        content = json.loads(self._artifacts.model_json.read_text(encoding="utf-8"))
        initializer = content.get("modelInitializer")
        if not initializer or "initializerSignature" not in content:
            return {}
        tf.import_graph_def(_graph_def(initializer, weights), name="tables")
        tables = {
            entry["resourceId"]: f"tables/{entry['name']}"
            for entry in content.get("initializerSignature", {}).get("outputs", {}).values()
            if "resourceId" in entry
        }
        operations = self.graph.get_operations()
        self._initializers = [
            operation.name for operation in operations if operation.type in _TABLE_INITIALIZERS
        ]
        return {
            entry["name"]: self.graph.get_tensor_by_name(tables[entry["resourceId"]])
            for entry in content["signature"]["inputs"].values()
            if "resourceId" in entry
        }

    def _import_fillers(self, weights: Mapping[str, Array]) -> None:
        """Adds the nodes that fill tables which the graph itself makes, as of models of TensorFlow 1."""
        import tensorflow as tf

        content = json.loads(self._artifacts.model_json.read_text(encoding="utf-8"))
        initializer = content.get("modelInitializer")
        if not initializer or self._initializers:
            return
        graph_def = _graph_def(initializer, weights)
        there = {operation.name for operation in self.graph.get_operations()}
        new = [node for node in graph_def.node if node.name not in there]
        shared = {ref for node in new for ref in node.input if ref.partition(":")[0] in there}
        del graph_def.node[:]
        graph_def.node.extend(new)
        tables = {ref: self.graph.get_tensor_by_name(ref if ":" in ref else f"{ref}:0") for ref in shared}
        tf.import_graph_def(graph_def, name="", input_map=tables)
        self._initializers = [node.name for node in new if node.op in _TABLE_INITIALIZERS]

    def _cannot_run(self, error: Exception) -> SourceError:
        text = f"TensorFlow cannot run the converted graph {self._artifacts.model_json}"
        if self._artifacts.quantised:
            text += ", whose activations are the reference for quantised weights"
            advice = (
                "Compare with weights='float32', or with format='layers' if the source is a Keras 2 model"
            )
        elif any(f"{op!r}" in str(error) for op in _CHECKS):
            advice = "tensorflowjs_converter --strip_debug_ops=True leaves out such checks"
        elif _NOT_EXECUTED in str(error):
            advice = "Build the model without it, or compute that outside the model"
        else:
            advice = "Convert the source again"
        return SourceError(f"{text}: {first_line(error)} {advice}")


def _graph_def(topology: Mapping[str, Any], weights: Mapping[str, Array]) -> Any:
    import tensorflow as tf
    from google.protobuf.json_format import ParseDict

    graph_def = ParseDict(dict(topology), tf.compat.v1.GraphDef(), ignore_unknown_fields=True)
    graph_def = in_float32(graph_def, rounded_constants=False)  # as TF.js computes it
    _remove_unused_functions(graph_def)
    in_functions = [node for function in graph_def.library.function for node in function.node_def]
    for node in (*in_functions, *graph_def.node):
        if node.op not in TFJS_OPERATIONS:
            raise ValueError(f"{node.name!r} is a {node.op!r}, {_NOT_EXECUTED}.")
    for node in in_functions:
        _normalise(node, weights)
    nodes = list(_unfused_nodes(graph_def.node))
    for node in nodes:
        _normalise(node, weights)
    del graph_def.node[:]
    graph_def.node.extend(nodes)
    return graph_def


def _remove_unused_functions(graph_def: Any) -> None:
    """Removes the functions that no node calls: old converters leave those of training there."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    used: dict[str, Any] = {}
    ahead = list(graph_def.node)
    while ahead:
        for name in _called(ahead.pop()):
            if name in functions and name not in used:
                used[name] = functions[name]
                ahead += functions[name].node_def
    del graph_def.library.function[:]
    graph_def.library.function.extend(used.values())


def _called(node: Any) -> Iterator[str]:
    """The names of functions that a node may call."""
    yield node.op
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


def _normalise(node: Any, weights: Mapping[str, Array]) -> None:
    import tensorflow as tf

    if node.op == "Const":
        tensor = node.attr["value"].tensor
        tensor.CopyFrom(tf.make_tensor_proto(weights[node.name], tensor.dtype))
    node.device = ""


def _unfused_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        if node.op in FUSED_CONTRACTIONS:
            yield from _unfused(node)
        elif node.op == "Prelu":
            yield from _prelu(node.name, *node.input)
        else:
            yield node


def _unfused(node: Any) -> Iterator[Any]:
    """A contraction, a bias and an activation for a fused node; the last has the fused node's name."""
    operations = [op.decode() for op in node.attr["fused_ops"].list.s if op != b"NoOp"]
    names = [f"{node.name}/{number}" for number in range(len(operations))] + [node.name]
    extra = [name for name in node.input[2:] if not name.startswith("^")]
    if len(extra) < sum(op in ("Prelu", "BiasAdd") for op in operations):
        raise ValueError(f"{node.name!r} is a {node.op} without an input that its fused operations need.")
    arguments = iter(extra)
    yield _node(FUSED_CONTRACTIONS[node.op], names[0], *node.input[:2], like=node)
    for op, before, name in zip(operations, names, names[1:], strict=False):
        if op == "Prelu":
            yield from _prelu(name, before, next(arguments))
        elif op == "BiasAdd":
            yield _node("AddV2", name, before, next(arguments))
        elif op in FUSED_ACTIVATIONS:
            yield _node(op, name, before, like=node)
        else:
            raise ValueError(f"{node.name!r} is a {node.op} with {op!r} fused in, which is not supported.")


def _node(op: str, name: str, *inputs: str, like: Any = None) -> Any:
    import tensorflow as tf

    node = tf.compat.v1.NodeDef(op=op, name=name, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    for key in _SHARED_ATTRIBUTES.get(op, ()):
        if key in like.attr:
            node.attr[key].CopyFrom(like.attr[key])
    if op == "LeakyRelu":
        node.attr["alpha"].CopyFrom(like.attr["leakyrelu_alpha"])
    return node


def _prelu(name: str, x: str, alpha: str) -> Iterator[Any]:
    """relu(x) - alpha·relu(-x)."""
    yield _node("Relu", f"{name}/positive", x)
    yield _node("Neg", f"{name}/flipped", x)
    yield _node("Relu", f"{name}/negative", f"{name}/flipped")
    yield _node("Mul", f"{name}/scaled", f"{name}/negative", alpha)
    yield _node("Sub", name, f"{name}/positive", f"{name}/scaled")
