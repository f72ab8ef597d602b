"""A batch-norm folded into a convolution rounds differently without being an error."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.reference.rounding.magnitudes import Magnitudes

pytestmark = pytest.mark.convert

RNG = np.random.default_rng(5)


def cancelling(keras):
    """A convolution and a batch-norm whose mean and beta nearly cancel, so the folded bias is small."""
    image = keras.Input((6, 6, 4), name="image")
    x = keras.layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Model(image, norm(x), name="cancelling")
    gamma, mean, variance = (RNG.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(3))
    mean *= 100
    beta = (mean.astype(np.float64) * gamma / np.sqrt(variance.astype(np.float64) + 1e-3)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 4, 8)).astype(np.float32)
    model.set_weights([kernel, gamma, beta, mean, variance])
    return model


def test_allowance_covers_cancellation_in_folded_weights():
    keras = pytest.importorskip("tf_keras")
    image = 1e-3 * RNG.normal(size=(1, 6, 6, 4)).astype(np.float32)
    with ContentCache(None) as cache:
        source = as_source(cancelling(keras))
        artifacts = convert(source, format="graph", cache=cache)
        (feed,) = normalise_feeds(image, artifacts.inputs)
        model = load_reference_model(source, artifacts, [feed])
        (layer,) = (row for row in model.plan.layers if row.coverage == "compared")
        expected = model.from_source(feed, [layer.name])[layer.name]
        alone = model.alone()
        given = alone.run(layer.name, feed.reference)
        folded = model.computed_constants().by_name
    assert len(folded) == 2
    passed = {}
    for known, sizes in ((True, folded), (False, {})):
        arithmetic = Magnitudes(alone, sizes).of(layer.name, feed.reference, expected)
        allowed = allowance(layer, arithmetic, expected, backend="wasm", half=False)
        passed[known] = measure_local(given, expected, arithmetic, allowed).passed
    assert passed == {True: True, False: False}
