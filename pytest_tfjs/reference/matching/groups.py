"""Groups the nodes of a source's graph by the Keras layer that made them, or else by scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_tfjs.models.tensorflow.layer_calls import made_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.models.tensorflow.layer_calls import LayerCall


@dataclass(frozen=True)
class Group:
    """A Keras layer or a scope with several rows; `op` is the Keras class, None for a scope."""

    name: str
    op: str | None = None


class Grouping(Protocol):
    """Finds the group of a node."""

    def __call__(self, node: str, short: str) -> Group | None:
        """The group of `node`, whose name without the scopes that all nodes share is `short`."""


def by_scope(node: str, short: str) -> Group | None:  # noqa: ARG001  (it is a Grouping)
    """The scope that the node is in; None at the top."""
    scope = short.rpartition("/")[0]
    return Group(scope) if scope else None


def by_layer(calls: Mapping[str, LayerCall]) -> Grouping:
    """Groups by the Keras layer that made a node, or the operation in whose function or loop it is."""

    def group(node: str, short: str) -> Group | None:  # noqa: ARG001
        call = made_by(calls, node)
        return None if call is None else Group(call.name, call.layer_class)

    return group
