"""A model's TensorFlow graph in which the tensors of compared layers can be fed and read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_BOILERPLATE = (
    "Graph execution error",
    "Detected at node",
    "<stack traces unavailable>",
    "Original stack trace",
)
"""Beginnings of lines without information in TensorFlow's error messages."""


class Run(Protocol):
    """Runs a graph."""

    def __call__(self, fed: Mapping[str, Array], tensors: Sequence[str], /) -> dict[str, Array]:
        """The values of `tensors` (`node:0`) in one pass; `fed`: values for inputs and any other tensors.

        Raises SourceError where a node does not run.
        """


@dataclass(frozen=True)
class TappedGraph:
    """A TensorFlow graph and the names of its tensors.

    `graph`: a `tf.Graph` whose variables are constants. `inputs`: the tensor of each input of the model.
    `taps`: the tensor of each compared layer, in the order of computation. `weights`: the name of the
    constant of each weight, by the artifacts' names. `copies`: for each layer whose activation is another
    layer's, the name of that layer.
    """

    graph: Any
    run: Run
    inputs: Mapping[str, str]
    taps: Mapping[str, str]
    weights: Mapping[str, str]
    copies: Mapping[str, str]

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The input or layer that each tensor belongs to: the first of several layers with one tensor."""
        found = {tensor: name for name, tensor in self.inputs.items()}
        for name, tensor in self.taps.items():
            found.setdefault(tensor, name)
        return found


class Session:
    """A session on a graph, opened on first use; it runs the operations `first` once, before all others.

    TensorFlow's graph optimiser is off: it fuses away nodes whose values are fetched.
    """

    def __init__(self, graph: Any, first: Sequence[str] = ()) -> None:
        self._graph = graph
        self._first = list(first)

    def run(self, fed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors`. Raises one of `tensorflow_errors` where they cannot be computed."""
        values = self._session.run(list(tensors), dict(fed))
        return {name: _with_text(np.asarray(value)) for name, value in zip(tensors, values, strict=True)}

    @cached_property
    def _session(self) -> Any:
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        session = tf.compat.v1.Session(graph=self._graph, config=config)
        if self._first:
            session.run(self._first)
        return session


def tensorflow_errors() -> tuple[type[Exception], ...]:
    """The exceptions that TensorFlow raises where a graph cannot be built or does not run."""
    import tensorflow as tf
    from google.protobuf.json_format import ParseError

    return (ValueError, TypeError, KeyError, ParseError, tf.errors.OpError)


def first_line(error: Exception) -> str:
    """The first informative line of a TensorFlow error, else the name of its type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(_BOILERPLATE)), type(error).__name__)


def cannot_run(what: str, error: Exception) -> SourceError:
    """An error for the user: TensorFlow cannot run `what`, and TensorFlow's own reason."""
    return SourceError(f"{what} cannot run in TensorFlow: {first_line(error)}")


def _with_text(value: Array) -> Array:
    """The value with byte strings decoded to text, as the source's graph gives them."""
    if value.dtype.kind not in "OS":
        return value
    items = [item.decode() if isinstance(item, bytes) else item for item in value.reshape(-1).tolist()]
    return np.array(items, dtype=object).reshape(value.shape)
