"""Checks the weights of a layers model against those of its Keras model, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.lost_values import lost_values
from pytest_tfjs.compare.weight_check import WeightCheck, WeightFinding, difference
from pytest_tfjs.reference.running.keras_model import weight_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.compare.weight_check import State, Storage

Array = np.ndarray[Any, np.dtype[Any]]


def weights_by_name(model: Any) -> dict[str, tuple[str, Array]]:
    """The layer and the value of each weight of a Keras 2 model, by the artifacts' name for it."""
    return {
        weight_name(weight): (layer.name, _wide(np.asarray(weight)))
        for layer in model.layers
        for weight in layer.weights
    }


def _wide(value: Array) -> Array:
    """The value, in float32 if it is in bfloat16, which numpy does not know as a float."""
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def check_keras_weights(
    stored: Mapping[str, Array], storage: Mapping[str, Storage], model: Any
) -> WeightCheck:
    """Compares the artifacts' dequantised weights with the model's; a weight that either lacks differs."""
    return WeightCheck.of(_findings(stored, storage, weights_by_name(model)))


def _findings(
    stored: Mapping[str, Array], storage: Mapping[str, Storage], source: Mapping[str, tuple[str, Array]]
) -> Iterator[WeightFinding]:
    for name, (layer, value) in source.items():
        if name not in stored:
            yield WeightFinding(name, layer, "differs", "the artifacts have no weight of this name")
            continue
        what = difference(stored[name], value, storage.get(name))
        sound: State = "quantised" if name in storage else "equal"
        lost = None if what else lost_values(stored[name], value, storage.get(name))
        yield WeightFinding(name, layer, "differs" if what else sound, what or lost)
    for name in stored:
        if name not in source:
            yield WeightFinding(name, None, "differs", "the source has no weight of this name")
