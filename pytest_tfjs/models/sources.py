"""Recognises sources without TensorFlow, fingerprints them, loads them when needed."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from pytest_tfjs.errors import SourceError, TfjsError
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.cache import file_digest
from pytest_tfjs.models.tensorflow import functions, keras_models
from pytest_tfjs.models.tensorflow.importing import captured, import_tensorflow
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.models.tensorflow.refusals import is_of_tensorflow, read_refusal
from pytest_tfjs.models.weights import shard_paths

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pytest_tfjs.models.artifacts import Format
    from pytest_tfjs.models.tensorflow.process import Runner

_T = TypeVar("_T")
Kind = Literal["keras2", "keras3", "keras_file", "h5", "saved_model", "function", "module", "prebuilt"]

_EXPECTED = (
    "Expected a Keras model (tf_keras or Keras 3), a .keras or .h5 file, a SavedModel directory, a "
    "tf.function or tf.Module with a signature, or Prebuilt(artifacts, source)"
)
_KERAS_2 = 2
_SHOWN = 5  # names in a message
_FOREIGN_FILES = {
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".safetensors": "weights",
    ".onnx": "ONNX",
    ".tflite": "TensorFlow Lite",
    ".mlmodel": "Core ML",
    ".pkl": "pickled",
    ".joblib": "pickled",
    ".npz": "numpy",
    ".npy": "numpy",
    ".bin": "weights",
}


@dataclass(frozen=True)
class Prebuilt:
    """Artifacts that are already converted, and the source to compare them with.

    `artifacts` is the path of a model.json or its folder; `source` is any other source.
    """

    artifacts: str | os.PathLike[str]
    source: Any


@dataclass(eq=False)
class Source:
    """A model as the user passed it.

    `label` is a short name for reports; `format` is the format that "auto" selects. `keras` is the Keras
    version (2 or 3) of a Keras model or file. `path` is the file, directory or model.json; `model` the
    object; `origin` the source of prebuilt artifacts, or None where only the artifacts were passed.
    """

    kind: Kind
    label: str
    format: Format
    keras: int | None = None
    path: Path | None = None
    model: Any = field(default=None, repr=False)
    origin: Source | None = None
    # Stands for content that cannot be read, so that no cached entry matches.
    _unreadable: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, repr=False)
    _root: Any = field(default=None, init=False, repr=False)

    @property
    def in_files(self) -> bool:
        """Whether the source is stored in files only, so that another process can load it."""
        source = self if self.origin is None else self.origin
        return source.path is not None

    def fingerprint(self, runner: Runner = run_here) -> str:
        """SHA-256 in hex over the content: a file's bytes, a model's config and weights, a function's graph.

        Read at each call, as a model in memory may have been trained since. What needs TensorFlow is called
        through `runner`.
        """
        return hashlib.sha256(
            f"{self.kind}:{self._explained(lambda: self._content(runner))}".encode()
        ).hexdigest()

    def load(self) -> Any:
        """The Keras model or ConcreteFunction; for prebuilt artifacts, that of their source.

        Loads it once. Raises SourceError where that fails, MissingPackageError without TensorFlow.
        """
        return self._explained(lambda: self._live)

    def _explained(self, work: Callable[[], _T]) -> _T:
        """The result of work. Raises SourceError for an error of TensorFlow or Keras."""
        try:
            return work()
        except TfjsError:
            raise
        except Exception as error:
            if not is_of_tensorflow(error):
                raise
            refusal = read_refusal(error)
            raise SourceError(
                f"'{self.label}' cannot be loaded or traced: {refusal.where}{refusal.reason}. "
                f"{refusal.advice}"
            ) from None

    @cached_property
    def _live(self) -> Any:
        if self.kind == "prebuilt":
            return self.require_origin().load()
        if self.kind == "function":
            return functions.concrete_function(self.model, self.label)
        if self.kind == "module":
            return functions.module_function(self.model, self.label)
        if self.path is None:
            return self.model
        if self.keras is not None:
            return keras_models.load_keras_file(self.path, self.keras)
        tf = import_tensorflow()
        with captured():
            # The function alone does not keep its variables alive.
            self._root = tf.saved_model.load(str(self.path))
        return functions.module_function(self._root, f"the SavedModel {self.path}")

    def require_origin(self) -> Source:
        """The source of prebuilt artifacts, or this source. Raises SourceError where there is none."""
        if self.kind != "prebuilt":
            return self
        if self.origin is None:
            raise SourceError(
                f"{self.path} is a converted model alone, so there is nothing to compare it with: pass "
                "Prebuilt(artifacts, source) with the model that it was converted from. A converted model "
                "alone can only be timed"
            )
        return self.origin

    def _content(self, runner: Runner) -> str:
        if self.kind == "prebuilt":
            assert self.path is not None
            shards = shard_paths(self.path, read_artifacts(self.path).manifest)
            parts = [file_digest(file) for file in (self.path, *shards)]
            return ":".join([*parts, self.origin.fingerprint(runner) if self.origin is not None else ""])
        if self.kind == "saved_model":
            assert self.path is not None
            return _directory_digest(self.path)
        if self.kind in ("function", "module"):
            return functions.graph_fingerprint(self.load(), self._unreadable)
        if self.path is None:
            return _keras_digest(self.model, self._unreadable)
        digest = file_digest(self.path)
        if self.kind == "keras_file" and keras_models.keras_file_has_custom_code(self.path):
            # The file names classes of the user, whose code may change while the file does not.
            return f"{digest}:{runner(f'loading {self.label!r}', _loaded_digest, self)}"
        return digest


def as_source(model: Any) -> Source:
    """The Source for a model as the user passed it; a Source is returned unchanged.

    Raises SourceError for anything that is not a model, ArtifactsError for damaged artifacts.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, Prebuilt):
        return _prebuilt(model)
    if isinstance(model, (str, Path)) or hasattr(model, "__fspath__"):
        return _from_path(Path(model).expanduser())
    return _from_object(model)


