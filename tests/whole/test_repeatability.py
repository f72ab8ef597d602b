"""Two runs of the same tests agree in everything but times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.inner_runs import InnerRun, Project

pytestmark = [pytest.mark.browser, pytest.mark.convert]

TESTS = """
from pytest_tfjs import Prebuilt

def test_graph(tfjs, models, x):
    tfjs.assert_close(models / "tiny.keras", [x, 2 * x])

def test_damaged(tfjs, models, x):
    tfjs.assert_close(Prebuilt(models / "damaged", models / "tiny.h5"), x)

def test_half(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", 1e6 * x)
"""
# The time columns of the summary, and the seconds in pytest's last line.
TIMES = re.compile(r"( +[\d.]+){2}$|in [\d.]+s.*")


@pytest.fixture(scope="module")
def project(tiny_project: Callable[[str], Project]) -> Project:
    made = tiny_project("repeatability")
    made.write(test_model=TESTS)
    return made


def run(project: Project) -> InnerRun:
    return project.run("-vv", "--tfjs-backends=wasm,webgl,webgl:f16")


def without_times(comparison: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in comparison.items() if name != "timing"}


def words(found: InnerRun) -> list[str]:
    return [TIMES.sub("", line).rstrip() for line in found.text.splitlines()]


def test_two_runs_differ_only_in_times(project):
    # The first run fills the cache for both.
    first, second = run(project), run(project)
    one, other = ([without_times(each) for each in found.results["comparisons"]] for found in (first, second))
    assert len(one) == 9
    assert one == other
    assert {each["verdict"] for each in one} == {"close", "diverged"}
    assert words(first) == words(second)
    for name, case in first.cases.items():
        assert case.error_lines == second.cases[name].error_lines
