"""Errors can be pickled and copied, as pytest-xdist, multiprocessing and `copy` do."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_tfjs import errors
from pytest_tfjs.browsers.targets import Target
from pytest_tfjs.compare.task import Agreement
from pytest_tfjs.errors import BrowserLostError, PageError, TfjsError
from pytest_tfjs.workflows.assertion_errors import NotAgreed, NotClose
from tests.support.comparisons import close, comparison, layer, target

PLAIN = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, TfjsError) and not issubclass(cls, PageError)
]
IN_PAGE = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, PageError) and cls is not BrowserLostError
]
RAISED = [
    *(cls("the weights are damaged") for cls in PLAIN),
    *(cls("no shader", stack="at run", stage="loading model", refused=True) for cls in IN_PAGE),
    BrowserLostError(Target("chrome", "cpu"), "its process ended", stage="loading model"),
    NotClose("'y' diverged", comparison([layer("y", output=True)], {"y": close()})),
    NotAgreed("too few agree", Agreement("m", "graph", "float32", target(), "y", 2, "diverged", None, ())),
]


def through_pickle(error):
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("duplicate", [through_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_a_copy_has_the_message_and_the_attributes(error, duplicate):
    error.__dict__["added"] = "by a plugin"
    found = duplicate(error)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)
