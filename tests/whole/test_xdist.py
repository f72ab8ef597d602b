"""Under pytest-xdist: the same verdicts, one summary and one results file."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.inner_runs import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.inner_runs import InnerRun, Project

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


@pytest.fixture(scope="module", params=[pytest.param("-n2", marks=pytest.mark.slow), "-n2 --dist=loadgroup"])
def spread(request: pytest.FixtureRequest, project: Project) -> InnerRun:
    return project.run("--tfjs-backends=cpu,wasm", *request.param.split())


def verdicts(run: InnerRun) -> list[tuple[str, str, str]]:
    told = run.results["comparisons"]
    return [(one["test"], one["verdict"], ",".join(one["first_divergence"])) for one in told]


def rows(run: InnerRun) -> list[list[str]]:
    """The summary's table without times and errors."""
    return [line.split()[:5] for line in run.section("tfjs")[1:5]]


def test_results_equal_those_of_a_single_process(alone, spread):
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


def test_repeat_command_leaves_out_the_group(spread):
    told = next(case for name, case in spread.cases.items() if name.startswith("test_damaged[chrome-wasm]"))
    line = next(line for line in told.error_lines if line.startswith("repeat"))
    assert shlex.split(line)[1:3] == ["pytest", "test_model.py::test_damaged[chrome-wasm]"]


def test_loadgroup_runs_tests_of_a_target_in_one_worker(tiny_project):
    project = tiny_project("groups")
    project.write(
        test_groups="""
import os
from pathlib import Path
import pytest

@pytest.fixture(autouse=True)
def told(request):
    with Path(f"on-{os.environ['PYTEST_XDIST_WORKER']}").open("a") as stream:
        stream.write(request.node.nodeid.partition("::")[2] + "\\n")

def test_one(tfjs_target): pass

@pytest.mark.xdist_group("own")
def test_own(tfjs_target): pass

def test_two(tfjs_target): pass

def test_none(): pass
"""
    )
    run = project.run("--tfjs-backends=cpu,webgl:f16", "-n2", "--dist=loadgroup")
    assert run.code == 0
    workers = [path.read_text().split() for path in project.folder.glob("on-*")]
    names = {name for tests in workers for name in tests}
    groups = {name.rpartition("@")[2] for name in names if "@" in name}
    assert groups == {"chrome-cpu", "chrome-webgl:f16", "own"}
    for group in groups:
        shares = [sum(name.endswith(f"@{group}") for name in tests) for tests in workers]
        assert sorted(share for share in shares if share) == [2]
    assert "test_none" in names
    assert {name for name in names if name.endswith("@own")} == {
        "test_own[chrome-cpu]@own",
        "test_own[chrome-webgl:f16]@own",
    }
    # Without xdist the tests keep their names.
    plain = project.run("--tfjs-backends=cpu,webgl:f16", "-n2")
    assert plain.code == 0
    assert not any("@" in name for name in plain.cases)


def test_results_are_in_the_order_of_the_tests(tiny_project):
    project = tiny_project("order")
    project.write(
        test_order="""
import time
from pathlib import Path
import pytest

@pytest.mark.xdist_group("late")
def test_late(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)
    deadline = time.monotonic() + 120
    while not Path("done").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)

@pytest.mark.xdist_group("early")
def test_early(tfjs, models, x):
    tfjs.assert_close(models / "tiny.keras", x)

@pytest.mark.xdist_group("early")
def test_after_the_early_one():
    Path("done").touch()
"""
    )
    run = project.run("--tfjs-backends=cpu", "-n2", "--dist=loadgroup")
    assert run.code == 0
    assert [one["model"] for one in run.results["comparisons"]] == ["tiny.h5", "tiny.keras"]
    assert [line.split()[0] for line in run.section("tfjs")[1:3]] == ["tiny.h5", "tiny.keras"]


