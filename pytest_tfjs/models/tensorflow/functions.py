"""Finds, hashes and saves the signature of a tf.function or a tf.Module."""

from __future__ import annotations

import hashlib
import inspect
import re
from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.tensorflow.importing import import_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Attributes that differ between traces of the same computation.
_TRACE_ATTRS = ("_gradient_op_type", "config_proto")


def is_function(value: Any) -> bool:
    """Whether `value` is a tf.function, traced or not; does not import TensorFlow."""
    return _has_base(value, "Function", "tensorflow.python.eager") or is_concrete(value)


def is_concrete(value: Any) -> bool:
    """Whether `value` is a ConcreteFunction; does not import TensorFlow."""
    return _has_base(value, "ConcreteFunction", "tensorflow.")


def is_module(value: Any) -> bool:
    """Whether `value` is a tf.Module or a loaded SavedModel; does not import TensorFlow."""
    return _has_base(value, "Module", "tensorflow.python.module") or _has_base(
        value, "AutoTrackable", "tensorflow.python.trackable"
    )


def concrete_function(function: Any, label: str) -> Any:
    """The only ConcreteFunction of a tf.function. Raises SourceError where there are none or several."""
    if is_concrete(function):
        return function
    if getattr(function, "input_signature", None) is not None:
        return function.get_concrete_function()
    traced = _traced(function)
    if len(traced) == 1:
        return traced[0]
    if not traced:
        raise SourceError(
            f"the tf.function '{label}' has no signature, so its inputs are unknown: write "
            "@tf.function(input_signature=[tf.TensorSpec(...)]), or pass function.get_concrete_function(...)"
        )
    raise SourceError(
        f"the tf.function '{label}' was traced for {len(traced)} signatures, but only one can be tested: add "
        "an input_signature, or pass function.get_concrete_function(...) for one of them"
    )


def module_function(module: Any, label: str) -> Any:
    """The ConcreteFunction that serves as a tf.Module's signature.

    That is `serving_default` of a loaded SavedModel; otherwise `__call__`; otherwise the only tf.function
    that has an input_signature or was traced once. Raises SourceError where there are none or several.
    """
    signatures = getattr(module, "signatures", None)
    if signatures:
        return signatures[choose_signature(signatures, label)]
    functions = dict(_functions(module))
    if "__call__" in functions:
        return concrete_function(functions["__call__"], f"{label}.__call__")
    ready = {
        name: function
        for name, function in functions.items()
        if getattr(function, "input_signature", None) is not None or len(_traced(function)) == 1
    }
    if len(ready) == 1:
        name, function = ready.popitem()
        return concrete_function(function, f"{label}.{name}")
    if ready:
        raise SourceError(
            f"the tf.Module '{label}' has several functions with a signature: {', '.join(sorted(ready))}. "
            f"Pass one of them, such as model.{min(ready)}"
        )
    raise SourceError(
        f"the tf.Module '{label}' has no function with a signature: write "
        "@tf.function(input_signature=[tf.TensorSpec(...)]) over its __call__"
    )


def choose_signature(names: Iterable[str], label: str) -> str:
    """`serving_default`, or the only signature. Raises SourceError where there are none or several."""
    public = sorted(name for name in names if not name.startswith("__saved_model"))
    if "serving_default" in public:
        return "serving_default"
    if len(public) == 1:
        return public[0]
    if not public:
        raise SourceError(
            f"{label} has no signature, so its inputs are unknown: save it with "
            "tf.saved_model.save(module, path, signatures=...)"
        )
    raise SourceError(
        f"{label} has the signatures {', '.join(public)} and none is named serving_default: save one "
        "under that name, or load the SavedModel and pass model.signatures['...']"
    )


def graph_fingerprint(concrete: Any, unreadable: str) -> str:
    """SHA-256 in hex over a graph and its captured values; equal for every trace of the same computation.

    `unreadable` replaces captured values that cannot be read, such as a lookup table's content.
    """
    tf = import_tensorflow()
    digest = hashlib.sha256(_canonical_graph(concrete.graph.as_graph_def()))
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    for tensor in concrete.captured_inputs:
        variable = variables.get(id(tensor))
        if variable is not None:
            _update(digest, variable.numpy())
        elif tensor.dtype in (tf.resource, tf.variant):
            digest.update(unreadable.encode())
        else:
            _update(digest, tensor.numpy())
    return digest.hexdigest()


def save_function(concrete: Any, owner: Any, folder: Path) -> list[str]:
    """Saves a ConcreteFunction as `serving_default`; returns its inputs' names in argument order.

    `owner` is the tf.Module that owns the function's variables and tables, if there is one.
    """
    tf = import_tensorflow()
    root = owner
    if root is None:
        root = tf.Module()
        root.captured = list(concrete.graph.variables)
    tf.saved_model.save(root, str(folder), signatures={"serving_default": concrete})
    count = len(concrete.inputs) - len(concrete.captured_inputs)
    return [tensor.name.partition(":")[0] for tensor in concrete.inputs[:count]]


def _functions(module: Any) -> Iterable[tuple[str, Any]]:
    for name in dir(type(module)) + list(vars(module)):
        # Statically first, as reading an attribute may run a property.
        if is_function(inspect.getattr_static(module, name, None)):
            yield name, getattr(module, name)


def _traced(function: Any) -> list[Any]:
    listed = getattr(function, "_list_all_concrete_functions", None)
    return list(listed()) if listed is not None else list(getattr(function, "concrete_functions", ()))


def _has_base(value: Any, name: str, module: str) -> bool:
    return any(base.__name__ == name and base.__module__.startswith(module) for base in type(value).__mro__)


def _canonical_graph(graph: Any) -> bytes:
    # The library is in hash order, and each trace numbers its functions anew.
    library = sorted(graph.library.function, key=lambda function: _numbered(function.signature.name))
    names = {
        function.signature.name: f"{_numbered(function.signature.name)[0]}#{index}"
        for index, function in enumerate(library)
    }
    for function in library:
        function.signature.name = names[function.signature.name]
        function.attr.clear()
        _strip(function.node_def, names)
    ordered = [type(function).FromString(function.SerializeToString()) for function in library]
    del graph.library.function[:]
    graph.library.function.extend(ordered)
    _strip(graph.node, names)
    del graph.library.gradient[:]
    return bytes(graph.SerializeToString(deterministic=True))


def _numbered(name: str) -> tuple[str, int]:
    """A function's name without the number that tracing appends, and that number."""
    match = re.fullmatch(r"(.*)_(\d+)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _strip(nodes: Iterable[Any], names: Mapping[str, str]) -> None:
    for node in nodes:
        for attr in _TRACE_ATTRS:
            if attr in node.attr:
                del node.attr[attr]
        for value in node.attr.values():
            for function in [value.func] if value.HasField("func") else list(value.list.func):
                function.name = names.get(function.name, function.name)


def _update(digest: Any, value: Any) -> None:
    digest.update(f"{value.dtype}{value.shape}".encode())
    digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes())
