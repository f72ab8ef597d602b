"""A mutated activation equals that of a model built with the same fault."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.mutants import KINDS, Mutated, NotApplicable, same_bits
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.faults.layer_faults import LayerMutants
from pytest_tfjs.reference.faults.layer_parts import parts_of
from pytest_tfjs.reference.reference_model import load_reference_model
from tests.support.layer_alone_cases import graph_of

pytestmark = pytest.mark.convert

SIZE = 8
IMAGE = np.random.default_rng(7).standard_normal((2, SIZE, SIZE, 3)).astype(np.float32)


def build(keras, *, epsilon=1e-3, bias=True, relu6=True, name="small"):
    """A convolution, a batch-norm and a ReLU6, then a strided convolution and a dense layer."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=bias, name="conv")(image)
    x = layers.BatchNormalization(epsilon=epsilon, name="norm")(x)
    x = layers.ReLU(6.0 if relu6 else None, name="clip")(x)
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="strided")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(image, layers.Dense(3, name="dense")(x), name=name)
    rng = np.random.default_rng(3)
    model.set_weights([_drawn(rng, weight) for weight in model.weights])
    return model


def _drawn(rng, weight):
    values = (
        rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.name else rng.normal(size=weight.shape)
    )
    values = 3 * values if "gamma" in weight.name else values
    return values.astype(np.float32)


class Small:
    """The small model in one format, its mutants, and the activations of models with a fault."""

    def __init__(self, keras, format_, cache):
        self._keras = keras
        source = as_source(build(keras))
        artifacts = convert(source, format=format_, cache=cache)
        (self._feed,) = normalise_feeds(IMAGE, artifacts.inputs)
        model = load_reference_model(source, artifacts, [self._feed])
        self.rows = {
            layer.tap["node"].split("/")[-2] if format_ == "graph" else layer.name: layer.name
            for layer in model.plan.layers
            if layer.coverage == "compared"
        }
        names = list(self.rows.values())
        self.activations = model.from_artifacts(self._feed, names)
        self.alone = model.alone()
        self._mutating = LayerMutants(self.alone, model.refolded)

    def mutants(self, row, kinds=KINDS):
        name = self.rows[row]
        inputs = {**self._feed.reference, **self.activations}
        found = self._mutating.mutants(name, self.activations[name], inputs, kinds)
        return {mutant.kind: mutant for mutant in found}

    def value(self, row, kind):
        mutant = self.mutants(row, [kind])[kind]
        assert isinstance(mutant.made, Mutated), mutant.made
        assert not same_bits(mutant.made.value, mutant.right)
        return mutant.made.value

    def layer_of(self, row, **fault):
        """A layer's activation in a model built with a fault, on the same inputs."""
        other = build(self._keras, name="other", **fault)
        model = self._keras.Model(other.inputs, other.get_layer(row).output)
        return np.asarray(model(IMAGE))


@pytest.fixture(scope="module", params=["layers", "graph"])
def small(request, tmp_path_factory):
    keras = pytest.importorskip("tf_keras")
    with ContentCache(tmp_path_factory.mktemp("cache")) as cache:
        yield Small(keras, request.param, cache)


def test_parts_of_finds_activation_padding_kernel_and_bias(small):
    parts = {row: parts_of(small.alone, name) for row, name in small.rows.items()}
    assert parts["clip"].activation == "Relu6"
    assert parts["strided"].activation == "Relu"
    assert parts["strided"].pads == "input"
    assert parts["dense"].pads is None
    assert "dense" in parts["dense"].kernel
    assert "dense" in parts["dense"].bias
    assert parts["dense"].kernel != parts["dense"].bias


def test_parts_of_finds_a_bias_behind_stop_gradient_and_in_addn():
    pytest.importorskip("tensorflow")
    bias = np.float32([1, 2, 3])
    for add in (
        lambda tf, x, bias: x + tf.stop_gradient(bias),
        lambda tf, x, bias: tf.raw_ops.AddN(inputs=[x, bias]),
    ):
        alone = graph_of(lambda tf, x, add=add: add(tf, x, tf.constant(bias, name="bias")), x=bias)
        assert parts_of(alone, "y").bias == "bias"


