"""Models as Keras initialises them, with biases 0 and scales 1.

The optimiser removes much of these. Many people try a tool with such a model first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Shape = tuple[int, ...]


def stacks(k: Any) -> dict[str, tuple[Shape, list[Any]]]:
    """By name the shape of a sample and layers in order; `k` is keras.layers."""
    return {
        "mlp": ((8,), [k.Dense(16, "relu"), k.Dense(8, "tanh"), k.Dense(1, "sigmoid")]),
        "linear": ((8,), [k.Dense(6), k.Dense(5), k.Dense(2)]),
        "normed": ((8,), [k.Dense(4), k.BatchNormalization(), k.ReLU(), k.Dense(3)]),
        "normed_bare": ((8,), [k.Dense(4, use_bias=False), k.BatchNormalization(), k.ReLU(), k.Dense(3)]),
        "not_scaled": ((8,), [k.Dense(4), k.BatchNormalization(scale=False), k.ReLU(), k.Dense(3)]),
        "not_centred": ((8,), [k.Dense(4), k.BatchNormalization(center=False), k.ReLU(), k.Dense(3)]),
        "normed_rows": ((5, 8), [k.Dense(4), k.BatchNormalization(), k.ReLU(), k.Dense(3)]),
        "layer_norm": ((8,), [k.Dense(4), k.LayerNormalization(), k.Dense(3)]),
        "layer_norm_rows": ((5, 8), [k.Dense(4), k.LayerNormalization(), k.Dense(3)]),
        "group_norm": ((5, 4, 8), [k.Conv2D(4, 3), k.GroupNormalization(2), k.Dense(3)]),
        "cnn": (
            (16, 16, 3),
            [
                k.Rescaling(1 / 255.0),
                k.Conv2D(4, 3, activation="relu"),
                k.MaxPooling2D(),
                k.Conv2D(4, 3, activation="relu"),
                k.Flatten(),
                k.Dropout(0.5),
                k.Dense(3, "softmax"),
            ],
        ),
        "cnn_normed": (
            (16, 16, 3),
            [
                k.Conv2D(4, 3),
                k.BatchNormalization(),
                k.Activation("relu"),
                k.MaxPooling2D(),
                k.DepthwiseConv2D(3),
                k.BatchNormalization(),
                k.ReLU(6.0),
                k.GlobalAveragePooling2D(),
                k.Dense(3, "softmax"),
            ],
        ),
        "norm_first": (
            (8, 8, 3),
            [k.BatchNormalization(), k.Conv2D(4, 3, activation="relu"), k.GlobalMaxPooling2D(), k.Dense(3)],
        ),
        "separable": (
            (8, 8, 3),
            [k.SeparableConv2D(4, 3), k.BatchNormalization(), k.LeakyReLU(), k.MaxPooling2D()],
        ),
        "transposed": ((8, 8, 3), [k.Conv2DTranspose(4, 3), k.LeakyReLU(), k.Flatten(), k.Dense(3)]),
        "conv1d": ((9, 4), [k.Conv1D(4, 3), k.GlobalMaxPooling1D(), k.Dense(3)]),
        "separable1d": ((9, 4), [k.SeparableConv1D(4, 3), k.GlobalMaxPooling1D(), k.Dense(3)]),
        "conv3d": ((5, 6, 6, 2), [k.Conv3D(4, 3), k.ReLU(), k.Flatten(), k.Dense(3)]),
        "recurrent": ((6, 4), [k.Bidirectional(k.LSTM(5, return_sequences=True)), k.GRU(4), k.Dense(3)]),
    }


def joined(keras: Any, batch: int | None) -> dict[str, tuple[Shape, Any]]:
    """By name the shape of a sample and a model with several branches; `batch` is its size where fixed."""
    k = keras.layers
    found = {}

    def model(name: str, shape: Shape, build: Any) -> None:
        x = keras.Input(shape, batch_size=batch)
        found[name] = shape, keras.Model(x, build(x))

    def residual(x: Any) -> Any:
        y = k.ReLU()(k.BatchNormalization()(k.Conv2D(4, 3, padding="same")(x)))
        y = k.BatchNormalization(gamma_initializer="zeros")(k.Conv2D(4, 3, padding="same")(y))
        return k.Dense(2, "softmax")(k.GlobalAveragePooling2D()(k.ReLU()(k.Add()([x, y]))))

    def transformer(x: Any) -> Any:
        x = k.LayerNormalization()(k.Add()([x, k.MultiHeadAttention(2, 4)(x, x)]))
        x = k.LayerNormalization()(k.Add()([x, k.Dense(8)(k.Dense(16, "relu")(x))]))
        return k.Dense(2)(k.GlobalAveragePooling1D()(x))

    def u_net(x: Any) -> Any:
        y = k.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
        y = k.Conv2DTranspose(4, 2, strides=2)(y)
        return k.Conv2D(1, 1, activation="sigmoid")(k.Concatenate()([x, y]))

    def zero_branch(x: Any) -> Any:
        y = k.Dense(8, kernel_initializer="zeros")(k.Dense(6)(x))
        return k.Dense(2)(k.ReLU()(k.Add()([x, y])))

    model("residual", (8, 8, 4), residual)
    model("transformer", (6, 8), transformer)
    model("u_net", (8, 8, 4), u_net)
    model("zero_branch", (8,), zero_branch)
    return found


_STACKS = (
    "mlp linear normed normed_bare not_scaled not_centred normed_rows layer_norm layer_norm_rows group_norm "
    "cnn cnn_normed norm_first separable transposed conv1d separable1d conv3d recurrent"
)
_JOINED = "residual transformer u_net zero_branch"
NAMES = (*_STACKS.split(), *_JOINED.split())


def build(keras: Any, name: str, batch: int | None = None) -> tuple[Any, np.ndarray]:
    """A fresh model and a feed of two samples for it."""
    keras.utils.set_random_seed(1)
    if name in (found := stacks(keras.layers)):
        shape, layers = found[name]
        model = keras.Sequential([keras.Input(shape, batch_size=batch), *layers])
    else:
        shape, model = joined(keras, batch)[name]
    return model, np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
