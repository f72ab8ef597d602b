"""Tests that a model computes in the browser (TensorFlow.js) what it computes in Python.

The names below are imported on first use: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_tfjs.checker import Checker
    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.sensitivity import Sensitivity
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.errors import TfjsError
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.sources import Prebuilt
    from pytest_tfjs.timing.samples import Timing
    from pytest_tfjs.workflows.assertion_errors import NotAgreed, NotClose

__all__ = [
    "Agreement",
    "Artifacts",
    "Checker",
    "Comparison",
    "NotAgreed",
    "NotClose",
    "Prebuilt",
    "Sensitivity",
    "TfjsError",
    "Timing",
    "Tolerance",
]

_HOME = {
    "Agreement": "compare.task",
    "Artifacts": "models.artifacts",
    "Checker": "checker",
    "Comparison": "compare.results",
    "NotAgreed": "workflows.assertion_errors",
    "NotClose": "workflows.assertion_errors",
    "Prebuilt": "models.sources",
    "Sensitivity": "compare.sensitivity",
    "TfjsError": "errors",
    "Timing": "timing.samples",
    "Tolerance": "compare.numbers.tolerances",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
