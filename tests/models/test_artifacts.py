from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.models.artifacts import TensorSpec, read_artifacts, with_weights
from pytest_tfjs.models.topology import GraphNode

KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)
SHIFT = np.array([1, -2], dtype=np.int32)
MASK = np.array([True, False, True])
PHASE = np.array([1 + 2j], dtype=np.complex64)
WORDS = ["é".encode(), b"", b"three"]


def spec(dtype, *sizes):
    return {"dtype": dtype, "tensorShape": {"dim": [{"size": str(size)} for size in sizes]}}


def graph_json(**changes):
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"},
         "shape": {"shape": {"dim": [{"size": "-1"}, {"size": "3"}]}}}},
        {"name": "ids", "op": "Placeholder", "attr": {"dtype": {"type": "DT_INT64"}, "shape": {"shape": {}}}},
        {"name": "kernel", "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {"name": "dense/MatMul", "op": "MatMul", "input": ["x", "kernel"],
         "attr": {"T": {"type": "DT_FLOAT"}}},
        {"name": "Identity", "op": "Identity", "input": ["dense/MatMul:0", "^ids"],
         "attr": {"T": {"type": "DT_FLOAT"}}},
    ]  # fmt: skip
    return {
        "format": "graph-model",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "signature": {
            "inputs": {
                "ids:0": {"name": "ids:0", **spec("DT_INT64")},
                "x": {"name": "x:0", **spec("DT_FLOAT", -1, 3)},
            },
            "outputs": {"y": {"name": "Identity:0", **spec("DT_FLOAT", -1, 4)}},
        },
        "modelTopology": {"node": nodes},
        "weightsManifest": [
            {
                "paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"],
                "weights": [
                    {"name": "kernel", "shape": [3, 4], "dtype": "float32"},
                    {"name": "shift", "shape": [2], "dtype": "int32"},
                    {"name": "mask", "shape": [3], "dtype": "bool"},
                    {"name": "phase", "shape": [1], "dtype": "complex64"},
                ],
            },
            {
                "paths": ["group2-shard1of1.bin"],
                "weights": [
                    {"name": "words", "shape": [3], "dtype": "string"},
                    {
                        "name": "small",
                        "shape": [4],
                        "dtype": "float32",
                        "quantization": {
                            "dtype": "uint8",
                            "min": -1.5,
                            "scale": 0.1,
                            "original_dtype": "float32",
                        },
                    },
                    {
                        "name": "half",
                        "shape": [2],
                        "dtype": "float32",
                        "quantization": {"dtype": "float16", "original_dtype": "float32"},
                    },
                ],
            },
        ],
        **changes,
    }


