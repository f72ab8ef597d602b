"""Evaluates the tensors of a graph that depend on constants only."""

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
    """The values of those of a tf.Graph's `tensors` that depend on constants only, by name.

    `constant`: the result of `constant_operations`, if it is already computed.

    They are computed in one pass in a separate graph: within a branch, a constant would need the branch's
    condition, and so the feed. Random, stateful and function-calling operations are not constant.
    """
    import tensorflow as tf

    constant = constant_operations(graph) if constant is None else constant
    values: dict[str, Array] = {}
    unevaluated: dict[str, Any] = {}
    for tensor in tensors:
        if tensor.op.name not in constant:
            continue
        value = tf.get_static_value(tensor)
        if value is None:
            unevaluated[tensor.name] = tensor.op
        else:
            values[tensor.name] = np.asarray(value)
    return {**values, **_evaluate(unevaluated)} if unevaluated else values


def constant_operations(graph: Any) -> set[str]:
    """The names of a tf.Graph's operations that depend on constants only."""
    known: dict[str, bool] = {}
    for start in graph.get_operations():  # in any order
        stack = [(start, False)]
        while stack:
            operation, ready = stack.pop()
            if operation.name in known:
                continue
            if not _is_pure(operation):  # which includes every operation that closes a loop
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


def _evaluate(operations: Mapping[str, Any]) -> dict[str, Array]:
    """The values of tensors by name; `operations`: the operation of each."""
    import tensorflow as tf

    names = list(operations)
    graph_def = tf.compat.v1.GraphDef()
    stack, seen = list(operations.values()), set()
    while stack:
        operation = stack.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        stack.extend(tensor.op for tensor in operation.inputs)
        node = graph_def.node.add()
        node.CopyFrom(operation.node_def)
        # Control inputs and colocated operations may lie outside.
        node.device = ""
        node.attr.pop("_class", None)
        del node.input[:]
        node.input.extend(tensor.name for tensor in operation.inputs)

    def compute() -> Any:
        return tf.graph_util.import_graph_def(graph_def, return_elements=names, name="")

    try:
        found = tf.compat.v1.wrap_function(compute, [])()
    except (tf.errors.OpError, ValueError):
        return {}  # such an operation fails in the model itself, if it is used at all
    return {name: np.asarray(value.numpy()) for name, value in zip(names, found, strict=True)}
