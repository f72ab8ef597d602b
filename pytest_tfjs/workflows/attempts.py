"""Tries one thing after another within a time budget, and lists what could not be tried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from pytest_tfjs.errors import TfjsError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Attempts:
    """Attempts within `budget_s` seconds from now; `not_tried`: what failed or was left out, in words."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self.not_tried: list[str] = []
        self._started = time.monotonic()

    @property
    def left_s(self) -> float:
        """The seconds that are left; negative when the budget is used up."""
        return self.budget_s - (time.monotonic() - self._started)

    def tried(self, what: str, work: Callable[[], _T]) -> _T | None:
        """The work's result; None if it fails, which is added to what was not tried and never raised."""
        try:
            return work()
        except TfjsError as error:
            self.not_tried.append(f"{what}: {_first_line(error)}")
        except Exception as error:  # noqa: BLE001  (must not hide the divergence)
            self.not_tried.append(f"{what}: {type(error).__name__}: {_first_line(error)}")
        return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
