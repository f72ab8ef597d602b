from __future__ import annotations

import sys

import numpy as np
import pytest

from pytest_tfjs.errors import ConversionError, SourceError
from pytest_tfjs.models.artifacts import TensorSpec
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow import graph_conversion
from tests.support.twin_models import FEED, assert_close, names, run_graph, run_saved_model, twin

pytestmark = pytest.mark.convert


@pytest.mark.parametrize("structure", [{}, {"dict": True}], ids=["list", "dict"])
def test_a_graph_model_has_the_outputs_and_names_of_its_source(tf, keras, made, structure):
    model = twin(keras, **structure)
    artifacts = made(model, format="graph")
    tensors = {"b": FEED["left"], "a": FEED["right"]} if structure else [FEED["right"], FEED["left"]]
    expected = model(tensors, training=False)
    if not structure:
        expected = dict(zip(("zebra", "ape"), expected, strict=True))
    expected = {name: np.asarray(value) for name, value in expected.items()}
    assert_close(run_saved_model(tf, artifacts, FEED), expected)
    assert_close(run_graph(tf, artifacts, FEED), expected)
    if not structure:
        assert names(artifacts.inputs) == ["right", "left"]
        assert names(artifacts.outputs) == ["zebra", "ape"]


def test_free_and_fixed_batch_sizes_are_kept(keras, made):
    free = keras.Input((None, 2), name="free", dtype="int32")
    fixed = keras.Input(batch_shape=(2, 3), name="fixed")
    total = keras.layers.Lambda(lambda x: x * 2.0, name="double", output_shape=(3,))(fixed)
    model = keras.Model([free, fixed], [keras.layers.Embedding(5, 3, name="embed")(free), total])
    artifacts = made(model, format="graph")
    assert artifacts.inputs == (
        TensorSpec("free", (None, None, 2), "int32", "free:0"),
        TensorSpec("fixed", (2, 3), "float32", "fixed:0"),
    )


def test_names_invalid_in_tensorflow_are_replaced(keras, made):
    x = keras.Input((2,), name="1.my input")
    model = keras.Model(x, keras.layers.Dense(2, name="out-put")(x))
    artifacts = made(model, format="graph")
    assert (names(artifacts.inputs), names(artifacts.outputs)) == (["x1_my_input"], ["out_put"])


def test_a_sequential_model_that_was_never_called_converts(keras, made):
    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="y")])
    artifacts = made(model, format="graph")
    assert [spec.shape for spec in (*artifacts.inputs, *artifacts.outputs)] == [(None, 3), (None, 2)]


def test_keras_2_models_convert_to_layers_by_default(tf_keras, made):
    model = twin(tf_keras)
    artifacts = made(model)
    assert (artifacts.format, artifacts.weights, artifacts.saved_model) == ("layers", "float32", None)
    assert artifacts.inputs == (
        TensorSpec("right", (None, 4), "float32"),
        TensorSpec("left", (None, 4), "float32"),
    )
    assert names(artifacts.outputs) == ["zebra", "ape"]
    np.testing.assert_array_equal(
        artifacts.read_weights()["zebra/kernel"], model.get_layer("zebra").kernel.numpy()
    )
    assert "training_config" not in artifacts.topology


