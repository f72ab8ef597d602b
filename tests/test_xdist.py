"""Under pytest-xdist: the same verdicts, and one summary and one file of results of all workers."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from inner_runs import InnerRun, Project

pytest.importorskip("xdist")
pytestmark = [pytest.mark.browser, pytest.mark.convert]

TESTS = """
import pytest
from pytest_tfjs import Prebuilt

def test_close(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)

@pytest.mark.xdist_group("gpu")
def test_damaged(tfjs, models, x):
    tfjs.assert_close(Prebuilt(models / "damaged", models / "tiny.h5"), x)

def test_other(): pass
"""


@pytest.fixture(scope="module")
def project(tiny_project: Callable[[str], Project]) -> Project:
    made = tiny_project("xdist")
    made.write(test_model=TESTS)
    return made


@pytest.fixture(scope="module")
def alone(project: Project) -> InnerRun:
    return project.run("--tfjs-backends=cpu,wasm", "-p", "no:xdist")


@pytest.fixture(scope="module", params=["-n2", "-n2 --dist=loadgroup"])
def spread(request: pytest.FixtureRequest, project: Project) -> InnerRun:
    return project.run("--tfjs-backends=cpu,wasm", *request.param.split())


def verdicts(run: InnerRun) -> list[tuple[str, str, str]]:
    told = run.results["comparisons"]
    return sorted((one["test"], one["verdict"], ",".join(one["first_divergence"])) for one in told)


def rows(run: InnerRun) -> list[list[str]]:
    """The summary's table without its times and errors, in any order."""
    return sorted(line.split()[:5] for line in run.section("tfjs")[1:5])


def test_results_are_those_of_a_run_without_it(alone, spread):
    assert spread.code == alone.code == pytest.ExitCode.TESTS_FAILED
    assert verdicts(spread) == verdicts(alone)
    assert len(verdicts(alone)) == 4
    assert rows(spread) == rows(alone)
    assert ["damaged", "layers", "wasm", "diverged", "scores"] in rows(alone)


def test_failures_and_properties_reach_the_controller(alone, spread):
    name = next(name for name in spread.cases if name.startswith("test_damaged[chrome-wasm]"))
    case = spread.cases[name]
    assert (
        case.message.partition("\n")[0] == alone.cases["test_damaged[chrome-wasm]"].message.partition("\n")[0]
    )
    assert case.properties["tfjs_first_divergence"] == "scores"


def test_the_command_repeats_the_test_without_its_group(spread):
    told = next(case for name, case in spread.cases.items() if name.startswith("test_damaged[chrome-wasm]"))
    line = next(line for line in told.error_lines if line.startswith("repeat"))
    assert shlex.split(line)[1:3] == ["pytest", "test_model.py::test_damaged[chrome-wasm]"]


def test_nothing_is_left_of_the_workers(project, spread):
    assert project.left_behind() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_the_browsers_of_workers_end_with_the_controller(tiny_project, signum):
    project = tiny_project("controller")
    fifo = project.folder / "ready"
    project.write(
        test_long=f"""
import numpy as np
def test_long(tfjs, models):
    tfjs.target
    with open({str(fifo)!r}, "w") as stream:
        stream.write("ready")
    tfjs.time(models / "layers", np.ones((1, 3), np.float32), runs=10**9)
"""
    )
    subprocess.run(["mkfifo", str(fifo)], check=True)
    process = subprocess.Popen(
        project.command("--tfjs-backends=cpu", "-n1"),
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert fifo.read_text() == "ready"
        others = psutil.Process(process.pid).children(recursive=True)
        assert any("chrom" in other.name() for other in others)
        process.send_signal(signum)
        process.wait(60)
        _, alive = psutil.wait_procs(others, timeout=60)
        assert alive == []
        assert project.left_behind() == []
    finally:
        process.kill()
