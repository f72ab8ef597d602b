"""Quantised weights in a real browser: computed correctly, and their cost reported."""

from __future__ import annotations

import re

import pytest

import fixtures
from pytest_tfjs import NotClose, Prebuilt
from pytest_tfjs.models.artifacts import with_weights

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.tfjs(backends="wasm"),
]

FORMATS = ["graph", "layers"]


@pytest.fixture(scope="module")
def path_of(tmp_path_factory):
    """The file of a sample model, built once."""
    folder = tmp_path_factory.mktemp("models")

    def path(name):
        file = folder / f"{name}.keras"
        if not file.exists():
            fixtures.build(name, 2).save(file)
        return file

    return path


def outputs_of(comparison):
    return [result for result in comparison.layers if result.layer.output]


@pytest.mark.parametrize("weights", ["float16", "uint16", "uint8"])
@pytest.mark.parametrize("format_", FORMATS)
def test_quantised_cnn_is_close_and_its_cost_reported(tfjs, path_of, format_, weights):
    comparison = tfjs.assert_close(path_of("cnn"), fixtures.inputs("cnn"), format=format_, weights=weights)
    cost = comparison.compression
    assert comparison.weights == cost.stored == weights
    assert cost.costs.keys() == {
        result.layer.name for result in comparison.layers if result.layer.coverage == "compared"
    }
    assert cost.outputs == comparison.outputs
    assert comparison.weight_check.differences == ()
    assert comparison.weight_check.counts["quantised"] > 0
    (output,) = outputs_of(comparison)
    # The browser computes with the rounded weights.
    moved = cost.costs[output.layer.name].max_abs
    assert output.metrics.max_abs < moved / 10
    assert 0 < cost.costs[output.layer.name].share < cost.allowed


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_uint8_mobilenet_is_close_but_costs_too_much(tfjs, path_of, format_):
    feed = fixtures.inputs("mobilenet_v2")
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(path_of("mobilenet_v2"), feed, format=format_, weights="uint8")
    comparison = failure.value.comparison
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ())
    assert {result.verdict for result in comparison.layers} <= {"close", None}
    (output,) = outputs_of(comparison)
    line, *lines = str(failure.value).splitlines()
    name = output.layer.name
    assert re.fullmatch(
        rf"wasm on chrome: diverged: quantising the weights to uint8 changes '{name}' by \S+ of its "
        r"largest value, 1\.0e-01 allowed; the browser computes the quantised model correctly",
        line,
    )
    text = " ".join(" ".join(lines).split())
    assert re.search(
        r"layers \d+ close(, \d+ fused)?(, \d+ eliminated)? weights same as the source's: ", text
    )
    assert f"compression quantising to uint8 changes '{name}' by " in text
    needed = comparison.compression.costs[name].share
    assert needed > 0.1
    assert output.metrics.max_abs < comparison.compression.costs[name].max_abs / 1000
    accepted = tfjs.assert_close(
        path_of("mobilenet_v2"), feed, format=format_, weights="uint8", compression=needed
    )
    assert accepted.verdict == "close"


def test_by_pattern(tfjs, path_of):
    weights = {"uint8": "*/kernel", "float16": ["*/bias", "*/beta"]}
    feed = fixtures.inputs("cnn")
    comparison = tfjs.assert_close(path_of("cnn"), feed, format="layers", weights=weights)
    artifacts = tfjs.convert(path_of("cnn"), format="layers", weights=weights)
    stored = {name: storage.dtype for name, storage in artifacts.storage().items()}
    assert stored["mix_conv/kernel"] == "uint8"
    assert stored["mix_conv/bias"] == stored["down_bn/beta"] == "float16"
    assert "down_bn/gamma" not in stored
    assert set(comparison.weights.split("+")) == {"uint8", "float16", "float32"}
    assert comparison.weight_check.counts.keys() == {"equal", "quantised"}


@pytest.mark.parametrize("format_", FORMATS)
def test_wrong_quantised_weight_is_named(tfjs, path_of, tmp_path, format_):
    """The reference uses the stored weights, so activations cannot show the fault."""
    built = tfjs.convert(path_of("cnn"), format=format_, weights="uint8")
    name = next(name for name in built.weight_names() if "mix_conv" in name)
    changed = built.read_weights()[name] * 1.01
    damaged = with_weights(built, {name: changed}, tmp_path / "damaged")
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(Prebuilt(damaged.model_json, path_of("cnn")), fixtures.inputs("cnn"))
    assert (
        str(failure.value)
        .splitlines()[0]
        .startswith(f"wasm on chrome: diverged: the artifacts' weight '{name}' differs from the source's: ")
    )
    comparison = failure.value.comparison
    assert comparison.first_divergence == ()
    assert [finding.name for finding in comparison.weight_check.differences] == [name]


TESTS = """
import pytest

def test_call(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x, weights="uint8")

@pytest.mark.tfjs(weights={"uint8": "*kernel*"}, compression=1e-9)
def test_too_dear(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)

def test_options(tfjs, models, x):
    assert tfjs.assert_close(models / "tiny.h5", x).weights == "float16+uint8"

@pytest.mark.tfjs(weights="float32")
def test_exact(tfjs, models, x):
    assert tfjs.assert_close(models / "tiny.h5", x).compression is None

def test_nothing_matches(tfjs, models, x):
    tfjs.convert(models / "tiny.h5", weights={"uint8": "*/nothing"})
"""


@pytest.fixture(scope="module")
def run(tiny_project):
    project = tiny_project("quantised")
    project.write(test_model=TESTS)
    return project.run("-v", "--tfjs-backends=wasm", "--tfjs-weights=uint8:hidden/*,float16")


def test_report_json_and_command_have_both_errors(run):
    failed = {name for name, case in run.cases.items() if case.outcome != "passed"}
    assert failed == {"test_too_dear[chrome-wasm]", "test_nothing_matches[chrome-wasm]"}, run.text
    heading, *rows = run.section("tfjs")
    assert "  |error|  allowed     cost  cost allowed  first ms  warm ms" in heading
    by_weights = {row.split()[2]: row.split() for row in rows if row.startswith("tiny.h5 ")}
    assert "1.0e-01" in by_weights["uint8"]
    assert "cost" in next(line for line in run.section("tfjs layers") if line.startswith("layer ")).split()
    dear = run.cases["test_too_dear[chrome-wasm]"]
    assert "quantising the weights to uint8 changes " in dear.message.splitlines()[0]
    assert any("--tfjs-weights=uint8:hidden/*,float16" in line for line in dear.error_lines)
    nothing = run.cases["test_nothing_matches[chrome-wasm]"].message
    assert "weights pattern '*/nothing' matches no float32 weight of 'tiny.h5'; " in nothing
    by_test = {one["test"].rpartition("::")[2]: one for one in run.results["comparisons"]}
    options = by_test["test_options[chrome-wasm]"]
    assert options["weights"] == "float16+uint8"
    assert options["compression"]["allowed"] == 0.1
    assert 0 < options["compression"]["share"] < 0.1
    assert all(row["compression"]["max_abs"] > row["max_abs"] for row in options["layers"])
    exact = by_test["test_exact[chrome-wasm]"]
    assert exact["compression"] is None
    assert exact["weights_checked"] == {"equal": 4}
