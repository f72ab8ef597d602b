"""The values of tensors that follow from constants alone, wherever in a graph they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.operations import CONTROL_FLOW

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

Array = np.ndarray[Any, np.dtype[Any]]

_HANDLES = frozenset({"variant", "resource"})


def constant_values(
    graph: Any, tensors: Iterable[Any], constant: Container[str] | None = None
) -> dict[str, Array]:
    """The values of those among `tensors` of a tf.Graph that are computed from constants alone, by name.

    `constant`: what `constant_operations` found, where that is known.

    Computed in one pass and apart from the graph: inside a branch a constant waits there for what decides it,
    and that for the feed. What draws numbers, has a state or calls a function is no constant.
    """
    import tensorflow as tf

    known = constant_operations(graph) if constant is None else constant
    values: dict[str, Array] = {}
    computed: dict[str, Any] = {}
    for tensor in tensors:
        if tensor.op.name not in known:
            continue
        value = tf.get_static_value(tensor)
        if value is None:
            computed[tensor.name] = tensor.op
        else:
            values[tensor.name] = np.asarray(value)
    return {**values, **_computed(computed)} if computed else values


def constant_operations(graph: Any) -> set[str]:
    """The names of a tf.Graph's operations that are computed from constants alone."""
    known: dict[str, bool] = {}
    for start in graph.get_operations():  # in any order
        stack = [(start, False)]
        while stack:
            operation, ready = stack.pop()
            if operation.name in known:
                continue
            if not _is_pure(operation):  # as all that a loop goes back to
                known[operation.name] = False
            elif ready:
                known[operation.name] = all(known[tensor.op.name] for tensor in operation.inputs)
            else:
                stack.append((operation, True))
                stack.extend((tensor.op, False) for tensor in operation.inputs)
    return {name for name, is_constant in known.items() if is_constant}


def _is_pure(operation: Any) -> bool:
    if operation.type == "Const":
        return True
    if any(output.dtype.name in _HANDLES for output in operation.outputs):
        return False
    if not operation.inputs or operation.type in CONTROL_FLOW or operation.op_def.is_stateful:
        return False
    attributes = operation.node_def.attr.values()
    return not any(attribute.HasField("func") or attribute.list.func for attribute in attributes)


def _computed(ends: Mapping[str, Any]) -> dict[str, Array]:
    """The values of tensors by name, given the operations that they are outputs of."""
    import tensorflow as tf

    names = list(ends)
    graph_def = tf.compat.v1.GraphDef()
    stack, seen = list(ends.values()), set()
    while stack:
        operation = stack.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        stack.extend(tensor.op for tensor in operation.inputs)
        node = graph_def.node.add()
        node.CopyFrom(operation.node_def)
        # What it waits for, and what it is placed with, may lie outside.
        node.device = ""
        node.attr.pop("_class", None)
        del node.input[:]
        node.input.extend(tensor.name for tensor in operation.inputs)

    def compute() -> Any:
        return tf.graph_util.import_graph_def(graph_def, return_elements=names, name="")

    try:
        found = tf.compat.v1.wrap_function(compute, [])()
    except (tf.errors.OpError, ValueError):
        return {}  # one that cannot be computed fails where the model does, if it is used at all
    return {name: np.asarray(value.numpy()) for name, value in zip(names, found, strict=True)}
