"""Starts something in a thread, so that waiting for it can be interrupted or time out."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LATE_S = 5.0
TICK_S = 0.25


def interruptible(
    create: Callable[[], T],
    end: Callable[[T], object],
    *,
    halt: Callable[[], object] = lambda: None,
    limit_s: float | None = None,
) -> T:
    """What `create` gives. Where the wait is given up, what comes late is ended, by `end`.

    `halt`: makes `create` fail soon, and is called again until it has, for LATE_S at most.
    Raises BrowserError where `create` takes longer than `limit_s`, and else what `create` raises.
    """
    creation = _Creation(create, end)
    thread = threading.Thread(target=creation.run, name="pytest-tfjs-session", daemon=True)
    try:
        thread.start()  # which can be interrupted too, when the thread is at work already
        creation.wait(limit_s)
    except BaseException:
        creation.abandon()
        late = time.monotonic() + LATE_S
        halt()
        while not creation.done.wait(TICK_S) and time.monotonic() < late:
            halt()
        raise
    return creation.result()


class _Creation(Generic[T]):
    """Something in the making, which may be given up meanwhile."""

    def __init__(self, create: Callable[[], T], end: Callable[[T], object]) -> None:
        self.done = threading.Event()
        self._create = create
        self._end_one = end
        self._lock = threading.Lock()
        self._abandoned = False
        self._made: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._made.append(self._create())
        except BaseException as error:  # noqa: BLE001 (it is raised by `result`)
            self._error = error
        with self._lock:
            if self._abandoned:
                self._end()
            self.done.set()

    def wait(self, limit_s: float | None) -> None:
        deadline = math.inf if limit_s is None else time.monotonic() + limit_s
        while not self.done.wait(TICK_S):
            if time.monotonic() > deadline:
                raise BrowserError(f"it did not start within {limit_s:g} s and was stopped")

    def abandon(self) -> None:
        """Have it ended as soon as it is there."""
        with self._lock:
            self._abandoned = True
            if self.done.is_set():
                self._end()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._made[0]

    def _end(self) -> None:
        for made in self._made:
            self._end_one(made)
