"""Measures whether half precision explains an error, and how far two runs differ."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.evidence import Sizes
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, evaluate
from pytest_tfjs.compare.diagnosis.semantics import error_left
from pytest_tfjs.compare.dtypes import LARGEST_HALF, SMALLEST_NORMAL_HALF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.compare.diagnosis.recomputing.steps import Step

Array = np.ndarray[Any, np.dtype[Any]]


def sizes_of(actual: Array, expected: Array, entering: Sequence[Array], predicted: float | None) -> Sizes:
    """The sizes and errors of one activation and its inputs; see `Sizes`."""
    got, truth = _wide(actual), _wide(expected)
    size, finite = np.abs(truth), np.isfinite(got) & np.isfinite(truth)
    over = np.isfinite(truth) & ~np.isfinite(got)
    over |= (size > LARGEST_HALF) & (got == 0)
    wrong = finite & (got != truth)
    flushed = wrong & (got == 0) & (size < SMALLEST_NORMAL_HALF)
    error = np.zeros(got.shape)
    error[finite] = np.abs(got[finite] - truth[finite])
    return Sizes(
        reference=_largest(truth),
        inputs=max((_largest(each) for each in entering if each.dtype.kind in "iufc"), default=0.0),
        integers=max(
            (_largest(each) for each in (expected, *entering) if each.dtype.kind in "iu"), default=0.0
        ),
        overflown=bool(over.any()),
        flushed=float(flushed.sum() / wrong.sum()) if wrong.any() else 0.0,
        error=float(error.max(initial=0.0)),
        predicted=predicted,
    )


def _largest(array: Array) -> float:
    return float(np.max(np.abs(_wide(array)), initial=0.0, where=np.isfinite(array)))


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def predicted_error(steps: Sequence[Step], actual: Array, expected: Array) -> float | None:
    """The RMS error from rounding inputs, weights and result to half precision, relative to the browser's.

    None if it cannot be computed, as for complex numbers.
    """
    if expected.dtype.kind == "c":
        return None
    halved = [
        replace(step, inputs=tuple(one if isinstance(one, int) else _halved(one) for one in step.inputs))
        for step in steps
    ]
    try:
        made = error_left(expected, _halved(evaluate(halved).astype(np.float32)), actual)
    except CannotRecompute:
        return None
    return made if np.isfinite(made) else None


def _halved(array: Array) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype) if array.dtype.kind == "f" else array


def apart(runs: Sequence[Array], expected: Array) -> float | None:
    """The RMS difference of two runs, relative to the first run's error; None without two runs."""
    if len(runs) < 2:  # noqa: PLR2004
        return None
    if np.array_equal(runs[0], runs[1], equal_nan=runs[0].dtype.kind in "fc"):
        return 0.0
    return error_left(runs[0], runs[1], expected)
