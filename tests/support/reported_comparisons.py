"""A comparison of five layers as JSON, for the tests of tables and summaries."""

from __future__ import annotations

import json
import math

from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.timing import Timing
from tests.support.comparisons import close, comparison, layer, measured, wrong

TIMED = Timing(120.0, 812.3, (14.0, 12.0, 13.0))


def reported(layers, metrics, **fields):
    """A comparison as a worker of pytest-xdist reports it: as JSON."""
    return json.loads(json.dumps(comparison_to_json(comparison(layers, metrics, **fields))))


def texts(lines):
    return [line.text for line in lines]


CHAIN = (
    layer("conv", op="Conv2D+Relu", shape=(1, 28, 28, 8)),
    layer("pool", "conv", op="MaxPool", shape=(1, 14, 14, 8)),
    layer("bias", coverage="fused", into="conv", reason="part of it", shape=None, dtype=None, op="BiasAdd"),
    layer("drop", coverage="eliminated", reason="identity", shape=None, dtype=None, op="Identity"),
    layer("out", "pool", op="Softmax", shape=(1, 10), output=True),
)


GOOD = {"conv": close(), "pool": close(), "out": close()}


BAD = {"conv": close(), "pool": wrong(), "out": measured([math.nan, 1], [1, 1])}
