"""Skipped targets, strict targets, expected failures and custom variants."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from pytest_tfjs.outcomes import is_models_fault
from tests.support.comparisons import close, comparison, layer

TESTS = '''
import pytest
from pytest_tfjs import Prebuilt
from pytest_tfjs.browsers.serving.page_channel import PageChannel

@pytest.fixture(scope="session")
def tfjs_browser_args():
    return ["--disable-gpu", "--disable-software-rasterizer"]  # no webgl

def test_close(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)

@pytest.fixture
def flags(tfjs):
    return tfjs.target.flags

def test_flags(flags, tfjs):
    assert isinstance(flags, dict)

def damaged(models):
    return Prebuilt(models / "damaged", models / "tiny.h5")

FAIL_NEXT_KERNEL = """
const engine = tf.engine(), run = engine.runKernel;
engine.runKernel = () => { engine.runKernel = run; throw new Error("TF.js cannot"); };
"""

def no_space(*_):
    raise OSError(28, "No space left on device")

@pytest.mark.tfjs(backends="cpu,wasm")
@pytest.mark.tfjs_xfail(target="*/cpu", reason="a weight is wrong")
class TestExpected:
    def test_diverges(self, tfjs, models, x):
        if tfjs.target.backend == "cpu":
            tfjs.assert_close(damaged(models), x)

    def test_passes(self, tfjs):
        assert tfjs.target.backend

    def test_disagrees(self, tfjs, models, x):
        if tfjs.target.backend == "cpu":
            tfjs.assert_agrees(damaged(models), x, metric=lambda ours, theirs: 0, min_metric=1)

    def test_cannot_be_timed(self, tfjs, tfjs_harness, models, x):
        if tfjs.target.backend == "cpu":
            tfjs_harness._browser._driver.execute_script(FAIL_NEXT_KERNEL)
            tfjs.time(models / "tiny.h5", x)

    @pytest.fixture
    def compared(self, tfjs, models, x):
        if tfjs.target.backend == "cpu":
            tfjs.assert_close(damaged(models), x)

    def test_diverges_in_a_fixture(self, compared):
        pass

    def test_disk_is_full(self, tfjs, models, x, monkeypatch):
        monkeypatch.setattr(PageChannel, "references", no_space)
        tfjs.assert_close(models / "tiny.h5", x)

    def test_raises(self, tfjs):
        assert tfjs.target.backend == "wasm"

    @pytest.mark.tfjs(timeout=0.001)
    def test_is_too_slow(self, tfjs, models, x):
        tfjs.assert_close(models / "tiny.h5", x)

@pytest.fixture
def compared(tfjs, models, x):
    yield tfjs.compare(models / "tiny.h5", x)
    tfjs.compare(damaged(models), x)
    tfjs.agreement(models / "tiny.h5", x, metric=lambda ours, theirs: 1, min_metric=1)

@pytest.fixture
def failing(tfjs, models, x):
    tfjs.assert_close(damaged(models), x)

@pytest.mark.tfjs(backends="cpu")
class TestFixtures:
    def test_phases(self, compared, tfjs, models, x):
        tfjs.compare(models / "tiny.h5", x)

    def test_setup(self, failing):
        pass
'''


@pytest.fixture(scope="module")
def project(tiny_project):
    made = tiny_project("expected")
    made.write(test_model=TESTS)
    return made


def outcomes(run):
    """The outcome of each test in pytest's short summary, by name."""
    lines = re.findall(r"^(\w+) test_model\.py::(?:\w+::)?(test_\w+\[[^\]]*\])", run.text, re.MULTILINE)
    return {name: outcome for outcome, name in lines}


