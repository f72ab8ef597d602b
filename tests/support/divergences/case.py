"""Describes a known divergence of TF.js, and builds the model that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FAULTY = "faulty"
"""The name of the operation or layer that TF.js computes differently."""

KINDS = ("kernel", "semantics")


@dataclass(frozen=True)
class Known:
    """A row of docs/known-divergences.md, and the model that shows it.

    - `operation`, `when`, `result`, `instead`: columns of the page: the operation, the inputs for which it
      differs, what TF.js gives, and a way round.
    - `source`: where TF.js does this: a path in its repository, with `#L` and a line.
    - `node`: makes the operation `faulty` from TensorFlow and the inputs, in the order of `feed`. With
      `format` layers it makes a Keras model from tf_keras, whose differing layer is named `faulty`.
      `resource`: makes what the module must own, such as a table; `node` gets it before the inputs.
    - `wrong`: the targets that differ; the page quotes what the plugin says on the first. `right`: targets on
      which the same model is close.
    - `kinds`: what the diagnosis may be. `blamed`: the layer that is blamed.
    """

    operation: str
    when: str
    result: str
    instead: str
    source: str
    node: Callable[..., Any]
    feed: Mapping[str, Any]
    wrong: tuple[str, ...]
    right: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("kernel",)
    blamed: str = FAULTY
    format: Literal["graph", "layers"] = "graph"
    resource: Callable[[Any], Any] | None = None

    @property
    def arrays(self) -> dict[str, Any]:
        """The feed as arrays."""
        return {name: np.asarray(value) for name, value in self.feed.items()}


def save(case: Known, folder: Path) -> Path:
    """Saves the model of a case in `folder`: an .h5 file of a Keras 2 model, or a SavedModel."""
    model = build(case)
    if case.format == "layers":
        model.save(folder / "model.h5")
        return folder / "model.h5"
    import tensorflow as tf

    tf.saved_model.save(model, str(folder / "model"), signatures=model.serve)
    return folder / "model"


def build(case: Known) -> Any:
    """The model of a case: a Keras 2 model, or a module with a signature `serve`."""
    if case.format == "layers":
        import tf_keras

        return case.node(tf_keras)
    import tensorflow as tf

    return _module(tf, case)


def _module(tf: Any, case: Known) -> Any:
    """`faulty` with a layer `after` it, and a layer `beside` it if there is an input of floats."""
    specs = [_spec(tf, name, value) for name, value in case.arrays.items()]

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.owned = [] if case.resource is None else [case.resource(tf)]

        @tf.function(input_signature=specs)
        def serve(self, *inputs):
            found = case.node(tf, *self.owned, *inputs)
            outputs = found if isinstance(found, dict) else {"out": _scaled(tf, found)}
            floats = [one for one in inputs if one.dtype == tf.float32]
            if floats:
                outputs["side"] = tf.multiply(tf.nn.tanh(floats[0], name="beside"), 0.5, name="beside_scaled")
            return outputs

    return Model()


def _spec(tf: Any, name: str, value: Any) -> Any:
    dtype = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
    return tf.TensorSpec(value.shape, dtype, name=name)


def _scaled(tf: Any, faulty: Any) -> Any:
    if faulty.dtype == tf.string or faulty.dtype.is_complex:
        return faulty
    number = faulty if faulty.dtype == tf.float32 else tf.cast(faulty, tf.float32, name="as_float")
    return tf.multiply(number, 1.5, name="after")
