"""Reads, loads and exports Keras 2 and Keras 3 models; names their inputs and outputs."""

from __future__ import annotations

import contextlib
import copy
import json
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.layer_patterns import exported_name
from pytest_tfjs.errors import ConversionError, SourceError
from pytest_tfjs.models.tensorflow.importing import captured, import_h5py, import_keras, import_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def keras_file_version(path: Path) -> int:
    """The Keras version (2 or 3) of a `.keras` file. Raises SourceError where it is not such a file."""
    metadata = _keras_member(path, "metadata.json")
    return _major(metadata.get("keras_version"), path)


def keras_file_has_custom_code(path: Path) -> bool:
    """Whether a `.keras` file refers to code other than Keras's, which the file does not hold."""
    return config_has_custom_code(_keras_member(path, "config.json"))


def h5_version(path: Path) -> int:
    """The Keras version (2 or 3) of an HDF5 file. Raises SourceError where it is not a whole model."""
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            version, config = file.attrs.get("keras_version"), file.attrs.get("model_config")
    except OSError as error:
        raise SourceError(f"{path} is not an HDF5 file, or it is damaged: {error}") from error
    if config is None:
        raise SourceError(
            f"{path} holds weights only, not a model: save the whole model with model.save(), or load the "
            "weights into a model and pass that model"
        )
    return _major(version.decode() if isinstance(version, bytes) else version, path)


def load_keras_file(path: Path, version: int) -> Any:
    """The model in a `.keras` or `.h5` file, not compiled. Raises SourceError where loading fails."""
    keras = import_keras(version)
    try:
        with captured():
            return keras.models.load_model(str(path), compile=False)
    except Exception as error:  # the file's custom objects may raise anything
        raise SourceError(
            f"{path} cannot be loaded with {keras.__name__} {keras.__version__}: {_first_line(error)}. If "
            "the model has layers or functions of your own, or a Lambda layer, load it yourself "
            "(custom_objects=..., safe_mode=False) and pass the model instead of the path"
        ) from error


def config_has_custom_code(config: Any) -> bool:
    """Whether a serialised Keras object refers to code that its config does not hold."""
    if isinstance(config, dict):
        name = str(config.get("class_name", ""))
        module = config.get("module")
        foreign = isinstance(module, str) and module.split(".")[0] not in ("keras", "tf_keras", "builtins")
        if foreign or name in ("function", "Lambda", "__lambda__") or ">" in name:
            return True
        return any(config_has_custom_code(value) for value in config.values())
    if isinstance(config, (list, tuple)):
        return any(config_has_custom_code(value) for value in config)
    return False


def input_names(model: Any) -> list[str] | None:
    """The input layers' names in order, valid as argument names; None for a model without declared inputs.

    Raises ConversionError for a model that was never built.
    """
    if not getattr(model, "inputs", None):
        if getattr(model, "built", False):
            return None
        raise ConversionError(
            f"the model '{model.name}' has never been built, so its inputs are unknown: call it once on "
            "data, or give it an Input"
        )
    names = getattr(model, "input_names", None)
    if names is None:  # Keras 3 names its tensors, not its inputs
        names = [_layer_of(tensor) for tensor in model.inputs]
    return _unique(exported_name(str(name)) for name in names)


def backend(model: Any) -> str:
    """The model's backend: tensorflow, jax or torch."""
    if type(model).__module__.startswith("tf_keras."):
        return "tensorflow"
    return str(import_keras(3).backend.backend())


def output_names(model: Any) -> list[str]:
    """The names of the outputs in the model's order, made unique: a dict's keys, or the output layers'."""
    return _unique(map(exported_name, _own_names(model)))


def output_keys(model: Any) -> dict[str, str]:
    """By their exported names, the outputs whose keys, or layers, have names that cannot be exported."""
    own = _own_names(model)
    pairs = zip(output_names(model), own, strict=True)
    return {name: key for name, key in pairs if key != exported_name(key) and own.count(key) == 1}


def _own_names(model: Any) -> list[str]:
    keys = _output_keys(model)
    names = keys or getattr(model, "output_names", None) or [_layer_of(tensor) for tensor in model.outputs]
    return list(map(str, names))


