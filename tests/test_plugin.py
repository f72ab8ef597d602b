"""The plugin's hooks: cheap in unrelated runs, one test for each target in others."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

# Runs within this process would import these again each time if they were not imported here.
import pytest_tfjs.browsers.harness
import pytest_tfjs.checker
import pytest_tfjs.report.json_report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("only_this_plugin")

HEAVY = {
    "numpy", "selenium", "tensorflow", "tf_keras", "keras", "starlette", "uvicorn", "safetensors", "psutil",
    "filelock", "webdriver_manager", "asyncio",
}  # fmt: skip

UNRELATED = {
    "pytest_tfjs",
    "pytest_tfjs.plugin",
    "pytest_tfjs.errors",
    "pytest_tfjs.fixtures",
    "pytest_tfjs.settings",
    "pytest_tfjs.settings.markers",
    "pytest_tfjs.settings.options",
    "pytest_tfjs.settings.settings",
    # for the line in the header of the run
    "pytest_tfjs.browsers",
    "pytest_tfjs.browsers.tfjs_dist",
    "pytest_tfjs.formats",
    "pytest_tfjs.formats.escaping",
    "pytest_tfjs.preflight",
    "pytest_tfjs.report",
    "pytest_tfjs.report.header",
}
"""The modules that a run without TF.js tests imports."""

# Writes the names of the imported modules at the end of the run.
WRITE_MODULES = """
import json, sys
def pytest_unconfigure():
    with open("modules.json", "w") as stream:
        json.dump(sorted(sys.modules), stream)
"""


@pytest.fixture
def run_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs pytest in a separate process, without other plugins; gives the result and the imported modules.

    A program that would start a browser creates the file `started`; temporary files go to `scratch`.
    """
    fakes, scratch = pytester.mkdir("fakes"), pytester.mkdir("scratch")
    for name in ("chromium", "google-chrome", "chromedriver"):
        (fakes / name).write_text(f"#!/bin/sh\ntouch '{pytester.path / 'started'}'\n")
        (fakes / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(fakes))
    monkeypatch.setenv("TMPDIR", str(scratch))
    pytester.makeconftest(WRITE_MODULES)

    def run(*arguments: str) -> tuple[pytest.RunResult, set[str]]:
        result = pytester.runpytest_subprocess(*arguments)
        return result, set(json.loads((pytester.path / "modules.json").read_text()))

    return run


def test_an_unrelated_run_imports_only_the_listed_modules(pytester, run_alone):
    pytester.makepyfile("def test_a(tmp_path): pass\ndef test_b(): assert 0")
    result, modules = run_alone()
    result.assert_outcomes(passed=1, failed=1)
    assert not HEAVY & modules
    assert {name for name in modules if name.startswith("pytest_tfjs")} == UNRELATED
    result.stdout.no_fnmatch_line("*= tfjs =*")


def test_importing_the_package_imports_no_other_module(pytester):
    result = pytester.run(
        sys.executable,
        "-c",
        "import sys, pytest_tfjs; print(*(n for n in sys.modules if n.startswith('pytest')))",
    )
    assert result.outlines == ["pytest_tfjs"]


def test_collection_starts_no_browser_and_writes_no_files(pytester, run_alone):
    pytester.makepyfile("def test_model(tfjs): tfjs.assert_close('model.h5', None)")
    result, modules = run_alone(
        "--collect-only", "-q", "--tfjs-json=results.json", "--tfjs-backends=wasm,cpu"
    )
    assert result.outlines[:2] == [
        "test_collection_starts_no_browser_and_writes_no_files.py::test_model[chrome-wasm]",
        "test_collection_starts_no_browser_and_writes_no_files.py::test_model[chrome-cpu]",
    ]
    assert not HEAVY & modules
    assert not (pytester.path / "results.json").exists()
    assert not (pytester.path / ".pytest_cache" / "d").exists()
    assert not (pytester.path / "started").exists()
    assert list((pytester.path / "scratch").iterdir()) == []


