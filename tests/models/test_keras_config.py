"""Layers' configs that mean the same, whichever version of Keras wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.keras_config import alike

OLD = {"class_name": "Zeros", "config": {}}
NEW = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
RELU = {"class_name": "ReLU", "config": {"name": "r", "threshold": 0.5}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"units": 3, "kernel_initializer": OLD}, {"units": 3, "kernel_initializer": NEW}),
        (
            {"units": 3, "name": "a", "dtype": "float32"},
            {"units": 3, "name": "b", "dtype": {"class_name": "P"}},
        ),
        ({"strides": (1, 1)}, {"strides": [1, 1]}),
        ({"threshold": np.float32(0.5)}, {"threshold": 0.5}),
        ({"groups": None}, {}),
        ({"layer": RELU}, {"layer": {**RELU, "registered_name": None, "module": "keras.layers"}}),
        (
            {"activation": {"class_name": "mine>Act", "config": {}}},
            {"activation": {"class_name": "Act", "config": {}}},
        ),
    ],
)
def test_configs_that_mean_the_same_are_alike(one, other):
    assert alike(one, other)
    assert alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"threshold": 0.5}, {"threshold": 0.0}),
        ({"threshold": 0.5}, {}),
        ({"strides": (1, 2)}, {"strides": [2, 1]}),
        ({"layer": RELU}, {"layer": {**RELU, "config": {"threshold": 0.4}}}),
        ({"layer": RELU}, {"layer": {**RELU, "class_name": "ELU"}}),
    ],
)
def test_other_configs_are_not_alike(one, other):
    assert not alike(one, other)
