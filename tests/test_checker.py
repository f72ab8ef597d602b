"""The fixture `tfjs` in a real run: results, failures, summary, JSON and JUnit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.browsers.tfjs_dist import Dist

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.inner_runs import InnerRun, Project

pytestmark = [pytest.mark.browser, pytest.mark.convert]

TESTS = """
import numpy as np
import pytest
from pytest_tfjs import NotClose, Prebuilt, Tolerance

# Tolerances are tested on a model with a wrong weight, which the weight check would fail by default.
pytestmark = pytest.mark.tfjs(weight_check="tell")

@pytest.fixture
def damaged(models):
    return Prebuilt(models / "damaged", models / "tiny.h5")

def test_layers(tfjs, models, x):
    comparison = tfjs.assert_close(models / "tiny.h5", x)
    assert comparison.verdict == "close"
    assert [result.layer.name for result in comparison.layers] == ["hidden", "scores"]
    assert comparison.outputs == ("scores",)

def test_graph(tfjs, models, x):
    comparison = tfjs.assert_close(models / "tiny.keras", x)
    assert {result.layer.coverage for result in comparison.layers} == {"compared", "fused", "eliminated"}

def test_damaged(tfjs, damaged, x):
    marker = "the user's line"
    tfjs.assert_close(damaged, x)

def test_compare_does_not_raise(tfjs, damaged, x):
    comparison = tfjs.compare(damaged, x)
    assert comparison.verdict == "diverged"
    assert comparison.first_divergence == ("scores",)

def test_the_error_has_the_comparison(tfjs, damaged, x):
    with pytest.raises(NotClose, match="'scores' diverged first") as caught:
        tfjs.assert_close(damaged, x)
    assert caught.value.comparison.verdict == "diverged"

def test_rtol(tfjs, damaged, x):
    assert tfjs.assert_close(damaged, x, rtol=0.5).verdict == "close"

def test_atol(tfjs, damaged, x):
    assert tfjs.assert_close(damaged, x, atol=0.5).verdict == "close"

def test_a_tolerance_that_allows_zeros_is_vacuous(tfjs, damaged, x):
    assert tfjs.compare(damaged, x, rtol=2).verdict == "vacuous"

@pytest.mark.tfjs(rtol=0.5)
def test_call_overrides_marker(tfjs, damaged, x):
    assert tfjs.assert_close(damaged, x).verdict == "close"
    assert tfjs.compare(damaged, x, rtol=0).verdict == "diverged"

def test_per_layer(tfjs, damaged, x):
    assert tfjs.assert_close(damaged, x, per_layer={"sc*": Tolerance(rtol=0, atol=0.5)}).verdict == "close"
    assert tfjs.compare(damaged, x, per_layer={"hidden": Tolerance(rtol=0, atol=0.5)}).verdict == "diverged"

@pytest.mark.tfjs(weight_check="fail")
def test_no_tolerance_allows_a_wrong_weight(tfjs, damaged, x):
    comparison = tfjs.compare(damaged, x, rtol=0.5)
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ())
    assert comparison.reason.startswith("the artifacts' weight 'scores/kernel' differs from the source's: ")

def test_outputs_only(tfjs, models, x):
    comparison = tfjs.assert_close(models / "tiny.h5", x, layers="outputs")
    assert [result.layer.name for result in comparison.layers] == ["scores"]

def test_several_feeds(tfjs, models, x):
    comparison = tfjs.assert_close(models / "tiny.h5", [x, 2 * x])
    assert comparison.feeds == 2
    assert comparison.layers[0].metrics.elements == 2 * 8

