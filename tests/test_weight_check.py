"""The artifacts' weights against the source's, through the real converter: what is found, what not missed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fixtures import build, inputs
from pytest_tfjs.models.artifacts import with_weights
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.source import as_source
from pytest_tfjs.reference.capture import capture_reference

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with ContentCache(tmp_path_factory.mktemp("cache")) as cache:
        yield cache


@pytest.fixture(scope="module")
def cnn():
    return as_source(build("cnn", pytest.importorskip("tf_keras") and 2))


@pytest.fixture
def checked(cache, cnn, tmp_path):
    """The check of the CNN's artifacts, some of whose weights `damage` changes."""

    def check(format_, weights="float32", damage=None):
        artifacts = convert(cnn, format=format_, weights=weights, cache=cache)
        if damage is not None:
            changes = damage(artifacts.read_weights())
            assert changes
            artifacts = with_weights(artifacts, changes, tmp_path / "damaged")
        feeds = normalise_feeds(inputs("cnn"), artifacts.inputs)
        return capture_reference(cnn, artifacts, feeds, "outputs", cache).weights

    return check


@pytest.mark.parametrize("weights", ["float32", "float16", "uint16", "uint8"])
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_sound_weights_are_all_known(checked, format_, weights):
    check = checked(format_, weights)
    assert check.findings == ()
    kinds = {"equal"} if weights == "float32" else {"quantised"}
    kinds |= {"folded", "equal"} if format_ == "graph" else set()
    assert check.counts.keys() == kinds
    assert sum(check.counts.values()) == {"layers": 18, "graph": 12}[format_]


def lowest_bit(name):
    def damage(weights):
        (full,) = (each for each in weights if name in each and weights[each].dtype.kind == "f")
        value = weights[full].copy()
        at = np.unravel_index(np.abs(value).argmax(), value.shape)
        value[at] = np.nextafter(value[at], np.float32(np.inf))
        return {full: value}

    return damage


@pytest.mark.parametrize(
    ("format_", "name", "layer"),
    [
        ("layers", "mix_conv/kernel", "mix_conv"),
        ("layers", "down_bn/moving_mean", "down_bn"),
        ("graph", "mix_conv/Conv2D/ReadVariableOp", "mix_conv/Conv2D"),
    ],
)
def test_one_bit_of_one_weight_is_a_difference_with_its_name(checked, format_, name, layer):
    (found,) = checked(format_, damage=lowest_bit(name)).differences
    assert name in found.name
    assert found.what.startswith("1 of ")
    if format_ == "layers":  # of a graph's outputs alone, those are the only layers
        assert found.layer == layer


@pytest.mark.parametrize("weights", ["float32", "uint8"])
@pytest.mark.parametrize("name", ["stem_conv/Conv2D_weights", "down_depthwise/depthwise_bn_offset"])
def test_a_folded_weight_that_is_wrong_is_a_difference(checked, name, weights):
    def damage(stored):
        (full,) = (each for each in stored if each.endswith(name))
        changed = stored[full].copy()
        changed.flat[3] += np.float32(0.01 if weights == "float32" else 0.5)
        return {full: changed}

    (found,) = checked("graph", weights, damage).differences
    assert found.name.endswith(name)


def test_weights_that_either_side_lacks_are_differences(cache, cnn):
    artifacts = convert(cnn, format="layers", cache=cache)
    (group,) = artifacts.manifest
    entries = [
        {**entry, "name": "strange/kernel"} if entry["name"] == "mix_conv/kernel" else entry
        for entry in group["weights"]
    ]
    other = dataclasses.replace(artifacts, manifest=({**group, "weights": entries},))
    feeds = normalise_feeds(inputs("cnn"), artifacts.inputs)
    found = capture_reference(cnn, other, feeds, "outputs", cache).weights.differences
    assert {(one.name, one.what) for one in found} == {
        ("mix_conv/kernel", "the artifacts have no weight of this name"),
        ("strange/kernel", "the source has no weight of this name"),
    }


@pytest.fixture
def reference_of(cache):
    def run(model, given, changes=None, folder=None):
        source = as_source(model)
        artifacts = convert(source, format="graph", cache=cache)
        if changes is not None:
            artifacts = with_weights(artifacts, changes(artifacts.read_weights()), folder)
        feeds = normalise_feeds(given, artifacts.inputs)
        return artifacts, capture_reference(source, artifacts, feeds, "all", cache)

    return run


def regrouped(tf):
    constant = np.float32([1, -2, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        return tf.nn.relu(((x + constant) * 3.0 + 2.0) / 4.0)

    return function


X = np.float32([[1, -2, 3], [0.5, 0, -1]])


def test_constants_that_the_optimiser_made_are_held_by_what_is_computed_with_them(reference_of, tmp_path):
    tf = pytest.importorskip("tensorflow")
    artifacts, reference = reference_of(regrouped(tf), X)
    assert reference.weights.findings == ()
    weights = artifacts.read_weights()
    assert reference.weights.counts.get("folded", 0) > 0
    wrong = {}
    for name, value in weights.items():
        folder = tmp_path / str(len(wrong))
        changed = {name: value * np.float32(1.5)}
        _, broken = reference_of(regrouped(tf), X, lambda _, changed=changed: changed, folder)
        wrong[name] = [one.name for one in broken.weights.differences]
    assert all(name in found for name, found in wrong.items()), wrong


def test_the_bodies_of_loops_and_the_slopes_of_prelu(reference_of):
    k = pytest.importorskip("tf_keras")
    k.utils.set_random_seed(4)
    x = k.Input((5, 3), name="x")
    y = k.layers.PReLU(alpha_initializer="random_normal", shared_axes=[1])(k.layers.Dense(4)(x))
    model = k.Model(x, k.layers.LSTM(3)(y), name="m")
    artifacts, reference = reference_of(model, np.ones((2, 5, 3), np.float32))
    assert any(name.startswith("__inference") for name in artifacts.weight_names())
    assert reference.weights.findings == ()
