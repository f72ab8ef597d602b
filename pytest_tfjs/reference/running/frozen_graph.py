"""Runs a SavedModel's signature as the frozen graph that the converter starts from."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import PASS_THROUGH
from pytest_tfjs.models.tensorflow.float32_graphs import half_operations, in_float32
from pytest_tfjs.models.tensorflow.graph_conversion import is_of_version_1, tensor_names
from pytest_tfjs.models.topology import TensorSpec
from pytest_tfjs.reference.constants import constant_operations, constant_values
from pytest_tfjs.reference.graph import Graph, Node, parse_ref, value_digest
from pytest_tfjs.reference.identity_operations import decisive_operands, simpler_operation, unchanged_input
from pytest_tfjs.reference.running.tapped_graph import Session
from pytest_tfjs.reference.running.version_1 import freeze_version_1

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_STRING_BYTES = 64
# Bytes of a value and of its cast to the browser's dtype, where the two dtypes differ.
_BYTES_WITH_CAST = {"float64": 12, "int64": 12, "uint64": 12, "complex128": 24, "uint32": 8}
_BYTES_WITH_CAST |= {"float16": 6, "bfloat16": 6, "int16": 6, "uint16": 6, "int8": 5, "uint8": 5}

Array = np.ndarray[Any, np.dtype[Any]]

_AS_STORED = PASS_THROUGH | {"Const"}


class FrozenGraph:
    """The graph of one signature with its variables as constants and its functions inlined.

    `lower_control_flow` turns loops and branches into Switch and Merge, for artifacts that have these.
    Lookup tables of a SavedModel of TensorFlow 1 are nodes of the graph, filled before its first run.
    `graph`: the graph as plain data; its nodes have the dtypes of their outputs. `inputs` and `outputs` are
    the signature's. Half precision is computed in float32, as in TF.js; `half`: the operations that the
    source computes in half precision, each with its dtype.
    """

    def __init__(self, saved_model: Path, signature: str, *, lower_control_flow: bool) -> None:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        self._model = tf.saved_model.load(str(saved_model))
        function = self._model.signatures[signature]
        self._session: Session | None = None
        self._tables: dict[str, Any] = {}
        self.half: Mapping[str, str] = {}
        try:
            # The converter does the same, so the nodes have the same names here and in the artifacts.
            self._frozen = convert_variables_to_constants_v2(
                function, lower_control_flow=lower_control_flow, aggressive_inlining=True
            )
        except ValueError:
            if not is_of_version_1(saved_model):
                raise
            self._frozen = freeze_version_1(saved_model, [tensor.op.name for tensor in function.outputs])
            self._session = Session(self._frozen.graph, self._frozen.initializers)
        else:
            # Variables have become constants; lookup tables are still inputs.
            resources = {tensor.name for tensor in self._frozen.inputs if tensor.dtype == tf.resource}
            captures = function.graph.captures
            self._tables = {inner.name: outer for outer, inner in captures if inner.name in resources}
            self._as_written = self._frozen
            definition = self._frozen.graph.as_graph_def()
            self.half = half_operations(definition)
            if self.half:
                self._frozen = _replaced(self._frozen, in_float32(definition, rounded_constants=True))
        # The last of each is cached, as many feeds are read for the same tensors.
        self._pruned: tuple[list[str], Any] = [], None
        self._known_shapes: tuple[Any, dict[str, tuple[int, ...] | None]] = None, {}
        self.graph = _plain(self._frozen.graph, [tensor.name for tensor in function.outputs])
        inputs, outputs = tensor_names(function)
        self.inputs = _specs(inputs, function.inputs)
        self.outputs = _specs(outputs, function.outputs)

    @property
    def tf_graph(self) -> Any:
        """The `tf.Graph`."""
        return self._frozen.graph

    def run(self, feed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (`node:0`) in one pass; `feed` is by input tensor (`image:0`)."""
        wanted = [self._frozen.graph.get_tensor_by_name(name) for name in tensors]
        return dict(zip(tensors, self._fetch(feed, wanted), strict=True))

    def run_as_written(self, feed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """As `run`, but with half precision where the source has it."""
        graph = self._as_written.graph
        taken = [graph.get_tensor_by_name(name) for name in [*self._taken(feed), *self._tables]]
        wanted = [graph.get_tensor_by_name(name) for name in tensors]
        found = self._as_written.prune(taken, wanted)(*self._values(feed, taken))
        return {name: np.asarray(value.numpy()) for name, value in zip(tensors, found, strict=True)}

    def sizes(self, feed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, int]:
        """The bytes that the values of `tensors` take, without keeping any of them."""
        import tensorflow as tf

        graph = self._frozen.graph
        taken = tuple((name, feed[name].shape) for name in self._taken(feed))
        if self._known_shapes[0] != (taken, tuple(tensors)):
            self._known_shapes = (taken, tuple(tensors)), self._static_shapes(taken, tensors)
        shapes = dict(self._known_shapes[1])
        unknown = [name for name in tensors if shapes[name] is None]
        with graph.as_default():
            found = [tf.shape(graph.get_tensor_by_name(name), out_type=tf.int64) for name in unknown]
        shapes.update(
            zip(unknown, (tuple(map(int, shape)) for shape in self._fetch(feed, found)), strict=True)
        )
        return {
            name: nbytes(shape or (), graph.get_tensor_by_name(name).dtype) for name, shape in shapes.items()
        }

    def _static_shapes(
        self, taken: Sequence[tuple[str, tuple[int, ...]]], tensors: Sequence[str]
    ) -> dict[str, tuple[int, ...] | None]:
        """The shapes that follow from the inputs' shapes; None where the graph has to run for it."""
        import tensorflow as tf

        with tf.Graph().as_default():
            inputs = {
                name: tf.compat.v1.placeholder(
                    self._frozen.graph.get_tensor_by_name(name).dtype, shape, f"pytest_tfjs_{at}"
                )
                for at, (name, shape) in enumerate(taken)
            }
            found = tf.import_graph_def(
                self._frozen.graph.as_graph_def(), input_map=inputs, return_elements=list(tensors), name=""
            )
            return {
                name: tuple(tensor.shape) if tensor.shape.is_fully_defined() else None
                for name, tensor in zip(tensors, found, strict=True)
            }

    def _fetch(self, feed: Mapping[str, Array], wanted: list[Any]) -> list[Array]:
        """The values of tensors of the frozen graph."""
        if not wanted:
            return []
        names = self._taken(feed)
        if self._session is not None:
            found = self._session.run({name: feed[name] for name in names}, [one.name for one in wanted])
            return [found[one.name] for one in wanted]
        taken = [self._frozen.graph.get_tensor_by_name(name) for name in [*names, *self._tables]]
        found = self._function(taken, wanted)(*self._values(feed, taken))
        return [np.asarray(value.numpy()) for value in found]

    def _values(self, feed: Mapping[str, Array], taken: Sequence[Any]) -> list[Any]:
        """The values of `taken`: the feed's inputs that are in the graph, then the tables."""
        import tensorflow as tf

        names = self._taken(feed)
        values = [tf.constant(feed[name], tensor.dtype) for name, tensor in zip(names, taken, strict=False)]
        return [*values, *self._tables.values()]

    def _function(self, taken: list[Any], wanted: list[Any]) -> Any:
        """A function that computes `wanted` from `taken`."""
        key = [tensor.name for tensor in (*taken, *wanted)]
        if self._pruned[0] != key:
            self._pruned = key, self._frozen.prune(taken, wanted)
        return self._pruned[1]

    def _taken(self, feed: Mapping[str, Any]) -> list[str]:
        """The feed's inputs that are in the graph; an unused input has no node."""
        return [name for name in feed if name.partition(":")[0] in self.graph.nodes]

    def constants(self, tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` that are computed from constants alone."""
        found = {name: self.tf_graph.get_tensor_by_name(name) for name in tensors}
        values = constant_values(self.tf_graph, found.values())
        rest = [name for name in tensors if name not in values]
        return {**values, **dict(zip(rest, self._fetch({}, [found[name] for name in rest]), strict=True))}

    def epsilon(self, batch_norm: str) -> float:
        """The epsilon that a batch-norm adds to its variance."""
        return float(self._frozen.graph.get_operation_by_name(batch_norm).get_attr("epsilon"))

    @cached_property
    def scalars(self) -> frozenset[float]:
        """The values of all constants that are a single number in floats."""
        import tensorflow as tf

        values = (
            tf.make_ndarray(operation.get_attr("value"))
            for operation in self.tf_graph.get_operations()
            if operation.type == "Const"
            and operation.outputs[0].dtype.is_floating
            and operation.outputs[0].shape.num_elements() == 1
        )
        return frozenset(float(value.reshape(())) for value in values)

    def function_constants(self) -> Iterator[tuple[str, Array]]:
        """The constants in the bodies of loops and branches, as `function/node`."""
        import tensorflow as tf

        for function in self._frozen.graph.as_graph_def().library.function:
            for node in function.node_def:
                if node.op == "Const":
                    yield f"{function.signature.name}/{node.name}", tf.make_ndarray(node.attr["value"].tensor)


def _replaced(function: Any, definition: Any) -> Any:
    """A function with the inputs and outputs of `function` that computes the graph `definition`."""
    from tensorflow.python.eager import wrap_function

    found = wrap_function.function_from_graph_def(
        definition, [one.name for one in function.inputs], [one.name for one in function.outputs]
    )
    for new, old in zip(found.inputs, function.inputs, strict=True):
        new.set_shape(old.shape)  # wrapping loses the shapes of scalars
    return found


def nbytes(shape: Sequence[int], dtype: Any) -> int:
    """The bytes of a tensor of this shape and TensorFlow dtype, and of its cast to the browser's dtype.

    Each string counts as a short one.
    """
    return math.prod(shape) * _BYTES_WITH_CAST.get(dtype.name, dtype.size or _STRING_BYTES)


def _specs(names: Mapping[str, str], tensors: Iterable[Any]) -> tuple[TensorSpec, ...]:
    found = {tensor.name: tensor for tensor in tensors}
    return tuple(
        TensorSpec(
            name=name,
            shape=None if found[tensor].shape.rank is None else tuple(found[tensor].shape),
            dtype="str" if found[tensor].dtype.name == "string" else found[tensor].dtype.name,
            tensor=tensor,
        )
        for tensor, name in names.items()
    )


def _plain(graph: Any, outputs: Iterable[str]) -> Graph:
    operations, constant = graph.get_operations(), constant_operations(graph)
    tensors = (tensor for one in operations for tensor in _informative_inputs(one, constant))
    values = constant_values(graph, tensors, constant)
    nodes = (_node(operation, values) for operation in operations)
    return Graph.of(nodes, map(parse_ref, outputs))


def _informative_inputs(operation: Any, constant: Container[str]) -> Iterator[Any]:
    """The inputs whose values show what an operation does, or which weights it uses."""
    yield from decisive_operands(operation)
    if operation.name not in constant:
        yield from (tensor for tensor in operation.inputs if tensor.op.type not in _AS_STORED)


def _node(operation: Any, values: Mapping[str, Array]) -> Node:
    unchanged = unchanged_input(operation, values)
    return Node(
        name=operation.name,
        op=operation.type,
        inputs=tuple(parse_ref(tensor.name) for tensor in operation.inputs),
        frame=operation.get_attr("frame_name").decode() if operation.type == "Enter" else None,
        dtypes=tuple(tensor.dtype.name for tensor in operation.outputs),
        same=None if unchanged is None else parse_ref(unchanged.name),
        value=_digest(operation, values),
        acts_as=simpler_operation(operation, values),
    )


def _digest(operation: Any, values: Mapping[str, Array]) -> str | None:
    """The digest of a constant, or of a weight that is computed from constants; else None."""
    import tensorflow as tf

    if operation.type == "Const":
        return value_digest(tf.make_ndarray(operation.get_attr("value")))
    computed = None if operation.type in PASS_THROUGH else values.get(f"{operation.name}:0")
    return None if computed is None else value_digest(computed)
