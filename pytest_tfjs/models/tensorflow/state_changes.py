"""Finds operations that change variables or draw random numbers, which TF.js cannot run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import ConversionError
from pytest_tfjs.models.tensorflow.layer_calls import layer_of
from pytest_tfjs.models.tensorflow.refusals import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GENERATOR = re.compile(r"Rng(ReadAnd)?Skip(V2)?|Stateful(Standard|Truncated|Uniform|RandomBinomial)\w*")
_ASSIGNMENT = re.compile(
    r"Assign\w*|Resource(Scatter|Apply|StridedSliceAssign|CountUpTo)\w*|Scatter(Nd)?(Add|Sub|Update)"
)
_KINDS = {
    _GENERATOR: (
        "draws random numbers from a generator",
        "Call it without training=True, or draw the numbers outside the model and feed them",
    ),
    _ASSIGNMENT: (
        "changes a variable when it runs",
        "Build it without state (stateful=False), or make its state an input and an output of the model",
    ),
}
"""By operations: what they do, and what to do about it."""


def check(concrete: Any, label: str, saved_model: Path | None = None) -> None:
    """Raises ConversionError for a ConcreteFunction with such an operation, and names its layer.

    `saved_model`: the one of a Keras model, to find the layer. TensorFlow cannot freeze such a function, or
    TF.js lacks the operation.
    """
    found = list(_operations(concrete))
    for pattern, (what, advice) in _KINDS.items():
        for name, op in found:
            if pattern.fullmatch(op):
                place = _place(name, op, saved_model, _variable(concrete, name))
                raise ConversionError(
                    f"'{label}' cannot become a graph model: {place} {what}, but "
                    f"TF.js's graph models compute with constants only. {advice}"
                )


def changes_variables(concrete: Any) -> bool:
    """Whether a ConcreteFunction assigns to a variable when it runs."""
    return any(_ASSIGNMENT.fullmatch(op) for _, op in _operations(concrete))


def _place(name: str, op: str, saved_model: Path | None, variable: str | None) -> str:
    call = None if saved_model is None else layer_of(saved_model, name)
    of = "" if variable is None else f" of the variable {variable!r}"
    if call is None:
        return f"{short_name(name)!r} ({op}{of})"
    return f"{call.name!r} ({call.layer_class}, by its operation {op}{of})"


def _variable(concrete: Any, name: str) -> str | None:
    """The name of the variable that a node changes; None if it cannot be told."""
    variables = list(concrete.graph.variables)
    operations = {one.name: one for one in concrete.graph.get_operations()}
    taken = operations[name].inputs if name in operations else ()
    for captured, inside in concrete.graph.captures:
        if any(tensor is inside for tensor in taken):
            variables = [one for one in variables if one.handle is captured]
    return str(variables[0].name).partition(":")[0] if len(variables) == 1 else None


def _operations(concrete: Any) -> Iterator[tuple[str, str]]:
    """The names and types of a function's operations, and of those in the functions that it calls."""
    graph = concrete.graph.as_graph_def()
    for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
        yield node.name, node.op
