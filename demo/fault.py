"""Damages converted artifacts: doubles one weight of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfjs.models.artifacts import with_weights

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfjs import Artifacts


def double_largest_weight(artifacts: Artifacts, layer: str, folder: Path) -> Artifacts:
    """A copy of `artifacts` in `folder` with the largest weight of `layer` doubled.

    `layer` is the Keras layer's name, which is part of the names of its weights in both formats. Raises
    ValueError if no floating-point weight has it.
    """
    weights = {
        name: value
        for name, value in artifacts.read_weights().items()
        if layer in name.split("/") and value.dtype.kind == "f"
    }
    if not weights:
        raise ValueError(f"no weight of {artifacts.model_json} belongs to a layer {layer!r}")
    name, value = max(weights.items(), key=lambda item: float(np.abs(item[1]).max()))
    changed = value.copy()
    changed[np.unravel_index(np.abs(value).argmax(), value.shape)] *= 2
    return with_weights(artifacts, {name: changed}, folder)
