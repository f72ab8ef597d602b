"""Small networks of the kinds that people ship, with the weights that Keras draws."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


class Network(NamedTuple):
    """A network: the shape of a sample, and what builds its output from Keras' layers and its input.

    `layers`: whether TF.js can load it as a layers model.
    """

    shape: tuple[int, ...]
    build: Callable[[ModuleType, Any], Any]
    layers: bool = True


def _mlp(k: Any, x: Any) -> Any:
    x = k.Dense(32, "relu")(x)
    x = k.Dense(16, "tanh")(x)
    return k.Dense(3, "softmax")(x)


def _cnn(k: Any, x: Any) -> Any:
    for filters in (8, 16):
        x = k.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = k.MaxPooling2D()(x)
    x = k.Dropout(0.3)(k.Flatten()(x))
    return k.Dense(10, "softmax")(k.Dense(24, "relu")(x))


def _mobile(k: Any, x: Any) -> Any:
    """Inverted residuals: depthwise convolutions of stride 1 and 2, deep enough for values to shrink."""
    x = _normed(k, k.Conv2D(8, 3, 2, padding="same", use_bias=False)(x))
    for stride, filters in ((1, 8), (2, 12), (1, 12), (1, 12)):
        y = _normed(k, k.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x))
        y = _normed(k, k.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(y))
        y = k.BatchNormalization()(k.Conv2D(filters, 1, use_bias=False)(y))
        x = k.Add()([x, y]) if y.shape == x.shape else y
    return k.Dense(10, "softmax")(k.GlobalAveragePooling2D()(x))


def _swish(k: Any, x: Any) -> Any:
    """Depthwise convolutions behind swish, with squeeze and excite, as in EfficientNet."""
    x = k.Activation("swish")(k.BatchNormalization()(k.Conv2D(8, 3, padding="same", use_bias=False)(x)))
    for size in (3, 5):
        y = k.DepthwiseConv2D(size, padding="same", use_bias=False)(x)
        y = k.Activation("swish")(k.BatchNormalization()(y))
        squeezed = k.Reshape((1, 1, 8))(k.GlobalAveragePooling2D()(y))
        excited = k.Conv2D(8, 1, activation="sigmoid")(k.Conv2D(2, 1, activation="swish")(squeezed))
        x = k.Add()([x, k.Conv2D(8, 1)(k.Multiply()([y, excited]))])
    return k.Dense(4)(k.GlobalAveragePooling2D()(x))


def _wide_depthwise(k: Any, x: Any) -> Any:
    """Depthwise convolutions with a bias, with several channels for each, and without ReLU."""
    x = k.DepthwiseConv2D(5, padding="same", depth_multiplier=4)(x)
    x = k.DepthwiseConv2D(3, 2, activation="relu")(x)
    x = k.LeakyReLU()(k.DepthwiseConv2D(3, padding="same")(x))
    return k.Dense(6, "sigmoid")(k.GlobalMaxPooling2D()(x))


def _separable(k: Any, x: Any) -> Any:
    for filters in (8, 12):
        x = k.SeparableConv2D(filters, 3, padding="same", activation="relu")(x)
        x = k.BatchNormalization()(x)
    return k.Dense(5, "softmax")(k.GlobalAveragePooling2D()(x))


def _residual(k: Any, x: Any) -> Any:
    x = k.Conv2D(8, 3, padding="same")(x)
    for _ in range(3):
        y = _normed(k, k.Conv2D(8, 3, padding="same")(x))
        y = k.BatchNormalization()(k.Conv2D(8, 3, padding="same")(y))
        x = k.ReLU()(k.Add()([x, y]))
    return k.Dense(10, "softmax")(k.GlobalAveragePooling2D()(x))


def _unet(k: Any, x: Any) -> Any:
    skip = k.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = k.Conv2D(16, 3, padding="same", activation="relu")(k.MaxPooling2D()(skip))
    x = k.Conv2DTranspose(8, 2, 2)(x)
    x = k.Conv2D(8, 3, padding="same", activation="relu")(k.Concatenate()([x, skip]))
    return k.Conv2D(1, 1, activation="sigmoid")(x)


def _autoencoder(k: Any, x: Any) -> Any:
    for units in (32, 8, 32):
        x = k.Dense(units, "elu")(x)
    return k.Dense(24)(x)


def _audio(k: Any, x: Any) -> Any:
    for filters, size in ((8, 7), (16, 5), (16, 3)):
        x = k.Conv1D(filters, size, strides=2, padding="same", activation="relu")(x)
        x = k.BatchNormalization()(x)
    return k.Dense(4, "softmax")(k.GlobalAveragePooling1D()(x))


def _lstm(k: Any, x: Any) -> Any:
    x = k.Bidirectional(k.LSTM(12, return_sequences=True))(x)
    return k.Dense(4, "softmax")(k.LSTM(8)(x))


def _gru(k: Any, x: Any) -> Any:
    return k.Dense(4)(k.GRU(12, reset_after=False)(x))


def _gru_after(k: Any, x: Any) -> Any:
    return k.Dense(4, "softmax")(k.GRU(12)(x))


def _attention(k: Any, x: Any) -> Any:
    """Attention as products of dense layers, layer norms with an epsilon that TF.js computes correctly."""
    query, key, value = (k.Dense(8)(x) for _ in range(3))
    weights = k.Softmax()(k.Dot((2, 2))([query, key]))
    x = k.LayerNormalization(epsilon=1e-6)(k.Add()([x, k.Dot((2, 1))([weights, value])]))
    y = k.Dense(8)(k.Dense(32, "relu")(x))
    x = k.LayerNormalization(epsilon=1e-6)(k.Add()([x, y]))
    return k.Dense(3, "softmax")(k.GlobalAveragePooling1D()(x))


def _normed(k: Any, x: Any) -> Any:
    return k.ReLU(6.0)(k.BatchNormalization()(x))


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "mlp": Network((16,), _mlp),
        "cnn": Network((20, 20, 3), _cnn),
        "mobile": Network((32, 32, 3), _mobile),
        "swish": Network((16, 16, 3), _swish),
        "wide_depthwise": Network((16, 16, 2), _wide_depthwise),
        "separable": Network((16, 16, 3), _separable, layers=False),
        "residual": Network((16, 16, 3), _residual),
        "unet": Network((16, 16, 3), _unet),
        "autoencoder": Network((24,), _autoencoder),
        "audio": Network((64, 2), _audio),
        "lstm": Network((10, 6), _lstm),
        "gru": Network((10, 6), _gru),
        "gru_after": Network((10, 6), _gru_after, layers=False),
        "attention": Network((10, 8), _attention),
    }
)
