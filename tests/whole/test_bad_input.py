"""Bad input: the message says what is wrong and what to do; the next test runs normally."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.browsers.tfjs_dist import Dist

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.inner_runs import InnerRun, Project

pytestmark = [pytest.mark.browser, pytest.mark.convert]

TESTS = """
import json
import shutil
import sys
import numpy as np
import pytest
from pytest_tfjs import Prebuilt, Tolerance

@pytest.fixture
def copy(models, tmp_path):
    return shutil.copytree(models / "layers", tmp_path / "copy")

MISSING = "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')"

def good(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)

# Runs first and with new weights, so that TensorFlow must be imported.
def test_tensorflow(tfjs, models, x, monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text(MISSING)
    monkeypatch.syspath_prepend(str(tmp_path))
    tfjs.assert_close(models / "tiny.h5", x, weights={"float16": "hidden/*"})

test_after_tensorflow = good

def test_path(tfjs, x):
    tfjs.assert_close("nothing.h5", x)

def test_directory(tfjs, models, x):
    tfjs.assert_close(models, x)

def test_object(tfjs, x):
    tfjs.assert_close(lambda x: x, x)

def test_artifacts_alone(tfjs, x, copy):
    tfjs.assert_close(copy, x)

def test_input_name(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", {"y": x})

def test_input_shape(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x[:, :2])

def test_input_dtype(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x.astype(int))

def test_input_nan(tfjs, models, x):
    x[1, 2] = np.nan
    tfjs.assert_close(models / "tiny.h5", x)

test_after_input_nan = good

def test_no_feeds(tfjs, models):
    tfjs.assert_close(models / "tiny.h5", [])

def test_pattern(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x, per_layer={"hiden*": Tolerance(rtol=0, atol=1)})

test_after_pattern = good

def test_not_a_tolerance(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x, per_layer={"hidden": 1e-3})

def test_negative_tolerance(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x, atol=-1)

def test_format(tfjs, models, x):
    tfjs.assert_close(models / "tiny.keras", x, format="layers")

def test_missing_shard(tfjs, models, x, copy):
    next(copy.glob("*.bin")).unlink()
    tfjs.assert_close(Prebuilt(copy, models / "tiny.h5"), x)

def test_short_shard(tfjs, models, x, copy):
    shard = next(copy.glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-4])
    tfjs.assert_close(Prebuilt(copy, models / "tiny.h5"), x)

test_after_short_shard = good

def test_operation(tfjs):
    import tensorflow as tf
    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2], tf.float32)])
    def svd(m): return tf.linalg.svd(m, compute_uv=False) + 1.0
    tfjs.assert_close(svd, np.ones((1, 2, 2), np.float32))

test_after_operation = good

def test_load(tfjs, models, x, copy):
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text.replace('"Dense"', '"Densest"'))
    tfjs.assert_close(Prebuilt(copy, models / "tiny.h5"), x)

test_after_load = good

@pytest.mark.tfjs(timeout=0.001)
def test_timeout(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)

test_after_timeout = good

@pytest.mark.tfjs(timeout=0.001)
def test_timed_past_the_limit(tfjs, models, x):
    tfjs.time(models / "layers", x)
