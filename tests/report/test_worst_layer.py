"""Which layer of a comparison used most of its tolerance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.report.worst_layer import worst_layer
from tests.support.comparisons import TOLERANCE, close, measured, wrong
from tests.support.reported_comparisons import CHAIN, reported


@pytest.mark.parametrize(
    ("metrics", "worst"),
    [
        ({"conv": measured([1.0001], [1]), "pool": measured([100.001], [100])}, "conv"),
        ({"conv": wrong(), "pool": measured([math.inf], [1])}, "pool"),
        (
            {"conv": wrong(), "pool": measure(np.ones(2, np.float32), np.ones(3, np.float32), TOLERANCE)},
            "pool",
        ),
        ({"conv": close(), "pool": measured([1e-9], [0])}, "pool"),
        ({"conv": measured([0], [0]), "pool": measured([0], [0])}, "conv"),
    ],
)
def test_worst_layer_has_used_most_of_its_tolerance(metrics, worst):
    assert worst_layer(reported(CHAIN[:2], metrics))["name"] == worst
