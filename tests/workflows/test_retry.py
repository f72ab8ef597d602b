"""Work interrupted by a lost browser runs once more in a fresh one, and reports say so."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.errors import BrowserError
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.retry import result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.inner_runs import InnerRun, Project

pytestmark = [pytest.mark.browser, pytest.mark.convert]

TESTS = """
import numpy as np
import pytest
from tests.support.fault_plugin import Trouble
from pytest_tfjs import NotAgreed, NotClose, TfjsError

kill = Trouble.kill_browser

def test_compare(tfjs, trouble, models, x):
    trouble(kill)
    comparison = tfjs.assert_close(models / "tiny.h5", x)
    assert "its process has ended" in comparison.retried
    assert [one.verdict for one in comparison.layers] == ["close", "close"]

def test_agreement(tfjs, trouble, models, x):
    trouble(kill)
    agreement = tfjs.assert_agrees(models / "tiny.h5", x, min_top1=0.5, allow_vacuous="scores")
    assert "its process has ended" in agreement.retried
    assert agreement.samples == len(x)

def test_time(tfjs, trouble, models, x):
    trouble(kill)
    assert len(tfjs.time(models / "layers", x, runs=2).warm_ms) == 2

def test_target(tfjs, tfjs_harness, trouble):
    tfjs.target
    tfjs_harness._page.close()
    trouble.kill_driver()
    assert tfjs.target.backend == "cpu"

def test_twice(tfjs, trouble, models, x):
    trouble(kill, times=2)
    tfjs.assert_close(models / "tiny.h5", x)

def test_agreement_twice(tfjs, trouble, models, x):
    trouble(kill, times=2)
    tfjs.assert_agrees(models / "tiny.h5", x, min_top1=0.5)

def test_time_twice(tfjs, trouble, models, x):
    trouble(kill, times=2)
    tfjs.time(models / "layers", x)

@pytest.mark.tfjs(timeout=5)
def test_hangs(tfjs, trouble, models, x):
    trouble(lambda _: None, times=1)
    tfjs.assert_close(models / "tiny.h5", x)

def test_no_other_browser_starts(tfjs, tfjs_harness, trouble, models, x, monkeypatch):
    def kill_and_break(trouble):
        monkeypatch.setattr(tfjs_harness, "_options", type(tfjs_harness._options)(driver=models / "none"))
        kill(trouble)

    trouble(kill_and_break)
    tfjs.assert_close(models / "tiny.h5", x)

def test_misspelt_argument(tfjs, models, x):
    for call in (tfjs.compare, tfjs.assert_close, tfjs.sensitivity, tfjs.agreement):
        with pytest.raises(TypeError, match="has no argument 'rtoll'; it takes .*weights"):
            call(models / "tiny.h5", x, rtoll=1)

def test_without_loss(tfjs, models, x):
    comparison = tfjs.assert_close(models / "tiny.h5", x)
    assert comparison.retried is None
"""

LOST = "the browser was lost while loading model: its process has ended"


@pytest.fixture(scope="module")
def project(tiny_project: Callable[[str], Project]) -> Project:
    made = tiny_project("retrying")
    made.write(test_model=TESTS)
    return made


@pytest.fixture(scope="module")
def run(project: Project) -> InnerRun:
    return project.run(
        "-v", "--tfjs-backends=cpu", "-p", "tests.support.fault_plugin", environment=project.with_helpers()
    )


def case(run: InnerRun, test: str):
    return run.cases[f"{test}[chrome-cpu]"]


@pytest.mark.parametrize("test", ["test_compare", "test_agreement", "test_time", "test_target"])
def test_lost_browser_is_replaced_once_and_reported(run, test):
    assert case(run, test).outcome == "passed", run.text
    assert case(run, test).properties["tfjs_retried"].startswith("the browser was lost while ")
    lines = [line for line in run.section("tfjs browsers lost") if f"::{test}[" in line]
    assert len(lines) == 1
    assert lines[0].endswith("; retried in a fresh browser")


def test_json_and_layer_table_report_the_retry(run):
    retried = {one["test"].partition("::")[2]: one["retried"] for one in run.results["comparisons"]}
    assert retried["test_compare[chrome-cpu]"] == LOST
    assert retried["test_without_loss[chrome-cpu]"] is None
    assert [one["retried"] for one in run.results["task"]] == [LOST, LOST]
    note = f"note: {LOST}; these results are from a second run in a fresh browser"
    assert note in run.section("tfjs layers")


@pytest.mark.parametrize("test", ["test_twice", "test_agreement_twice", "test_time_twice"])
def test_second_loss_fails_with_a_message_about_both(run, test):
    assert case(run, test).outcome == "failure"
    assert f"{LOST}; a second, fresh browser was lost in the same way. The model" in case(run, test).message
    assert case(run, test).properties["tfjs_retried"] == LOST


def test_verdict_after_a_second_loss_is_error(run):
    entries = [one for one in (*run.results["comparisons"], *run.results["task"]) if "_twice" in one["test"]]
    assert [(one["verdict"], one["retried"]) for one in entries] == [("error", LOST)] * 2


def test_timeout_is_not_retried(run):
    hung = case(run, "test_hangs")
    assert "timed out after 5 s" in hung.message
    assert "tfjs_retried" not in hung.properties


def test_message_names_the_loss_if_no_new_browser_starts(run):
    text = "\n".join(case(run, "test_no_other_browser_starts").error_lines)
    assert re.search(
        rf"could not be started\.\n(.*\n)*A fresh browser was needed because the first one was lost: {LOST}",
        text,
    )


def test_unknown_argument_is_rejected(run):
    assert case(run, "test_misspelt_argument").outcome == "passed", run.text


def test_run_without_a_loss_reports_no_retry(run):
    assert case(run, "test_without_loss").outcome == "passed", run.text
    assert "tfjs_retried" not in case(run, "test_without_loss").properties
    assert not any("test_without_loss" in line for line in run.section("tfjs browsers lost"))


def test_no_process_or_folder_is_left_behind(project, run):
    assert run.code == pytest.ExitCode.TESTS_FAILED
    assert project.left_behind() == []


def test_launch_error_is_not_its_own_cause():
    original = BrowserError("no browser")

    class NoBrowser:
        def open(self, target, **limits):
            raise original

    context = SimpleNamespace(harness=NoBrowser(), target=None, settings=Settings(timeout=1.0), progress=None)
    with pytest.raises(BrowserError, match=r"^no browser$") as caught:
        result_of(lambda page: page.facts, context)
    assert caught.value is original
    assert caught.value.__cause__ is None