@pytest.mark.browser
@pytest.mark.convert
class TestUnavailableTarget:
    def test_is_skipped_with_its_reason_in_summary_and_json(self, project):
        run = project.run("--tfjs-backends=webgl,cpu", "-rs", "-k", "test_close or test_flags")
        assert run.code == pytest.ExitCode.OK
        reason = "webgl on chrome: not available on this machine: the browser provides no WebGL context"
        assert f"not run: {reason} (2 tests)" in run.text
        assert re.search(rf"SKIPPED \[1\] test_model\.py:\d+: {reason}", run.text)
        tests = {one["test"] for one in run.results["not_run"]}
        assert tests == {"test_model.py::test_close[chrome-webgl]", "test_model.py::test_flags[chrome-webgl]"}
        assert {one["reason"] for one in run.results["not_run"]} == {reason}
        assert [one["target"]["backend"] for one in run.results["comparisons"]] == ["cpu"]

    def test_fails_with_strict_targets(self, project):
        run = project.run("--tfjs-backends=webgl", "--tfjs-strict-targets", "-k", "test_close")
        assert run.code == pytest.ExitCode.TESTS_FAILED
        assert "provides no WebGL context" in run.cases["test_close[chrome-webgl]"].message
        assert run.results["not_run"] == []


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.parametrize("spread", [(), ("-n2",)], ids=["alone", "xdist"])
def test_xfail_applies_to_verdicts_on_matching_targets_only(project, spread):
    if spread:
        pytest.importorskip("xdist")
    run = project.run("-rfExXp", "-k", "TestExpected", *spread)
    assert outcomes(run) == {
        "test_diverges[chrome-cpu]": "XFAIL",
        "test_diverges[chrome-wasm]": "PASSED",
        "test_disagrees[chrome-cpu]": "XFAIL",
        "test_disagrees[chrome-wasm]": "PASSED",
        "test_cannot_be_timed[chrome-cpu]": "XFAIL",
        "test_cannot_be_timed[chrome-wasm]": "PASSED",
        "test_diverges_in_a_fixture[chrome-cpu]": "XFAIL",
        "test_diverges_in_a_fixture[chrome-wasm]": "PASSED",
        "test_disk_is_full[chrome-cpu]": "FAILED",
        "test_disk_is_full[chrome-wasm]": "FAILED",
        "test_passes[chrome-cpu]": "FAILED",
        "test_passes[chrome-wasm]": "PASSED",
        "test_raises[chrome-cpu]": "FAILED",
        "test_raises[chrome-wasm]": "PASSED",
        "test_is_too_slow[chrome-cpu]": "FAILED",
        "test_is_too_slow[chrome-wasm]": "FAILED",
    }
    assert "[XPASS(strict)] a weight is wrong" in run.text
    assert_expected_verdicts_are_reported(run)


def assert_expected_verdicts_are_reported(run):
    """Expected verdicts have the marker's reason, and errors have none."""
    comparisons = run.results["comparisons"]
    diverged = [one for one in comparisons if one["verdict"] == "diverged"]
    assert {one["test"].partition("::test_")[2] for one in diverged} == {
        "diverges[chrome-cpu]",
        "diverges_in_a_fixture[chrome-cpu]",
    }
    assert {one["expected"] for one in (*diverged, *run.results["task"])} == {"a weight is wrong"}
    others = [one for one in comparisons if one["verdict"] != "diverged"]
    assert {(one["verdict"], one["expected"]) for one in others} == {("error", None)}
    properties = {name: case.properties.get("tfjs_expected") for name, case in run.cases.items()}
    assert {name for name, reason in properties.items() if reason is not None} == {
        "test_diverges[chrome-cpu]",
        "test_diverges_in_a_fixture[chrome-cpu]",
    }
    assert set(properties.values()) == {"a weight is wrong", None}
    summary = run.section("tfjs")
    assert sum("diverged (expected)" in line for line in summary) == 2
    assert sum(": diverged: " in line for line in summary) == 0
    assert sum(": error: " in line for line in summary) == 4
    (task,) = run.section("tfjs tasks")
    assert task.endswith(" 1 required (expected)")


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.parametrize(
    "spread", [(), pytest.param(("-n2",), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
def test_comparisons_in_fixtures_are_reported_once(project, spread):
    if spread:
        pytest.importorskip("xdist")
    run = project.run("-k", "TestFixtures", *spread)
    verdicts = [(one["test"].partition("::test_")[2], one["verdict"]) for one in run.results["comparisons"]]
    phases, setup = "phases[chrome-cpu]", "setup[chrome-cpu]"
    assert verdicts == [
        *((phases, verdict) for verdict in ("close", "close", "diverged")),
        (setup, "diverged"),
    ]
    assert [one["verdict"] for one in run.results["task"]] == ["close"]
    assert sum("diverged" in line for line in run.section("tfjs")) == 4  # each with its reason below


@pytest.mark.parametrize(
    ("verdict", "refused", "counts"),
    [
        ("diverged", False, True),
        ("vacuous", False, True),
        ("error", True, True),
        ("error", False, False),
        ("close", False, False),
    ],
)
def test_verdicts_that_an_expected_failure_covers(verdict, refused, counts):
    found = comparison([layer("a", output=True)], {"a": close()}, verdict=verdict, refused=refused)
    assert is_models_fault(found) is counts


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("target='chrome/wegbl', reason='r'", "did you mean 'chrome/webgl'"),
        ("target='netscape/*', reason='r'", "'netscape/*' matches no target"),
        ("target='webgl', reason='r'", "expected browser/backend"),
        ("target='*/webgl'", "needs exactly two keyword arguments"),
        ("'*/webgl', 'r'", "needs exactly two keyword arguments"),
        ("target='*/webgl', reason='r', strict=False", "strict=False"),
        ("target='*/webgl', reason=' '", "needs exactly two keyword arguments"),
    ],
)
def test_an_invalid_xfail_marker_is_rejected(pytester, only_this_plugin, marker, message):
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.tfjs_xfail({marker})\ndef test_a(tfjs): pass\ndef test_b(): pass"
    )
    run = pytester.runpytest("--strict-markers")
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert message in run.stdout.str()