def test_an_unused_tfjs_fixture_starts_no_browser(pytester, run_alone):
    pytester.makepyfile("def test_model(tfjs): pass")
    result, modules = run_alone("--tfjs-backends=cpu")
    result.assert_outcomes(passed=1)
    assert not {"selenium", "tensorflow"} & modules
    assert not (pytester.path / "started").exists()
    assert list((pytester.path / "scratch").iterdir()) == []


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    """The tests of the folder in the order they would run, without the name of their file."""
    result = pytester.runpytest_inprocess("--collect-only", "-q", *arguments)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_a_test_runs_once_for_each_target_in_the_order_of_the_option(pytester):
    pytester.makepyfile("def test_a(tfjs): pass\ndef test_b(): pass")
    assert collected(pytester) == ["test_a[chrome-webgl]", "test_a[chrome-wasm]", "test_b"]
    backends = "--tfjs-backends=webgl:f16,cpu,wasm:threads,cpu"
    assert collected(pytester, backends)[:3] == [
        "test_a[chrome-webgl:f16]", "test_a[chrome-cpu]", "test_a[chrome-wasm:threads]",
    ]  # fmt: skip


def test_the_tests_of_one_target_run_together(pytester):
    pytester.makepyfile(test_one="def test_a(tfjs): pass\ndef test_b(tfjs): pass")
    pytester.makepyfile(test_two="def test_c(tfjs): pass")
    assert collected(pytester, "--tfjs-backends=wasm,cpu") == [
        "test_a[chrome-wasm]", "test_b[chrome-wasm]", "test_c[chrome-wasm]",
        "test_a[chrome-cpu]", "test_b[chrome-cpu]", "test_c[chrome-cpu]",
    ]  # fmt: skip


