"""An object created in a thread is closed if the wait for it ends early."""

from __future__ import annotations

import threading

import pytest

from pytest_tfjs.browsers.launching.interruptible import interruptible
from pytest_tfjs.errors import BrowserError


class Making:
    """Creates an object once `go` is set, and records the objects closed."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.ended: list[str] = []

    def create(self) -> str:
        self.begun.set()
        assert self.go.wait(30)
        return "made"


@pytest.fixture
def making() -> Making:
    return Making()


def test_created_object_is_returned_and_not_closed(making):
    making.go.set()
    assert interruptible(making.create, making.ended.append) == "made"
    assert making.ended == []


def test_creation_error_is_raised(making):
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0, making.ended.append)


def test_object_created_after_the_limit_is_closed(making):
    with pytest.raises(BrowserError, match="the browser did not start within 0 s"):
        interruptible(making.create, making.ended.append, halt=making.go.set, limit_s=0)
    assert making.ended == ["made"]


def test_object_is_closed_when_ctrl_c_comes_at_thread_start(making, monkeypatch):
    """Ctrl-C reaches the main thread while it starts the other one."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert making.begun.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        interruptible(making.create, making.ended.append, halt=making.go.set)
    assert making.ended == ["made"]
