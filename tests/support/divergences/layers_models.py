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
    return Known(**fields, wrong=("cpu", "wasm", "webgl"), kinds=("semantics",), format="layers")


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


def _kept_axis(keras):
    x = keras.Input((6, 4), name="x")
    return keras.Model(x, keras.layers.GlobalMaxPooling1D(keepdims=True, name="faulty")(x), name="model")


def _padded_output(keras):
    keras.utils.set_random_seed(3)
    x = keras.Input((6, 6, 4), name="x")
    faulty = keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=0, name="faulty")
    return keras.Model(x, faulty(x), name="model")


def _dilated(keras):
    keras.utils.set_random_seed(3)
    x = keras.Input((6, 6, 4), name="x")
    return keras.Model(x, keras.layers.DepthwiseConv2D(2, dilation_rate=2, name="faulty")(x), name="model")


def _masked_both_ways(keras):
    x = keras.Input((4, 2), name="x")
    masked = keras.layers.Masking(name="masking")(x)
    lstm = keras.layers.LSTM(3, return_sequences=True)
    return _model(keras, x, keras.layers.Bidirectional(lstm, name="faulty")(masked))


def _trained(keras):
    x = keras.Input((6, 6, 4), name="x")
    return _model(keras, x, keras.layers.BatchNormalization(name="faulty")(x, training=True))


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
    "kept axis of a pooling": _in_layers_models(
        operation="`GlobalAveragePooling…`, `GlobalMaxPooling…` layers",
        when="`keepdims=True`",
        result="the axes are dropped: another shape, which a later layer may refuse",
        instead=f"{_AS_GRAPH}, or a `Reshape` layer after it",
        source=f"{_LAYERS}pooling.ts",
        node=_kept_axis,
        feed={"x": _IMAGE[:, 0]},
    ),
    "output padding": _in_layers_models(
        operation="`Conv2DTranspose` layer",
        when="`output_padding` is given",
        result="it is ignored: another shape",
        instead=f"{_AS_GRAPH}, or a `Cropping2D` layer after it",
        source=f"{_LAYERS}convolutional.ts",
        node=_padded_output,
        feed={"x": _IMAGE},
    ),
    "dilation": _in_layers_models(
        operation="`DepthwiseConv2D` and `Conv2DTranspose` layers",
        when="`dilation_rate` other than 1",
        result="it is ignored: other values, and another shape unless the padding is `same`",
        instead=_AS_GRAPH,
        source=f"{_LAYERS}convolutional_depthwise.ts",
        node=_dilated,
        feed={"x": _IMAGE},
    ),
    "mask of a bidirectional layer": _in_layers_models(
        operation="`Bidirectional` layer",
        when="a mask enters it, and it returns sequences",
        result="masked steps repeat the last step; Keras gives 0",
        instead=_AS_GRAPH,
        source=f"{_LAYERS}wrappers.ts",
        node=_masked_both_ways,
        feed={"x": _STEPS},
    ),
    "training=True": _in_layers_models(
        operation="`BatchNormalization` layer",
        when="called with `training=True`",
        result="the stored averages are used instead of the batch's",
        instead="call it without `training=True`",
        source=f"{_LAYERS}normalization.ts",
        node=_trained,
        feed={"x": _IMAGE},
    ),
}
