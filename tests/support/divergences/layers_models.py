"""Layers whose arguments or masks TF.js ignores in layers models, but not in graph models."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_LAYERS = "tfjs-layers/src/layers/"
_IMAGE = np.random.default_rng(3).standard_normal((2, 6, 6, 4)).astype(np.float32)
_STEPS = np.float32([[[1, 2], [3, -1], [0, 0], [0, 0]], [[2, 1], [0, 0], [0, 0], [0, 0]]])
_AS_GRAPH = '`format="graph"`'


def _model(keras, x, faulty):
    """`faulty` with a layer behind it; Keras gives the layers' kernels their values."""
    keras.utils.set_random_seed(3)
    return keras.Model(x, keras.layers.Dense(3, name="after")(faulty), name="model")


def _in_layers_models(**fields):
    """A divergence of layers models, on each backend."""
    kinds = ("semantics", "conversion")
    return Known(**fields, wrong=("cpu", "wasm", "webgl"), kinds=kinds, format="layers")


def _of_relu(name, *, argument, value, instead):
    """An argument of `ReLU`, called `name`, that TF.js ignores."""

    def build(keras):
        x = keras.Input((6, 6, 4), name="x")
        return _model(keras, x, keras.layers.ReLU(**{argument: value}, name="faulty")(x))

    return _in_layers_models(
        operation="`ReLU` layer",
        when=f"`{argument}` other than 0",
        result=f"the {name} is ignored",
        instead=instead,
        source=f"{_LAYERS}advanced_activations.ts#L48",
        node=build,
        feed={"x": _IMAGE},
    )


def _masked_mean(keras):
    x = keras.Input((4, 2), name="x")
    masked = keras.layers.Masking(name="masking")(x)
    return _model(keras, x, keras.layers.GlobalAveragePooling1D(name="faulty")(masked))


CASES = {
    "slope of ReLU": _of_relu(
        "slope", argument="negative_slope", value=0.2, instead=f"{_AS_GRAPH}, or `LeakyReLU`"
    ),
    "threshold of ReLU": _of_relu("threshold", argument="threshold", value=0.5, instead=_AS_GRAPH),
    "mask of a mean": _in_layers_models(
        operation="`GlobalAveragePooling1D` layer",
        when="a mask enters it, of `Masking` or of `Embedding(mask_zero=True)`",
        result="the mask is ignored: padded steps count",
        instead=_AS_GRAPH,
        source=f"{_LAYERS}pooling.ts",
        node=_masked_mean,
        feed={"x": _STEPS},
    ),
}
