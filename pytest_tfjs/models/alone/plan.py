"""The plan for running one layer alone: which tensors are fed, and which are computed.

The planners make a plan from model.json. The page executes it (`page/alone_graph.js`,
`page/alone_layers.js`). A reproducer's model of a graph model's layer is written from the plan. Of a layers
model, the plan only says whether one can be written; `layers_content` finds the layers that the model needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class CannotRunAloneError(ValueError):
    """A layer cannot be computed alone; the message says why."""


class RandomNumbersError(CannotRunAloneError):
    """A layer draws random numbers, so nothing that it computes can be compared; the message says which."""


@dataclass(frozen=True)
class Fed:
    """A tensor that is fed: the reference's activation of `row`, or else the model's input `source_input`."""

    row: str | None = None
    source_input: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON form: `{"row": ...}` or `{"input": ...}`."""
        return {"input": self.source_input} if self.row is None else {"row": self.row}


@dataclass(frozen=True)
class Computed:
    """A tensor that a plan computes: an output of one of its steps."""

    step: int
    output: int = 0

    def to_json(self) -> dict[str, Any]:
        """The JSON form: `{"step": ..., "output": ...}`."""
        return {"step": self.step, "output": self.output}


@dataclass(frozen=True)
class GraphPlan:
    """How the tensor `target` of a graph model is computed alone.

    `fed`: what each tensor is fed, in the order in which the nodes take them. `nodes` are computed, `weights`
    and `resources` (which TF.js feeds by itself, such as lookup tables) are read; all by their names.
    """

    target: str
    fed: Mapping[str, Fed]
    nodes: tuple[str, ...]
    weights: frozenset[str]
    resources: frozenset[str]

    @property
    def takes(self) -> tuple[str, ...]:
        """The layers whose reference is fed, in the order of the artifacts."""
        return tuple(dict.fromkeys(fed.row for fed in self.fed.values() if fed.row is not None))

    def to_json(self) -> dict[str, Any]:
        """What the page is sent: `rows` to fetch, and in `fed` pairs of a tensor and what it is fed."""
        fed = [[tensor, fed.to_json()] for tensor, fed in self.fed.items()]
        return {"rows": list(self.takes), "fed": fed}


@dataclass(frozen=True)
class Step:
    """A call of one layer of a layers model.

    `layer`: its name, behind those of the nested models that it is in. `node`: the number of its inbound node
    in TF.js, which the call is. `masks`: for each input the step whose
    output's mask it carries, or None.
    """

    layer: tuple[str, ...]
    node: int
    inputs: tuple[Fed | Computed, ...]
    masks: tuple[int | None, ...]

    def to_json(self) -> dict[str, Any]:
        """What the page is sent."""
        inputs = [one.to_json() for one in self.inputs]
        return {
            "layer": list(self.layer),
            "node": self.node,
            "inputs": inputs,
            "masks": list(self.masks),
        }


@dataclass(frozen=True)
class LayersPlan:
    """How an output of a layer of a layers model is computed alone: `output` of the last of `steps`.

    A step takes outputs and masks of earlier steps only. `takes`: the layers whose reference the layer itself
    is computed from, in the order of the artifacts. `fetched`: these, and the layers that
    masks are computed from. `loses_mask`: whether the layer's results depend on a mask that Keras gives it,
    and TF.js does not. `trains`: whether Keras calls the layer with training=True, which TF.js ignores.
    """

    steps: tuple[Step, ...]
    output: int
    takes: tuple[str, ...]
    fetched: tuple[str, ...]
    loses_mask: bool = False
    trains: bool = False

    def to_json(self) -> dict[str, Any]:
        """What the page is sent: `rows` to fetch, the steps, and the output of the last one."""
        steps = [step.to_json() for step in self.steps]
        return {"rows": list(self.fetched), "steps": steps, "output": self.output}


AlonePlan = GraphPlan | LayersPlan
