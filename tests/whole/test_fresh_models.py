"""Untrained models are mapped and close, although the converter removes much of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import as_source
from tests.support.converted_graph import disagreements
from tests.support.fresh_models import NAMES, build
from tests.support.offline_run import OfflineRun, graph_activations
from tests.support.sizes import slow_except

pytestmark = pytest.mark.convert
# TF.js cannot compute the last two from Keras 2: a batch-norm without a mean, and Where of rank 5.
IN_BROWSERS = [
    *itertools.product(("normed", "cnn", "cnn_normed", "residual"), ("tf_keras", "keras")),
    ("layer_norm_rows", "keras"),
    ("group_norm", "keras"),
]
QUICK = ("normed", "residual")


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
@pytest.mark.parametrize("name", slow_except(QUICK, NAMES))
def test_layers_are_mapped_to_nodes_that_compute_them(cache, keras, name, batch):
    run = OfflineRun(*build(pytest.importorskip(keras), name, batch), "graph", cache)
    assert run.unmapped() == {}
    assert disagreements(run.artifacts, run.feeds[0], run.reference) == {}
    assert run.judge(graph_activations(run, run.artifacts)).verdict == "close"


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
@pytest.mark.parametrize(
    "name", slow_except(["normed"], ["normed", "cnn", "norm_first", "group_norm", "transformer", "residual"])
)
def test_artifacts_with_other_layer_names_are_mapped(cache, keras, name, trained):
    """As if the model was built again in the same process, where Keras continues its numbering."""
    library = pytest.importorskip(keras)
    model, feed = build(library, name)
    again, _ = build(library, name)
    if trained:
        rng = np.random.default_rng(5)
        # With the same signs: a negative variance would give NaN.
        model.set_weights([rng.uniform(0.2, 0.8, each.shape) for each in model.get_weights()])
    again.set_weights(model.get_weights())
    assert {layer.name for layer in model.layers}.isdisjoint(layer.name for layer in again.layers)
    artifacts = convert(as_source(model), format="graph", cache=cache)
    run = OfflineRun(Prebuilt(artifacts.model_json, again), feed, "graph", cache)
    assert run.unmapped() == {}
    assert disagreements(run.artifacts, run.feeds[0], run.reference) == {}
    assert run.judge(graph_activations(run, run.artifacts)).verdict == "close"


@pytest.mark.browser
@pytest.mark.tfjs(browsers="chrome", backends="cpu,wasm,webgl")
@pytest.mark.parametrize(
    ("name", "keras"),
    [
        pytest.param(*case, marks=() if case == ("cnn_normed", "keras") else pytest.mark.slow)
        for case in IN_BROWSERS
    ],
)
def test_fresh_model_is_close_in_the_browser(tfjs, name, keras):
    model, feed = build(pytest.importorskip(keras), name)
    comparison = tfjs.assert_close(model, feed, format="graph")
    assert {row.layer.coverage for row in comparison.layers} <= {"compared", "fused", "eliminated"}


def test_every_fresh_model_is_tested():
    keras = pytest.importorskip("keras")
    assert len(set(NAMES)) == len(NAMES)
    assert {name for name, _ in IN_BROWSERS} < set(NAMES)
    assert {build(keras, name)[1].shape[0] for name in NAMES} == {2}