FIRST = KERNEL.tobytes() + SHIFT.tobytes() + MASK.tobytes() + PHASE.tobytes()
SECOND = (
    b"".join(len(word).to_bytes(4, "little") + word for word in WORDS)
    + bytes([0, 15, 16, 255])
    + np.array([0.1, -3], np.float16).tobytes()
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "a model"
    path.mkdir()
    (path / "group1-shard1of2.bin").write_bytes(FIRST[:40])
    (path / "group1-shard2of2.bin").write_bytes(FIRST[40:])
    (path / "group2-shard1of1.bin").write_bytes(SECOND)
    write(path)
    return path


def write(folder, **changes):
    (folder / "model.json").write_text(json.dumps(graph_json(**changes)))


def test_inputs_and_outputs_are_in_signature_order(folder):
    artifacts = read_artifacts(folder)
    assert artifacts.inputs == (
        TensorSpec("ids", (), "int64", "ids:0"),
        TensorSpec("x", (None, 3), "float32", "x:0"),
    )
    assert artifacts.outputs == (TensorSpec("y", (None, 4), "float32", "Identity:0"),)
    assert (artifacts.format, artifacts.converted_by) == ("graph", "TensorFlow.js Converter v4.22.0")


def test_a_model_is_read_from_its_folder_or_its_file(folder):
    assert read_artifacts(folder) == read_artifacts(folder / "model.json") == read_artifacts(str(folder))


def test_bytes_are_the_size_of_all_files(folder):
    assert read_artifacts(folder).bytes == sum(file.stat().st_size for file in folder.iterdir())


def test_without_a_signature_inputs_and_outputs_come_from_the_nodes(folder):
    write(folder, signature=None, format=None)
    artifacts = read_artifacts(folder)
    assert artifacts.inputs == (
        TensorSpec("x", (None, 3), "float32", "x:0"),
        TensorSpec("ids", (), "int64", "ids:0"),
    )
    assert artifacts.outputs == (TensorSpec("Identity", None, "float32", "Identity:0"),)


def test_the_signature_of_user_defined_metadata_is_read(folder):
    signature = graph_json()["signature"]
    write(folder, signature=None, userDefinedMetadata={"signature": signature})
    assert [spec.name for spec in read_artifacts(folder).outputs] == ["y"]


def test_lookup_tables_are_not_inputs(folder):
    signature = graph_json()["signature"]
    signature["inputs"]["table:0"] = {"name": "table:0", "dtype": "DT_RESOURCE", "resourceId": 4}
    write(folder, signature=signature)
    assert [spec.name for spec in read_artifacts(folder).inputs] == ["ids", "x"]


def test_nodes_have_inputs_and_attributes(folder):
    nodes = read_artifacts(folder).nodes()
    assert nodes[3] == GraphNode("dense/MatMul", "MatMul", ("x", "kernel"), {"T": {"type": "DT_FLOAT"}})
    assert nodes[4].inputs == ("dense/MatMul:0", "^ids")


def test_weights_are_decoded_as_declared(folder):
    weights = read_artifacts(folder).read_weights()
    for name, expected in {"kernel": KERNEL, "shift": SHIFT, "mask": MASK, "phase": PHASE}.items():
        assert weights[name].dtype == expected.dtype
        np.testing.assert_array_equal(weights[name], expected)
    assert weights["words"].tolist() == WORDS
    np.testing.assert_array_equal(weights["small"], np.float32([-1.5, 15 * 0.1 - 1.5, 16 * 0.1 - 1.5, 24]))
    np.testing.assert_array_equal(weights["half"], np.float32([np.float16(0.1), -3]))
    assert weights["small"].dtype == weights["half"].dtype == np.float32


def test_weights_names_the_quantisation(folder):
    assert read_artifacts(folder).weights == "float16+float32+uint8"
    manifest = graph_json()["weightsManifest"]
    del manifest[1]
    write(folder, weightsManifest=manifest)
    assert read_artifacts(folder).weights == "float32"


def keras_model(class_name, config, **more):
    return {"model_config": {"class_name": class_name, "config": config}, "keras_version": "2.19.0", **more}


def layer(class_name, name, **config):
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}}


def layers_signature(folder, topology):
    write(folder, format="layers-model", modelTopology=topology)
    artifacts = read_artifacts(folder)
    assert artifacts.format == "layers"
    assert artifacts.nodes() == ()
    return artifacts.inputs, artifacts.outputs


FUNCTIONAL = {
    "layers": [
        layer("InputLayer", "b", batch_input_shape=[None, 4], dtype="float32"),
        layer("InputLayer", "a", batch_input_shape=[2, None], dtype="int32"),
        layer("InputLayer", "s", batch_input_shape=[None, 1], dtype="string"),
        layer("Dense", "d", dtype={"class_name": "Policy", "config": {"name": "float32"}}),
    ],
    "input_layers": [["b", 0, 0], ["a", 0, 0], ["s", 0, 0]],
    "output_layers": [["d", 0, 0], ["d", 0, 1]],
}


def test_inputs_of_a_functional_model_are_in_order(folder):
    inputs, outputs = layers_signature(folder, keras_model("Functional", FUNCTIONAL))
    assert inputs == (
        TensorSpec("b", (None, 4), "float32"),
        TensorSpec("a", (2, None), "int32"),
        TensorSpec("s", (None, 1), "str"),
    )
    assert [spec.name for spec in outputs] == ["d", "d:1"]


