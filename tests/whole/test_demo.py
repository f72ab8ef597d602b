"""`make demo` shows sound models as close, and names the fault that it makes."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from demo.checks import problems_of_close, problems_of_fault, read_messages
from demo.fault import double_largest_weight
from demo.models import _code
from pytest_tfjs.models.artifacts import read_artifacts
from tests.support.paths import ROOT

CASES = [("cnn.keras", "graph", "wasm"), ("cnn.keras", "layers", "wasm")]


def comparison(case, verdict="close", first=(), coverage="compared"):
    model, format_, backend = case
    return {
        "test": f"demo/test_x.py::test_x[{format_}]",
        "model": model,
        "format": format_,
        "target": {"backend": backend},
        "verdict": verdict,
        "reason": None,
        "first_divergence": list(first),
        "layers": [{"name": "mix_conv", "coverage": "compared"}, {"name": "add", "coverage": coverage}],
    }


def faulty():
    return [
        comparison(CASES[0], "diverged", ["mix_conv/Conv2D"]),
        comparison(CASES[1], "diverged", ["mix_conv"]),
    ]


MESSAGES = {
    "test_x[graph]": "NotClose: wasm on chrome: 'mix_conv/Conv2D' diverged first: max |error| 9\nmore",
    "test_x[layers]": "NotClose: wasm on chrome: 'mix_conv' diverged first: max |error| 9\nmore",
}


def test_all_close_has_no_problem():
    assert problems_of_close([comparison(case) for case in CASES], CASES) == []


def test_missing_or_diverged_comparison_is_reported():
    assert problems_of_close([], CASES) == [
        "cnn.keras as graph on wasm: was not compared",
        "cnn.keras as layers on wasm: was not compared",
    ]
    runs = [comparison(CASES[0], "vacuous"), comparison(CASES[1], coverage="unmapped")]
    assert problems_of_close(runs, CASES) == [
        "cnn.keras as graph on wasm: vacuous (None)",
        "cnn.keras as layers on wasm: not compared: add",
    ]


def test_extra_comparison_is_reported():
    twice = [comparison(CASES[0]), comparison(CASES[0]), comparison(("cnn.keras", "graph", "cpu"))]
    assert problems_of_close(twice, CASES[:1]) == [
        "cnn.keras as graph on cpu: this comparison is unexpected",
        "cnn.keras as graph on wasm: compared 2 times",
    ]


def test_comparison_without_layers_is_reported():
    empty = {**comparison(CASES[0]), "layers": []}
    assert problems_of_close([empty], CASES[:1]) == ["cnn.keras as graph on wasm: no layer was compared"]


def test_fault_named_by_its_layer_has_no_problem():
    assert problems_of_fault(faulty(), MESSAGES, CASES, "mix_conv") == []


@pytest.mark.parametrize("first", [[], ["mix_add"], ["mix_conv", "head_conv"], ["mix_conv_2"]])
def test_fault_with_another_layer_is_reported(first):
    runs = faulty()
    runs[1]["first_divergence"] = first
    (problem,) = problems_of_fault(runs, MESSAGES, CASES, "mix_conv")
    assert problem == (
        f"cnn.keras as layers on wasm: diverged, first divergence {first}, not 'mix_conv' alone"
    )


def test_undetected_fault_is_reported():
    runs = copy.deepcopy(faulty())
    runs[0] |= {"verdict": "close", "first_divergence": []}
    (problem,) = problems_of_fault(runs, MESSAGES, CASES, "mix_conv")
    assert problem.startswith("cnn.keras as graph on wasm: close")


@pytest.mark.parametrize(
    "message",
    [
        None,
        "NotClose: something\n'mix_conv' diverged first: ",
        "NotClose: wasm on chrome: 'mix_conv' diverged first (and 1 more): max |error| 9",
    ],
)
def test_first_line_without_the_layer_is_reported(message):
    messages = {**MESSAGES, "test_x[layers]": message}
    if message is None:
        del messages["test_x[layers]"]
    (problem,) = problems_of_fault(faulty(), messages, CASES, "mix_conv")
    assert "the failure's first line does not name the layer" in problem


def test_failure_messages_are_read_from_the_junit_file(pytester):
    pytester.makepyfile("def test_bad():\n    assert False, 'first\\nsecond'\n\ndef test_good():\n    pass\n")
    pytester.runpytest("--junitxml=out.xml", "-p", "no:tfjs")
    messages = read_messages(pytester.path / "out.xml")
    assert list(messages) == ["test_bad"]
    assert messages["test_bad"].splitlines()[:2] == ["AssertionError: first", "  second"]


def write_artifacts(folder, weights):
    specs = [
        {"name": name, "shape": list(value.shape), "dtype": "float32"} for name, value in weights.items()
    ]
    (folder / "weights.bin").write_bytes(b"".join(value.tobytes() for value in weights.values()))
    layers = [
        {
            "class_name": "InputLayer",
            "config": {"name": "x", "batch_input_shape": [None, 2], "dtype": "float32"},
        }
    ]
    document = {
        "format": "layers-model",
        "modelTopology": {
            "model_config": {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
        },
        "weightsManifest": [{"paths": ["weights.bin"], "weights": specs}],
    }
    (folder / "model.json").write_text(json.dumps(document))
    return read_artifacts(folder)


def test_only_the_largest_weight_of_the_layer_is_doubled(tmp_path):
    weights = {
        "mix/kernel": np.array([[1, -3], [2, 0.5]], np.float32),
        "mix/bias": np.array([2.5, 0], np.float32),
        "mix_2/kernel": np.array([9.0], np.float32),
    }
    artifacts = write_artifacts(tmp_path, weights)
    changed = double_largest_weight(artifacts, "mix", tmp_path / "out").read_weights()
    np.testing.assert_array_equal(changed.pop("mix/kernel"), np.array([[1, -6], [2, 0.5]], np.float32))
    for name, value in changed.items():
        np.testing.assert_array_equal(value, weights[name])


def test_layer_without_weights_is_rejected(tmp_path):
    artifacts = write_artifacts(tmp_path, {"mix/kernel": np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="belongs to a layer 'mi'"):
        double_largest_weight(artifacts, "mi", tmp_path / "out")


def test_models_are_rebuilt_when_their_code_changes(tmp_path, monkeypatch):
    from demo import models

    (tmp_path / "fixtures").mkdir()
    source = tmp_path / "fixtures" / "models.py"
    source.write_text("a = 1")
    monkeypatch.setattr(models, "ROOT", tmp_path)
    before = _code()
    source.write_text("a = 2")
    assert _code() != before


def test_package_loads_from_any_directory(tmp_path):
    """`make -C` and an absolute path both lead here; nothing is written on import."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = "import demo.__main__ as demo; print(demo.BUILD)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(ROOT / "build" / "demo")
    assert list(tmp_path.iterdir()) == []