def test_other_parameters_and_fixtures_that_use_tfjs_are_parametrized_too(pytester):
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def checked(tfjs): return tfjs
        @pytest.mark.parametrize("size", [1, 2])
        def test_a(checked, size): pass
        """
    )
    assert sorted(collected(pytester, "--tfjs-backends=cpu")) == [
        "test_a[chrome-cpu-1]",
        "test_a[chrome-cpu-2]",
    ]


def test_the_closest_marker_of_function_class_and_module_applies(pytester):
    pytester.makepyfile(
        """
        import pytest
        from pytest_tfjs.fixtures import settings_of
        pytestmark = pytest.mark.tfjs(backends="wasm", rtol=3, atol=3, timeout=3)

        @pytest.mark.tfjs(rtol=2, atol=2)
        class TestModel:
            @pytest.mark.tfjs(backends=["cpu"])
            @pytest.mark.tfjs(rtol=1, backends="webgl")
            def test_a(self, tfjs, request):
                settings = settings_of(request.node)
                assert (settings.rtol, settings.atol, settings.timeout) == (1, 2, 3)

        def test_b(tfjs): pass
        """
    )
    assert collected(pytester, "--tfjs-backends=cpu,webgl", "--strict-markers") == [
        "TestModel::test_a[chrome-webgl]", "test_b[chrome-wasm]",
    ]  # fmt: skip
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_the_marker_is_documented(pytester):
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.tfjs(backends, browsers, layers, *timeout, tap_budget): settings for the*"]
    )


def test_getfixturevalue_of_tfjs_fails_with_a_hint(pytester):
    pytester.makepyfile("def test_a(request): request.getfixturevalue('tfjs')\ndef test_b(): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["the fixture 'tfjs' creates one test for each target*Add tfjs to the arguments*"]
    )
    assert "fixtures.py" not in result.stdout.str()


def test_an_error_in_our_fixtures_is_shown_without_pytests_frames(pytester):
    pytester.makeconftest(
        """
        import pytest_tfjs.preflight
        from pytest_tfjs.errors import DistError
        def damaged(settings): raise DistError("the installation is damaged")
        pytest_tfjs.preflight.dist_of = damaged
        """
    )
    pytester.makepyfile("def test_a(tfjs): pass")
    result = pytester.runpytest_subprocess("--tfjs-backends=cpu")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *DistError: the installation is damaged"])
    assert "_pytest/" not in result.stdout.str()
    assert "pluggy/" not in result.stdout.str()


@pytest.mark.parametrize(
    "arguments",
    [["-p", "no:cacheprovider"], ["-p", "no:terminal"], ["-q"], ["-qq"], ["-vv"]],
)
def test_the_plugin_works_with_these_pytest_options(pytester, arguments):
    pytester.makepyfile(
        """
        def test_a(tfjs, tfjs_cache):
            assert not list(tfjs_cache.root.glob("*"))
        """
    )
    result = pytester.runpytest_inprocess("--tfjs-backends=cpu,wasm", "--tfjs-json=out.json", *arguments)
    assert result.ret == pytest.ExitCode.OK
    assert json.loads((pytester.path / "out.json").read_text())["comparisons"] == []


def test_the_cache_is_inside_pytests_cache_directory(pytester):
    pytester.makepyfile(
        """
        def test_a(tfjs_cache, pytestconfig):
            assert tfjs_cache.root == pytestconfig.rootpath / "elsewhere" / "d" / "tfjs"
        """
    )
    pytester.runpytest_inprocess("-o", "cache_dir=elsewhere").assert_outcomes(passed=1)


def run_with_arguments(pytester, arguments, test="pass"):
    pytester.makeconftest(
        f"""
        import pytest
        @pytest.fixture(scope="session")
        def tfjs_browser_args(): return {arguments!r}
        """
    )
    pytester.makepyfile(f"def test_a(tfjs_harness): {test}")
    return pytester.runpytest_inprocess()


@pytest.mark.parametrize(
    ("arguments", "of_chrome", "of_firefox"),
    [
        (("--lang=de",), ("--lang=de",), ("--lang=de",)),
        ({"chrome": ["--lang=de"]}, ("--lang=de",), ()),
        ({"chrome": [], "firefox": ["-a", "-b"]}, (), ("-a", "-b")),
    ],
)
def test_browser_arguments_can_be_added_by_overriding_a_fixture(pytester, arguments, of_chrome, of_firefox):
    test = "assert [tfjs_harness._options.for_browser(n).arguments for n in ('chrome', 'firefox')] == "
    run_with_arguments(pytester, arguments, f"{test}{[of_chrome, of_firefox]}").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--lang=de", "must return a list of arguments for all browsers, *; got '--lang=de'"),
        ({"chrome": "--lang=de"}, "must return a list of arguments *; got {'chrome': '--lang=de'}"),
        (3, "must return a list of arguments *; got 3"),
        ({"chromium": ["-a"]}, "names the unknown browser 'chromium'; expected one of chrome, firefox, *"),
    ],
)
def test_invalid_browser_arguments_are_refused(pytester, arguments, message):
    result = run_with_arguments(pytester, arguments)
    result.assert_outcomes(errors=1)
    escaped = message.replace("[", "[[]")
    result.stdout.fnmatch_lines([f"*SettingsError: the fixture tfjs_browser_args {escaped}"])


def test_json_write_errors_do_not_hide_test_results(pytester, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pytest_tfjs.report.json_report, "write_json", full)
    pytester.makepyfile("def test_a(): pass\ndef test_b(): assert 0")
    message = "--tfjs-json=*out.json: the results could not be written there: *No space left on device*"

    failed = pytester.runpytest_inprocess("--tfjs-json=out.json")
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(["*def test_b(): assert 0", message, "*1 failed, 1 passed*"])

    passed = pytester.runpytest_inprocess("--tfjs-json=out.json", "-k", "test_a", "-q")
    assert passed.ret == pytest.ExitCode.USAGE_ERROR
    passed.stdout.fnmatch_lines([message])
