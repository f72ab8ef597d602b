"""A named browser or driver program must match the selected browser."""

from __future__ import annotations

import pytest

import pytest_tfjs.browsers.harness  # noqa: F401 (runs within this process would import it again each time)

pytestmark = pytest.mark.usefixtures("only_this_plugin")

BINARY, DRIVER = "--tfjs-browser-binary", "--tfjs-driver-binary"
MARKED = """
import pytest
@pytest.mark.tfjs(browsers={browsers!r})
def test_marked(tfjs): pass
"""


@pytest.fixture
def collect(pytester):
    """Collects tests with an option that names a program; `marker`: the browsers of a marked test."""

    def run(option, name, *arguments, marker=None):
        path = pytester.path / name
        path.touch(mode=0o755)
        if marker is None:
            pytester.makepyfile("def test_a(tfjs): pass")
        else:
            pytester.makepyfile(MARKED.format(browsers=marker))
        return pytester.runpytest_inprocess("--collect-only", "-q", f"{option}={path}", *arguments)

    return run


@pytest.mark.parametrize("option", [BINARY, DRIVER])
def test_program_for_several_browsers_is_rejected(collect, option):
    result = collect(option, "own-build", "--tfjs-browsers=firefox,chrome")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: {option}=*own-build: one program cannot run several browsers (firefox, chrome). Select*"]
    )


@pytest.mark.parametrize(
    ("option", "name", "owner", "browser"),
    [
        (BINARY, "firefox-esr", "firefox", "chrome"),
        (BINARY, "MiniBrowser", "webkitgtk", "firefox"),
        (DRIVER, "geckodriver.exe", "firefox", "edge"),
        (DRIVER, "msedgedriver", "edge", "chrome"),
    ],
)
def test_program_of_another_browser_is_rejected(collect, option, name, owner, browser):
    result = collect(option, name, f"--tfjs-browsers={browser}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option}=*{name} is a program of {owner}, *run in {browser}. *"])


@pytest.mark.parametrize(
    ("name", "arguments", "marker", "message"),
    [
        ("chrome", (), "firefox", " is a program of chrome, but the tests run in firefox"),
        (
            "own-build",
            ("--tfjs-browsers=Chrome",),
            "firefox",
            " is a program of chrome, but the tests run in firefox",
        ),
        (
            "own-build",
            (),
            "chrome,firefox",
            ": one program cannot run several browsers (chrome, firefox). Select one browser",
        ),
    ],
)
def test_marker_with_another_browser_is_rejected(collect, name, arguments, marker, message):
    result = collect(BINARY, name, *arguments, marker=marker)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*test_marked: {BINARY}=*{name}{message}*"])


@pytest.mark.parametrize(
    ("option", "name", "arguments", "marker"),
    [
        (BINARY, "firefox", (), None),
        (BINARY, "own-build", ("--tfjs-browsers=firefox",), None),
        (BINARY, "own-build", ("--tfjs-browsers=chrome",), "chrome"),
        (BINARY, "chromium", ("--tfjs-browsers=chrome",), None),
        (DRIVER, "chromedriver", ("--tfjs-browsers=chrome",), "Chrome"),
        (DRIVER, "own-driver", (), "edge"),
    ],
)
def test_program_of_the_selected_browser_is_accepted(collect, option, name, arguments, marker):
    result = collect(option, name, *arguments, marker=marker)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["2 tests collected*"])


def test_program_in_the_ini_file_is_ignored_on_a_grid(pytester):
    (pytester.path / "chrome").touch(mode=0o755)
    pytester.makeini("[pytest]\ntfjs_browser_binary = chrome")
    pytester.makepyfile("def test_a(tfjs): pass")
    there = ("--tfjs-remote=http://127.0.0.1:4444", "--tfjs-browsers=chrome,firefox")
    assert pytester.runpytest_inprocess("--collect-only", *there).ret == 0
    result = pytester.runpytest_inprocess("--collect-only", "--tfjs-browsers=firefox")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: ini value tfjs_browser_binary=*chrome is a program of chrome, *"])
