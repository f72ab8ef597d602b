"""The plan of a comparison: its layers, and the source tensor of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Plan:
    """The layers of a model in the order of computation.

    `tensors`: the source tensor of each compared layer. In a graph that is `node:0`; in a Keras model it is
    the JSON of `[path, name, call, index]`: the nested models with the numbers of their calls, the layer, the
    number of its call, and the index of its output. `notes`: sentences on the reference for the user.
    """

    layers: tuple[Layer, ...]
    tensors: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def outputs_only(self) -> Plan:
        """The same plan with the model's outputs only."""
        outputs = tuple(layer for layer in self.layers if layer.output)
        tensors = {layer.name: self.tensors[layer.name] for layer in outputs if layer.name in self.tensors}
        return Plan(outputs, tensors, self.notes)

    def with_facts(self, facts: Mapping[str, tuple[tuple[int, ...], str]]) -> Plan:
        """The same plan with the shape and dtype of each compared layer."""
        layers = (
            replace(layer, shape=facts[layer.name][0], dtype=facts[layer.name][1])
            if layer.name in facts
            else layer
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def cast(self, unfit: Mapping[str, str], notes: tuple[str, ...]) -> Plan:
        """The same plan with further notes; `unfit` has the reasons why some layers become unmapped."""
        layers = (
            replace(layer, coverage="unmapped", reason=unfit[layer.name], tap=None, shape=None, dtype=None)
            if layer.name in unfit
            else layer
            for layer in self.layers
        )
        tensors = {name: tensor for name, tensor in self.tensors.items() if name not in unfit}
        return Plan(tuple(layers), tensors, (*self.notes, *notes))

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "tensors": dict(self.tensors),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Plan:
        """The plan from the values of `to_json`."""
        return cls(
            tuple(_layer(row) for row in content["layers"]), content["tensors"], tuple(content["notes"])
        )


def _layer(row: Mapping[str, Any]) -> Layer:
    shape = row["shape"]
    return Layer(
        **{
            **row,
            "shape": None if shape is None else tuple(shape),
            "inputs": tuple(row["inputs"]),
            "members": tuple(row["members"]),
            "output_names": tuple(row["output_names"]),
        }
    )
