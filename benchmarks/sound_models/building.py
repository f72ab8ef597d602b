"""Builds sound models as files: as initialised, calibrated on data, or trained on it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from benchmarks.sound_models.applications import APPLICATIONS
from benchmarks.sound_models.feed_kinds import draw
from benchmarks.sound_models.networks import NETWORKS
from benchmarks.sound_models.single_layers import SINGLE_LAYERS
from fixtures.families import FAMILIES
from fixtures.samples import KERAS
from fixtures.weights import calibrate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Feed = NDArray[np.float32] | dict[str, NDArray[Any]]

State = Literal["initial", "calibrated", "trained"]
_SAMPLES = 64
_LARGE = 128


class SoundModel(NamedTuple):
    """A model to build: `name` in `NETWORKS`, `SINGLE_LAYERS`, `APPLICATIONS` or `FAMILIES`.

    `keras`: None for a family that is a SavedModel. `state`: None for a family, which has weights of its own.
    `size`: the pixels of an application's side, 0 for all others.
    """

    name: str
    keras: int | None
    state: State | None = "initial"
    seed: int = 0
    size: int = 0

    def __str__(self) -> str:
        """A name for files and result keys."""
        source = "savedmodel" if self.keras is None else f"keras{self.keras}"
        size = str(self.size) if self.size else ""
        state = "" if self.state is None else f"-{self.state}{self.seed}"
        return f"{self.name}{size}-{source}{state}"

    def path(self, folder: Path) -> Path:
        """Where `save` writes it."""
        return folder / (str(self) if self.keras is None else f"{self}.keras")

    def feed(self, kind: str, seed: int) -> Feed:
        """A feed of two samples, of one for an application; a family has its own, whatever `kind` is."""
        if self.state is None:
            return FAMILIES[self.name].inputs(seed)
        samples = 1 if self.size else 2
        return draw(kind, (samples, *self._shape()), seed, self.scale())

    def _shape(self) -> tuple[int, ...]:
        if self.size:
            return (self.size, self.size, 3)
        return (NETWORKS.get(self.name) or SINGLE_LAYERS[self.name]).shape

    def scale(self) -> float:
        """The largest value that the model is made for."""
        return APPLICATIONS[self.name].scale if self.size else 1.0


def save(model: SoundModel, folder: Path) -> None:
    """Builds the model and writes it into `folder`; needs TensorFlow."""
    if model.state is None:
        made = FAMILIES[model.name].save(model.keras, folder)
        made.rename(model.path(folder))
        return
    assert model.keras is not None
    keras = importlib.import_module(KERAS[model.keras])
    keras.backend.clear_session()
    keras.utils.set_random_seed(model.seed + 1)
    built = _built(keras, model)
    samples = _SAMPLES if model.size < _LARGE else 2
    shape = (samples if not model.size else min(samples, 16), *built.input_shape[1:])
    data = draw("smooth", shape, model.seed, model.scale())
    if model.state == "trained":
        _train(keras, built, data)
    if model.state != "initial" and _has_statistics(keras, built):
        calibrate(keras, built, data)
    built.save(model.path(folder))


def _built(keras: Any, model: SoundModel) -> Any:
    if model.size:
        return APPLICATIONS[model.name].build(keras, model.size)
    network = NETWORKS.get(model.name) or SINGLE_LAYERS[model.name]
    x = keras.Input(network.shape)
    return keras.Model(x, network.build(keras.layers, x))


def _train(keras: Any, model: Any, data: NDArray[np.float32]) -> None:
    """A few steps towards telling the samples apart by their mean."""
    shape = (len(data), *model.output_shape[1:])
    means = data.reshape(len(data), -1).mean(1)
    classes = np.argsort(np.argsort(means)) * shape[-1] // len(data)
    wanted = np.broadcast_to(
        np.eye(shape[-1])[classes].reshape(len(data), *(1,) * (len(shape) - 2), -1), shape
    )
    model.compile(keras.optimizers.Adam(0.003), "mse", jit_compile=False)
    model.fit(data, wanted.astype(np.float32), batch_size=16, epochs=4, verbose=0)


def _has_statistics(keras: Any, model: Any) -> bool:
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