def test_workers_leave_no_process_or_file(project, spread):
    assert project.left_behind() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("signum", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_browsers_of_workers_end_with_the_controller(tiny_project, signum):
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
    with project.started("--tfjs-backends=cpu", "-n1") as process:
        assert fifo.read_text() == "ready"
        others = psutil.Process(process.pid).children(recursive=True)
        assert any("chrom" in other.name() for other in others)
        process.send_signal(signum)
        process.wait(60)
        _, alive = psutil.wait_procs(others, timeout=60)
        assert alive == []
        assert project.left_behind() == []


MEETING = """
import os
import time
from pathlib import Path
import pytest
from pytest_tfjs.models.cache import ContentCache

BUILD = ContentCache._build

def build(cache, folder, kind, key, *arguments):
    with Path("built").open("a") as stream:
        stream.write(f"{kind} {key}\\n")
    BUILD(cache, folder, kind, key, *arguments)

ContentCache._build = build

@pytest.fixture(scope="session", autouse=True)
def two_at_once(tfjs_tensorflow):
    Path(f"here-{os.getpid()}").touch()
    deadline = time.monotonic() + 120
    while len(list(Path().glob("here-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
"""
SAME_MODELS = """
import pytest

@pytest.mark.parametrize("name", ["tiny.keras", "tiny.h5"])
def test_model(tfjs, models, x, name):
    tfjs.assert_close(models / name, x)
"""


@pytest.fixture
def cold(tiny: Path, tiny_project: Callable[[str], Project]) -> Project:
    """A project with an empty cache whose tests wait for a second process."""
    made = tiny_project("cold")
    made.cache = made.folder / "cache"
    made.write(conftest=(made.folder / "conftest.py").read_text() + MEETING, test_same=SAME_MODELS)
    return made


def built(project: Project) -> dict[str, int]:
    """The number of cache entries of each kind; each was built once."""
    entries = (project.folder / "built").read_text().splitlines()
    assert len(set(entries)) == len(entries)
    return Counter(entry.split()[0] for entry in entries)


def test_workers_convert_and_compute_a_reference_once(cold):
    run = cold.run("--tfjs-backends=cpu,wasm", "-n2", "--dist=loadgroup")
    assert run.code == 0, run.text
    assert [one["verdict"] for one in run.results["comparisons"]] == ["close"] * 4
    assert built(cold) == {"artifacts": 2, "reference": 2}


@pytest.mark.slow
def test_concurrent_runs_convert_and_compute_a_reference_once(cold):
    runs = [
        subprocess.Popen(
            cold.command("--tfjs-backends=cpu", f"--basetemp={cold.folder / name}", "-p", "no:xdist"),
            cwd=cold.folder,
            env=cold.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "other")
    ]
    for run in runs:
        told, _ = run.communicate(timeout=LIMIT_S)
        assert "2 passed" in told
    assert built(cold) == {"artifacts": 2, "reference": 2}
    assert cold.left_behind() == []


@pytest.mark.parametrize("dist", [pytest.param("load", marks=pytest.mark.slow), "loadgroup"])
def test_crashed_worker_ends_its_browser_and_fails_one_test(tiny_project, dist):
    project = tiny_project("crash")
    project.write(
        test_crash="""
import os

def test_before(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)

def test_crash(tfjs):
    assert tfjs.target
    if tfjs.target.backend == "wasm":
        os._exit(7)

def test_behind(tfjs, models, x): tfjs.assert_close(models / "tiny.keras", x)
"""
    )
    # Under loadgroup pytest-xdist 3.8 would give the next worker the same test, again and again.
    once = ["--max-worker-restart=0"] if dist == "loadgroup" else []
    run = project.run("--tfjs-backends=cpu,wasm", "-n2", f"--dist={dist}", *once)
    assert run.code == pytest.ExitCode.TESTS_FAILED
    (told,) = {case.failure for case in run.cases.values() if case.outcome != "passed"}
    assert "crashed while running 'test_crash.py::test_crash[chrome-wasm]" in told
    cpu, wasm = (
        [
            one["test"].partition("::")[2]
            for one in run.results["comparisons"]
            if one["target"]["backend"] == name
        ]
        for name in ("cpu", "wasm")
    )
    assert cpu == ["test_before[chrome-cpu]", "test_behind[chrome-cpu]"]
    assert wasm == ["test_before[chrome-wasm]", "test_behind[chrome-wasm]"][: 1 if once else 2]
    assert {one["verdict"] for one in run.results["comparisons"]} == {"close"}
    project.wait_until_nothing_is_left()


def test_run_stopped_at_a_failure_reports_finished_tests(project):
    run = project.run("--tfjs-backends=cpu,wasm", "-n2", "--maxfail=1")
    assert run.code != 0
    found = {(test.partition("[")[0], verdict) for test, verdict, _ in verdicts(run)}
    assert ("test_model.py::test_damaged", "diverged") in found
    assert found <= {("test_model.py::test_damaged", "diverged"), ("test_model.py::test_close", "close")}
    assert project.left_behind() == []
