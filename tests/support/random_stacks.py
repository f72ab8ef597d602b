"""Random stacks of Keras layers, as recipes that Hypothesis draws and shrinks.

The stacks are built for Keras 2 and Keras 3. A recipe is a trunk (image, sequence or vector) and the names
of layers in order; what a layer's sizes are follows from its place. The weights are as if trained, so that
the converter can fold nothing away for being neutral; or as they are initialised; or here so and there so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

_INITIAL = {"bias": 0.0, "beta": 0.0, "mean": 0.0, "gamma": 1.0, "variance": 1.0}
SHAPES = {"image": (8, 8, 3), "sequence": (6, 4), "vector": (7,)}
_KIND_OF_RANK = {4: "image", 3: "sequence", 2: "vector"}
BATCH = 2
_MOST_STEPS = 6
WEIGHTS = {"trained": 0.0, "mixed": 0.5, "fresh": 1.0}
"""The share of weights initialised as zeros or ones that keep that value."""

ACTIVATIONS = (
    "relu",
    "relu6",
    "elu",
    "selu",
    "softplus",
    "swish",
    "sigmoid",
    "tanh",
    "hard_sigmoid",
    "exponential",
    "softmax",
    "linear",
)


@dataclass(frozen=True)
class Step:
    """One layer, or a few: its name in the vocabulary, and three small numbers that vary it."""

    layer: str
    a: int = 0
    b: int = 0
    c: int = 0

    @property
    def activation(self) -> str:
        return ACTIVATIONS[(self.a + 3 * self.c) % len(ACTIVATIONS)]


Build = Any  # (k, x, name, step) -> tensor; k is the module keras.layers


def _conv(k, x, name, s):
    size, dilation = 1 + s.a % 3, 1 + (s.b == 2)
    stride = 1 if dilation > 1 else 1 + s.b % 2
    return k.Conv2D(
        2 + s.a,
        size,
        stride,
        padding=("same", "valid")[s.c % 2 if min(x.shape[1:3]) >= 5 else 0],
        dilation_rate=dilation,
        activation=s.activation if s.c > 1 else None,
        use_bias=s.b != 1,
        name=name,
    )(x)


def _conv_norm_relu(k, x, name, s):
    layer = k.DepthwiseConv2D if s.c % 2 else lambda size, **more: k.Conv2D(2 + s.a, size, **more)
    x = layer(1 + s.a % 3, padding="same", use_bias=s.b != 1, name=f"{name}_c")(x)
    x = k.BatchNormalization(name=f"{name}_n")(x)
    return k.ReLU(6.0 if s.c > 1 else None, name=f"{name}_r")(x) if s.b != 2 else x


def _depthwise(k, x, name, s):
    stride, multiplier = 1 + s.b % 2, 1 + s.a % 2
    return k.DepthwiseConv2D(
        3,
        stride,
        "same",
        multiplier,
        activation=s.activation if s.c > 1 else None,
        use_bias=s.b != 2,
        name=name,
    )(x)


def _separable(k, x, name, s):
    return k.SeparableConv2D(
        2 + s.a, 3, padding="same", depth_multiplier=1 + s.b % 2, activation=s.activation, name=name
    )(x)


def _transposed(k, x, name, s):
    if x.shape[1] > 16:
        return x
    return k.Conv2DTranspose(2 + s.a, 2 + s.b % 2, 1 + s.c % 2, "same", use_bias=s.b != 2, name=name)(x)


def _norm(k, x, name, s):
    return k.BatchNormalization(scale=s.a != 1, center=s.b != 1, name=name)(x)


def _pool2d(k, x, name, s):
    layer = (k.MaxPooling2D, k.AveragePooling2D)[s.a % 2]
    return layer(2, 1 + s.b % 2, padding="same", name=name)(x)


def _pool1d(k, x, name, s):
    layer = (k.MaxPooling1D, k.AveragePooling1D)[s.a % 2]
    return layer(2, 1 + s.b % 2, padding="same", name=name)(x)


def _pad2d(k, x, name, s):
    x = k.ZeroPadding2D(((0, 1 + s.a % 2), (1, s.b % 2)), name=f"{name}_p")(x)
    return k.Cropping2D(((1, 0), (0, s.c % 2)), name=f"{name}_c")(x) if s.b == 2 else x


def _pad1d(k, x, name, s):
    x = k.ZeroPadding1D((s.a % 2, 1), name=f"{name}_p")(x)
    return k.Cropping1D((0, 1), name=f"{name}_c")(x) if s.b == 2 else x


def _upsample(k, x, name, s):
    if x.shape[1] > 12:
        return x
    return k.UpSampling2D(2, interpolation=("nearest", "bilinear")[s.a % 2], name=name)(x)


def _residual(k, x, name, s):
    y = k.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_c")(x)
    y = k.BatchNormalization(name=f"{name}_n")(y) if s.a % 2 else y
    join = (k.Add, k.Multiply, k.Subtract, k.Maximum, k.Average)[(s.b + s.c) % 5]
    y = join(name=f"{name}_j")([x, y])
    return k.ReLU(name=f"{name}_r")(y) if s.c > 1 else y


def _branches(k, x, name, s):
    parts = [
        k.Conv2D(2, size, padding="same", activation=("relu", None)[s.b % 2], name=f"{name}_{size}")(x)
        for size in (1, 3)
    ]
    return k.Concatenate(name=f"{name}_j")([*parts, x] if s.a % 2 else parts)


def _excite(k, x, name, s):
    z = k.GlobalAveragePooling2D(keepdims=bool(s.a % 2), name=f"{name}_p")(x)
    z = k.Dense(2, activation="relu", name=f"{name}_a")(z)
    z = k.Dense(x.shape[-1], activation="sigmoid", name=f"{name}_b")(z)
    if not s.a % 2:
        z = k.Reshape((1, 1, x.shape[-1]), name=f"{name}_r")(z)
    return k.Multiply(name=f"{name}_m")([x, z])


def _dense(k, x, name, s):
    return k.Dense(2 + s.a, activation=s.activation, use_bias=s.b != 1, name=name)(x)


def _dense_norm(k, x, name, s):
    x = k.Dense(3 + s.a, use_bias=s.b != 1, name=f"{name}_d")(x)
    x = k.BatchNormalization(name=f"{name}_n")(x)
    return k.Activation(s.activation, name=f"{name}_a")(x) if s.c else x


def _layer_norm(k, x, name, s):
    return k.LayerNormalization(name=name)(x)


def _activation(k, x, name, s):
    return k.Activation(s.activation, name=name)(x)


def _rectifier(k, x, name, s):
    kind = (s.a + s.b) % 4
    if kind == 0:
        shared = list(range(1, len(x.shape) - 1)) or None
        return k.PReLU(shared_axes=shared, name=name)(x)
    if kind == 1:
        return k.LeakyReLU(name=name)(x)
    return (k.ELU(name=name) if kind == 2 else k.ReLU(name=name))(x)


def _dropout(k, x, name, s):
    return (k.Dropout(0.3, name=name) if s.a % 2 else k.GaussianNoise(0.1, name=name))(x)


def _global(k, x, name, s):
    suffix = f"{len(x.shape) - 2}D"
    return getattr(k, f"Global{('Average', 'Max')[s.a % 2]}Pooling{suffix}")(name=name)(x)


def _flatten(k, x, name, s):
    return k.Flatten(name=name)(x)


def _to_sequence(k, x, name, s):
    if len(x.shape) == 4:
        return k.Reshape((x.shape[1] * x.shape[2], x.shape[3]), name=name)(x)
    return k.RepeatVector(3, name=name)(x) if s.a % 2 else k.Reshape((x.shape[1], 1), name=name)(x)


def _permute(k, x, name, s):
    order = ((2, 1), (2, 1), (2, 1)) if len(x.shape) == 3 else ((2, 1, 3), (3, 1, 2), (1, 3, 2))
    return k.Permute(order[s.a % 3], name=name)(x)


def _conv1d(k, x, name, s):
    padding = "causal" if s.b == 2 else "same"
    return k.Conv1D(2 + s.a, 3, padding=padding, activation=s.activation if s.c else None, name=name)(x)


def _separable1d(k, x, name, s):
    return k.SeparableConv1D(2 + s.a, 3, padding="same", activation=s.activation, name=name)(x)


def _recurrent(k, x, name, s, sequences=True):
    cell = (k.LSTM, k.GRU, k.SimpleRNN)[s.a % 3]
    more = {"reset_after": bool(s.c % 2)} if cell is k.GRU else {}
    return cell(3, return_sequences=sequences and s.b != 1, go_backwards=s.c > 1, name=name, **more)(x)


def _bidirectional(k, x, name, s):
    cell = (k.LSTM, k.GRU)[s.a % 2](2, return_sequences=s.b != 1, name=f"{name}_cell")
    return k.Bidirectional(cell, merge_mode=("concat", "sum", "mul")[s.c % 3], name=name)(x)


def _attention(k, x, name, s):
    y = k.MultiHeadAttention(1 + s.a % 2, 2, name=f"{name}_h")(x, x)
    y = k.Add(name=f"{name}_j")([x, y])
    return k.LayerNormalization(name=f"{name}_n")(y) if s.b else y


def _dot_attention(k, x, name, s):
    return k.Attention(name=name)([x, k.Dense(x.shape[-1], name=f"{name}_d")(x)])


def _time_distributed(k, x, name, s):
    return k.TimeDistributed(k.Dense(2 + s.a, activation=s.activation, name=f"{name}_in"), name=name)(x)


def _join(k, x, name, s):
    y = k.Dense(x.shape[-1], activation=s.activation, name=f"{name}_d")(x)
    join = (k.Add, k.Multiply, k.Subtract, k.Concatenate, k.Maximum, k.Minimum)[(s.a + s.b) % 6]
    return join(name=f"{name}_j")([y, x] if s.c % 2 else [x, y])


def _shared(k, x, name, s):
    layer = k.Dense(x.shape[-1], activation=s.activation, name=name)
    return layer(layer(x))


ANY: dict[str, Build] = {
    "activation": _activation,
    "rectifier": _rectifier,
    "norm": _norm,
    "layer_norm": _layer_norm,
    "dropout": _dropout,
    "dense": _dense,
    "join": _join,
    "shared": _shared,
}
IMAGE: dict[str, Build] = {
    "conv": _conv,
    "conv_norm_relu": _conv_norm_relu,
    "depthwise": _depthwise,
    "separable": _separable,
    "transposed": _transposed,
    "pool2d": _pool2d,
    "pad2d": _pad2d,
    "upsample": _upsample,
    "residual": _residual,
    "branches": _branches,
    "excite": _excite,
    "global": _global,
    "flatten": _flatten,
    "to_sequence": _to_sequence,
    "permute": _permute,
}
SEQUENCE: dict[str, Build] = {
    "conv1d": _conv1d,
    "separable1d": _separable1d,
    "pool1d": _pool1d,
    "pad1d": _pad1d,
    "recurrent": _recurrent,
    "bidirectional": _bidirectional,
    "attention": _attention,
    "dot_attention": _dot_attention,
    "time_distributed": _time_distributed,
    "global": _global,
    "flatten": _flatten,
    "permute": _permute,
}
VECTOR: dict[str, Build] = {"dense_norm": _dense_norm, "to_sequence": _to_sequence}
VOCABULARY = {"image": ANY | IMAGE, "sequence": ANY | SEQUENCE, "vector": ANY | VECTOR}


@dataclass(frozen=True)
class Recipe:
    """A random model: `steps` are by name from the vocabulary of the current kind of tensor.

    `weights` is one of `WEIGHTS`; `batch` the size of a batch where the model fixes it.
    """

    trunk: str
    steps: tuple[Step, ...]
    seed: int
    weights: str = "trained"
    batch: int | None = None


@st.composite
def recipes(draw: Callable[..., Any]) -> Recipe:
    """Recipes of one to six steps, each of which can be built."""
    trunk = kind = draw(st.sampled_from(sorted(SHAPES)))
    steps = []
    for _ in range(draw(st.integers(1, _MOST_STEPS))):
        layer = draw(st.sampled_from(sorted(VOCABULARY[kind])))
        small = st.integers(0, 3)
        step = Step(layer, draw(st.integers(0, 4)), draw(st.integers(0, 2)), draw(small))
        steps.append(step)
        kind = _kind_after(kind, step)
    weights, batch = draw(st.sampled_from(sorted(WEIGHTS))), draw(st.sampled_from((None, None, BATCH)))
    return Recipe(trunk, tuple(steps), draw(st.integers(0, 1000)), weights, batch)


def _kind_after(kind: str, step: Step) -> str:
    if step.layer in ("global", "flatten"):
        return "vector"
    if step.layer == "to_sequence":
        return "sequence"
    returns_last = step.layer in ("recurrent", "bidirectional") and step.b == 1
    return "vector" if returns_last else kind


def build(keras: Any, recipe: Recipe) -> Any:
    """The model of a recipe, its weights set."""
    x = inputs = keras.Input(SHAPES[recipe.trunk], batch_size=recipe.batch, name="x")
    for place, step in enumerate(recipe.steps):
        vocabulary = VOCABULARY[_KIND_OF_RANK[len(x.shape)]]
        x = vocabulary[step.layer](keras.layers, x, f"L{place}_{step.layer}", step)
    if x is inputs:
        x = keras.layers.Activation("tanh", name="L_last")(x)
    model = keras.Model(inputs, x, name="stack")
    rng = np.random.default_rng(recipe.seed)
    share = WEIGHTS[recipe.weights]
    model.set_weights([_draw(rng, getattr(w, "path", w.name), tuple(w.shape), share) for w in model.weights])
    return model


def feed(recipe: Recipe) -> np.ndarray:
    """Two samples for the model of a recipe: float32, standard normal."""
    rng = np.random.default_rng(recipe.seed + 1)
    return rng.standard_normal((BATCH, *SHAPES[recipe.trunk])).astype(np.float32)


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], initial: float) -> np.ndarray:
    """A weight, with the probability `initial` as it is initialised, if that is with zeros or ones."""
    role = name.rpartition("/")[2]
    first = next((value for part, value in _INITIAL.items() if part in role), None)
    if first is not None and rng.uniform() < initial:
        return np.full(shape, first)
    if "variance" in role or "gamma" in role:
        return rng.uniform(0.6, 1.5, shape)
    if "alpha" in role:
        return rng.uniform(0.1, 0.5, shape)
    if len(shape) > 1 and "bias" not in role:
        return rng.standard_normal(shape) * 1.3 / np.sqrt(np.prod(shape[:-1]))
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.05, 0.4, shape)
