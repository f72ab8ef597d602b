"""A mask that TF.js does not pass on, although Keras does, is the fault of no other layer."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.report.failure_message import failure_message

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="cpu")]

IDS = np.int32([[3, 1, 4, 0, 0], [2, 5, 0, 0, 0]])


def embedding(keras):
    return keras.layers.Embedding(7, 3, mask_zero=True, embeddings_initializer="uniform", name="table")


def nested(keras):
    """`memory` takes the mask that `part` makes inside."""
    inner = keras.Input((5,), dtype="int32")
    part = keras.Model(inner, keras.layers.Dense(3, name="dense")(embedding(keras)(inner)), name="part")
    ids = keras.Input((5,), dtype="int32", name="ids")
    memory = keras.layers.LSTM(4, name="memory")(part(ids))
    return keras.Model(ids, keras.layers.Dense(2, name="out")(memory), name="nested")


def test_the_layer_that_is_given_no_mask_is_blamed(tfjs):
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(8)
    comparison = tfjs.compare(nested(keras), IDS, format="layers")
    message = failure_message(comparison)
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ("memory",)), message
    assert comparison.growth is None
    assert (comparison.diagnosis.kind, comparison.diagnosis.layer) == ("semantics", "memory"), message
    assert comparison.diagnosis.said == (
        "TF.js passes the layer no mask, although Keras does. Try format='graph', which runs TensorFlow's "
        "own operations"
    )
