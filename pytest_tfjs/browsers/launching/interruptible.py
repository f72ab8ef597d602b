"""Starts a browser in a thread, so that Ctrl-C or a time limit can end the wait."""

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
    """The result of `create`. If the wait is given up, `end` is called with a result that comes late.

    `halt`: makes `create` fail soon; called repeatedly until it has failed, for LATE_S at most.
    Raises BrowserError if `create` takes longer than `limit_s`, otherwise the errors of `create`.
    """
    creation = _Creation(create, end)
    thread = threading.Thread(target=creation.run, name="pytest-tfjs-session", daemon=True)
    try:
        thread.start()  # may be interrupted too, after the thread has begun to work
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
    """A call of `create` that may be abandoned before it returns."""

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
                raise BrowserError(f"the browser did not start within {limit_s:g} s and was stopped")

    def abandon(self) -> None:
        """End the result as soon as there is one."""
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
