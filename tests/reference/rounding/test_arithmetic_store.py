"""The rounding properties of layers are stored and read back unchanged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.reference.rounding.arithmetic_store import LayerArithmetic

pytestmark = pytest.mark.convert
FEEDS = [np.float32([[1, -2, 3], [0.5, 0, -1]]), np.float32([[4, 0.25, -3]])]


@pytest.fixture(scope="module")
def model():
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(3)
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(5, activation="relu", bias_initializer="ones", name="hidden")(x)
    twice = keras.layers.Reshape((5, 1), name="turned")(hidden)
    scores = keras.layers.Dense(2, name="scores")(keras.layers.Flatten(name="flat")(twice))
    return keras.Model(x, keras.layers.Add(name="sum")([scores, scores]), name="small")


ARRAYS = ("magnitude", "excess", "mixed")


def captured(model, cache, *, format_, arithmetic=True, **options):
    conversion = {key: options.pop(key) for key in ("weights",) if key in options}
    source = as_source(model)
    artifacts = convert(source, format=format_, cache=cache, **conversion)
    feeds = normalise_feeds(FEEDS, artifacts.inputs)
    reference = capture_reference(
        source, artifacts, feeds, options.pop("layers", "all"), cache, arithmetic=arithmetic, **options
    )
    return reference, load_reference_model(source, artifacts, feeds), feeds


def compared(reference):
    return [layer.name for layer in reference.plan.layers if layer.coverage == "compared"]


@pytest.mark.parametrize("weights", ["float32", "uint8"])
@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_arithmetic_is_stored_for_each_feed_with_the_artifacts_weights(model, cache, format_, weights):
    reference, found, feeds = captured(model, cache, format_=format_, weights=weights)
    magnitudes = LayerArithmetic(found)
    names = compared(reference)
    for number, feed in enumerate(feeds):
        activations = {**feed.reference, **reference.activations(number)}
        stored = reference.arithmetic(number, names)
        assert list(stored) == names
        for name in names:
            expected = magnitudes.of(name, activations, activations[name])
            without = dict.fromkeys(ARRAYS)
            assert dataclasses.replace(stored[name], **without) == dataclasses.replace(expected, **without)
            for array in ARRAYS:
                np.testing.assert_array_equal(getattr(stored[name], array), getattr(expected, array))
    # The reshapes undo each other, and are gone from the graph.
    assert {one.exact for one in stored.values()} == ({True, False} if format_ == "layers" else {False})
    assert all(one.known for one in stored.values())
    kernel = next(w for w in found.alone().weights_of(names[0]).values() if w.ndim == 2)
    source = model.get_layer("hidden").kernel.numpy()
    assert np.array_equal(kernel, source) == (weights == "float32")


def test_arithmetic_is_stored_only_if_requested(model, cache):
    for options in ({"arithmetic": False}, {"layers": "outputs"}):
        reference, _, _ = captured(model, cache, format_="graph", **options)
        names = compared(reference)
        assert [one.known for one in reference.arithmetic(0, names).values()] == [False] * len(names)
    # The entry above, of the same model and feeds, has another key.
    with_it, _, _ = captured(model, cache, format_="graph")
    assert all(one.known for one in with_it.arithmetic(0, compared(with_it)).values())
    assert not with_it.arithmetic(0, ["strange"])["strange"].known


def test_the_budget_does_not_change_the_stored_arithmetic(model, tmp_path):
    found = []
    for number, budget in enumerate((1, 1 << 20)):
        with ContentCache(tmp_path / str(number)) as cache:
            reference, _, _ = captured(model, cache, format_="layers", budget=budget)
            assert reference.rounding is not None
            files = [len(each) for each in reference.rounding.magnitudes.files]
            assert files == ([4, 4] if budget == 1 else [1, 1])
            found.append(
                [
                    reference.arithmetic(feed, ["sum", "scores"])[row].magnitude.copy()
                    for feed in (0, 1)
                    for row in ("sum", "scores")
                ]
            )
    for small, large in zip(*found, strict=True):
        np.testing.assert_array_equal(small, large)


def test_every_field_is_stored(model, tmp_path, monkeypatch):
    def full(reference, number):
        return Arithmetic(
            terms=7,
            magnitude=np.abs(reference) + number,
            functions=("Exp", "Sqrt"),
            noise=1e-7,
            constants=1e-6,
            tried=True,
            excess=np.abs(reference) + 10,
            started=1e-14,
            mixed=np.abs(reference) + 20,
        )

    def of(self, name, inputs, reference):
        return full(reference, len(reference)) if name == "scores" else Arithmetic(exact=True)

    monkeypatch.setattr(LayerArithmetic, "of", of)
    with ContentCache(tmp_path) as cache:
        reference, _, _ = captured(model, cache, format_="layers")
        for number, feed in enumerate(FEEDS):
            value = reference.activations(number, ["scores"])["scores"]
            expected, found = full(value, len(feed)), reference.arithmetic(number, ["scores", "sum"])
            assert found["sum"] == Arithmetic(exact=True)
            for one in dataclasses.fields(Arithmetic):
                stored = getattr(found["scores"], one.name)
                np.testing.assert_array_equal(stored, getattr(expected, one.name), one.name)


def test_arithmetic_is_unknown_for_a_model_whose_layers_cannot_be_run_alone(model, cache, monkeypatch):
    from pytest_tfjs.errors import SourceError
    from pytest_tfjs.reference.reference_model import KerasReferenceModel

    def alone(self):
        raise SourceError("no graph")

    monkeypatch.setattr(KerasReferenceModel, "alone", alone)
    keras = pytest.importorskip("tf_keras")
    other = keras.models.clone_model(model)
    reference, _, _ = captured(other, cache, format_="layers")
    for feed in (0, 1):
        assert not any(one.known for one in reference.arithmetic(feed, compared(reference)).values())
