"""The arguments of the calls that compare a model, and their checks."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfjs.compare.numbers.tolerances import Tolerance


class SensitivityArguments(TypedDict, total=False):
    """The arguments of `Checker.sensitivity`; see `Checker.assert_close`."""

    layers: str | None
    rtol: float | None
    atol: float | None
    per_layer: Mapping[str, Tolerance] | None
    alone: str | None
    format: str | None
    weights: str | Mapping[str, Any] | None


class CompareArguments(SensitivityArguments, total=False):
    """The arguments of `Checker.assert_close` and `Checker.compare`; see there."""

    compression: float | None
    allow_vacuous: str | Sequence[str] | None


class AgreementArguments(TypedDict, total=False):
    """The arguments of `Checker.agreement`; see there."""

    output: str | None
    labels: Any
    min_top1: float | None
    min_topk: tuple[int, float] | None
    min_iou: float | None
    metric: Callable[[Any, Any], float] | None
    min_metric: float | None
    batch: int
    allow_vacuous: str | Sequence[str] | None
    format: str | None
    weights: str | Mapping[str, Any] | None


def require_known(arguments: Mapping[str, Any], signature: type, call: str) -> None:
    """Raises TypeError for an argument that the call does not have, as Python does for named parameters."""
    __tracebackhide__ = True
    for name in arguments:
        if name not in signature.__annotations__:
            names = ", ".join(signature.__annotations__)
            raise TypeError(f"{call}() has no argument {name!r}; it takes {names}")


def whole_number(name: str, value: int, *, least: int) -> int:
    """The value of an argument. Raises SettingsError if it is below `least`."""
    if value < least:
        raise SettingsError(f"{name}={value!r}: expected a whole number, {least} or greater")
    return value


def task_of(arguments: AgreementArguments) -> Task:
    """The task that the arguments describe. Raises SettingsError for invalid ones."""
    names = [one.name for one in fields(Task)]
    return Task(**{name: value for name, value in arguments.items() if name in names})  # type: ignore[arg-type]


def require_minimum(arguments: AgreementArguments) -> None:
    """Raises SettingsError if no minimum is given, because then the assertion could not fail."""
    if not any(name.startswith("min_") and value is not None for name, value in arguments.items()):
        raise SettingsError(
            "assert_agrees() has no minimum to check, so it could never fail: pass min_top1, min_topk, "
            "min_iou or min_metric, or call agreement() to get the figures only"
        )


@dataclass(frozen=True)
class Task:
    """What an agreement measures of a model's outputs, and the minimum of each figure.

    `output` names the output that has classes; `labels` are the correct classes. `metric` computes a figure;
    from the browser's and the reference's outputs: arrays of one output, or dicts of several by name. Each
    `min_...` is the figure's minimum; `min_topk` is (k, share). Raises SettingsError for invalid values.
    """

    output: str | None = None
    labels: Any = None
    min_top1: float | None = None
    min_topk: tuple[int, float] | None = None
    min_iou: float | None = None
    metric: Callable[[Any, Any], float] | None = None
    min_metric: float | None = None

    def __post_init__(self) -> None:
        shares = {"min_top1": self.min_top1, "min_iou": self.min_iou}
        if self.min_topk is not None:
            shares["min_topk"] = _share_of(self.min_topk)
        for name, share in shares.items():
            if share is not None and not 0 < share <= 1:
                raise SettingsError(f"{name}={share!r}: expected a share above 0 and at most 1, such as 0.99")
        if self.min_metric is not None and self.metric is None:
            raise SettingsError(
                "min_metric is a minimum for the function `metric`, which is missing: pass metric= too"
            )
        if self.min_metric is not None and not math.isfinite(self.min_metric):
            raise SettingsError(f"min_metric={self.min_metric!r}: expected a finite number")

    @property
    def classifies(self) -> bool:
        """Whether classes are compared: not if a metric is the only thing to measure."""
        others = (self.min_top1, self.min_topk, self.min_iou, self.labels)
        return self.metric is None or any(one is not None for one in others)


def _share_of(topk: Any) -> Any:
    with contextlib.suppress(TypeError, ValueError):
        k, share = topk
        if int(k) == k >= 1:
            return share
    raise SettingsError(f"min_topk={topk!r}: expected (k, share), such as (5, 0.99)")
