# ruff: noqa: A002, ANN001, ANN201, D103 (tests as users write them)
"""A test that must fail: one weight of the converted model differs from the Keras model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo.fault import double_largest_weight
from pytest_tfjs import Prebuilt

MODELS = Path(__file__).parents[1] / "build" / "demo" / "models"
LAYER = "mix_conv"


@pytest.mark.parametrize("format", ["graph", "layers"])
def test_damaged_model(tfjs, tmp_path, format):
    converted = tfjs.convert(MODELS / "cnn.keras", format=format)
    damaged = double_largest_weight(converted, LAYER, tmp_path / "damaged")
    tfjs.assert_close(Prebuilt(damaged.model_json, MODELS / "cnn.keras"), np.load(MODELS / "cnn.npy"))