def test_input_layers_may_be_a_single_entry_or_a_dict(folder):
    for structure, names in (({"q": ["a", 0, 0], "p": ["b", 0, 0]}, ["a", "b"]), (["a", 0, 0], ["a"])):
        config = {**FUNCTIONAL, "input_layers": structure}
        inputs, _ = layers_signature(folder, keras_model("Model", config))
        assert [spec.name for spec in inputs] == names


@pytest.mark.parametrize("as_list", [True, False])
def test_a_sequential_model_has_the_input_of_its_first_layer(folder, as_list):
    layers = [layer("Dense", "first", batch_input_shape=[None, 5], dtype="float32"), layer("Dense", "last")]
    config = layers if as_list else {"layers": layers}
    expected = (TensorSpec("first_input", (None, 5), "float32"),), (TensorSpec("last", None, "float32"),)
    assert layers_signature(folder, keras_model("Sequential", config)) == expected


def test_a_nested_model_gives_the_input_of_a_sequential_model(folder):
    inner = {
        "class_name": "Functional",
        "config": {**FUNCTIONAL, "name": "inner", "input_layers": [["a", 0, 0]]},
    }
    inputs, _ = layers_signature(
        folder, keras_model("Sequential", {"layers": [inner, layer("Dense", "last")]})
    )
    assert [spec.name for spec in inputs] == ["a"]


def test_a_topology_saved_by_javascript_is_read(folder):
    write(folder, format=None, modelTopology={"class_name": "Functional", "config": FUNCTIONAL})
    assert read_artifacts(folder).format == "layers"


def test_the_error_names_a_missing_shard(folder):
    (folder / "group1-shard2of2.bin").unlink()
    with pytest.raises(ArtifactsError, match=r"'group1-shard2of2\.bin', which does not exist"):
        read_artifacts(folder)


def test_a_short_last_shard_is_rejected_with_expected_and_found_bytes(folder):
    (folder / "group1-shard2of2.bin").write_bytes(FIRST[40:-1])
    due = len(FIRST) - 40
    with pytest.raises(
        ArtifactsError, match=rf"group1-shard2of2\.bin is too short: {due} bytes expected, {due - 1} "
    ):
        read_artifacts(folder)


def test_a_long_shard_is_rejected(folder):
    (folder / "group1-shard2of2.bin").write_bytes(FIRST[40:] + b"x")
    with pytest.raises(ArtifactsError, match=r"group1-shard2of2\.bin is too long"):
        read_artifacts(folder)


@pytest.mark.parametrize("cut", [3, 30])
def test_the_error_names_a_short_first_shard(tmp_path, cut):
    size = 4 * 2**20
    total = size + 1000
    manifest = [
        {"paths": ["one.bin", "two.bin"], "weights": [{"name": "w", "shape": [total], "dtype": "bool"}]}
    ]
    write(tmp_path, weightsManifest=manifest)
    (tmp_path / "one.bin").write_bytes(bytes(size - cut))
    (tmp_path / "two.bin").write_bytes(bytes(1000))
    with pytest.raises(
        ArtifactsError, match=rf"one\.bin is too short: {size} bytes expected, {size - cut} found"
    ):
        read_artifacts(tmp_path)


def test_a_short_shard_of_strings_is_rejected(folder):
    (folder / "group2-shard1of1.bin").write_bytes(SECOND[:9])
    with pytest.raises(
        ArtifactsError, match=r"group2-shard1of1\.bin.* end within a string weight, after 9 bytes"
    ):
        read_artifacts(folder)
    (folder / "group2-shard1of1.bin").write_bytes(SECOND[:-2])
    with pytest.raises(ArtifactsError, match="too short"):
        read_artifacts(folder)


@pytest.mark.parametrize(
    "name", ["../up.bin", "/etc/hostname", "sub/../../up.bin", "..\\up.bin", "c:\\up.bin"]
)
def test_a_shard_outside_the_folder_is_rejected(folder, name):
    (folder.parent / "up.bin").write_bytes(b"")
    write(folder, weightsManifest=[{"paths": [name], "weights": []}])
    with pytest.raises(ArtifactsError, match="outside its own folder"):
        read_artifacts(folder)


