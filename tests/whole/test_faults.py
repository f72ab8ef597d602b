"""Each fault of docs/faults.md is reported; the next test passes; nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_runs import DISK_FULL, FAULTS, SLEEP, Fault, remains, run_of, seen
from tests.support.inner_runs import TINY_CONFTEST, InnerRun, Project
from tests.support.sizes import slow_except
from tools import faults_table as table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has not the signals that are the causes"),
]
EXIT = {"repeated": 0, "passes": 0, "fails": 1, "the run ends": 2}
SLEPT_S = 60
ENDS_S = 5.0
# One fault of each outcome, and one in another browser.
QUICK = (
    "chrome-browser_killed",
    "chrome-page_hung",
    "chrome-shard_truncated",
    "chrome-Ctrl-C,_job",
    "firefox-tab_crashed",
)


@pytest.fixture
def own_project(tmp_path: Path, tiny: Path) -> Iterator[Callable[..., Project]]:
    """Makes a project with its own models and cache, so faults affect no other test."""
    with contextlib.ExitStack() as stack:

        def make(cache: Path | None = None) -> Project:
            models = tmp_path / "models"
            # Not the sessions of runs that use the shared folder meanwhile.
            shutil.copytree(tiny, models, ignore=shutil.ignore_patterns("sessions"))
            made = stack.enter_context(contextlib.closing(Project(tmp_path / "project", models)))
            if cache is not None:
                shutil.copytree(made.cache, cache, dirs_exist_ok=True)
                made.cache = cache
            made.write(conftest=TINY_CONFTEST)
            return made

        yield make


def check(fault: Fault, project: Project, run: InnerRun, request: pytest.FixtureRequest) -> None:
    """Checks what holds for every fault, and that the page has its row; reports the row for `make faults`."""
    cases = {name.partition("[")[0]: case for name, case in run.cases.items()}
    assert run.code == EXIT[fault.outcome], run.text
    assert cases["test_before"].outcome == "passed", run.text
    if fault.outcome == "the run ends":
        _check_end(fault, run)
    else:
        failed = fault.outcome == "fails"
        assert cases["test_with_fault"].outcome == ("failure" if failed else "passed"), run.text
        assert cases["test_after"].outcome == "passed", run.text
        on = {name: case.properties["browser"] for name, case in cases.items() if name != "test_with_fault"}
        assert (on["test_after"] != on["test_before"]) == fault.fresh
        lost = bool(run.section("tfjs browsers lost"))
        assert lost == (fault.outcome == "repeated" or "in the second browser too" in fault.caused)
    if fault.outcome == "the run ends":
        # The browser's reaper may be collecting the process when the signal comes.
        project.wait_until_nothing_is_left(ENDS_S)
    assert list(remains(project, run)) == []
    message = table.plain(seen(run), project.folder, project.models, project.cache, project.scratch)
    row = table.Row(fault.name, fault.browser, fault.caused, fault.outcome, message)
    request.node.user_properties.append(table.TESTS.user_property(row))
    if not table.TESTS.is_writing():
        assert row.masked in [one.masked for one in table.read()], "run `make faults`"


def _check_end(fault: Fault, run: InnerRun) -> None:
    """Results from before Ctrl-C are written, unless it came while they were being written."""
    tests = [one["test"].partition("[")[0] for one in run.results.get("comparisons", ())]
    if "results are written" in fault.caused:
        assert tests == []
    else:
        assert tests == ["test_model.py::test_before"]
        assert "1 passed" in run.text.splitlines()[-1]


@pytest.mark.parametrize("fault", slow_except(QUICK, FAULTS))
def test_fault_fails_at_most_one_test(fault, own_project, request):
    project = own_project()
    check(fault, project, run_of(fault, project), request)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A nearly full file system."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', error)}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_fails_one_test(own_project, small_disk, request):
    project = own_project(small_disk)
    check(DISK_FULL, project, run_of(DISK_FULL, project), request)


@pytest.mark.slow
def test_sleeping_machine_fails_no_test(own_project, request):
    project = own_project()
    run = run_of(SLEEP, project)
    assert float(re.findall(r"in ([\d.]+)s", run.text.splitlines()[-1])[0]) > SLEPT_S
    check(SLEEP, project, run, request)


TWO = """
import os
from pathlib import Path
import pytest
from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

@pytest.fixture(autouse=True)
def derived(monkeypatch):
    run = TensorFlowProcess.run
    def logged_run(process, activity, *arguments, **limit):
        with Path(os.environ["DERIVED"]).open("a") as log:
            log.write(f"{activity}\\n")
        return run(process, activity, *arguments, **limit)
    monkeypatch.setattr(TensorFlowProcess, "run", logged_run)

def test_model(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)
"""


def test_concurrent_runs_share_the_cache(own_project, tmp_path):
    """One project with an empty cache and one results file."""
    project = own_project()
    shutil.rmtree(project.cache)
    project.write(test_model=TWO)
    log, results = tmp_path / "derived", project.folder / "results.json"
    words = project.command("--tfjs-backends=cpu", f"--tfjs-json={results}")
    command = [word for word in words if not word.startswith("--basetemp")]  # each would empty it

    def run(_: int) -> subprocess.CompletedProcess[str]:
        environment = project.environment(DERIVED=str(log))
        return subprocess.run(
            command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False
        )

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(run, range(2)))
    assert [one.returncode for one in runs] == [0, 0], runs
    derived = log.read_text().splitlines()
    assert len(derived) == len(set(derived)) > 1
    (comparison,) = json.loads(results.read_text())["comparisons"]
    assert comparison["verdict"] == "close"
    assert list(remains(project, InnerRun(0, "", {}, {}))) == []
