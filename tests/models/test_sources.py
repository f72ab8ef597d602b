from __future__ import annotations

import json
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest

from pytest_tfjs.errors import ArtifactsError, ConversionError, SourceError
from pytest_tfjs.models.sources import Prebuilt, as_source
from tests.support.paths import ROOT

EXPECTED = r"A model is a Keras model \(tf_keras or Keras 3\)"


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
def test_a_keras_file_tells_its_version(tmp_path, version, format_):
    source = as_source(keras_file(tmp_path / "my model.keras", version))
    assert (source.kind, source.keras, source.format) == ("keras_file", int(version[0]), format_)
    assert source.label == "my model.keras"


@pytest.mark.parametrize(("version", "format_"), [("2.19.0", "layers"), ("3.15.1", "graph")])
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_an_hdf5_file_tells_its_version(tmp_path, version, format_, suffix):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / f"m{suffix}", "w") as file:
        file.attrs.update(keras_version=version, model_config="{}")
    source = as_source(str(tmp_path / f"m{suffix}"))
    assert (source.kind, source.keras, source.format) == ("h5", int(version[0]), format_)


def test_a_saved_model_is_a_directory(tmp_path):
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
def test_artifacts_alone_can_be_used_but_not_compared(tmp_path, format_):
    path = artifacts(tmp_path / "net", f"{format_}-model")
    for given in (path, path.parent):
        source = as_source(given)
        assert (source.kind, source.format, source.label) == ("prebuilt", format_, "net")
        with pytest.raises(SourceError, match=r"Prebuilt\(artifacts, source\)"):
            source.load()
        with pytest.raises(SourceError, match="nothing to compare it with"):
            source.require_origin()


def test_prebuilt_artifacts_know_their_source(tmp_path):
    path = artifacts(tmp_path / "net")
    source = as_source(Prebuilt(path, saved_model(tmp_path / "origin")))
    assert (source.kind, source.format) == ("prebuilt", "graph")
    assert source.require_origin().kind == "saved_model"


def test_prebuilt_of_prebuilt_is_refused(tmp_path):
    path = artifacts(tmp_path / "net")
    with pytest.raises(SourceError, match="converted model too"):
        as_source(Prebuilt(path, path))


def test_damaged_artifacts_are_told_at_once(tmp_path):
    path = artifacts(tmp_path / "net")
    path.write_text("{}")
    with pytest.raises(ArtifactsError, match="modelTopology"):
        as_source(path)


def test_a_source_is_given_back(tmp_path):
    source = as_source(saved_model(tmp_path / "net"))
    assert as_source(source) is source


def test_home_is_found(tmp_path, monkeypatch):
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
        ("m.txt", "no model file that is known"),
        ("m.keras", "no Keras model file, or it is damaged"),
        ("m.h5", "no HDF5 file, or it is damaged"),
    ],
)
def test_files_of_other_kinds_are_told_apart(tmp_path, name, message):
    if name.endswith(".h5"):
        pytest.importorskip("h5py")
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(SourceError, match=message):
        as_source(tmp_path / name)


def test_a_missing_path_is_told_with_the_folder_looked_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=rf"no model at nets/m\.h5 \(looked in {tmp_path}\).*{EXPECTED}"):
        as_source("nets/m.h5")


def test_an_empty_directory_is_told(tmp_path):
    with pytest.raises(SourceError, match="is empty; a SavedModel has"):
        as_source(tmp_path)


def test_another_directory_is_told_with_what_it_has(tmp_path):
    (tmp_path / "weights.txt").touch()
    with pytest.raises(SourceError, match=r"neither saved_model\.pb nor model\.json, only weights\.txt"):
        as_source(tmp_path)


def test_keras_of_an_unknown_version_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"Keras 4\.0"):
        as_source(keras_file(tmp_path / "m.keras", "4.0"))