@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT", "SYMMETRIC"])
def test_parts_of_a_padding_layer_pad_the_output(mode):
    pytest.importorskip("tensorflow")
    pads = [[0, 0], [1, 1], [1, 1], [0, 0]]
    assert parts_of(graph_of(lambda tf, x: tf.pad(x, pads, mode), x=IMAGE), "y").pads == "output"


def test_each_fault_kind_has_one_mutant_and_the_correct_activation(small):
    for row, name in small.rows.items():
        found = small.mutants(row)
        assert found.keys() == set(KINDS)
        for mutant in found.values():
            assert mutant.right == pytest.approx(small.activations[name], rel=1e-4, abs=1e-4)


def test_a_wrong_epsilon_equals_a_model_with_that_epsilon(small):
    row = "norm" if "norm" in small.rows else "clip"  # folded into the convolution, which ends in the ReLU6
    expected = small.layer_of(row, epsilon=1e-5)
    assert np.abs(expected - small.layer_of(row)).max() > 1e-3
    assert small.value(row, "batch-norm epsilon wrong") == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_relu_instead_of_relu6_equals_a_model_with_relu(small):
    expected = small.layer_of("clip", relu6=False)
    assert expected.max() > 6
    assert small.value("clip", "activation swapped") == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_dropped_bias_changes_each_channel_by_its_bias(small):
    before = small.activations[small.rows["dense"]]
    (bias,) = (
        value
        for name, value in small.alone.weights_of(small.rows["dense"]).items()
        if name == parts_of(small.alone, small.rows["dense"]).bias
    )
    assert before - small.value("dense", "bias dropped") == pytest.approx(
        np.broadcast_to(bias, before.shape), rel=1e-3, abs=1e-4
    )


def test_one_wrong_weight_changes_one_unit(small):
    before = small.activations[small.rows["dense"]]
    changed = ~np.isclose(small.value("dense", "one weight +1 %"), before, rtol=1e-5, atol=1e-6)
    assert changed.any(axis=0).sum() == 1


def test_shifted_padding_pads_on_the_other_side(small):
    """TensorFlow pads a strided convolution at the end, PyTorch at the beginning."""
    import tensorflow as tf

    name = small.rows["strided"]
    weights = small.alone.weights_of(name)
    parts = parts_of(small.alone, name)
    entering = small.activations[small.rows["clip"]]
    before = [[0, 0], [1, 0], [1, 0], [0, 0]]
    expected = np.asarray(
        tf.nn.relu(tf.nn.conv2d(entering, weights[parts.kernel], 2, before) + weights[parts.bias])
    )
    value = small.value("strided", "padding shifted by one")
    # The mutant has no values for the last row and column.
    assert value[:, :-1, :-1] == pytest.approx(expected[:, :-1, :-1], rel=1e-4, abs=1e-4)


def test_a_fault_that_does_not_apply_has_a_reason(small):
    made = {kind: mutant.made for kind, mutant in small.mutants("dense").items()}
    for kind in ("height and width swapped", "padding shifted by one", "batch-norm epsilon wrong"):
        assert isinstance(made[kind], NotApplicable)
        assert made[kind].why


def test_mutants_are_deterministic(small):
    first, second = (
        {kind: getattr(mutant.made, "what", None) for kind, mutant in small.mutants("strided").items()}
        for _ in range(2)
    )
    assert first == second


def test_the_bias_of_an_attention_layer_is_its_output_bias(tmp_path):
    """The bias of the keys shifts all inputs of the softmax equally and has no effect."""
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((3, 4), name="x")
    attention = keras.layers.MultiHeadAttention(2, 2, name="attention")
    model = keras.Model(x, attention(x, x), name="attentive")
    with ContentCache(tmp_path) as cache:
        source = as_source(model)
        artifacts = convert(source, format="layers", cache=cache)
        (feed,) = normalise_feeds(np.ones((1, 3, 4), np.float32), artifacts.inputs)
        alone = load_reference_model(source, artifacts, [feed]).alone()
    assert "attention_output" in parts_of(alone, "attention").bias
