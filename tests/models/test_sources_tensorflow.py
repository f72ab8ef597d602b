"""Sources that TensorFlow reads: Keras models, functions, modules and SavedModels."""

from __future__ import annotations

import types

import numpy as np
import pytest

from pytest_tfjs.errors import ConversionError, SourceError
from pytest_tfjs.models.sources import as_source


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
def test_a_subclassed_model_is_accepted_and_a_layer_rejected(keras):
    class Own(keras.Model):
        def call(self, x):
            return x

    assert as_source(Own()).keras == int(keras.__version__[0])
    with pytest.raises(SourceError, match=r"not a model .*Dense"):
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
def test_the_fingerprint_depends_on_the_config(keras):
    assert as_source(small(keras)).fingerprint() != as_source(small(keras, "tanh")).fingerprint()


@pytest.mark.convert
def test_the_fingerprint_depends_on_code_outside_the_config(keras, tf):
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
def test_subclassed_models_have_a_fingerprint_of_their_own(keras):
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
def test_the_error_for_a_file_with_custom_layers_says_to_pass_the_model(keras, tmp_path):
    class Own(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    x = keras.Input((4,))
    keras.Model(x, Own()(x)).save(tmp_path / "m.keras")
    source = as_source(tmp_path / "m.keras")
    with pytest.raises(SourceError, match="pass the model instead of the path"):
        source.load()


@pytest.mark.convert
def test_the_fingerprint_of_a_file_depends_on_registered_code(keras, tmp_path):
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

    double.variable = variable
    return double


@pytest.mark.convert
def test_the_fingerprint_of_a_function_depends_on_its_content(tf):
    source = as_source(traced(tf))
    assert (source.kind, source.format, source.label) == ("function", "graph", "double")
    assert source.fingerprint() == as_source(traced(tf)).fingerprint()
    assert source.fingerprint() != as_source(traced(tf, np.nextafter(np.float32(2), 3))).fingerprint()
    concrete = traced(tf).get_concrete_function()
    assert as_source(concrete).load() is concrete


@pytest.mark.convert
def test_the_fingerprint_of_a_function_depends_on_captured_constants(tf):
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
def test_the_function_of_a_module_is_found(tf, names):
    source = as_source(module(tf, *names))
    assert (source.kind, source.label) == ("module", "net")
    assert source.load()(tf.ones([1])).numpy() == 1


@pytest.mark.convert
def test_a_module_with_several_functions_or_none_is_rejected(tf):
    with pytest.raises(SourceError, match=r"several functions with a signature: one, two.*model\.one"):
        as_source(module(tf, "one", "two")).load()
    with pytest.raises(SourceError, match="no function with a signature"):
        as_source(module(tf)).load()


@pytest.mark.convert
def test_a_loaded_saved_model_keeps_its_variables(tf, tmp_path):
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
