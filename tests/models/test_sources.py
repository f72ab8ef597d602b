from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from pytest_tfjs.errors import ArtifactsError, SourceError
from pytest_tfjs.models.sources import Prebuilt, as_source
from tests.support.paths import ROOT

EXPECTED = r"Expected a Keras model \(tf_keras or Keras 3\)"


def keras_file(path, version="3.15.1", config=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config or {"class_name": "Functional", "module": "keras"}))
    return path


def artifacts(folder, format_="graph-model"):
    topology = {"node": []} if format_ == "graph-model" else {"class_name": "Sequential", "config": [
        {"class_name": "InputLayer", "config": {"name": "x"}}]}  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(
        json.dumps({"format": format_, "modelTopology": topology, "weightsManifest": []})
    )
    return folder / "model.json"


def saved_model(folder):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


@pytest.mark.parametrize(("version", "format_"), [("2.19.0", "layers"), ("3.15.1", "graph")])
def test_the_keras_version_of_a_keras_file_is_read(tmp_path, version, format_):
    source = as_source(keras_file(tmp_path / "my model.keras", version))
    assert (source.kind, source.keras, source.format) == ("keras_file", int(version[0]), format_)
    assert source.label == "my model.keras"


@pytest.mark.parametrize(("version", "format_"), [("2.19.0", "layers"), ("3.15.1", "graph")])
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_the_keras_version_of_an_hdf5_file_is_read(tmp_path, version, format_, suffix):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / f"m{suffix}", "w") as file:
        file.attrs.update(keras_version=version, model_config="{}")
    source = as_source(str(tmp_path / f"m{suffix}"))
    assert (source.kind, source.keras, source.format) == ("h5", int(version[0]), format_)


def test_a_saved_model_is_recognised_by_folder_or_file(tmp_path):
    folder = saved_model(tmp_path / "net")
    for path in (folder, str(folder), folder / "saved_model.pb"):
        source = as_source(path)
        assert (source.kind, source.format, source.label, source.keras) == (
            "saved_model",
            "graph",
            "net",
            None,
        )


@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_artifacts_without_a_source_cannot_be_compared(tmp_path, format_):
    path = artifacts(tmp_path / "net", f"{format_}-model")
    for location in (path, path.parent):
        source = as_source(location)
        assert (source.kind, source.format, source.label) == ("prebuilt", format_, "net")
        with pytest.raises(SourceError, match=r"Prebuilt\(artifacts, source\)"):
            source.load()
        with pytest.raises(SourceError, match="nothing to compare it with"):
            source.require_origin()


def test_prebuilt_artifacts_have_their_source(tmp_path):
    path = artifacts(tmp_path / "net")
    source = as_source(Prebuilt(path, saved_model(tmp_path / "origin")))
    assert (source.kind, source.format) == ("prebuilt", "graph")
    assert source.require_origin().kind == "saved_model"


def test_prebuilt_of_prebuilt_is_rejected(tmp_path):
    path = artifacts(tmp_path / "net")
    with pytest.raises(SourceError, match="converted model too"):
        as_source(Prebuilt(path, path))


def test_damaged_artifacts_are_rejected(tmp_path):
    path = artifacts(tmp_path / "net")
    path.write_text("{}")
    with pytest.raises(ArtifactsError, match="modelTopology"):
        as_source(path)


def test_as_source_returns_a_source_unchanged(tmp_path):
    source = as_source(saved_model(tmp_path / "net"))
    assert as_source(source) is source


def test_a_tilde_in_a_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved_model(tmp_path / "net")
    assert as_source("~/net").kind == "saved_model"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pt", "PyTorch"),
        ("m.pth", "PyTorch"),
        ("m.onnx", "ONNX"),
        ("m.tflite", "TensorFlow Lite"),
        ("m.npz", "numpy"),
        ("m.pb", "frozen graph.*SavedModel directory"),
        ("m.txt", "is not a known kind of model file"),
        ("m.keras", "is not a Keras model file, or it is damaged"),
        ("m.h5", "is not an HDF5 file, or it is damaged"),
    ],
)
def test_other_model_files_are_rejected_by_kind(tmp_path, name, message):
    if name.endswith(".h5"):
        pytest.importorskip("h5py")
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(SourceError, match=message):
        as_source(tmp_path / name)


def test_a_missing_path_is_reported_with_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=rf"no model at nets/m\.h5 \(looked in {tmp_path}\).*{EXPECTED}"):
        as_source("nets/m.h5")


def test_an_empty_directory_is_rejected(tmp_path):
    with pytest.raises(SourceError, match="is empty; a SavedModel has"):
        as_source(tmp_path)


def test_the_error_lists_the_files_of_another_directory(tmp_path):
    (tmp_path / "weights.txt").touch()
    with pytest.raises(SourceError, match=r"neither saved_model\.pb nor model\.json, only weights\.txt"):
        as_source(tmp_path)


def test_an_unknown_keras_version_is_rejected(tmp_path):
    with pytest.raises(SourceError, match=r"Keras 4\.0"):
        as_source(keras_file(tmp_path / "m.keras", "4.0"))


def test_a_weights_file_is_rejected(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.attrs["keras_version"] = "2.19.0"
    with pytest.raises(SourceError, match="holds weights only"):
        as_source(tmp_path / "m.weights.h5")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "None was given"),
        (3, "type builtins.int"),
        (np.ones(2), r"type numpy\.ndarray"),
        (dict, "the class builtins.dict was given"),
        (lambda x: x, r"Python function '<lambda>'.*tf\.function"),
    ],
)
def test_other_objects_are_rejected(model, message):
    with pytest.raises(SourceError, match=f"{message}.*{EXPECTED}"):
        as_source(model)


def test_a_pytorch_module_is_rejected():
    base = type("Module", (), {"__module__": "torch.nn.modules.module"})
    with pytest.raises(SourceError, match="PyTorch module"):
        as_source(type("Net", (base,), {})())


def test_the_fingerprint_depends_on_bytes_and_file_names(tmp_path):
    one, two = saved_model(tmp_path / "one"), saved_model(tmp_path / "two")
    before = as_source(one).fingerprint()
    assert before == as_source(two).fingerprint()
    (two / "variables" / "variables.index").write_bytes(b"indey")
    assert before != as_source(two).fingerprint()
    (one / "variables" / "variables.index").rename(one / "variables" / "variables.data")
    assert before != as_source(one).fingerprint()


def test_the_fingerprint_of_prebuilt_artifacts_depends_on_artifacts_and_source(tmp_path):
    path, origin = artifacts(tmp_path / "net"), saved_model(tmp_path / "origin")
    found = {as_source(Prebuilt(path, origin)).fingerprint(), as_source(path).fingerprint()}
    (origin / "saved_model.pb").write_bytes(b"other")
    found.add(as_source(Prebuilt(path, origin)).fingerprint())
    path.write_text(path.read_text() + " ")
    found.add(as_source(Prebuilt(path, origin)).fingerprint())
    assert len(found) == 4


def test_recognising_a_file_imports_no_tensorflow(tmp_path):
    script = (
        "import sys; from pytest_tfjs.models.sources import as_source\n"
        "for path in sys.argv[1:]: as_source(path).fingerprint()\n"
        "print([name for name in ('tensorflow', 'tf_keras', 'keras', 'tensorflowjs') if name in sys.modules])"
    )
    paths = [keras_file(tmp_path / "m.keras"), saved_model(tmp_path / "net"), artifacts(tmp_path / "made")]
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout == "[]\n"
