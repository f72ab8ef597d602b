"""A model as one TensorFlow graph, in which the tensor of each compared layer can be both fed and fetched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

_NOISE = ("Graph execution error", "Detected at node", "<stack traces unavailable>", "Original stack trace")
"""How lines of an error of TensorFlow's begin that tell nothing."""


class Run(Protocol):
    """Runs a graph."""

    def __call__(self, given: Mapping[str, Array], tensors: Sequence[str], /) -> dict[str, Array]:
        """The values of `tensors` (`node:0`) in one pass; `given` by tensor: inputs, and any others.

        Raises SourceError where a node does not run.
        """


@dataclass(frozen=True)
class TappedGraph:
    """A TensorFlow graph with what its tensors are.

    `graph` is a `tf.Graph` whose variables are constants. `inputs`: the tensor of each of the model's inputs;
    `taps`: that of each compared layer, in the order of computation. `weights`: the names of constants by
    those of the artifacts' weights. `copies`: layers whose activation is another layer's, by name.
    """

    graph: Any
    run: Run
    inputs: Mapping[str, str]
    taps: Mapping[str, str]
    weights: Mapping[str, str]
    copies: Mapping[str, str]

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """The input or the first layer that each of these tensors belongs to."""
        found = {tensor: name for name, tensor in self.inputs.items()}
        for name, tensor in self.taps.items():
            found.setdefault(tensor, name)
        return found


class Session:
    """A session on a graph, made when it is first needed; `first` are operations to run before all others.

    Each node runs for itself: TensorFlow's own optimiser fuses nodes away whose values are asked for.
    """

    def __init__(self, graph: Any, first: Sequence[str] = ()) -> None:
        self._graph = graph
        self._first = list(first)

    def run(self, given: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors`; what TensorFlow raises where it cannot give them, `told` says in words."""
        values = self._session.run(list(tensors), dict(given))
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


def failures() -> tuple[type[Exception], ...]:
    """What TensorFlow raises where a graph cannot be built, or does not run."""
    import tensorflow as tf
    from google.protobuf.json_format import ParseError

    return (ValueError, TypeError, KeyError, ParseError, tf.errors.OpError)


def told(error: Exception) -> str:
    """The line of an error of TensorFlow's that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith(_NOISE)), type(error).__name__)


def unable(doing: str, error: Exception) -> SourceError:
    """An error that says what could not be done, and what TensorFlow said."""
    return SourceError(f"{doing} cannot run in TensorFlow: {told(error)}")


def _with_text(value: Array) -> Array:
    """The same, with strings as text, as the source's graph gives them."""
    if value.dtype.kind not in "OS":
        return value
    items = [item.decode() if isinstance(item, bytes) else item for item in value.reshape(-1).tolist()]
    return np.array(items, dtype=object).reshape(value.shape)
