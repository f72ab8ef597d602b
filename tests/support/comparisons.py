"""Builds comparisons from arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfjs.compare.layers import Layer
from pytest_tfjs.compare.numbers.metrics import measure, merge
from pytest_tfjs.compare.numbers.tolerances import Tolerance
from pytest_tfjs.compare.results import Comparison, TargetFacts
from pytest_tfjs.compare.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.numbers.metrics import Metrics

TOLERANCE = Tolerance(rtol=1e-3, atol=1e-4)


def layer(name: str, *inputs: str, **fields: object) -> Layer:
    given = {"op": "Dense", "shape": (1, 4), "dtype": "float32", "coverage": "compared", **fields}
    return Layer(name, inputs=inputs, **given)


def target(**fields: object) -> TargetFacts:
    given = {
        "browser": "chrome",
        "browser_version": "156.0.7204.49",
        "backend": "webgl",
        "variant": None,
        "flags": {},
        "renderer": None,
        "software": None,
        "float32_textures": None,
    }
    return TargetFacts(**{**given, **fields})


def comparison(
    layers: Sequence[Layer],
    metrics: Mapping[str, Metrics],
    tolerances: Mapping[str, Tolerance] | None = None,
    **fields: object,
) -> Comparison:
    """A comparison with the verdict that its metrics deserve, unless `fields` name another."""
    allowed = {one.name: TOLERANCE for one in layers if one.coverage == "compared"}
    judgement = judge(layers, metrics, allowed | dict(tolerances or {}))
    given = {
        "model": "digits",
        "format": "graph",
        "weights": "float32",
        "target": target(),
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "layers": judgement.results,
        "first_divergence": judgement.first_divergence,
        "outputs": tuple(one.name for one in layers if one.output),
        "timing": None,
        "bytes": {"artifacts": 2048, "activations": 512},
        "feeds": 1,
        "test": "test_digits.py::test_classifier[chrome-webgl]",
    }
    return Comparison(**{**given, **fields})


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def measured(actual: object, reference: object, tolerance: Tolerance = TOLERANCE) -> Metrics:
    """The metrics of lists as float32."""
    return measure(np.asarray(actual, np.float32), np.asarray(reference, np.float32), tolerance)


def close(size: int = 4) -> Metrics:
    values = np.linspace(1, 2, size, dtype=np.float32)
    return measure(values * np.float32(1 + 1e-6), values, TOLERANCE)


def wrong() -> Metrics:
    return measured([1, 2, 3, 9], [1, 2, 3, 4])


def everything(**fields):
    """A comparison with a layer of each kind that a report may meet."""
    nan = measured([math.nan, 1], [1, 1])
    metrics = {
        "close": close(),
        "wrong": wrong(),
        "nan": nan,
        "all nan": measured([math.nan], [math.nan]),
        "shape": measure(np.ones((2, 2), np.float32), np.ones(4, np.float32), TOLERANCE),
        "empty": measured([], []),
        "gone": measure(None, np.ones(4, np.float32), TOLERANCE),
        "zero": measured([1e-9], [0]),
        "text": measure(np.array(["a"], object), np.array(["b"], object), TOLERANCE),
    }
    away = [
        layer("fused", coverage="fused", into="close", reason="part of it", shape=None, dtype=None),
        layer("eliminated", coverage="eliminated", reason="identity", shape=None, dtype=None),
        layer("unmapped", coverage="unmapped", reason="nothing found", shape=None, dtype=None),
    ]
    return comparison([*(layer(name, "close") for name in metrics), *away], metrics, **fields)


__all__ = [
    "TOLERANCE",
    "close",
    "comparison",
    "everything",
    "f32",
    "layer",
    "measured",
    "merge",
    "target",
    "wrong",
]