def test_weights_alone_are_told(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.attrs["keras_version"] = "2.19.0"
    with pytest.raises(SourceError, match="holds weights only"):
        as_source(tmp_path / "m.weights.h5")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "None was given"),
        (3, "type builtins.int"),
        (np.ones(2), r"type numpy\.ndarray"),
        (dict, "the class builtins.dict was given"),
        (lambda x: x, r"Python function '<lambda>'.*tf\.function"),
    ],
)
def test_other_objects_are_told(given, message):
    with pytest.raises(SourceError, match=f"{message}.*{EXPECTED}"):
        as_source(given)


def test_a_pytorch_module_is_told():
    base = type("Module", (), {"__module__": "torch.nn.modules.module"})
    with pytest.raises(SourceError, match="PyTorch module"):
        as_source(type("Net", (base,), {})())


def test_the_fingerprint_is_of_the_bytes(tmp_path):
    one, two = saved_model(tmp_path / "one"), saved_model(tmp_path / "two")
    before = as_source(one).fingerprint()
    assert before == as_source(two).fingerprint()
    (two / "variables" / "variables.index").write_bytes(b"indey")
    assert before != as_source(two).fingerprint()
    (one / "variables" / "variables.index").rename(one / "variables" / "variables.data")
    assert before != as_source(one).fingerprint()


def test_the_fingerprint_of_prebuilt_artifacts_has_both(tmp_path):
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


# From here on: with TensorFlow.


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture(params=["tf_keras", "keras"])
def keras(request, tf):
    return pytest.importorskip(request.param)


def small(keras, activation="relu", name="small"):
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(3, activation=activation, name="dense")(x), name=name)


@pytest.mark.convert
def test_keras_models_are_recognised(keras):
    source = as_source(small(keras))
    version = int(keras.__version__[0])
    assert (source.kind, source.keras, source.label) == (f"keras{version}", version, "small")
    assert source.format == ("layers" if version == 2 else "graph")
    assert source.load() is source.model


@pytest.mark.convert
def test_a_subclass_of_model_and_a_layer_are_told_apart(keras):
    class Own(keras.Model):
        def call(self, x):
            return x

    assert as_source(Own()).keras == int(keras.__version__[0])
    with pytest.raises(SourceError, match=r"no model .*Dense"):
        as_source(keras.layers.Dense(3))


@pytest.mark.convert
def test_one_bit_of_one_weight_changes_the_fingerprint(keras):
    model = small(keras)
    before = as_source(model).fingerprint()
    assert as_source(small(keras)).fingerprint() == before
    kernel, bias = model.get_weights()
    kernel.view(np.uint32)[1, 2] ^= 1
    model.set_weights([kernel, bias])
    assert as_source(model).fingerprint() != before


@pytest.mark.convert
def test_the_fingerprint_sees_the_config(keras):
    assert as_source(small(keras)).fingerprint() != as_source(small(keras, "tanh")).fingerprint()


@pytest.mark.convert
def test_the_fingerprint_sees_code_that_the_config_does_not_hold(keras, tf):
    def activation(factor):
        def own(x):
            return x * factor

        return own

    one, same, other = (
        as_source(small(keras, activation(factor))).fingerprint() for factor in (2.0, 2.0, 3.0)
    )
    assert one == same
    assert one != other


@pytest.mark.convert
def test_a_model_whose_content_cannot_be_read_is_never_taken_for_another(keras):
    class Own(keras.Model):
        def call(self, x):
            return x * 2.0

    model = Own()
    with pytest.raises(ConversionError, match="never been built"):
        as_source(model).fingerprint()
    model(np.ones((1, 2), np.float32))
    source = as_source(model)
    assert source.fingerprint() == source.fingerprint()
    assert source.fingerprint() != as_source(model).fingerprint()


@pytest.mark.convert
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_model_files_load(keras, tmp_path, suffix):
    model = small(keras)
    path = tmp_path / f"a model{suffix}"
    model.save(str(path))
    source = as_source(path)
    assert source.keras == int(keras.__version__[0])
    loaded = source.load()
    assert source.load() is loaded
    assert type(loaded).__module__.startswith(f"{keras.__name__}.")
    for one, two in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.convert
