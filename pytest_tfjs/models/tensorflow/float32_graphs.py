"""Rewrites a graph in half precision so that it computes in float32, as TF.js does.

TF.js holds float16 tensors in float32, and it has no bfloat16. A rewritten graph has the same nodes under the
same names, and computes what TF.js computes from the same artifacts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

FLOAT16 = 19
BFLOAT16 = 14
_FLOAT = 1
HALF_DTYPES = {FLOAT16: "float16", BFLOAT16: "bfloat16"}
"""The dtypes of half precision by their numbers in `types.proto`."""

_HANDLES = frozenset({20, 21})  # resource, variant
_CONTROL_FLOW = frozenset({"Enter", "Exit", "Merge", "Switch", "NextIteration", "LoopCond"})


def half_operations(graph_def: Any) -> dict[str, str]:
    """The nodes that have to do with half precision, with its name: `float16` or `bfloat16`.

    A node that calls a function with such nodes counts as well.
    """
    inside = {
        function.signature.name: next(filter(None, map(_own_half, function.node_def)), None)
        for function in graph_def.library.function
    }
    found = {node.name: _own_half(node) or _called_half(node, inside) for node in graph_def.node}
    return {name: dtype for name, dtype in found.items() if dtype is not None}


def in_float32(
    graph_def: Any, dtypes: Collection[int] = tuple(HALF_DTYPES), *, rounded_constants: bool
) -> Any:
    """A copy of a GraphDef in which the `dtypes` are float32, in functions too; itself if it has none.

    `rounded_constants`: what depends on constants only is computed in half precision and becomes a constant
    of the same name, as in artifacts: the converter computes constants in advance.
    """
    if not half_operations(graph_def):
        return graph_def
    found = type(graph_def)()
    found.CopyFrom(graph_def)
    _rewrite(found.node, dtypes, None, rounded_constants=rounded_constants)
    for function in found.library.function:
        _rewrite(function.node_def, dtypes, function.ret, rounded_constants=rounded_constants)
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = _FLOAT if argument.type in dtypes else argument.type
            argument.ClearField("experimental_full_type")
    _rename_functions(found)
    return found


def _rename_functions(graph_def: Any) -> None:
    """Gives functions new names: TensorFlow may have the original ones, which compute in half precision.

    Only the number at the end of a name changes.
    """
    functions = graph_def.library.function
    names = {one.signature.name: f"{one.signature.name}{_before_digits(one)}32" for one in functions}
    for function in functions:
        function.signature.name = names[function.signature.name]
    for gradient in graph_def.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in (*graph_def.node, *(node for one in functions for node in one.node_def)):
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called in [value.func] if value.HasField("func") else value.list.func:
                called.name = names.get(called.name, called.name)


def _before_digits(function: Any) -> str:
    """What to put before further digits of a function's number: nothing if its name ends with one."""
    return "" if re.search(r"_\d+$", function.signature.name) else "_"


def _rewrite(nodes: Any, dtypes: Collection[int], returned: Any, *, rounded_constants: bool) -> None:
    """Rewrites the nodes of a graph or of a function in place; `returned`: what the function returns."""
    constant = _constant_nodes(nodes) if rounded_constants else {}
    computed = [node for node in constant.values() if node.op != "Const" and _dtypes_of(node) & set(dtypes)]
    values = _evaluated(list(constant.values()), computed)
    rewritten: list[Any] = []
    for node in nodes:
        if node.name in values:
            rewritten += _as_constants(node, values[node.name])
            continue
        _widen(node, dtypes)
        for at, ref in enumerate(node.input):
            node.input[at] = _new_ref(ref, values, constant)
        rewritten.append(node)
    rewritten = [type(node).FromString(node.SerializeToString()) for node in rewritten]
    del nodes[:]
    nodes.extend(rewritten)
    for name, ref in (returned or {}).items():
        returned[name] = _new_ref(ref, values, constant)


def _evaluated(constant: list[Any], computed: list[Any]) -> dict[str, list[Any]]:
    """The outputs of the nodes `computed`, which depend on the nodes `constant` only, by name."""
    import tensorflow as tf

    if not computed:
        return {}
    by_name = {node.name: node for node in constant}
    definition = tf.compat.v1.GraphDef()
    for node in constant:
        copy = definition.node.add()
        copy.CopyFrom(node)
        copy.device = ""
        copy.attr.pop("_class", None)
        del copy.input[:]
        copy.input.extend(
            f"{_name_of(ref)}:{_number(ref, by_name)}" for ref in node.input if not ref.startswith("^")
        )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        operations = [graph.get_operation_by_name(node.name) for node in computed]
        with tf.compat.v1.Session(graph=graph) as session:
            found = session.run([list(operation.outputs) for operation in operations])
    return {node.name: outputs for node, outputs in zip(computed, found, strict=True)}


