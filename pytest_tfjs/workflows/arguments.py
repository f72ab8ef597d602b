"""What a user asks of a comparison: the arguments of the calls that make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.numbers.tolerances import Tolerance


class SensitivityAsked(TypedDict, total=False):
    """The arguments of `Checker.sensitivity`; see `Checker.assert_close`."""

    layers: str | None
    rtol: float | None
    atol: float | None
    per_layer: Mapping[str, Tolerance] | None
    alone: str | None
    format: str | None
    weights: str | Mapping[str, Any] | None


class CompareAsked(SensitivityAsked, total=False):
    """The arguments of `Checker.assert_close` and `Checker.compare`; see there."""

    compression: float | None
    allow_vacuous: str | Sequence[str] | None


def require_known(asked: Mapping[str, Any], arguments: type, call: str) -> None:
    """Raises TypeError for an argument that the call does not have, as Python does for those it can see."""
    __tracebackhide__ = True
    for name in asked:
        if name not in arguments.__annotations__:
            known = ", ".join(arguments.__annotations__)
            raise TypeError(f"{call}() has no argument {name!r}; it takes {known}")
