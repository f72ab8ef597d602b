"""Hints about the cause from wrong numbers: permuted axes, overflow, a constant factor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_tfjs.compare.dtypes import LARGEST_HALF, SMALLEST_NORMAL, SMALLEST_NORMAL_HALF
from pytest_tfjs.compare.numbers.function_ulps import GPU_BACKENDS
from pytest_tfjs.report.number_text import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.numbers.symptoms import Symptoms
    from pytest_tfjs.compare.results import Comparison, LayerResult

_MOST = 3
_EXACT_INTEGERS = 2.0**24
_LARGE_ANGLE = 1e3
_ROUNDING = 10.0
_NO_ROUNDING = frozenset({"weight", "feed", "wiring", "semantics", "conversion", "quantised weights"})
"""Causes that are not rounding, however small the error."""

_AS_FLOATS = {"webgl": "holds", "webgpu": "multiplies"}


@dataclass(frozen=True)
class DivergedLayer:
    """A diverged layer and its context. `elsewhere`: the same layer on other targets."""

    comparison: Comparison
    result: LayerResult
    metrics: Metrics
    symptoms: Symptoms
    elsewhere: Sequence[tuple[Comparison, LayerResult]] = field(default=())

    @property
    def half(self) -> bool:
        """Whether the backend computes in half precision."""
        return self.comparison.target.float32_textures is False


def symptom_hints(case: DivergedLayer) -> list[str]:
    """One sentence for each pattern found, the most specific first; empty if there is none."""
    hints = [hint for pattern in _PATTERNS if (hint := pattern(case)) is not None]
    return hints[:_MOST] or [cause for cause in (_rounding(case),) if cause is not None]


def _permuted(case: DivergedLayer) -> str | None:
    if case.symptoms.permutation is None:
        return None
    order = ", ".join(str(axis) for axis in case.symptoms.permutation)
    return f"the axes are permuted: the browser gives numpy.transpose(reference, ({order}))"


def _nonfinite(case: DivergedLayer) -> str | None:
    metrics = case.metrics
    if not metrics.nonfinite_mismatched:
        return None
    if case.half and not (metrics.nan_reference or metrics.inf_reference):
        return "half precision overflows: values over 65504 become Inf, and Inf - Inf is NaN"
    if metrics.nan_actual and not metrics.nan_reference:
        return "only the browser has NaN. Possible causes: division by 0, overflow, log or root of a negative"
    if metrics.nan_reference > metrics.nan_actual:
        return "the browser loses NaN: webgl computes 0/0 as 1, and wasm's maximum and minimum ignore NaN"
    if metrics.inf_actual and not metrics.inf_reference:
        return "only the browser overflows to Inf"
    return None


def _denormal(case: DivergedLayer) -> str | None:
    high = case.symptoms.high
    if high is None or not 0 < high < SMALLEST_NORMAL or not case.symptoms.zeros:
        return None
    return "GPUs flush denormals to 0: every mismatched |reference| is below 1.2e-38"


def _beyond_half(case: DivergedLayer) -> bool:
    low, high = case.symptoms.low, case.symptoms.high
    if not case.half or low is None or high is None:
        return False
    return low > LARGEST_HALF or high < SMALLEST_NORMAL_HALF


def _all_zero(case: DivergedLayer) -> str | None:
    if not case.symptoms.all_zero or _denormal(case) or _beyond_half(case):
        return None
    return "the browser gives 0 everywhere: the kernel wrote no output, or the inputs or weights were lost"


def _integers(case: DivergedLayer) -> str | None:
    dtype, low = case.result.layer.dtype or "", case.symptoms.low
    if not dtype.startswith(("int", "uint")) or case.half:
        return None
    if low is not None and low > _EXACT_INTEGERS:
        held = "every mismatched |reference| is over 16777216"
    elif (largest := _largest_product(case)) > _EXACT_INTEGERS:
        held = f"the products of the inputs reach {number(largest)}"
    else:
        return None
    backend = case.comparison.target.backend
    if backend in _AS_FLOATS:
        return f"{backend} {_AS_FLOATS[backend]} integers as float32, which is exact only up to 2**24: {held}"
    return f"int32 overflow wraps around in Python but not in TF.js: {held}"


def _largest_product(case: DivergedLayer) -> float:
    """The largest product of the inputs of a multiplication, before it wraps; 0 if unknown."""
    op, scales = case.result.layer.op, _scales_entering(case)
    if op == "Square" and len(scales) == 1:
        return scales[0] ** 2
    return math.prod(scales) if op == "Mul" and len(scales) > 1 else 0.0


def _scales_entering(case: DivergedLayer) -> list[float]:
    """The largest |reference| of each input layer."""
    entering = case.result.layer.inputs
    return [
        one.metrics.scale
        for one in case.comparison.layers
        if one.layer.name in entering and one.metrics is not None
    ]


def _large_angle(case: DivergedLayer) -> str | None:
    if case.comparison.target.backend not in GPU_BACKENDS:
        return None
    if not {"Sin", "Cos", "Tan"} & set(case.result.layer.op.split("+")):
        return None
    largest = max(_scales_entering(case), default=0.0)
    if largest < _LARGE_ANGLE:
        return None
    return f"GPU sines of large angles are inexact: this input reaches {number(largest)}"


def _factor(case: DivergedLayer) -> str | None:
    ratio, offset = case.symptoms.ratio, case.symptoms.offset
    if ratio is not None:
        text, advice = f"browser = {ratio:.5g} * reference", "a weight or a scale factor differs"
    elif offset is not None:
        text, advice = f"browser = reference {offset:+.5g}", "a bias or a constant differs"
    else:
        return None
    return f"{text} at the mismatched elements{_of_artifacts(case, advice)}"


def _channel(case: DivergedLayer) -> str | None:
    box, shape = case.symptoms.box, case.result.layer.shape
    if not box or not shape or len(shape) != len(box) or shape[-1] == 1:
        return None
    first, last = box[-1]
    if first != last or case.metrics.mismatched == 1:
        return None
    advice = _of_artifacts(case, "check its weights and bias")
    return f"only channel {first} of {shape[-1]} is wrong{advice}"


def _of_artifacts(case: DivergedLayer, advice: str) -> str:
    """The advice, unless another target computes the same artifacts correctly."""
    return "" if any(other.verdict == "close" for _, other in case.elsewhere) else f": {advice}"


def _rounding(case: DivergedLayer) -> str | None:
    diagnosis = case.comparison.diagnosis
    if diagnosis is not None and diagnosis.kind in _NO_ROUNDING:
        return None
    if case.result.error_from_inputs and case.comparison.growth is None:
        return None
    local = case.result.local
    share = case.metrics.share if local is None or local.passed else local.share
    if not 1 < share <= _ROUNDING:
        return None
    where = "half precision" if case.half else f"{case.comparison.target}"
    return f"the error is only {share:.1f} times the allowance: more likely rounding on {where} than a fault"


_PATTERNS: tuple[Callable[[DivergedLayer], str | None], ...] = (
    _permuted,
    _nonfinite,
    _denormal,
    _all_zero,
    _integers,
    _large_angle,
    _factor,
    _channel,
)