def _as_constants(node: Any, values: list[Any]) -> Iterator[Any]:
    """A constant for each output of a node; half precision becomes float32."""
    import tensorflow as tf

    for number, (value, dtype) in enumerate(zip(values, _output_dtypes(node), strict=True)):
        wide = value.astype(np.float32) if dtype in HALF_DTYPES else value
        constant = type(node)(op="Const", name=_constant_name(node.name, number, len(values)))
        tensor = tf.make_tensor_proto(wide)
        constant.attr["value"].tensor.CopyFrom(tensor)
        constant.attr["dtype"].type = tensor.dtype
        yield constant


def _constant_name(name: str, number: int, outputs: int) -> str:
    return name if outputs == 1 else f"{name}/output_{number}"


def _new_ref(ref: str, values: Mapping[str, list[Any]], constant: Mapping[str, Any]) -> str:
    """A reference, led to the constant that took the place of what it refers to."""
    name = _name_of(ref)
    if name not in values:
        return ref
    if ref.startswith("^"):
        return f"^{_constant_name(name, 0, len(values[name]))}"
    new = _constant_name(name, _number(ref, constant), len(values[name]))
    return f"{new}:output:0" if ref.count(":") > 1 else new


def _number(ref: str, nodes: Mapping[str, Any]) -> int:
    """The number of the output that `ref` refers to: `node:1`, or in a function `node:output:1`."""
    _, *output = ref.split(":")
    if len(output) <= 1:
        return int(output[0]) if output else 0
    first = 0
    for name, dtypes in _outputs(nodes[_name_of(ref)]):
        if name == output[0]:
            return first + int(output[1])
        first += len(dtypes)
    raise ValueError(ref)


def _name_of(ref: str) -> str:
    return ref.lstrip("^").partition(":")[0]


def _constant_nodes(nodes: Iterable[Any]) -> dict[str, Any]:
    """The nodes that depend on constants only and that the converter computes in advance, by name."""
    by_name = {node.name: node for node in nodes}
    known: dict[str, bool] = {}
    for start in by_name:
        stack = [(start, False)]
        while stack:
            name, ready = stack.pop()
            if name in known:
                continue
            node = by_name.get(name)
            if node is None or not _is_pure(node):
                known[name] = False
                continue
            before = [_name_of(ref) for ref in node.input if not ref.startswith("^")]
            if ready:
                known[name] = all(known[other] for other in before)
            else:
                stack += [(name, True), *((other, False) for other in before)]
    return {name: node for name, node in by_name.items() if known[name]}


def _is_pure(node: Any) -> bool:
    if node.op == "Const":
        return True
    definition = _definition(node.op)
    if definition is None or definition.is_stateful or not node.input or node.op in _CONTROL_FLOW:
        return False
    if _HANDLES & set(_output_dtypes(node)):
        return False
    return not any(value.HasField("func") or value.list.func for value in node.attr.values())


def _definition(op: str) -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op)


def _outputs(node: Any) -> Iterator[tuple[str, list[int]]]:
    """For each output of the operation's definition its name and the dtypes that it gives."""
    definition = _definition(node.op)
    for output in () if definition is None else definition.output_arg:
        if output.type_list_attr:
            yield output.name, list(node.attr[output.type_list_attr].list.type)
        else:
            dtype = output.type or node.attr[output.type_attr].type
            yield output.name, [dtype] * (node.attr[output.number_attr].i if output.number_attr else 1)


def _output_dtypes(node: Any) -> list[int]:
    return [dtype for _, dtypes in _outputs(node) for dtype in dtypes]


def _dtypes_of(node: Any) -> set[int]:
    """All dtypes in a node's attributes."""
    return {
        dtype for value in node.attr.values() for dtype in (value.type, value.tensor.dtype, *value.list.type)
    }


def _widen(node: Any, dtypes: Collection[int]) -> None:
    """Replaces the dtypes in a node's attributes by float32, and casts its values."""
    import tensorflow as tf

    node.ClearField("experimental_type")
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type" and value.type in dtypes:
            value.type = _FLOAT
        elif kind == "tensor" and value.tensor.dtype in dtypes:
            if value.tensor.tensor_content or value.tensor.half_val:
                wide = tf.make_ndarray(value.tensor).astype(np.float32)
                value.tensor.CopyFrom(tf.make_tensor_proto(wide))
            value.tensor.dtype = _FLOAT  # model.json has the values elsewhere
        elif kind == "list" and value.list.type:
            value.list.type[:] = [_FLOAT if dtype in dtypes else dtype for dtype in value.list.type]


def _own_half(node: Any) -> str | None:
    return next((name for number, name in HALF_DTYPES.items() if number in _dtypes_of(node)), None)


def _called_half(node: Any, inside: Mapping[str, str | None]) -> str | None:
    called = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return next((dtype for name in called if (dtype := inside.get(name)) is not None), None)
