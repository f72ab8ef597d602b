"""A workspace kills its processes and deletes its files, even if pytest is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_tfjs.browsers.processes.workspace import Workspace, find_processes
from tests.support.processes import running, wait_until

SLEEP = "import time; time.sleep(600)"


def test_closed_workspace_ends_its_processes():
    workspace = Workspace()
    script = f"""
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}]).pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env=workspace.environment(),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    child = int(parent.stdout.readline())
    assert {process.pid for process in find_processes(workspace.directory)} == {parent.pid, child}
    assert os.getpid() not in {process.pid for process in find_processes(workspace.directory)}
    workspace.close()
    assert not running(parent.pid)
    assert not running(child)
    assert not workspace.directory.exists()
    workspace.close()
    parent.stdout.close()
    # Selenium waits for its driver's exit status, and treats it as alive if another process took the status.
    assert parent.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "end", ["import os; os._exit(1)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_workspace_ends_with_its_owner(end):
    assert_goes_with_its_owner(end)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know their files' encoding")
def test_workspace_with_a_non_ascii_folder_is_removed(tmp_path):
    folder = tmp_path / "größe"
    folder.mkdir()
    # Without these, Python would use UTF-8 in an ASCII locale.
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert_goes_with_its_owner("import os; os._exit(1)", TMPDIR=str(folder), **locale)


def assert_goes_with_its_owner(end, **environment):
    script = f"""
import os, subprocess, sys
from pytest_tfjs.browsers.processes.workspace import Workspace
workspace = Workspace()
process = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], env=workspace.environment())
sys.stdout.buffer.write(os.fsencode(workspace.directory) + b" %d" % process.pid)
sys.stdout.flush()
{end}
"""
    owner = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, env={**os.environ, **environment}
    )
    directory, pid = owner.stdout.split()
    wait_until(lambda: not Path(os.fsdecode(directory)).exists() and not running(int(pid)))
