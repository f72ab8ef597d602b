"""Runs over model files: TensorFlow stays in its process; a failure fails one test."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from tests.support.inner_runs import Project

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

# Stands before the real converter in sys.path: kills its process the first time, then is the real one.
KILLED_CONVERTER = """
import os
import signal
import sys
from importlib.machinery import PathFinder
from pathlib import Path

ours = Path(__file__).parents[1]
if not (ours / "died").exists():
    (ours / "died").touch()
    print("the converter's last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
others = [path for path in sys.path if Path(path) != ours]
__path__ = PathFinder.find_spec("tensorflowjs", others).submodule_search_locations
"""
KILLED_TESTS = """
import sys
import numpy as np
from pathlib import Path

MODEL = Path(@MODELS@) / "tiny.keras"

def test_first(tfjs):
    tfjs.convert(MODEL)

def test_second(tfjs):
    assert tfjs.convert(MODEL).format == "graph"

def test_third(tfjs):
    tfjs.convert(MODEL, weights="uint8")

def test_imported():
    assert not {"tensorflow", "keras", "tf_keras"} & set(sys.modules)
"""


@pytest.fixture
def first_run(tiny, tmp_path):
    """A project with the tiny models and an empty cache."""
    with contextlib.closing(Project(tmp_path / "project", tiny)) as made:
        made.cache = tmp_path / "cache"
        yield made


@posix
@pytest.mark.convert
@pytest.mark.parametrize(
    "arguments", [(), pytest.param(("-n1",), marks=pytest.mark.slow)], ids=["plain", "xdist"]
)
def test_a_conversion_that_kills_its_process_fails_one_test_only(first_run, arguments):
    project = first_run
    project.write(test_models=KILLED_TESTS)
    (project.folder / "tensorflowjs").mkdir()
    (project.folder / "tensorflowjs" / "__init__.py").write_text(KILLED_CONVERTER)
    run = project.run("--tfjs-backends=cpu", *arguments)
    good = dict.fromkeys(("test_second[chrome-cpu]", "test_third[chrome-cpu]", "test_imported"), "passed")
    assert {name: case.outcome for name, case in run.cases.items()} == {
        "test_first[chrome-cpu]": "failure",
        **good,
    }, run.text
    lines = run.cases["test_first[chrome-cpu]"].error_lines
    assert lines[0].endswith(
        "ConversionError: converting 'tiny.keras': the TensorFlow process was killed by SIGKILL: "
        "out of memory?"
    )
    assert lines[-1] == "the converter's last words"
    assert project.left_behind() == []


# A converter that hangs as long as the file `hang` exists.
HANGING_CONVERTER = """
from importlib.machinery import PathFinder
from pathlib import Path
import sys

ours = Path(__file__).parents[1]
while (ours / "hang").exists():
    pass
others = [path for path in sys.path if Path(path) != ours]
__path__ = PathFinder.find_spec("tensorflowjs", others).submodule_search_locations
"""
HANG_TESTS = """
import pytest
from pathlib import Path

MODEL = Path(@MODELS@) / "tiny.keras"

@pytest.mark.tfjs(timeout=3)
def test_first(tfjs):
    Path("hang").touch()
    tfjs.convert(MODEL)

def test_second(tfjs):
    Path("hang").unlink()
    assert tfjs.convert(MODEL).format == "graph"
"""


@posix
@pytest.mark.convert
def test_a_conversion_past_the_tests_timeout_fails_that_test_only(first_run):
    project = first_run
    project.write(test_models=HANG_TESTS)
    (project.folder / "tensorflowjs").mkdir()
    (project.folder / "tensorflowjs" / "__init__.py").write_text(HANGING_CONVERTER)
    run = project.run("--tfjs-backends=cpu")
    outcomes = {name: case.outcome for name, case in run.cases.items()}
    assert outcomes == {"test_first[chrome-cpu]": "failure", "test_second[chrome-cpu]": "passed"}, run.text
    assert (
        "ConversionError: converting 'tiny.keras': the TensorFlow process did not finish within 3 s"
        in run.cases["test_first[chrome-cpu]"].error_lines[0]
    )
    assert project.left_behind() == []


# Without a main guard: starting the TensorFlow process must not run pytest again.
START = """
import sys
import pytest
code = pytest.main(sys.argv[1:])
assert not {"tensorflow", "keras", "tf_keras", "tensorflowjs"} & set(sys.modules)
sys.exit(code)
"""
FILE_TESTS = """
import numpy as np
import pytest
from pathlib import Path
from pytest_tfjs import Prebuilt

TINY = Path(@MODELS@)

@pytest.mark.parametrize(
    "model", [TINY / "tiny.keras", TINY / "tiny.h5", Prebuilt(TINY / "graph", TINY / "tiny.keras")], ids=str
)
def test_file(tfjs, model):
    tfjs.assert_close(model, np.array([[1, 2, 3]], np.float32))
"""


@pytest.mark.browser
@pytest.mark.convert
def test_a_first_run_over_model_files_imports_no_tensorflow_in_pytest(first_run):
    project = first_run
    project.write(start=START, test_files=FILE_TESTS)
    _, _, _, *arguments = project.command("-q", "--tfjs-backends=cpu")
    done = subprocess.run(
        [sys.executable, "start.py", *arguments],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1][:8]) == (0, "3 passed"), done.stdout + done.stderr
    assert done.stderr == ""
    assert project.left_behind() == []
