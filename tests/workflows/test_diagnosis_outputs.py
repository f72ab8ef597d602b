"""Outputs that the artifacts return under each other's names are named as swapped."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.report.failure_message import failure_message

pytestmark = [pytest.mark.browser, pytest.mark.convert]

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def with_heads(package):
    x = package.Input((3,), name="x")
    hidden = package.layers.Dense(5, activation="tanh", name="hidden")(x)
    heads = {
        "classes": package.layers.Dense(4, activation="softmax", name="head_c")(hidden),
        "boxes": package.layers.Dense(4, name="head_b")(hidden),
        "scores": package.layers.Dense(4, activation="sigmoid", name="head_s")(hidden),
    }
    return package.Model(x, heads, name="heads")


def edited(artifacts, out, change):
    shutil.copytree(artifacts.model_json.parent, out)
    path = out / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def rotated(names):
    """Gives each output the tensor of the next one."""

    def change(content):
        outputs = content["signature"]["outputs"]
        tensors = [outputs[name]["name"] for name in names]
        for name, tensor in zip(names, [*tensors[1:], tensors[0]], strict=True):
            outputs[name]["name"] = tensor

    return change


@pytest.mark.tfjs(backends="cpu,wasm", weight_check="tell")
@pytest.mark.parametrize("package", [keras, tf_keras])
@pytest.mark.parametrize("layers", ["all", "outputs"])
def test_two_swapped_outputs_are_named(tfjs, tmp_path, package, layers):
    model = with_heads(package)
    path = edited(tfjs.convert(model, format="graph"), tmp_path / "swapped", rotated(["classes", "boxes"]))
    comparison = tfjs.compare(Prebuilt(path, model), X, layers=layers)
    assert comparison.verdict == "diverged"
    assert comparison.diagnosis.kind == "wiring", comparison.diagnosis
    said = comparison.diagnosis.said
    assert said.startswith("the outputs '")
    assert "are swapped" in said
    assert {"'classes'", "'boxes'"} <= set(said.replace(":", "").split())
    first = failure_message(comparison).splitlines()[0]
    assert re.search(r"output '(classes|boxes)'; swapped with the output '(classes|boxes)'\)$", first), first


@pytest.mark.tfjs(backends="cpu", weight_check="tell")
def test_an_output_in_place_of_another_is_named(tfjs, tmp_path):
    model = with_heads(keras)
    names = ["boxes", "classes", "scores"]
    path = edited(tfjs.convert(model), tmp_path / "rotated", rotated(names))
    comparison = tfjs.compare(Prebuilt(path, model), X)
    assert comparison.diagnosis.kind == "wiring", comparison.diagnosis
    place = names.index(comparison.diagnosis.said.rpartition("in place of the output '")[2].rstrip("'"))
    assert f"gives the output {names[(place + 1) % 3]!r} in place" in comparison.diagnosis.said


@pytest.mark.tfjs(backends="cpu")
def test_swapped_outputs_of_a_layers_model_are_named(tfjs, tmp_path):
    x = tf_keras.Input((3,), name="x")
    outputs = [tf_keras.layers.Dense(4, name=name)(x) for name in ("a", "b")]
    model = tf_keras.Model(x, outputs, name="two")
    sound = tfjs.convert(model)
    tfjs.assert_close(Prebuilt(sound.model_json, model), X)

    def swap(content):
        content["modelTopology"]["model_config"]["config"]["output_layers"].reverse()

    comparison = tfjs.compare(Prebuilt(edited(sound, tmp_path / "swapped", swap), model), X)
    assert comparison.verdict == "unmapped"
    assert "the outputs 'a' and 'b' are swapped in the artifacts" in comparison.reason
    assert "what to do   convert the model again" in failure_message(comparison)