def test_a_compiled_model_converts_without_its_optimizer(tf_keras, made):
    x = tf_keras.Input((3,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(x), name="compiled")
    model.compile("adam", "mse")
    assert "training_config" not in made(model).topology


@pytest.mark.parametrize("format_", ["layers", "graph"])
@pytest.mark.parametrize(("weights", "size"), [("float16", 2), ("uint16", 2), ("uint8", 1)])
def test_weights_are_quantised(tf_keras, made, format_, weights, size):
    x = tf_keras.Input((64,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(64, name="d")(x))
    exact, quantised = made(model, format=format_), made(model, format=format_, weights=weights)
    assert (exact.weights, quantised.weights) == ("float32", weights)
    shards = sum(
        len((quantised.model_json.parent / name).read_bytes()) for name in quantised.manifest[0]["paths"]
    )
    assert shards < 64 * 64 * size + 64 * size + 100
    for name, value in exact.read_weights().items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(
                quantised.read_weights()[name], value, atol=2e-3 if size == 1 else 2e-4
            )


def test_functions_keep_the_order_of_their_arguments(tf, made):
    spec = tf.TensorSpec([None, 2], tf.float32)

    @tf.function(input_signature=[spec, spec])
    def mixed(zebra, ape):
        return zebra - ape, ape * 2.0

    artifacts = made(mixed)
    assert names(artifacts.inputs) == ["zebra", "ape"]
    assert names(artifacts.outputs) == ["output_0", "output_1"]
    feed = {"zebra": np.float32([[1, 2]]), "ape": np.float32([[5, 3]])}
    expected = {"output_0": feed["zebra"] - feed["ape"], "output_1": feed["ape"] * 2}
    assert_close(run_graph(tf, artifacts, feed), expected)
    assert_close(run_saved_model(tf, artifacts, feed), expected)


def test_more_than_ten_outputs_keep_their_order(tf, made):
    @tf.function(input_signature=[tf.TensorSpec([1], tf.float32)])
    def many(x):
        return [x + float(number) for number in range(12)]

    artifacts = made(many)
    assert names(artifacts.outputs) == [f"output_{number}" for number in range(12)]
    results = run_graph(tf, artifacts, {"x": np.float32([0])})
    assert [float(value[0]) for value in results.values()] == list(range(12))


class Net:
    """A tf.Module with a variable and a lookup table."""

    def __new__(cls, tf):
        class Module(tf.Module):
            def __init__(self):
                super().__init__(name="net")
                self.weight = tf.Variable(np.float32([[2, 3], [4, 5]]))
                pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
                self.table = tf.lookup.StaticHashTable(pairs, 0)

            @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
            def __call__(self, x):
                return {"y": x @ self.weight}

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
            def look(self, words):
                return {"ids": self.table.lookup(words)}

        return Module()


def test_a_module_with_an_unused_table_converts(tf, made):
    x = np.float32([[1, 2]])
    expected = {"y": x @ np.float32([[2, 3], [4, 5]])}
    artifacts = made(Net(tf))
    assert_close(run_graph(tf, artifacts, {"x": x}), expected)
    assert_close(run_saved_model(tf, artifacts, {"x": x}), expected)


def test_a_converted_saved_model_is_stored_with_its_signature(tf, made, tmp_path):
    net = Net(tf)
    path = tmp_path / "a saved model"
    tf.saved_model.save(net, str(path), signatures={"only": net.__call__})
    artifacts = made(path)
    assert artifacts.signature == "only"
    assert (artifacts.saved_model / "saved_model.pb").read_bytes() == (path / "saved_model.pb").read_bytes()
    assert_close(run_saved_model(tf, artifacts, {"x": np.float32([[1, 0]])}), {"y": np.float32([[2, 3]])})
    loaded = made(tf.saved_model.load(str(path)))
    assert names(loaded.inputs) == ["x"]


def test_a_lookup_table_converts_with_its_initializer(tf, made, tmp_path):
    net = Net(tf)
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.look)
    artifacts = made(tmp_path / "net")
    assert artifacts.inputs == (TensorSpec("words", (None,), "str", "words:0"),)
    assert names(artifacts.outputs) == ["ids"]


def test_a_function_with_an_untracked_table_is_rejected(tf, made):
    net = Net(tf)
    with pytest.raises(SourceError, match=r"cannot be saved.*pass the tf\.Module"):
        made(net.look)


def test_a_saved_model_needs_one_signature(tf, made, tmp_path):
    net = Net(tf)
    tf.saved_model.save(net, str(tmp_path / "two"), signatures={"one": net.__call__, "two": net.look})
    with pytest.raises(SourceError, match="signatures one, two and none is named serving_default"):
        made(tmp_path / "two")
    tf.saved_model.save(net, str(tmp_path / "none"))
    with pytest.raises(SourceError, match="has no signature"):
        made(tmp_path / "none")


def test_a_damaged_saved_model_is_rejected(made, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff damaged")
    with pytest.raises(SourceError, match=r"saved_model\.pb is damaged"):
        made(tmp_path)


def test_the_error_names_unsupported_operations_and_their_layers(tf, keras, made):
    x = keras.Input((4,), name="x")
    y = keras.layers.Lambda(tf.math.lgamma, name="odd_layer", output_shape=(4,))(x)
    model = keras.Model(x, keras.layers.Dense(2)(y), name="net")
    with pytest.raises(
        ConversionError, match=r"'net' uses operations .* Lgamma \(in 'odd_layer' \(Lambda\)\)"
    ):
        made(model, format="graph")


def test_keras_3_models_do_not_convert_to_layers(made):
    keras = pytest.importorskip("keras")
    x = keras.Input((2,))
    with pytest.raises(ConversionError, match=r"Keras 3.*format='graph'.*tf_keras"):
        made(keras.Model(x, keras.layers.Dense(2)(x)), format="layers")


def test_functions_do_not_convert_to_layers(tf, made):
    function = tf.function(lambda x: x, input_signature=[tf.TensorSpec([1], tf.float32)])
    with pytest.raises(ConversionError, match=r"not a Keras model.*format='graph'"):
        made(function, format="layers")


def test_subclassed_models_convert_only_to_graph(tf_keras, made):
    class Own(tf_keras.Model):
        def call(self, x):
            return x * 2.0

    model = Own(name="own")
    with pytest.raises(ConversionError, match="'own' has never been built"):
        made(model)
    model(np.ones((1, 2), np.float32))
    with pytest.raises(ConversionError, match=r"subclass of Model.*format='graph'"):
        made(model, format="layers")
    assert made(model, format="graph").format == "graph"


@pytest.mark.parametrize(
    ("options", "message"), [({"format": "onnx"}, "format='onnx'"), ({"weights": "int4"}, "int4")]
)
def test_unknown_options_are_rejected(tf_keras, made, options, message):
    with pytest.raises(ConversionError, match=message):
        made(twin(tf_keras), **options)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_models_convert_when_warnings_are_errors(keras, made, format_):
    if keras.__name__ == "keras" and format_ == "layers":
        pytest.skip("TF.js loads no layers model of Keras 3")
    x = keras.Input((3,), name="x")
    assert made(keras.Model(x, keras.layers.Dense(5)(x)), format=format_).format == format_


def test_the_converters_output_appears_only_in_errors(tf_keras, module_cache, capfd, monkeypatch):
    x = tf_keras.Input((3,), name="x")
    source = as_source(tf_keras.Model(x, tf_keras.layers.Dense(7)(x)))
    convert(source, format="graph", cache=module_cache)
    assert capfd.readouterr() == ("", "")

    def fail(*_):
        sys.stdout.write("the converter's last words\n")
        raise RuntimeError("no luck")

    monkeypatch.setattr(graph_conversion, "convert_graph", fail)
    with pytest.raises(
        ConversionError, match=r"(?s)RuntimeError: no luck\nThe converter's output:\n.*last words"
    ) as caught:
        convert(source, format="graph", weights="uint8", cache=module_cache)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert capfd.readouterr() == ("", "")


def test_an_error_in_freezing_is_reported(tf, module_cache, monkeypatch):
    from pytest_tfjs.models.tensorflow.importing import import_converter

    module = import_converter().graph

    def fail(*_, **__):
        raise RuntimeError("cannot freeze")

    monkeypatch.setattr(module, "_freeze_saved_model_v2", fail)
    function = tf.function(lambda x: x * 7.0, input_signature=[tf.TensorSpec([1], tf.float32)])
    with pytest.raises(ConversionError, match=r"the converter cannot freeze.*RuntimeError: cannot freeze"):
        convert(as_source(function), cache=module_cache)
    assert module._freeze_saved_model_v2 is fail
    assert module._freeze_saved_model_v1.__module__ == module.__name__