def test_a_file_with_code_of_ones_own_says_to_pass_the_model(keras, tmp_path):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    x = keras.Input((4,))
    keras.Model(x, Own()(x)).save(tmp_path / "m.keras")
    source = as_source(tmp_path / "m.keras")
    with pytest.raises(SourceError, match="pass the model in place of the path"):
        source.load()


@pytest.mark.convert
def test_the_fingerprint_of_a_file_sees_registered_code(keras, tmp_path):
    def register(factor):
        @keras.utils.register_keras_serializable("tests", "Scale")
        class Scale(keras.layers.Layer):
            def call(self, x):
                return x * factor

        return Scale

    x = keras.Input((4,))
    keras.Model(x, register(2.0)()(x)).save(tmp_path / "m.keras")
    before = as_source(tmp_path / "m.keras").fingerprint()
    assert as_source(tmp_path / "m.keras").fingerprint() == before
    register(3.0)
    assert as_source(tmp_path / "m.keras").fingerprint() != before


def traced(tf, value=2.0):
    variable = tf.Variable(np.float32([value]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def double(x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x * variable, lambda: x)

    double.kept = variable
    return double


@pytest.mark.convert
def test_functions_are_recognised_and_told_apart_by_content(tf):
    source = as_source(traced(tf))
    assert (source.kind, source.format, source.label) == ("function", "graph", "double")
    assert source.fingerprint() == as_source(traced(tf)).fingerprint()
    assert source.fingerprint() != as_source(traced(tf, np.nextafter(np.float32(2), 3))).fingerprint()
    concrete = traced(tf).get_concrete_function()
    assert as_source(concrete).load() is concrete


@pytest.mark.convert
def test_captured_constants_are_content(tf):
    def capture(value):
        constant = tf.fill([1000], value)  # TensorFlow makes a small one part of the graph
        return tf.function(lambda x: x + constant, input_signature=[tf.TensorSpec([], tf.float32)])

    assert as_source(capture(1.0)).fingerprint() == as_source(capture(1.0)).fingerprint()
    assert as_source(capture(1.0)).fingerprint() != as_source(capture(2.0)).fingerprint()


@pytest.mark.convert
def test_a_function_needs_one_signature(tf):
    function = tf.function(lambda x: x)
    with pytest.raises(SourceError, match=r"no signature.*input_signature"):
        as_source(function).load()
    function(tf.ones([2]))
    assert as_source(function).load() is not None
    function(tf.ones([3]))
    with pytest.raises(SourceError, match="traced for 2 signatures"):
        as_source(function).load()


def module(tf, *names):
    def method(self, x):
        return x

    spec = [tf.TensorSpec([None], tf.float32)]
    body = {
        name: tf.function(types.FunctionType(method.__code__, {}, name), input_signature=spec)
        for name in names
    }
    return type("Net", (tf.Module,), body)()


@pytest.mark.convert
@pytest.mark.parametrize("names", [("__call__",), ("__call__", "other"), ("only",)])
def test_a_module_has_one_function(tf, names):
    source = as_source(module(tf, *names))
    assert (source.kind, source.label) == ("module", "net")
    assert source.load()(tf.ones([1])).numpy() == 1


@pytest.mark.convert
def test_a_module_with_several_functions_or_none_is_told(tf):
    with pytest.raises(SourceError, match=r"several functions with a signature: one, two.*model\.one"):
        as_source(module(tf, "one", "two")).load()
    with pytest.raises(SourceError, match="no function with a signature"):
        as_source(module(tf)).load()


@pytest.mark.convert
def test_a_saved_model_loads_its_signature_and_keeps_its_variables(tf, tmp_path):
    net = tf.Module()
    net.factor = tf.Variable(3.0)
    spec = [tf.TensorSpec([None], tf.float32, name="x")]
    net.function = tf.function(lambda x: x * net.factor, input_signature=spec)
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.function)
    function = as_source(tmp_path / "net").load()
    source = as_source(tmp_path / "net")
    assert source.load()(tf.ones([1]))["output_0"].numpy() == 3
    assert as_source(tf.saved_model.load(str(tmp_path / "net"))).kind == "module"
    del function
