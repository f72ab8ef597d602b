"""Finds a layer's kernel, bias, batch-norm, padding and activation in its operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.operations import (
    BATCH_NORMS,
    IMAGE_CONVOLUTIONS,
    IMAGE_POOLS,
    PADS,
    PASS_THROUGH,
    SUMS,
)
from pytest_tfjs.reference.running.layer_alone import constant_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.running.layer_alone import GraphAlone

Array = np.ndarray[Any, np.dtype[Any]]

_OFFSET, _VARIANCE = 2, 4


@dataclass(frozen=True)
class LayerParts:
    """One layer's parts; weights by the artifacts' names, None for a part that it lacks.

    `kernel`: the largest weight other than bias and variance. `bias`: the weight that is added last.
    `variance` and `epsilon`: those of a batch-norm. `activation`: the graph operation of the activation that
    the layer ends with. `pads`: `"input"` for a convolution or pooling with padding, `"output"` for a layer
    that only pads.
    """

    kernel: str | None = None
    bias: str | None = None
    variance: str | None = None
    epsilon: float | None = None
    activation: str | None = None
    pads: Literal["input", "output"] | None = None


def parts_of(alone: GraphAlone, name: str) -> LayerParts:
    """The parts of a layer that can be run alone."""
    subgraph = alone.subgraph(name)
    constants = {constant: weight for weight, constant in subgraph.weights.items()}
    bias = variance = epsilon = None
    for operation in subgraph.operations:
        entering = [_behind_pass_through(tensor.op) for tensor in operation.inputs]
        weights = [constants.get(one.name) for one in entering]
        if operation.type in BATCH_NORMS:
            bias, variance = weights[_OFFSET], weights[_VARIANCE]
            epsilon = float(operation.get_attr("epsilon"))
        elif operation.type in SUMS and any(weights):
            added = next(weight for weight in weights if weight is not None)
            pairs = zip(entering, weights, strict=True)
            beside = [one for one, weight in pairs if weight is None and _is_number(one)]
            if beside:  # a number is added to a weight: a batch-norm in elementary operations
                variance, epsilon = added, float(constant_value(beside[0]))
            else:
                bias = added  # the last one: a bias before a softmax may have no effect
    attributes = alone.attributes(name)
    values = alone.weights_of(name)
    others = {bias, variance}
    return LayerParts(
        kernel=_largest({weight: value for weight, value in values.items() if weight not in others}),
        bias=bias,
        variance=variance,
        epsilon=epsilon,
        activation=attributes["activation"],
        pads=_pads(attributes, subgraph.operations),
    )


def _behind_pass_through(operation: Any) -> Any:
    while operation.type in PASS_THROUGH:
        operation = operation.inputs[0].op
    return operation


def _is_number(operation: Any) -> bool:
    return operation.type == "Const" and constant_value(operation).size == 1


def _largest(weights: Mapping[str, Array]) -> str | None:
    floats = {name: value.size for name, value in weights.items() if value.dtype.kind == "f"}
    return max(floats, key=lambda name: floats[name], default=None)


def _pads(attributes: Mapping[str, Any], operations: tuple[Any, ...]) -> Literal["input", "output"] | None:
    main = attributes["op"]
    if main in PADS:
        return "output"
    if main not in IMAGE_CONVOLUTIONS | IMAGE_POOLS or attributes.get("padding") == "VALID":
        return None
    if main in IMAGE_POOLS:
        window = attributes["ksize"]
    else:
        convolution = next(one for one in operations if one.type == main)
        window = convolution.inputs[1].shape[:2].as_list()
    return "input" if math.prod(window) > 1 else None