def test_a_link_out_of_the_folder_is_rejected(folder):
    shard = folder / "group2-shard1of1.bin"
    shard.rename(folder.parent / "elsewhere.bin")
    shard.symlink_to(folder.parent / "elsewhere.bin")
    with pytest.raises(ArtifactsError, match="outside its own folder"):
        read_artifacts(folder)


def entry(**changes):
    return {"name": "w", "shape": [1], "dtype": "float32", **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modelTopology": None}, "no 'modelTopology'"),
        ({"weightsManifest": None}, "no 'weightsManifest'"),
        ({"format": "other"}, "format 'other'"),
        ({"weightsManifest": [{"weights": []}]}, "damaged weights manifest"),
        ({"weightsManifest": [{"paths": [], "weights": [entry(dtype="int7")]}]}, "int7"),
        ({"weightsManifest": [{"paths": [], "weights": [entry(shape=[-1])]}]}, "shape"),
        ({"weightsManifest": [{"paths": [], "weights": [entry()]}]}, "no shard"),
        ({"weightsManifest": [{"paths": [], "weights": [entry(shape=[0]), entry(shape=[0])]}]}, "'w' twice"),
        ({"modelTopology": {"node": [{"name": "x"}]}}, "inputs and outputs"),
    ],
)
def test_a_damaged_model_json_is_rejected(folder, changes, message):
    write(folder, **changes)
    with pytest.raises(ArtifactsError, match=message):
        read_artifacts(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_file_without_a_json_object_is_rejected(folder, text):
    (folder / "model.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactsError, match=r"model\.json"):
        read_artifacts(folder)


def test_a_missing_model_json_is_reported(tmp_path):
    with pytest.raises(ArtifactsError, match=r"no converted model at .*model\.json"):
        read_artifacts(tmp_path)


def test_with_weights_changes_only_the_given_weights(folder, tmp_path):
    (folder / "assets.zip").write_bytes(b"zip")
    artifacts = read_artifacts(folder)
    small = np.float32([0.25, -7, 3, 1e-30])
    changed = with_weights(artifacts, {"kernel": KERNEL * 2, "small": small}, tmp_path / "out")
    weights, before = changed.read_weights(), artifacts.read_weights()
    np.testing.assert_array_equal(weights.pop("kernel"), KERNEL * 2)
    np.testing.assert_array_equal(weights.pop("small"), small)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, before[name])
    assert changed.inputs == artifacts.inputs
    assert (tmp_path / "out" / "assets.zip").read_bytes() == b"zip"
    np.testing.assert_array_equal(artifacts.read_weights()["kernel"], KERNEL)


def test_with_weights_splits_large_weights_into_shards(tmp_path):
    size = 5 * 2**20
    manifest = [{"paths": ["one.bin"], "weights": [{"name": "w", "shape": [size], "dtype": "bool"}]}]
    write(tmp_path, weightsManifest=manifest)
    (tmp_path / "one.bin").write_bytes(bytes(size))
    value = np.zeros(size, bool)
    value[-1] = True
    changed = with_weights(read_artifacts(tmp_path), {"w": value}, tmp_path / "out")
    assert [path["paths"] for path in changed.manifest] == [["group1-shard1of2.bin", "group1-shard2of2.bin"]]
    np.testing.assert_array_equal(changed.read_weights()["w"], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nothing": KERNEL}, "no weights named"),
        ({"kernel": KERNEL.T}, r"shape \[3, 4\].*shape \[4, 3\]"),
        ({"kernel": KERNEL.astype(np.float64)}, "float32.*float64"),
        ({"words": np.array(WORDS, object)}, "string"),
    ],
)
def test_with_weights_rejects_wrong_names_shapes_and_dtypes(folder, tmp_path, changes, message):
    with pytest.raises(ArtifactsError, match=message):
        with_weights(read_artifacts(folder), changes, tmp_path / "out")


def test_artifacts_can_be_moved(folder, tmp_path):
    shutil.move(folder, tmp_path / "moved")
    assert read_artifacts(tmp_path / "moved").format == "graph"