def test_by_name_and_as_tuple(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", {"x": x})
    tfjs.assert_close(models / "tiny.h5", (x,))

def test_time(tfjs, models, x):
    timing = tfjs.time(models / "layers", x, runs=4, warmup=1)
    assert len(timing.warm_ms) == 4
    assert min(timing.load_ms, timing.first_ms, timing.median_ms) > 0

def test_convert(tfjs, models):
    artifacts = tfjs.convert(models / "tiny.h5")
    assert (artifacts.format, artifacts.weights) == ("layers", "float32")
    assert artifacts.model_json.name == "model.json"
    assert [spec.name for spec in artifacts.inputs] == ["x"]

def test_target(tfjs, request):
    assert f"{tfjs.target.browser}-{tfjs.target.backend}" == request.node.callspec.id
    assert tfjs.target.browser_version[0].isdigit()
    assert (tfjs.target.renderer is not None) == (tfjs.target.backend == "webgl")
"""


# Appended to the user's copy of TF.js: each fetch of a model logs a line and leaves an uncaught error.
LOGGING = """
{
  const plain = window.fetch;
  window.fetch = (resource, ...rest) => {
    if (String(resource.url ?? resource).includes("model.json")) {
      console.warn("fetching", {what: "the model"}, 1);
      Promise.reject(new Error("not caught"));
    }
    return plain(resource, ...rest);
  };
}
"""


@pytest.fixture(scope="module")
def project(tiny_project: Callable[[str], Project]) -> Project:
    made = tiny_project("checker")
    made.write(test_model=TESTS)
    shutil.copytree(Dist.shipped().root, made.folder / "node_modules")
    with (made.folder / "node_modules/@tensorflow/tfjs/dist/tf.min.js").open("a") as script:
        script.write(LOGGING)
    return made


@pytest.fixture(scope="module")
def run(project: Project) -> InnerRun:
    return project.run("-v", "--tfjs-backends=cpu,wasm,webgl", "--tfjs-dist=node_modules")


def comparison_of(run: InnerRun, test: str) -> dict[str, Any]:
    found = [one for one in run.results["comparisons"] if one["test"] == f"test_model.py::{test}"]
    return found[0]


def test_only_the_tests_of_the_damaged_model_fail(run):
    failed = {name for name, case in run.cases.items() if case.outcome != "passed"}
    assert failed == {f"test_damaged[chrome-{backend}]" for backend in ("cpu", "wasm", "webgl")}, run.text
    assert len(run.cases) == 3 * TESTS.count("def test_")
    assert run.code == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
def test_the_first_line_of_a_failure_names_the_layer(run, backend):
    case = run.cases[f"test_damaged[chrome-{backend}]"]
    assert re.match(
        rf"pytest_tfjs\.NotClose: {backend} on chrome: 'scores' diverged first: (max )?\|error\| "
        r"\d\.\de[+-]\d+ at \[\d, \d\], \d\.\de-\d+ allowed",
        case.message,
    )


def test_the_traceback_shows_only_the_users_frames(run):
    case = run.cases["test_damaged[chrome-wasm]"]
    assert ">       tfjs.assert_close(damaged, x)" in case.failure
    assert "the user's line" in case.failure
    assert "checker.py" not in case.failure
    assert "def assert_close" not in case.failure
    assert re.findall(r"^(\S+\.py):\d+: ", case.failure, re.MULTILINE) == ["test_model.py"]
    assert "tfjs = <tfjs: wasm on chrome>" in case.failure


def test_a_failure_lists_the_verdicts_of_other_targets(run):
    lines = run.cases["test_damaged[chrome-webgl]"].error_lines
    assert [line.split()[1] for line in lines if line.startswith("elsewhere")] == ["cpu", "wasm"]
    assert "elsewhere" not in run.cases["test_damaged[chrome-cpu]"].failure  # the first of them


def test_the_repeat_command_runs_only_the_failed_test(project, run):
    line = next(
        line for line in run.cases["test_damaged[chrome-wasm]"].error_lines if line.startswith("repeat")
    )
    command = shlex.split(line.removeprefix("repeat"))
    assert command == ["pytest", "test_model.py::test_damaged[chrome-wasm]", *command[2:]]
    assert "--tfjs-backends=cpu,wasm,webgl" in command
    assert not any(word.startswith("--tfjs-json") for word in command)
    again = subprocess.run(
        [sys.executable, "-m", *command, "-v"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert re.findall(r"^test_model\.py::\S+ \w+", again, re.MULTILINE) == [
        "test_model.py::test_damaged[chrome-wasm] FAILED"
    ]


def test_the_summary_has_a_row_for_each_comparison(run):
    heading, *rows = run.section("tfjs")
    assert heading.split() == [
        *("model", "format", "on", "chrome", "verdict", "worst", "layer", "|error|", "allowed"),
        *("first", "ms", "warm", "ms"),
    ]
    diverged = [row for row in rows if re.match(r"damaged +layers +webgl +diverged +scores +\d", row)]
    close = [row for row in rows if re.match(r"tiny\.h5 +layers +cpu +close +(hidden|scores) ", row)]
    verdicts = [
        (one["model"], one["target"]["backend"], one["verdict"]) for one in run.results["comparisons"]
    ]
    assert len(diverged) == verdicts.count(("damaged", "webgl", "diverged")) > 1
    assert len(close) == verdicts.count(("tiny.h5", "cpu", "close")) > 1


def test_verbose_runs_show_each_layer(run):
    lines = run.section("tfjs layers")
    title = lines.index("damaged, wasm on chrome: diverged; compared 2")
    assert re.match(r"layer +op +shape +coverage ", lines[title + 1])
    assert re.match(r"hidden +Dense +\[2, 4\] +compared .* close$", lines[title + 2])
    assert re.match(r"scores +Dense +\[2, 2\] +compared .* diverged first$", lines[title + 3])


def test_the_json_describes_the_comparison(run):
    assert run.results["schema"] == 1
    assert set(run.results["environment"]) >= {"pytest_tfjs", "tfjs", "tensorflow", "python", "platform"}
    found = comparison_of(run, "test_damaged[chrome-webgl]")
    assert (found["model"], found["format"], found["weights"]) == ("damaged", "layers", "float32")
    assert found["verdict"] == "diverged"
    assert found["first_divergence"] == found["outputs"] == ["scores"]
    target = found["target"]
    assert (target["browser"], target["backend"], target["variant"]) == ("chrome", "webgl", None)
    assert target["renderer"]
    hidden, scores = found["layers"]
    assert (hidden["name"], hidden["op"], hidden["shape"], hidden["dtype"]) == (
        "hidden",
        "Dense",
        [2, 4],
        "float32",
    )
    assert scores["inputs"] == ["hidden"]
    assert (hidden["verdict"], scores["verdict"]) == ("close", "diverged")
    assert scores["max_abs"] > scores["allowed"] > 0
    assert found["timing"]["first_ms"] > 0
    assert found["timing"]["warm_ms"]
    assert found["bytes"]["activations"] == 4 * (8 + 4)


def test_junit_properties_have_the_verdict(run):
    properties = run.cases["test_damaged[chrome-cpu]"].properties
    assert properties["tfjs_verdict"] == "diverged"
    assert properties["tfjs_first_divergence"] == "scores"
    assert properties["tfjs_target"] == "cpu on chrome"
    assert float(properties["tfjs_error"]) > float(properties["tfjs_allowed"])
    assert run.cases["test_layers[chrome-wasm]"].properties["tfjs_verdict"] == "close"


def test_no_processes_or_files_are_left_after_the_run(project, run):
    assert project.left_behind() == []


def test_a_warm_run_over_model_files_imports_no_tensorflow(tiny_project):
    project = tiny_project("warm")
    project.write(
        test_warm="""
def test_warm(tfjs, models, x):
    import sys
    tfjs.assert_close(models / "tiny.h5", x)
    tfjs.assert_close(models / "tiny.keras", x)
    assert not {"tensorflow", "keras", "tf_keras", "tensorflowjs"} & set(sys.modules)
"""
    )
    run = project.run("--tfjs-backends=cpu", "-q")
    assert run.code == pytest.ExitCode.OK, run.text
    assert "tiny.h5" not in run.text  # quiet is quiet


def test_console_lines_and_uncaught_errors_are_sections_of_the_failure(run):
    _, _, report = run.text.partition("test_damaged[chrome-webgl] ___")
    report, _, _ = report.partition("\n======")
    console = report.index("- Captured tfjs console call -")
    errors = report.index("- Captured tfjs JavaScript errors call -")
    assert '[warn] fetching {"what":"the model"} 1' in report[console:]
    assert re.search(r"\[unhandledrejection\] .*not caught\n(.*\n)?.* at .*tf\.min\.js", report[errors:])
    # Only the lines of this test's job, not of earlier tests.
    assert report.count("[warn] fetching") == 1