MARKED = """
import pytest
{own}
def test_bare(tmp_path): pass
@pytest.mark.tfjs_xfail(target="{target}", reason="r")
class TestClass:
    def test_bare(self): pass
"""


@pytest.mark.parametrize(
    ("own", "target", "message"),
    [
        (
            "@pytest.mark.tfjs_xfail(target='*/webgl', reason='r')",
            "*/webgl",
            "test_bare: .*does not use the fixture 'tfjs'",
        ),
        ("", "nonsense", "TestClass::test_bare: .*'nonsense' matches no target"),
        ("", "*/webgl", None),
    ],
    ids=["on the test", "on the class, invalid", "on the class"],
)
def test_an_xfail_marker_directly_on_a_test_without_tfjs_is_rejected(
    pytester, only_this_plugin, own, target, message
):
    pytester.makepyfile(MARKED.format(own=own, target=target))
    run = pytester.runpytest()
    if message is None:
        run.assert_outcomes(passed=2)
        return
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert re.search(message, run.stdout.str())


def test_the_xfail_marker_is_documented(pytester, only_this_plugin):
    assert "@pytest.mark.tfjs_xfail(target, reason):" in pytester.runpytest("--markers").stdout.str()


@pytest.mark.browser
@pytest.mark.convert
def test_a_custom_variant_runs_with_its_flags(project):
    variants = "wasm:mine WASM_HAS_SIMD_SUPPORT=false\ncpu:odd NO_SUCH_FLAG=3"
    run = project.run(
        "-o", f"tfjs_variants={variants}", "--tfjs-backends=wasm:mine,cpu:odd", "-k", "test_close"
    )
    by = SimpleNamespace(**{one["target"]["variant"]: one for one in run.results["comparisons"]})
    assert (by.mine["verdict"], by.odd["verdict"]) == ("close", "error")
    assert by.mine["target"]["flags"]["WASM_HAS_SIMD_SUPPORT"] is False
    assert "TF.js refuses 3 for the flag NO_SUCH_FLAG" in by.odd["reason"]
    assert {name.partition("[")[2] for name in run.cases} == {"chrome-wasm:mine]", "chrome-cpu:odd]"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("webgl:f16 WEBGL_PACK=false", "the variant webgl:f16 already exists"),
        ("webgl:x", "is not a variant"),
        ("webgpux:x A=1", "did you mean 'webgpu'"),
        ("webgl:x WEBGL_PACK=maybe", "'WEBGL_PACK=maybe' is not a flag"),
        ("webgl:x pack=1", "'pack=1' is not a flag"),
        ("wasm:x WEBGL_PACK=true", "the flag WEBGL_PACK of webgl has no effect on wasm"),
        ("webgl:x WEBGPU_CPU_FORWARD=true", "the flag WEBGPU_CPU_FORWARD of webgpu"),
        ("cpu:x WASM_HAS_SIMD_SUPPORT=false", "the flag WASM_HAS_SIMD_SUPPORT of wasm"),
        ("webgpu:x WEBGL2_ISNAN_CUSTOM=true", "the flag WEBGL2_ISNAN_CUSTOM of webgl"),
    ],
)
def test_an_invalid_variant_is_a_usage_error(pytester, only_this_plugin, line, message):
    run = pytester.runpytest("-o", f"tfjs_variants={line}")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "ini value tfjs_variants" in run.stderr.str()
    assert message in run.stderr.str()
