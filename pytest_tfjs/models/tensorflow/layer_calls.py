"""Records which Keras layer made each operation of a graph, while the graph is traced.

Operation names do not identify the layer: Keras 3 numbers its scopes anew in each trace, so the operations of
layer `conv` may be in scope `conv_1`, and those of `conv_1` in `conv_1_2`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_tfjs.models.tensorflow.importing import import_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_INLINED = re.compile(r"(Stateful)?PartitionedCall(_\d+)?$")
"""The scope of an inlined function, such as the one that a signature calls."""

FILE = "layer_calls.json"
"""The file with the calls, beside a SavedModel that was exported from a Keras model."""


@dataclass(frozen=True)
class LayerCall:
    """One call of a Keras layer: its name, with the names of its nested models, and its class.

    `encoder/dense#2` is the second call of `dense` in the model `encoder`, as in layers models' comparisons.
    Layers inside a wrapper or another layer count as part of it.
    """

    name: str
    layer_class: str


@dataclass
class _Trace:
    """The calls so far. `path`: the models being called; `leaf`: whether a layer is being called."""

    made: dict[str, LayerCall] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    depth: int = 0
    leaf: bool = False
    # Keyed by the graph: a later graph may reuse the id of a deleted one.
    counts: WeakKeyDictionary[Any, Counter[str]] = field(default_factory=WeakKeyDictionary)


@contextlib.contextmanager
def observed_calls(keras: Any) -> Iterator[Mapping[str, LayerCall]]:
    """Yields the layer call behind each operation, by operation name, for all graphs traced in this context.

    `keras` is tf_keras or keras. The outermost model is not part of a call's name.
    """
    trace = _Trace()
    base = keras.layers.Layer
    original = base.__call__

    # Named as Keras's own, as autograph would otherwise compile it like the user's code.
    @functools.wraps(original)
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if trace.leaf:
            return original(layer, *args, **kwargs)
        with _recorded(trace, layer, is_model=isinstance(layer, keras.Model)):
            return original(layer, *args, **kwargs)

    base.__call__ = call
    try:
        yield trace.made
    finally:
        base.__call__ = original


@contextlib.contextmanager
def _recorded(trace: _Trace, layer: Any, *, is_model: bool) -> Iterator[None]:
    graph = import_tensorflow().compat.v1.get_default_graph()
    name = _name(trace, graph, str(layer.name)) if trace.depth else None
    before = len(graph.get_operations())
    if name is not None:
        trace.path.append(name)
    trace.depth += 1
    trace.leaf = not is_model
    try:
        yield
    finally:
        call = LayerCall("/".join(trace.path), type(layer).__name__)
        trace.leaf = False
        trace.depth -= 1
        if name is not None:
            trace.path.pop()
            for operation in graph.get_operations()[before:]:
                trace.made.setdefault(operation.name, call)


def _name(trace: _Trace, graph: Any, layer: str) -> str:
    """The layer's name, with a number from its second call in a graph onwards."""
    counts = trace.counts.setdefault(graph, Counter())
    full = "/".join([*trace.path, layer])
    counts[full] += 1
    return layer if counts[full] == 1 else f"{layer}#{counts[full]}"


def write_calls(calls: Mapping[str, LayerCall], folder: Path) -> None:
    """Writes the calls into `folder`."""
    content: dict[str, Any] = {}
    for operation, call in calls.items():
        row = content.setdefault(call.name, {"class": call.layer_class, "operations": []})
        row["operations"].append(operation)
    (folder / FILE).write_text(json.dumps(content), encoding="utf-8")


def read_calls(saved_model: Path) -> dict[str, LayerCall] | None:
    """The layer call behind each operation of a SavedModel; None if it was not exported from Keras."""
    path = saved_model.with_name(FILE)
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        operation: LayerCall(name, row["class"])
        for name, row in content.items()
        for operation in row["operations"]
    }


def made_by(calls: Mapping[str, LayerCall], node: str) -> LayerCall | None:
    """The layer call behind a node of a graph whose functions are inlined; None if no layer made it.

    A node in the function or the loop of an operation belongs to that operation's layer.
    """
    scopes = node.split("/")
    while len(scopes) > 1 and _INLINED.match(scopes[0]) and not _innermost(calls, scopes):
        scopes = scopes[1:]
    return _innermost(calls, scopes)


def layer_of(saved_model: Path, node: str) -> LayerCall | None:
    """As `made_by`, for a SavedModel; None also if it was not exported from Keras."""
    calls = read_calls(saved_model)
    return None if calls is None else made_by(calls, node)


def _innermost(calls: Mapping[str, LayerCall], scopes: list[str]) -> LayerCall | None:
    for end in range(len(scopes), 0, -1):
        call = calls.get("/".join(scopes[:end]))
        if call is not None:
            return call
    return None
