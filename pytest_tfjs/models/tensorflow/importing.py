"""Imports TensorFlow, Keras and the TensorFlow.js converter on demand, without their logs."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import os
import sys
import tempfile
import warnings
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

from pytest_tfjs.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Packages that tensorflowjs imports but does not use for Keras models and SavedModels.
_UNUSED = (
    "tensorflow_decision_forests",
    "tensorflow_hub",
    "jax",
    "jax.experimental",
    "jax.experimental.jax2tf",
    "flax",
)
_INSTALL = (
    "Install TensorFlow and the converter with\n"
    "    python -m pip install 'pytest-tfjs[convert]'\n"
    "or, to keep another TensorFlow,\n"
    "    python -m pip install tensorflow tf-keras six packaging\n"
    "    python -m pip install --no-deps tensorflowjs==4.22.0"
)
TENSORFLOW_DISTRIBUTIONS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-intel",
    "tensorflow-macos",
    "tensorflow-gpu",
    "tensorflow-rocm",
    "tensorflow-cpu-aws",
    "tensorflow-aarch64",
    "intel-tensorflow",
    "tf-nightly",
    "tf-nightly-cpu",
    "tf-nightly-intel",
    "tf-nightly-macos",
)
"""Distributions that install the module `tensorflow`."""

LOG_FILE: ContextVar[Path | None] = ContextVar("LOG_FILE", default=None)
"""A file for captured output, if any, so that a crash does not lose it."""


@dataclass(frozen=True)
class Converter:
    """The modules of tensorflowjs that convert."""

    graph: Any  # tensorflowjs.converters.tf_saved_model_conversion_v2
    keras: Any  # tensorflowjs.converters.keras_h5_conversion


def import_tensorflow() -> Any:
    """The module tensorflow. Raises MissingPackageError with the command that installs it."""
    return _import("tensorflow", "to convert a model and to compute the reference")


def import_keras(version: int) -> Any:
    """Keras 2 (the package tf_keras) or Keras 3 (keras). Raises MissingPackageError with the command."""
    return _import("tf_keras" if version == 2 else "keras", f"for a Keras {version} model")  # noqa: PLR2004


def import_h5py() -> Any:
    """The module h5py, which comes with TensorFlow. Raises MissingPackageError with the command."""
    return _import("h5py", "to read a Keras HDF5 file")


def import_converter() -> Converter:
    """The converter. Raises MissingPackageError where it is missing or does not import.

    Empty modules stand in for four packages that the converter imports at its top and uses only for TF Hub,
    JAX and decision forests. Importing the real ones would take 2.4 s at each cold start and fail in many
    installations (one breaks on protobuf, another on setuptools), so a real one is used only if it is already
    imported.
    """
    import_tensorflow()
    # Import everything that may look for one of these packages before the stand-ins exist.
    import_keras(2)
    _import("tensorflow.keras", "for the converter")
    with _stand_ins():
        graph = _import("tensorflowjs.converters.tf_saved_model_conversion_v2", "to convert a model")
        keras = _import("tensorflowjs.converters.keras_h5_conversion", "to convert a model")
    return Converter(graph, keras)


@functools.cache
def versions() -> dict[str, str | None]:
    """The installed versions of every package that affects a conversion, without importing any.

    The version of a package that is not installed is None. The metadata are read once in each process: to
    read them takes 2 ms, and every comparison asks twice.
    """
    found = {name: _version(name) for name in ("tensorflowjs", "tf-keras", "keras", "pytest-tfjs")}
    return {"tensorflow": next(filter(None, map(_version, TENSORFLOW_DISTRIBUTIONS)), None), **found}


@dataclass
class Chatter:
    """Text captured from stdout, stderr and TensorFlow's loggers."""

    text: str = field(default="")

    def tail(self, lines: int = 20) -> str:
        """The last lines, without the messages that TensorFlow writes at every start."""
        relevant = [line for line in self.text.splitlines() if line.strip() and not _is_noise(line)]
        return "\n".join(relevant[-lines:])


class _Diverted(io.TextIOBase):
    """Replaces sys.stdout or sys.stderr while output is captured.

    A logger created in that time keeps this object, so afterwards it writes to the current stream.
    """

    def __init__(self, name: str, sink: BinaryIO) -> None:
        self.stream = name
        self.sink: BinaryIO | None = sink

    def write(self, text: str) -> int:
        if self.sink is None:
            return int(getattr(sys, self.stream).write(text))
        self.sink.write(text.encode("utf-8", "replace"))
        self.sink.flush()  # in order with what C++ writes to the same file
        return len(text)

    def flush(self) -> None:
        if self.sink is None:
            getattr(sys, self.stream).flush()


@contextlib.contextmanager
def captured(chatter: Chatter | None = None) -> Iterator[Chatter]:
    """Captures Python's streams, TensorFlow's loggers, and C++ logs to the descriptors 1 and 2.

    Ignores warnings: they are not about the user's code, and `-W error` would turn them into errors. The
    Chatter has the text after the block, also if the block raised.
    """
    chatter = Chatter() if chatter is None else chatter
    with _sink() as sink, contextlib.ExitStack() as stack:
        start = sink.seek(0, os.SEEK_END)
        out, err = _Diverted("stdout", sink), _Diverted("stderr", sink)
        for number in (1, 2):
            stack.enter_context(_redirected_descriptor(number, sink.fileno()))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        for name in ("absl", "tensorflow"):
            stack.enter_context(_redirected_logger(name, err))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            yield chatter
        finally:
            stack.close()
            out.sink = err.sink = None
            sink.seek(start)
            chatter.text = sink.read().decode("utf-8", "replace")


def _sink() -> BinaryIO:
    path = LOG_FILE.get()
    return tempfile.TemporaryFile() if path is None else path.open("a+b")


@contextlib.contextmanager
def _redirected_descriptor(number: int, target: int) -> Iterator[None]:
    try:
        saved = os.dup(number)
    except OSError:  # closed: nothing can be written there
        yield
        return
    try:
        os.dup2(target, number)
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)


@contextlib.contextmanager
def _redirected_logger(name: str, stream: Any) -> Iterator[None]:
    logger = logging.getLogger(name)
    handlers, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [logging.StreamHandler(stream)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Adds empty modules for packages not yet imported, and removes them afterwards."""
    made = {name: ModuleType(name) for name in _UNUSED if name not in sys.modules}
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        if parent in made:
            setattr(made[parent], child, module)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _import(name: str, purpose: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    chatter = Chatter()
    try:
        with captured(chatter):
            return importlib.import_module(name)
    except Exception as error:
        package = name.partition(".")[0].replace("_", "-")
        absent = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        what = "is not installed" if absent else f"cannot be imported ({type(error).__name__}: {error})"
        output = chatter.tail()
        raise MissingPackageError(
            f"{package} is needed {purpose}, but it {what}. {_INSTALL}"
            + (f"\nIts output:\n{output}" if output else "")
        ) from error


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _is_noise(line: str) -> bool:
    return any(
        text in line
        for text in (
            "before absl::InitializeLog()",
            "cpu_feature_guard",
            "To enable the following instructions",
            "oneDNN custom operations",
            "cuda",
            "computation_placer",
        )
    )
