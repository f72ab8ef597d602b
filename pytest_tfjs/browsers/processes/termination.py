"""Turns SIGTERM and SIGHUP into KeyboardInterrupt, so that the browser is closed."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Raises KeyboardInterrupt on SIGTERM and SIGHUP, where the program has no handler of its own."""

    def interrupt(signum: int, _: object) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(signum).name}")

    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):
        signum = getattr(signal, name, None)
        if (
            signum is not None
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signum) is signal.SIG_DFL
        ):
            before[signum] = signal.signal(signum, interrupt)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
