"""What a user asks of a task: the figures, and what each has to be at least."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Asked(TypedDict, total=False):
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


def task_of(asked: Asked) -> Task:
    """What the arguments ask of the outputs. Raises SettingsError for what is none."""
    names = [one.name for one in fields(Task)]
    return Task(**{name: value for name, value in asked.items() if name in names})  # type: ignore[arg-type]


def require_minimum(asked: Asked) -> None:
    """Raises SettingsError where nothing has to be reached, so that nothing could fail."""
    if not any(name.startswith("min_") and value is not None for name, value in asked.items()):
        raise SettingsError(
            "assert_agrees() has no minimum to check, so it could never fail: pass min_top1, min_topk, "
            "min_iou or min_metric, or call agreement() to get the figures only"
        )


@dataclass(frozen=True)
class Task:
    """What is asked of a model's outputs.

    `output` names the one that has classes; `labels` are the right ones. `metric` gives a figure of the
    browser's and the reference's outputs: arrays of one output, or dicts of several by name. Each `min_...`
    is what the figure has to be at least; `min_topk` is (k, share). Raises SettingsError for what is none.
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
                raise SettingsError(f"{name}={share!r}: expected a share over 0 and at most 1, such as 0.99")
        if self.min_metric is not None and self.metric is None:
            raise SettingsError("min_metric is the least value of your function `metric`: pass `metric` too")
        if self.min_metric is not None and not math.isfinite(self.min_metric):
            raise SettingsError(f"min_metric={self.min_metric!r}: expected a finite number")

    @property
    def classifies(self) -> bool:
        """Whether classes are looked at: not where a metric is all that is asked."""
        others = (self.min_top1, self.min_topk, self.min_iou, self.labels)
        return self.metric is None or any(one is not None for one in others)


def _share_of(topk: Any) -> Any:
    with contextlib.suppress(TypeError, ValueError):
        k, share = topk
        if int(k) == k >= 1:
            return share
    raise SettingsError(f"min_topk={topk!r}: expected (k, share), such as (5, 0.99)")
