"""The two sizes of this suite, and how it is spread over processes."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support.paths import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("arguments", "spread"),
    [
        ([], "-n 2 --dist loadgroup"),
        (["WORKERS=3"], "-n 3 --dist loadgroup"),
        (["WORKERS=0"], None),
        (["ARGS=-k dist"], None),
        (["ARGS=-k dist", "WORKERS=2"], "-n 2 --dist loadgroup"),
    ],
)
def test_make_passes_the_number_of_workers(arguments, spread):
    line = pytest_line("pytest", *arguments)
    assert ("-n " in line) == (spread is not None)
    assert (spread or "") in line
    assert line.endswith("-k dist") == ("ARGS=-k dist" in arguments)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(("target", "all_sizes"), [("test", False), ("test-all", True)])
def test_only_make_test_deselects_slow_tests(target, all_sizes):
    assert ('-m "not slow"' in pytest_line(target)) != all_sizes


def pytest_line(target: str, *arguments: str) -> str:
    """The pytest command of a make target."""
    outer = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "ARGS", "WORKERS")
    commands = subprocess.run(
        ["make", "--dry-run", "--always-make", target, *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = (line for line in commands.splitlines() if "-m pytest" in line)
    return line


SIZES = """
import pytest

@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_size(size): pass

@pytest.mark.slow
def test_slow(): pass
"""
LEFT_OUT = "2 slow tests left out: make test-all runs them"


@pytest.mark.parametrize(
    ("arguments", "passed", "left_out"),
    [
        (("-n", "2", "--dist", "loadgroup", "-m", "not slow"), 1, True),
        (("-m", "not slow", "-k", "size"), 1, False),
    ],
)
def test_number_of_deselected_slow_tests_is_printed(pytester, monkeypatch, arguments, passed, left_out):
    pytester.makeini("[pytest]\nmarkers = slow: takes long")
    pytester.makepyfile(SIZES)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = pytester.runpytest_subprocess("-p", "tests.support.sizes", *arguments)
    run.assert_outcomes(passed=passed)
    assert (LEFT_OUT in run.stdout.lines) == left_out


def test_each_test_file_is_named_after_its_module():
    """`test_cache_processes.py` tests `cache.py`; whole/ and two more files test all modules."""
    package, tests = ROOT / "pytest_tfjs", ROOT / "tests"
    strays = []
    for path in tests.rglob("test_*.py"):
        place = path.parent.relative_to(tests)
        modules = {module.stem for module in (package / place).glob("*.py")}
        own = path.stem.removeprefix("test_")
        if place.parts[:1] == ("whole",) or own in ("layering", "module_docstrings"):
            continue
        if not any(own == module or own.startswith(f"{module}_") for module in modules):
            strays.append(str(path.relative_to(tests)))
    assert strays == []
