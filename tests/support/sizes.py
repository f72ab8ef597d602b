"""A pytest plugin: runs long groups first, and counts the slow tests that a run leaves out."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# What makes a test long, the longest first.
LONG_MARKERS = ("slow", "browser", "convert")
SLOW_LEFT_OUT: pytest.StashKey[int] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """For `--dist loadgroup`: the tests of a file share a worker, and long groups come first.

    So what a file sets up is set up once, and no worker is left alone with a long group at the end.
    """
    spread = getattr(config.option, "loadgroup", False)
    for item in items if spread else ():
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    yield
    if spread:
        lengths = {group: _length(list(own)) for group, own in groupby(sorted(items, key=_group), _group)}
        items.sort(key=lambda item: (lengths[_group(item)], _group(item)), reverse=True)


def _group(item: pytest.Item) -> str:
    own = item.get_closest_marker("xdist_group")
    return str(item.path) if own is None else str(own.args[0])


def _length(items: list[pytest.Item]) -> tuple[int, ...]:
    """How many tests of a group have each of the markers of long tests."""
    return tuple(sum(item.get_closest_marker(name) is not None for item in items) for name in LONG_MARKERS)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Counts the slow tests that a run leaves out."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.config.stash[SLOW_LEFT_OUT] = item.config.stash.get(SLOW_LEFT_OUT, 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist: sends the count to the process that prints it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["slow_left_out"] = session.config.stash.get(SLOW_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the count of a worker; each worker collects all tests, so all counts are equal."""
    node.config.stash[SLOW_LEFT_OUT] = getattr(node, "workeroutput", {}).get("slow_left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints how many slow tests `-m "not slow"` left out."""
    left_out = config.stash.get(SLOW_LEFT_OUT, 0)
    # With -k, or -m for something else, the user chose a part of the suite.
    if left_out and config.option.markexpr == "not slow" and not config.option.keyword:
        terminalreporter.line(f"{left_out} slow tests left out: make test-all runs them")


def slow_except(quick: Collection[str], values: Iterable[Any]) -> list[Any]:
    """Parameters of a test, of which only those whose text is in `quick` are not slow."""
    made = [
        pytest.param(one, id=str(one), marks=() if str(one) in quick else pytest.mark.slow) for one in values
    ]
    missing = set(quick) - {str(one.id) for one in made}
    assert not missing, f"no such parameter: {missing}"
    return made
