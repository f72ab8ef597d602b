"""However a run ends, its browser, server and temporary files end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.tiny_layers_models import dense_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.inner_runs import Project

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

LIMIT_S = 60.0

# Signals over a pipe that the browser runs, then keeps the page busy for long.
TESTS = """
import os
import numpy as np

def test_first(): pass

def test_long(tfjs):
    assert tfjs.target.backend == "cpu"
    os.write(int(os.environ["READY"]), b"ready")
    tfjs.time("model.json", np.ones((1, 3), np.float32), runs=10**9)

def test_never(tfjs): pass
"""


class Running:
    """A pytest run in its own process group, in the middle of `test_long`."""

    def __init__(self, project: Project, *arguments: str) -> None:
        dense_model(project.folder)
        project.write(test_long=TESTS)
        ready, write_end = os.pipe()
        self.process = subprocess.Popen(
            project.command("--tfjs-backends=cpu", "--tfjs-json=results.json", *arguments),
            cwd=project.folder,
            env=project.environment(READY=str(write_end)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        with os.fdopen(ready, "rb") as stream:
            answer = stream.read(5)
        if answer != b"ready":
            raise AssertionError(self.process.communicate(timeout=LIMIT_S)[0])
        self.others = psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> str:
        """The output, after the run has ended."""
        return self.process.communicate(timeout=LIMIT_S)[0]

    def kill(self) -> None:
        for process in self.others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)


@pytest.fixture
def running(project: Project) -> Iterator[Running]:
    run = Running(project)
    yield run
    run.kill()


@pytest.mark.parametrize(
    "signum",
    [
        pytest.param(signal.SIGTERM),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_signal_ends_the_run_and_its_browser(project, running, signum):
    assert any("chrom" in process.name() for process in running.others)
    # As a terminal does for Ctrl-C: to the whole group.
    os.killpg(running.process.pid, signum)
    printed = running.end()
    assert running.process.returncode == pytest.ExitCode.INTERRUPTED
    expected = (
        "KeyboardInterrupt" if signum == signal.SIGINT else f"KeyboardInterrupt: stopped by {signum.name}"
    )
    assert expected in printed
    assert "1 passed" in printed.splitlines()[-1]
    assert (project.folder / "results.json").exists()
    assert project.left_behind() == []


def test_killed_run_leaves_no_process_or_file(project, running):
    running.process.kill()
    running.process.communicate(timeout=LIMIT_S)
    _, alive = psutil.wait_procs(running.others, timeout=LIMIT_S)
    assert alive == []
    assert project.left_behind() == []


def test_existing_signal_handlers_are_kept(project):
    project.write(
        test_own="""
import signal
def handler(*_): pass
def test_own(tfjs_harness):
    assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.getsignal(signal.SIGHUP) not in (signal.SIG_DFL, handler)
def test_reset(tfjs_harness): pass
""",
        conftest="""
import signal
def pytest_configure():
    from test_own import handler
    signal.signal(signal.SIGTERM, handler)
def pytest_unconfigure():
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
""",
    )
    run = project.run()
    assert run.code == pytest.ExitCode.OK, run.text
