from __future__ import annotations

from pytest_tfjs.errors import PageError
from pytest_tfjs.workflows.attempts import Attempts


def failing(error):
    def work():
        raise error

    return work


def test_work_that_fails_is_listed_and_not_raised():
    attempts = Attempts(60.0)
    assert attempts.tried("a sum", lambda: 1 + 1) == 2
    assert attempts.tried("a page", failing(PageError("no page\nmore of it"))) is None
    assert attempts.tried("a layer", failing(RuntimeError("boom"))) is None
    assert attempts.tried("a file", failing(OSError())) is None
    assert attempts.not_tried == [
        "a page: no page",
        "a layer: RuntimeError: boom",
        "a file: OSError: OSError",
    ]


def test_the_time_that_is_left():
    assert 0 < Attempts(60.0).left_s <= 60
    assert Attempts(0.0).left_s <= 0
