"""Models of one layer: the layer alone and the whole run are the same arithmetic."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.sound_models.networks import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VECTOR, _SEQUENCE, _IMAGE = (12,), (9, 6), (10, 10, 4)


def _activation(name: str) -> Network:
    return Network(_IMAGE, lambda k, x: k.Activation(name)(x))


def _of(shape: tuple[int, ...], layer: Callable[[Any], Any], *, layers: bool = True) -> Network:
    return Network(shape, lambda k, x: layer(k)(x), layers=layers)


SINGLE_LAYERS: Mapping[str, Network] = MappingProxyType(
    {
        **{
            f"only_{name}": _activation(name)
            for name in (
                "elu",
                "selu",
                "tanh",
                "sigmoid",
                "softplus",
                "softmax",
                "swish",
                "relu6",
                "hard_sigmoid",
                "log_softmax",
            )
        },
        "only_leaky_relu": _of(_IMAGE, lambda k: k.LeakyReLU()),
        "only_prelu": _of(_IMAGE, lambda k: k.PReLU(alpha_initializer="random_uniform")),
        "only_dense": _of(_VECTOR, lambda k: k.Dense(5)),
        "only_dense_wide": _of((1024,), lambda k: k.Dense(4, bias_initializer="ones")),
        "only_conv2d": _of(_IMAGE, lambda k: k.Conv2D(6, 3)),
        "only_conv2d_1x1": _of(_IMAGE, lambda k: k.Conv2D(6, 1, bias_initializer="ones")),
        "only_depthwise": _of(_IMAGE, lambda k: k.DepthwiseConv2D(3)),
        "only_depthwise_strided": _of(_IMAGE, lambda k: k.DepthwiseConv2D(5, 2, padding="same")),
        "only_depthwise_relu6": _of(_IMAGE, lambda k: k.DepthwiseConv2D(3, activation="relu6")),
        "only_depthwise_stride_3": _of(_IMAGE, lambda k: k.DepthwiseConv2D(3, 3)),
        "only_transposed": _of(_IMAGE, lambda k: k.Conv2DTranspose(3, 3, 2)),
        "only_conv1d": _of(_SEQUENCE, lambda k: k.Conv1D(5, 3)),
        "only_batch_norm": _of(_IMAGE, lambda k: k.BatchNormalization()),
        "only_layer_norm": _of(_SEQUENCE, lambda k: k.LayerNormalization(epsilon=1e-6)),
        "only_average_pool": _of(_IMAGE, lambda k: k.AveragePooling2D(3, 2, padding="same")),
        "only_global_average": _of(_IMAGE, lambda k: k.GlobalAveragePooling2D()),
        "only_max_pool": _of(_IMAGE, lambda k: k.MaxPooling2D()),
        "only_simple_rnn": _of(_SEQUENCE, lambda k: k.SimpleRNN(4)),
        "only_upsampling": _of(_IMAGE, lambda k: k.UpSampling2D()),
    }
)
