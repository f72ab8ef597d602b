"""Layers whose arguments or masks TF.js ignores in layers models, but not in graph models."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_LAYERS = "tfjs-layers/src/layers/"
_IMAGE = np.random.default_rng(3).standard_normal((2, 6, 6, 4)).astype(np.float32)
_STEPS = np.float32([[[1, 2], [3, -1], [0, 0], [0, 0]], [[2, 1], [0, 0], [0, 0], [0, 0]]])
_KINDS = ("semantics", "conversion")
_AS_GRAPH = '`format="graph"`'


def _model(keras, x, faulty):
    """`faulty` with a layer behind it; Keras gives the layers' kernels their values."""
    keras.utils.set_random_seed(3)
    return keras.Model(x, keras.layers.Dense(3, name="after")(faulty), name="model")


def _sloped(keras):
    x = keras.Input((6, 6, 4), name="x")
    return _model(keras, x, keras.layers.ReLU(negative_slope=0.2, name="faulty")(x))


def _above(keras):
    x = keras.Input((6, 6, 4), name="x")
    return _model(keras, x, keras.layers.ReLU(threshold=0.5, name="faulty")(x))


def _masked_mean(keras):
    x = keras.Input((4, 2), name="x")
    masked = keras.layers.Masking(name="masking")(x)
    return _model(keras, x, keras.layers.GlobalAveragePooling1D(name="faulty")(masked))


CASES = {
    "slope of ReLU": Known(
        "`ReLU` layer",
        "`negative_slope` other than 0",
        "the slope is ignored",
        f"{_AS_GRAPH}, or `LeakyReLU`",
        f"{_LAYERS}advanced_activations.ts#L48",
        _sloped,
        {"x": _IMAGE},
        ("cpu", "wasm", "webgl"),
        kinds=_KINDS,
        format="layers",
    ),
    "threshold of ReLU": Known(
        "`ReLU` layer",
        "`threshold` other than 0",
        "the threshold is ignored",
        _AS_GRAPH,
        f"{_LAYERS}advanced_activations.ts#L48",
        _above,
        {"x": _IMAGE},
        ("cpu", "wasm", "webgl"),
        kinds=_KINDS,
        format="layers",
    ),
    "mask of a mean": Known(
        "`GlobalAveragePooling1D` layer",
        "a mask enters it, of `Masking` or of `Embedding(mask_zero=True)`",
        "the mask is ignored: padded steps count",
        _AS_GRAPH,
        f"{_LAYERS}pooling.ts",
        _masked_mean,
        {"x": _STEPS},
        ("cpu", "wasm", "webgl"),
        kinds=_KINDS,
        format="layers",
    ),
}
