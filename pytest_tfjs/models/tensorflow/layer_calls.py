"""Which Keras layer made each operation of a graph, observed while the graph is traced.

Names do not tell: Keras 3 numbers its scopes anew in each trace, so that the operations of the layer `conv`
may be found in the scope `conv_1`, and those of `conv_1` in `conv_1_2`.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_tfjs.models.tensorflow.importing import import_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE = "layer_calls.json"
"""Beside a SavedModel that was made of a Keras model."""


@dataclass(frozen=True)
class LayerCall:
    """One call of a Keras layer: its name with those of the nested models it is in, and its class.

    `encoder/dense#2` is the second call of `dense` in the model `encoder`, as in a layers model's rows. The
    layers within a wrapper or another layer are part of that one.
    """

    name: str
    layer_class: str


@dataclass
class _Trace:
    """What has been called so far: `path` are the models that are open, `leaf` whether a layer is."""

    made: dict[str, LayerCall] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    depth: int = 0
    leaf: bool = False
    # By the graph itself: the id of one that is gone may be that of the next.
    counts: WeakKeyDictionary[Any, Counter[str]] = field(default_factory=WeakKeyDictionary)


@contextlib.contextmanager
def observed_calls(keras: Any) -> Iterator[Mapping[str, LayerCall]]:
    """The calls behind the operations of all graphs that are traced in this block, by operation name.

    `keras` is tf_keras or keras. The outermost model is not part of a call's name.
    """
    trace = _Trace()
    base = keras.layers.Layer
    original = base.__call__

    # Under the name of Keras's own, or autograph would compile it as if it were the user's code.
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
    """The layer's name, numbered from its second call in a graph on."""
    counts = trace.counts.setdefault(graph, Counter())
    full = "/".join([*trace.path, layer])
    counts[full] += 1
    return layer if counts[full] == 1 else f"{layer}#{counts[full]}"


def write_calls(calls: Mapping[str, LayerCall], folder: Path) -> None:
    """Puts the calls into `folder`."""
    content: dict[str, Any] = {}
    for operation, call in calls.items():
        row = content.setdefault(call.name, {"class": call.layer_class, "operations": []})
        row["operations"].append(operation)
    (folder / FILE).write_text(json.dumps(content), encoding="utf-8")


def read_calls(saved_model: Path) -> dict[str, LayerCall] | None:
    """The calls behind the operations of a SavedModel; None where it was made of no Keras model."""
    path = saved_model.with_name(FILE)
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        operation: LayerCall(name, row["class"])
        for name, row in content.items()
        for operation in row["operations"]
    }
