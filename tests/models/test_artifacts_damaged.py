"""Damaged and malicious artifacts are rejected on reading, before memory is allocated."""

from __future__ import annotations

import json

import pytest

from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.models.artifacts import read_artifacts
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_layers_models import dense_model, functional, input_layer, layer, write_layers_model


def assert_rejected(path, why):
    with pytest.raises(ArtifactsError, match=why):
        read_artifacts(path)


@pytest.mark.parametrize(
    "shape",
    [
        [-3, -2],
        [3.0, 2],
        ["3", "2"],
        [True, 6],
        [2**31, 0],
        [0, *[2**31 - 1] * 3],
        [1] * 33,
        [10**18],
        6,
        None,
        [None],
    ],
)
def test_invalid_shapes_are_rejected(tmp_path, shape):
    path = dense_model(tmp_path)
    content = json.loads(path.read_text())
    content["weightsManifest"][0]["weights"][0]["shape"] = shape
    path.write_text(json.dumps(content))
    assert_rejected(path, r"damaged weights manifest|is too short")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"name": None},
        {"dtype": 1},
        {"dtype": "float31"},
        {"quantization": None},
        {"quantization": []},
        {"quantization": {"dtype": "int32", "scale": 1, "min": 0}},
        {"quantization": {"dtype": "uint8", "scale": 1}},
        {"quantization": {"dtype": "uint8", "scale": "1", "min": 0}},
        {"quantization": {"dtype": "uint8", "min": 0}},
        {"dtype": "bool", "quantization": {"dtype": "uint8", "scale": 1, "min": 0}},
        {"dtype": "int32", "quantization": {"dtype": "float16"}},
    ],
)
def test_invalid_weight_entries_are_rejected(tmp_path, change):
    path = dense_model(tmp_path)
    content = json.loads(path.read_text())
    content["weightsManifest"][0]["weights"][0].update(change)
    path.write_text(json.dumps(content))
    assert_rejected(path, "damaged weights manifest")


@pytest.mark.parametrize(
    "name", ["a\0b", "x" * 300, "loop.bin", "folder", 5, None, "..\\x", "C:x", "out.bin", "deep/out.bin"]
)
def test_invalid_shard_names_are_rejected(tmp_path, name):
    path = dense_model(tmp_path / "model")
    (tmp_path / "out.bin").write_bytes(bytes(32))
    (path.parent / "out.bin").symlink_to(tmp_path / "out.bin")
    (path.parent / "deep").symlink_to(tmp_path)
    (path.parent / "loop.bin").symlink_to(path.parent / "loop.bin")
    (path.parent / "folder").mkdir()
    content = json.loads(path.read_text())
    content["weightsManifest"][0]["paths"] = [name]
    path.write_text(json.dumps(content))
    assert_rejected(path, "shard")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 300 + "1" + "}" * 300, '{"a": NaN}', '{"a": 1, "a": 2}', '"\\ud800"']
)
def test_ambiguous_json_is_rejected(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    assert_rejected(tmp_path, "cannot be read as JSON|JSON object")


@pytest.mark.parametrize(
    "change",
    [
        lambda nodes: nodes.append(nodes[0]),
        lambda nodes: nodes[1].update(name=5),
        lambda nodes: nodes[1].pop("op"),
        lambda nodes: nodes[3].update(input="kernel"),
        lambda nodes: nodes[3].update(input=[1]),
        lambda nodes: nodes[3].update(attr=[]),
        lambda nodes: nodes[3].update(attr={"T": "DT_FLOAT"}),
        lambda nodes: nodes[3].update(attr={"ksize": {"list": [{"i": ["1"]}]}}),
        lambda nodes: nodes[3].update(attr={"body": {"func": "loop"}}),
        lambda nodes: nodes[3].update(attr={"branches": {"list": {"func": [{"name": 1}]}}}),
        lambda nodes: nodes.insert(0, None),
    ],
)
def test_invalid_nodes_are_rejected(tmp_path, change):
    path = dense_graph(tmp_path)
    content = json.loads(path.read_text())
    change(content["modelTopology"]["node"])
    path.write_text(json.dumps(content))
    assert_rejected(path, "does not describe its inputs and outputs")


@pytest.mark.parametrize(
    "functions",
    [
        [{"nodeDef": []}],
        [{"signature": {"name": 1}}],
        [{"signature": {"name": "body"}}, {"signature": {"name": "body"}}],
        [{"signature": {"name": "body"}, "nodeDef": [{"name": "y"}]}],
        "body",
    ],
)
def test_invalid_functions_are_rejected(tmp_path, functions):
    path = dense_graph(tmp_path)
    content = json.loads(path.read_text())
    content["modelTopology"]["library"] = {"function": functions}
    path.write_text(json.dumps(content))
    assert_rejected(path, "does not describe its inputs and outputs")


def model_of(layers):
    model = functional("model", layers, ["x"], [("b", 0, 0)])
    return model, model["config"]["layers"]


def chain():
    return [
        (input_layer("x", 3), []),
        (layer("ReLU", "a"), [[("x", 0, 0)]]),
        (layer("ReLU", "b"), [[("a", 0, 0)]]),
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda layers: layers.pop(1), "the output of call 0 of 'a', which does not exist"),
        (
            lambda layers: layers[1].update(inbound_nodes=[]),
            "the output of call 0 of 'a', which does not exist",
        ),
        (lambda layers: layers[2]["inbound_nodes"][0][0].__setitem__(1, 1), "the output of call 1 of 'a'"),
        (lambda layers: layers[1]["inbound_nodes"][0][0].__setitem__(0, "b"), "'a' depends on its own"),
        (lambda layers: layers[1].update(name="c"), "'a' has a second name, 'c', in the same config"),
        (lambda layers: layers.append(layers[1]), "two layers have the name 'a'"),
        (lambda layers: layers[1].pop("class_name"), "class_name"),
    ],
)
def test_layers_with_missing_or_cyclic_inputs_are_rejected(tmp_path, change, why):
    model, layers = model_of(chain())
    read_artifacts(write_layers_model(tmp_path, model, {}))
    change(layers)
    with pytest.raises(ArtifactsError, match=why):
        read_artifacts(write_layers_model(tmp_path, model, {}))
