"""Comparisons of a small network that diverged, and the facts of their messages."""

from __future__ import annotations

import numpy as np

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.report.failure_message import failure_message
from tests.support.comparisons import TOLERANCE, close, comparison, layer, wrong

REFERENCE = np.linspace(-1, 3, 128, dtype=np.float32).reshape(1, 4, 4, 8)


def first_line(*arguments, **fields) -> str:
    return failure_message(comparison(*arguments, **fields)).splitlines()[0]


def network(actual, *, reference=REFERENCE, op="Conv2D+BiasAdd+Relu6", tolerances=None, **fields):
    """A comparison of five layers: `block_2/conv` gives `actual`, and all layers after it are wrong."""
    actual, reference = np.asarray(actual), np.asarray(reference)
    shape, dtype = reference.shape, "str" if reference.dtype == object else reference.dtype.name
    wrong_one = measure(actual, reference, (tolerances or {}).get("block_2/conv", TOLERANCE))
    layers = [
        layer("input", op="Placeholder"),
        layer("block_1/conv", "input", op="Conv2D"),
        layer("block_1/bias", op="BiasAdd", coverage="fused", into="block_1/conv", shape=None, dtype=None),
        layer("block_2/conv", "block_1/conv", op=op, shape=shape, dtype=dtype, members=("block_2/add",)),
        layer("pool", "block_2/conv", op="MaxPool"),
        layer("softmax", "pool", op="Softmax", output=True),
    ]
    metrics = {"input": close(), "block_1/conv": close(), "block_2/conv": wrong_one, "pool": wrong()}
    return comparison(layers, {**metrics, "softmax": wrong()}, tolerances, **fields)


def doubled_channel() -> np.ndarray:
    actual = REFERENCE.copy()
    actual[..., 5] *= 2
    return actual


def facts_under(label, *arguments, others=(), **fields) -> list[str]:
    """The facts under a label, each in one line."""
    facts = []
    for line in failure_message(network(*arguments, **fields), others=others).splitlines():
        if line.startswith(" " * 14):
            facts[-1][1] += " " + line.strip()
        elif line.startswith("  "):
            facts.append([line[2:15].strip(), line[15:]])
    return [text for found, text in facts if found == label]
