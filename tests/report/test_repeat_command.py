"""The command that repeats one test."""

from __future__ import annotations

import shlex

import pytest

from pytest_tfjs.report.repeat_command import repeat_command
from pytest_tfjs.settings.options import FLAGS

pytestmark = pytest.mark.usefixtures("only_this_plugin")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["tests", "-k", "cnn", "-x", "-v", "--durations=3"], []),
        (["--tfjs-backends=webgl,wasm", "tests/test_a.py"], ["--tfjs-backends=webgl,wasm"]),
        (["--tfjs-backends", "webgl", "tests"], ["--tfjs-backends", "webgl"]),
        (["--tfjs-headed", "tests/test_a.py"], ["--tfjs-headed"]),
        (["--tfjs-json=a.json", "--tfjs-json", "b.json"], []),
        (
            ["-o", "tfjs_rtol=1", "-c", "other.ini", "-p", "my.plugin"],
            ["-o", "tfjs_rtol=1", "-c", "other.ini", "-p", "my.plugin"],
        ),
        (["-ptwo", "-otfjs_rtol=1"], ["-ptwo", "-otfjs_rtol=1"]),
        (["--rootdir", "..", "--override-ini=a=b"], ["--rootdir", "..", "--override-ini=a=b"]),
        (["--tfjs-rtol"], ["--tfjs-rtol"]),
        (["--tfjs-remote=https://me:k@y@hub/wd/hub"], ["--tfjs-remote=https://***@hub/wd/hub"]),
        (["--tfjs-remote", "https://me:key@hub"], ["--tfjs-remote", "https://***@hub"]),
        (["-o", "tfjs_remote=https://me:key@hub"], ["-o", "tfjs_remote=https://***@hub"]),
        (["-otfjs_remote=https://me:key@hub"], ["-otfjs_remote=https://***@hub"]),
    ],
)
def test_command_has_only_options_that_affect_the_test(given, expected):
    command = repeat_command("test_a.py::test", given, flags=FLAGS)
    assert shlex.split(command) == ["pytest", "test_a.py::test", *expected]


def test_special_characters_are_quoted_for_the_shell():
    command = repeat_command("test_a.py::test[chrome-cpu]", ["--tfjs-dist=my app"], flags=FLAGS)
    assert command == "pytest 'test_a.py::test[chrome-cpu]' '--tfjs-dist=my app'"


@pytest.mark.parametrize("start", [".", "below", "aside"])
def test_command_runs_from_the_folder_where_pytest_was_started(pytester, monkeypatch, start):
    pytester.makefile(".ini", pytest="[pytest]")
    pytester.mkdir("below")
    pytester.mkdir("aside")
    (pytester.path / "below" / "test_a.py").write_text(
        "class TestA:\n    def test_a(self, tfjs): raise RuntimeError(tfjs._context.repeat)"
    )
    monkeypatch.chdir(pytester.path / start)
    result = pytester.runpytest_inprocess(
        "--tfjs-backends=cpu", f"--rootdir={pytester.path}", str(pytester.path)
    )
    message = next(line for line in result.outlines if line.startswith("E  ") and "RuntimeError: " in line)
    command = shlex.split(message.partition("RuntimeError: ")[2])
    again = pytester.runpytest_inprocess(*command[1:])
    again.assert_outcomes(failed=1)
    assert "TestA.test_a[chrome-cpu]" in again.stdout.str()