def _from_object(model: Any) -> Source:
    version = _keras_version(model)
    if version is not None:
        return Source(
            kind="keras2" if version == _KERAS_2 else "keras3",
            label=str(model.name),
            format=_format_of(version),
            keras=version,
            model=model,
        )
    if functions.is_function(model):
        label = str(getattr(model, "__name__", None) or getattr(model, "name", "function"))
        return Source("function", label, "graph", model=model)
    if functions.is_module(model) and not _is_of_keras(model):
        label = str(getattr(model, "name", "") or type(model).__name__)
        return Source("module", label, "graph", model=model)
    raise SourceError(f"{_describe(model)}. {_EXPECTED}")


def _from_path(path: Path) -> Source:
    if path.is_dir():
        return _from_directory(path)
    if not path.exists():
        where = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
        raise SourceError(f"there is no model at {path}{where}. {_EXPECTED}")
    suffix = path.suffix.lower()
    if suffix == ".keras":
        return _keras_file("keras_file", path, keras_models.keras_file_version(path))
    if suffix in (".h5", ".hdf5"):
        return _keras_file("h5", path, keras_models.h5_version(path))
    if path.name == "saved_model.pb":
        return _from_directory(path.parent)
    if suffix == ".json":
        return _artifacts(path, None)
    if suffix == ".pb":
        raise SourceError(
            f"{path} is a frozen graph, which names no inputs or outputs: pass the SavedModel directory "
            "that has saved_model.pb and variables/"
        )
    if suffix in _FOREIGN_FILES:
        raise SourceError(
            f"{path} has a format ({_FOREIGN_FILES[suffix]}) that the converter cannot read. {_EXPECTED}"
        )
    raise SourceError(f"{path} is not a known kind of model file. {_EXPECTED}")


def _from_directory(path: Path) -> Source:
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return Source("saved_model", path.resolve().name, "graph", path=path.absolute())
    if (path / "model.json").is_file():
        return _artifacts(path / "model.json", None)
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        raise SourceError(f"the directory {path} is empty; a SavedModel has saved_model.pb. {_EXPECTED}")
    some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    raise SourceError(f"{path} has neither saved_model.pb nor model.json, only {some}. {_EXPECTED}")


def _keras_file(kind: Kind, path: Path, version: int) -> Source:
    return Source(kind, path.name, _format_of(version), keras=version, path=path.absolute())