def _output_keys(model: Any) -> list[str] | None:
    """The keys of a model that returns a flat dict, in the order in which it is flattened; otherwise None."""
    structure = None
    with contextlib.suppress(AttributeError, ValueError, RuntimeError):  # a model that was never called
        structure = model.output
    if not isinstance(structure, Mapping) or len(structure) != len(model.outputs):
        return None
    return [str(key) for key in sorted(structure)] if all(isinstance(key, str) for key in structure) else None


def inference_function(model: Any) -> tuple[Any, list[Any]]:
    """A function from inputs to outputs by name, in inference mode, and its input signature."""
    tf = import_tensorflow()
    names = input_names(model) or []
    outputs = output_names(model)
    spec = [
        tf.TensorSpec(_static_shape(tensor), tensor.dtype, name=name)
        for name, tensor in zip(names, model.inputs, strict=True)
    ]

    # A Keras 3 Sequential that was never called has no `input`; it takes one tensor.
    structure = getattr(model, "input", model.inputs[0])

    def serve(*tensors: Any) -> Mapping[str, Any]:
        results = model(tf.nest.pack_sequence_as(structure, list(tensors)), training=False)
        return dict(zip(outputs, tf.nest.flatten(results), strict=True))

    return serve, spec


def export_keras(model: Any, version: int, folder: Path) -> tuple[list[str], list[str]]:
    """Saves the model as a SavedModel in inference mode; returns its inputs' and outputs' names in order.

    The arguments of the signature `serving_default` are the input layers' names. A model without declared
    inputs (a subclass of Model) is exported by Keras itself; then the order is unknown and both lists are
    empty.
    Raises ConversionError for a model that was never built.
    """
    keras = import_keras(version)
    names = input_names(model)
    if names is None:
        model.export(str(folder))
        return [], []
    function, spec = inference_function(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", function, input_signature=spec)
    archive.write_out(str(folder))
    return names, output_names(model)


def layer_that_cannot_be_saved(model: Any) -> str | None:
    """The first layer of a Keras 2 model that a layers model cannot hold, and why; None if there is none.

    A layers model holds each layer's config and named weights. None for a subclass of Model, too: that has no
    config itself.
    """
    if not getattr(model, "_is_graph_network", False):
        return None
    faults = ((layer, _fault(layer)) for layer in _flat(model))
    return next((fault.format(_described(layer)) for layer, fault in faults if fault is not None), None)


def _fault(layer: Any) -> str | None:
    """Why a layers model cannot hold a layer, with `{}` for the layer."""
    try:
        config = layer.get_config()
    except NotImplementedError:
        return "{} has no get_config(), although its constructor takes arguments"
    except Exception as error:  # noqa: BLE001  (the user's code)
        return f"the get_config() of {{}} fails ({_literal(_first_line(error))})"
    if "name" not in config:
        return "{} has no get_config() that begins with super().get_config()"
    try:
        copy.deepcopy(config)
    except Exception as error:  # noqa: BLE001
        return f"the config of {{}} cannot be copied ({_literal(_first_line(error))})"
    if not all(hasattr(weight, "name") for weight in layer.weights):
        return "{} has weights that are no arrays, such as a vocabulary"
    return None


def _described(layer: Any) -> str:
    return f"the layer {layer.name!r} ({type(layer).__name__})"


def _literal(text: str) -> str:
    """The text as part of a format string."""
    return text.replace("{", "{{").replace("}", "}}")


def _flat(model: Any) -> Iterator[Any]:
    """The layers of a model, and those of nested models."""
    for layer in getattr(model, "layers", ()):
        if getattr(layer, "layers", None):
            yield from _flat(layer)
        else:
            yield layer


def _keras_member(path: Path, name: str) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(name))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{path} is not a Keras model file, or it is damaged ({error}): save the model again with "
            "model.save()"
        ) from error


def _major(version: Any, path: Path) -> int:
    major = str(version).split(".")[0]
    if major not in ("2", "3"):
        raise SourceError(f"{path} was written by Keras {version}; expected Keras 2 or 3")
    return int(major)


def _layer_of(tensor: Any) -> str:
    history = getattr(tensor, "_keras_history", None)
    operation = getattr(history, "operation", None)
    return str(operation.name if operation is not None else tensor.name)


def _static_shape(tensor: Any) -> list[int | None]:
    return [None if size is None else int(size) for size in tensor.shape]


def _unique(names: Iterable[str]) -> list[str]:
    result: list[str] = []
    for name in names:
        unique, number = name, 1
        while unique in result:
            unique, number = f"{name}_{number}", number + 1
        result.append(unique)
    return result


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
