"""The sample models are deterministic, equal in both versions of Keras, and look trained."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import fixtures
from fixtures.weights import weight_role
from tests.support.paths import ROOT
from tests.support.sizes import slow_except

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.convert

Version = Literal[2, 3]
VERSIONS: tuple[Version, ...] = (2, 3)
CASES = [
    pytest.param(
        name,
        version,
        id=f"{name}-keras{version}",
        marks=pytest.mark.slow if name == "mobilenet_v2" else (),
    )
    for name in fixtures.SAMPLES
    for version in VERSIONS
]
every_model = pytest.mark.parametrize(("name", "version"), CASES)
every_sample = pytest.mark.parametrize(
    "name", slow_except([name for name in fixtures.SAMPLES if name != "mobilenet_v2"], fixtures.SAMPLES)
)
Array = NDArray[Any]


def keras_of(version: Version) -> Any:
    return pytest.importorskip({2: "tf_keras", 3: "keras"}[version])


@functools.cache
def model_of(name: str, version: Version) -> Any:
    keras_of(version)
    return fixtures.build(name, version)


@functools.cache
def activations(name: str, version: Version, seed: int) -> dict[str, Array]:
    """Each layer's activation for the feed of that seed, the outputs among them."""
    model = model_of(name, version)
    feed = fixtures.inputs(name, seed)
    layers = [layer for layer in model.layers if layer.name not in feed]
    inputs = {layer: model.get_layer(layer).output for layer in feed}
    tapped = keras_of(version).Model(inputs, [layer.output for layer in layers])(feed, training=False)
    return {layer.name: np.asarray(activation) for layer, activation in zip(layers, tapped, strict=True)}


def outputs(name: str, version: Version, seed: int = 0) -> list[Array]:
    return [activations(name, version, seed)[layer] for layer in output_names(model_of(name, version))]


def output_names(model: Any) -> list[str]:
    return [producer(model, tensor) for tensor in model.outputs]


def producer(model: Any, tensor: Any) -> str:
    return next(str(layer.name) for layer in model.layers if layer.output is tensor)


def weights(model: Any) -> Iterator[tuple[str, Array]]:
    for layer in model.layers:
        for index, (weight, value) in enumerate(zip(layer.weights, layer.get_weights(), strict=True)):
            yield f"{layer.name}/{index}/{weight_role(weight)}", value


def digest(model: Any) -> str:
    parts = [name.encode() + value.tobytes() for name, value in weights(model)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@every_model
def test_a_second_build_is_bit_identical(name: str, version: Version) -> None:
    first = model_of(name, version)
    again = fixtures.build(name, version)
    assert again.name == name
    assert [layer.name for layer in again.layers] == [layer.name for layer in first.layers]
    assert digest(again) == digest(first)


def test_build_is_bit_identical_across_processes() -> None:
    expected = digest(model_of("cnn", 3))
    script = (
        "import fixtures; from tests.whole.test_sample_models import digest;"
        " print(digest(fixtures.build('cnn', 3)))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "7",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.split()[-1:] == [expected], run.stderr


@every_sample
def test_keras_2_and_keras_3_agree(name: str) -> None:
    assert digest(model_of(name, 2)) == digest(model_of(name, 3))
    assert output_names(model_of(name, 2)) == output_names(model_of(name, 3))
    for ours, theirs in zip(outputs(name, 2), outputs(name, 3), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@every_model
def test_biases_are_clearly_non_zero(name: str, version: Version) -> None:
    found = weights(model_of(name, version))
    offsets = [(key, value) for key, value in found if key.endswith(("bias", "beta"))]
    assert offsets
    for key, value in offsets:
        assert np.abs(value).min() >= 0.05, key
        assert value.min() < 0 < value.max() or value.size < 8, key


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", slow_except(["cnn"], ["cnn", "mobilenet_v2"]))
def test_batch_norm_statistics_match_images(name: str, version: Version) -> None:
    model = model_of(name, version)
    norms = [layer for layer in model.layers if "moving_mean" in {weight_role(w) for w in layer.weights}]
    assert len(norms) == {"cnn": 2, "mobilenet_v2": 52}[name]
    for layer in norms:
        gamma, _, mean, variance = (value.astype(np.float64) for value in layer.get_weights())
        source = producer(model, layer.input)
        seen = np.concatenate([activations(name, version, seed)[source] for seed in (0, 1)])
        seen = seen.reshape(-1, seen.shape[-1]).astype(np.float64)
        shift = np.abs(seen.mean(axis=0) - mean) / np.sqrt(variance)
        ratio = seen.var(axis=0) / variance
        # With coarsely rounded statistics a single channel may be exactly 1.
        assert max((gamma == 1).mean(), (mean == 0).mean(), (variance == 1).mean()) < 0.05, layer.name
        assert np.median(shift) < 0.5, layer.name
        assert shift.max() < 3, layer.name
        assert 0.5 < np.median(ratio) < 2, layer.name
        assert 0.02 < ratio.min() < ratio.max() < 20, layer.name


@every_model
def test_every_activation_is_healthy_and_depends_on_the_feed(name: str, version: Version) -> None:
    other = activations(name, version, 1)
    for layer, activation in activations(name, version, 0).items():
        largest = np.abs(activation).max()
        assert np.isfinite(activation).all(), layer
        assert 0.01 < largest < 100, layer
        assert np.ptp(activation) > 0.1 * largest, layer
        assert np.abs(activation - other[layer]).mean() > 0.1 * activation.std(), layer


@pytest.mark.parametrize("name", slow_except(["mlp", "cnn", "text"], ["mlp", "cnn", "mobilenet_v2", "text"]))
def test_probabilities_are_neither_constant_nor_saturated(name: str) -> None:
    (output,) = outputs(name, 3)
    assert output.max(axis=-1).min() > 1.5 / output.shape[-1]
    assert output.max() < 0.7
    assert output.min() > 1e-7


def test_swapped_outputs_differ() -> None:
    first, second = outputs("two_in_two_out", 3)
    assert (first.shape, first.dtype) == (second.shape, second.dtype)
    assert np.abs(first - second).max() > 0.1


@every_sample
def test_feed_matches_its_model_and_seed(name: str) -> None:
    feed = fixtures.inputs(name)
    model = model_of(name, 3)
    assert list(feed) == [producer(model, tensor) for tensor in model.inputs]
    for tensor, (key, value) in zip(model.inputs, feed.items(), strict=True):
        assert tuple(tensor.shape) == (None, *value.shape[1:]), key
        assert tensor.dtype == value.dtype, key
        np.testing.assert_array_equal(value, fixtures.inputs(name, 0)[key])
        assert not np.array_equal(value, fixtures.inputs(name, 1)[key]), key


@pytest.mark.parametrize(
    ("name", "key"), [("cnn", "image"), ("mobilenet_v2", "image"), ("two_in_two_out", "view")]
)
def test_images_are_smooth(name: str, key: str) -> None:
    picture = fixtures.inputs(name)[key]
    step = np.abs(np.diff(picture, axis=1)).mean() / picture.std()
    assert step < 0.7, "white noise has 1.1"


def test_unknown_names_and_versions_are_rejected() -> None:
    with pytest.raises(ValueError, match="no sample model 'resnet'; there are: mlp, cnn"):
        fixtures.inputs("resnet")
    with pytest.raises(ValueError, match=r"sample 'mlp' is not for Keras 4; choose from \[2, 3\]"):
        fixtures.build("mlp", 4)  # type: ignore[arg-type]


def test_importing_the_samples_imports_no_tensorflow() -> None:
    script = "import sys, fixtures; print({'tensorflow', 'keras', 'tf_keras'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