def _format_of(version: int) -> Format:
    """TF.js loads the layers models of Keras 2 only."""
    return "layers" if version == _KERAS_2 else "graph"


def _prebuilt(model: Prebuilt) -> Source:
    path = Path(model.artifacts)
    origin = as_source(model.source)
    if origin.kind == "prebuilt":
        raise SourceError(
            f"Prebuilt(artifacts, source) needs the model that {path} was converted from, but the source "
            "is a converted model too"
        )
    return _artifacts(path, origin)


def _artifacts(path: Path, origin: Source | None) -> Source:
    artifacts = read_artifacts(path)
    json_path = artifacts.model_json
    label = json_path.parent.name if json_path.name == "model.json" else json_path.name
    return Source("prebuilt", label, artifacts.format, path=json_path, origin=origin)


def _keras_version(model: Any) -> int | None:
    """2 or 3 for a Keras model, None for anything else."""
    for base in type(model).__mro__:
        if base.__name__ == "Model" and base.__module__.startswith("tf_keras."):
            return 2
        if base.__name__ == "Model" and base.__module__.startswith("keras."):
            return 2 if ".engine." in base.__module__ else 3
    return None


def _is_of_keras(model: Any) -> bool:
    return any(base.__module__.startswith(("keras.", "tf_keras.")) for base in type(model).__mro__)


def _describe(model: Any) -> str:
    kind = type(model)
    modules = [base.__module__ for base in kind.__mro__]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if model is None:
        return "None was given as the model"
    if isinstance(model, type):
        return (
            f"the class {model.__module__}.{model.__qualname__} was given as the model, not an instance of it"
        )
    if any(module.startswith("torch.") for module in modules):
        return f"a PyTorch module ({name}) was given; convert it to Keras or a SavedModel first"
    if _is_of_keras(model):
        return (
            f"a Keras object that is not a model ({name}) was given; wrap it in a keras.Model with its inputs"
        )
    if callable(model) and hasattr(model, "__name__"):
        return (
            f"the Python function '{model.__name__}' was given; decorate it with "
            "@tf.function(input_signature=[tf.TensorSpec(...)])"
        )
    return f"an object of type {name} was given as the model"


def _directory_digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            name = file.relative_to(path).as_posix()
            digest.update(f"{len(name)}:{name}:{file_digest(file)}".encode())
    return digest.hexdigest()


def _loaded_digest(source: Source) -> str:
    return _keras_digest(source.load(), source._unreadable)  # noqa: SLF001  (of this module)


def _keras_digest(model: Any, unreadable: str) -> str:
    """Over class, config and weights; over the traced graph where the config refers to custom code."""
    with captured():
        keras_models.input_names(model)  # raises a clearer error than Keras for a model without weights
        digest = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}".encode())
        config = _config(model)
        if config is None or keras_models.config_has_custom_code(json.loads(config)):
            digest.update(_traced_digest(model, unreadable).encode())
        else:
            digest.update(config.encode())
        for weight in model.weights:
            name = str(getattr(weight, "path", None) or getattr(weight, "name", ""))
            for value in _values(weight):
                digest.update(f"{len(name)}:{name}:{value.dtype}:{value.shape}".encode())
                digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes())
    return digest.hexdigest()


def _values(weight: Any) -> list[Any]:
    """A weight's arrays: one, or of a vocabulary, such as TextVectorization's, the keys and the numbers."""
    if hasattr(weight, "numpy"):
        return [np.asarray(weight.numpy())]
    return [np.asarray(tensor) for tensor in weight.get_tensors()]


def _config(model: Any) -> str | None:
    if not type(model).__module__.startswith(("keras.", "tf_keras.")):
        return None
    try:
        return str(model.to_json())
    except Exception:  # noqa: BLE001  (a layer without get_config may raise anything)
        return None


def _traced_digest(model: Any, unreadable: str) -> str:
    if keras_models.input_names(model) is None or keras_models.backend(model) != "tensorflow":
        return unreadable
    tf = import_tensorflow()
    function, spec = keras_models.inference_function(model)
    traced = tf.function(function, input_signature=spec).get_concrete_function()
    return functions.graph_fingerprint(traced, unreadable)
