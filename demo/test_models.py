# ruff: noqa: A002, ANN001, ANN201, D103 (tests as users write them)
"""Tests as a user would write them: the browser computes what Keras computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

MODELS = Path(__file__).parents[1] / "build" / "demo" / "models"


@pytest.mark.parametrize("format", ["graph", "layers"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "cnn"])
def test_model(tfjs, name, format):
    tfjs.assert_close(MODELS / f"{name}.keras", np.load(MODELS / f"{name}.npy"), format=format)