"""

# Parts of each error message.
EXPECTED = {
    "tensorflow": [
        "MissingPackageError:",
        "is needed",
        "is not installed. Install TensorFlow and the converter with",
        "python -m pip install 'pytest-tfjs[convert]'",
    ],
    "path": ["SourceError: there is no model at nothing.h5 (looked in", "). Expected a Keras model"],
    "directory": ["SourceError:", "has neither saved_model.pb nor model.json, only"],
    "object": ["SourceError: the Python function '<lambda>' was given; decorate it with @tf.function"],
    "artifacts_alone": ["SourceError:", "is a converted model alone,", "pass Prebuilt(artifacts, source)"],
    "input_name": ["FeedError: the model has no input 'y'; the model takes 'x' float32 [any, 3]"],
    "input_shape": ["FeedError: input 'x' has the shape [2, 2], but [any, 3] is expected"],
    "input_dtype": [
        "FeedError: input 'x' takes float32, but int64 was given; write inputs.astype('float32')"
    ],
    "input_nan": ["FeedError: input 'x' has 1 NaN, the first at [1, 2]:", "Replace each NaN by a number"],
    "no_feeds": ["FeedError: the list of feeds is empty, so nothing would be compared"],
    "pattern": [
        "ToleranceError: per_layer pattern 'hiden*' matches no compared layer; close names: 'hidden'"
    ],
    "not_a_tolerance": [
        "ToleranceError: per_layer['hidden'] is 0.001: expected a Tolerance, such as Tolerance(rtol="
    ],
    "negative_tolerance": ["SettingsError: atol=-1: expected a number, 0 or greater, such as 1e-4"],
    "format": ["ConversionError: 'tiny.keras' is a Keras 3 model,", "Use format='graph'"],
    "missing_shard": [
        "ArtifactsError:",
        "names the weight shard '",
        "bin', which does not exist",
        "convert the model again",
    ],
    "short_shard": ["ArtifactsError: the weight shard", "is too short: 104 bytes expected, 100 found"],
    "operation": [
        "ConversionError: 'svd' uses operations that TensorFlow.js does not have: Svd",
        "Build these layers",
    ],
    "load": [
        "NotClose: cpu on chrome: error while loading model: 'hidden' (Densest): Unknown layer: Densest. ",
        "As a graph model it runs here",
        "JavaScript stack:",
    ],
    "timeout": [
        "NotClose: cpu on chrome: error: timed out after 0.001 s while",
        "timed out after 0.001 s while",
        "with --tfjs-timeout=SECONDS",
    ],
    "timed_past_the_limit": [
        "JobTimeoutError: cpu on chrome: timed out after 0.001 s while",
        "with --tfjs-timeout=SECONDS",
    ],
}
# One test of each kind.
FOLLOWED = ("tensorflow", "input_nan", "pattern", "short_shard", "operation", "load", "timeout")


@pytest.fixture(scope="module")
def run(tiny_project: Callable[[str], Project]) -> InnerRun:
    project = tiny_project("bad_input")
    project.write(test_bad=TESTS)
    return project.run("--tfjs-backends=cpu")


@pytest.mark.parametrize("name", EXPECTED)
def test_bad_input_error_says_what_is_wrong(run, name):
    case = run.cases[f"test_{name}[chrome-cpu]"]
    assert case.outcome == "failure"
    message = " ".join(" ".join(case.error_lines).split())
    places = [message.find(piece) for piece in EXPECTED[name]]
    assert -1 not in places, message
    assert places == sorted(places), message


@pytest.mark.parametrize("name", EXPECTED)
def test_traceback_ends_in_the_test(run, name):
    failure = run.cases[f"test_{name}[chrome-cpu]"].failure
    assert re.findall(r"^(\S+\.py):\d+: ", failure, re.MULTILINE) == ["test_bad.py"], failure
    assert "direct cause" not in failure
    assert "During handling" not in failure


@pytest.mark.parametrize("name", FOLLOWED)
def test_next_test_runs_normally(run, name):
    case = run.cases[f"test_after_{name}[chrome-cpu]"]
    assert case.outcome == "passed", case.failure
    assert case.properties["tfjs_verdict"] == "close"


def test_page_failure_has_the_verdict_error(run):
    verdicts = {one["test"]: one for one in run.results["comparisons"] if one["verdict"] != "close"}
    assert {test.partition("::")[2]: one["verdict"] for test, one in verdicts.items()} == {
        "test_load[chrome-cpu]": "error",
        "test_timeout[chrome-cpu]": "error",
    }
    assert verdicts["test_bad.py::test_load[chrome-cpu]"]["reason"].startswith("'hidden' (Densest): Unknown")
    late = verdicts["test_bad.py::test_timeout[chrome-cpu]"]
    assert late["timing"] is None
    assert [(layer["coverage"], layer["verdict"]) for layer in late["layers"]] == [("compared", None)] * 2


def test_full_traceback_option(tiny_project):
    project = tiny_project("full_trace")
    project.write(test_bad="def test_path(tfjs): tfjs.assert_close('nothing.h5', None)")
    run = project.run("--tfjs-backends=cpu", "--full-trace")
    assert "raise SourceError" in run.cases["test_path[chrome-cpu]"].failure


# No browser on PATH and no downloads: nothing listens on the proxy's port.
NO_BROWSER = {
    "PATH": "/nowhere",
    "SE_OFFLINE": "true",
    "https_proxy": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


def test_missing_browser_fails_every_test_after_one_search(tiny_project):
    project = tiny_project("no_browser")
    shutil.copytree(Dist.shipped().root, project.folder / "node_modules")
    shutil.rmtree(project.folder / "node_modules/@tensorflow/tfjs-backend-wasm")
    (project.folder / "conftest.py").open("a").write(
        """
import pytest_tfjs.browsers.harness as harness
LOOKED = []
def launch(name, *arguments, found=harness.launch, **options):
    LOOKED.append(name)
    return found(name, *arguments, **options)
harness.launch = launch
"""
    )
    project.write(
        test_none="""
import pytest
@pytest.mark.tfjs(backends="cpu")
def test_first(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)
@pytest.mark.tfjs(backends="cpu")
def test_second(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)
@pytest.mark.tfjs(backends="webgl")
def test_third(tfjs): tfjs.target
@pytest.mark.tfjs(backends="wasm")
def test_wasm(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)
def test_looked():
    from conftest import LOOKED
    assert LOOKED == ["chrome"]
"""
    )
    run = project.run("--tfjs-dist=node_modules", environment=NO_BROWSER)
    for name in ("test_first[chrome-cpu]", "test_second[chrome-cpu]", "test_third[chrome-webgl]"):
        lines = run.cases[name].error_lines
        assert lines[0].endswith("BrowserError: Chrome or Chromium could not be started."), lines
        assert lines[1].startswith("- on PATH: found none of chromium, google-chrome")
        assert [line.partition(":")[0] for line in lines[2:4]] == [
            "- Selenium Manager",
            "- webdriver-manager",
        ]
        assert "apt-get install chromium chromium-driver" in lines[4]
    assert "npm install @tensorflow/tfjs-backend-wasm@" in run.cases["test_wasm[chrome-wasm]"].message
    assert run.cases["test_looked"].outcome == "passed", run.text
    assert project.left_behind() == []
