"""Compares steps that are recomputed in numpy with what TensorFlow computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, settings

from pytest_tfjs.compare.diagnosis.recomputing.steps import Step, evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence

settings.register_profile("few", deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
FEW = settings.get_profile("few")


def values(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def assert_steps_give(steps: Sequence[Step], expected: object) -> None:
    """The last step's value has the shape of `expected`, and is close in float32."""
    found, expected = evaluate(steps), np.asarray(expected)
    assert found.shape == expected.shape
    largest = max(1.0, float(np.max(np.abs(expected))))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * largest)
