"""Converts a SavedModel to a graph model that keeps the signature's input and output names."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import ConversionError, SourceError, TfjsError
from pytest_tfjs.models.artifacts import add_note
from pytest_tfjs.models.tensorflow import state_changes
from pytest_tfjs.models.tensorflow.float32_graphs import BFLOAT16, half_operations, in_float32
from pytest_tfjs.models.tensorflow.fusion_limits import KEPT_APART, known_fusions_only
from pytest_tfjs.models.tensorflow.layer_calls import layer_of
from pytest_tfjs.models.tensorflow.refusals import read_refusal, short_name
from pytest_tfjs.models.tensorflow.tensor_list_writes import WRITES_MOVED, put_writes_last
from pytest_tfjs.settings.quantisation import quantisation_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_tfjs.models.tensorflow.importing import Converter


_NAMED = 3
_MUTABLE_TABLE = re.compile(r"(Anonymous)?Mutable\w*HashTable\w*")
_LOOKUP = "LookupTableFindV2"
_UNREGISTERED = re.compile(r"Op type not registered '(?P<op>[^']+)'")
BFLOAT16_AS_FLOAT32 = (
    "the model computes in bfloat16, which TF.js does not have and tensorflowjs_converter refuses: "
    "pytest-tfjs converts the model with float32 instead, and keeps weights rounded to bfloat16"
)
"""The note on artifacts of a model with bfloat16."""


@dataclass(frozen=True)
class SavedModel:
    """A SavedModel directory, the signature to convert, and the order of inputs and outputs if known."""

    path: Path
    signature: str
    label: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def signature_names(path: Path) -> list[str]:
    """The names of a SavedModel's signatures. Raises SourceError where it has no graph for serving."""
    graphs = _meta_graphs(path)
    for graph in graphs:
        if "serve" in graph.meta_info_def.tags:
            return sorted(graph.signature_def)
    tags = [list(graph.meta_info_def.tags) for graph in graphs]
    raise SourceError(
        f"the SavedModel {path} has no graph with the tag 'serve', only {tags}. Save it for serving"
    )


def is_of_version_1(path: Path) -> bool:
    """Whether TensorFlow 1 saved a SavedModel: it has no objects, and its graph makes its lookup tables."""
    graphs = [graph for graph in _meta_graphs(path) if "serve" in graph.meta_info_def.tags]
    return not any(graph.HasField("object_graph_def") for graph in graphs)


def convert_graph(saved: SavedModel, converter: Converter, weights: str, out: Path) -> None:
    """Writes the graph model into `out`. Raises ConversionError for operations that TF.js lacks."""
    module = converter.graph
    try:
        with _observed_freezing(module, saved) as frozen, known_fusions_only(module) as apart:
            module.convert_tf_saved_model(
                str(saved.path),
                str(out),
                signature_def=saved.signature,
                quantization_dtype_map=quantisation_map(weights),
                strip_debug_ops=True,  # as the command line does
                # With control flow lowered to Switch and Merge, some loops of Keras 3 do not run in TF.js,
                # and the converter fuses sums in their bodies into _FusedMatMul, which wasm refuses.
                control_flow_v2=True,
            )
    except ValueError as error:
        head, _, names = str(error).partition("\n")
        if not head.startswith("Unsupported Ops"):
            raise
        raise _unsupported(saved, [name.strip() for name in names.split(",")]) from None
    model_json = out / "model.json"
    content = json.loads(model_json.read_text(encoding="utf-8"))
    _name_signature(content, frozen[0], saved)
    if apart:
        add_note(content, KEPT_APART)
    if put_writes_last(content["modelTopology"]):
        add_note(content, WRITES_MOVED)
    if _is_bfloat16(frozen[0]):
        add_note(content, BFLOAT16_AS_FLOAT32)
    model_json.write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def _observed_freezing(module: Any, saved: SavedModel) -> Iterator[list[Any]]:
    """Collects the functions that the converter freezes, and raises errors that it would hide.

    After an error it would continue with the loader of TensorFlow 1, which may give another model of a
    SavedModel that TensorFlow 2 saved. Of one that TensorFlow 1 saved, it gives the same, with its tables. It
    also fails on tables that the signature does not use, so it is kept from looking for tables in that case.
    """
    frozen: list[Any] = []
    names = (
        "_freeze_saved_model_v2",
        "_freeze_saved_model_v1",
        "_get_resource_initializer_concrete_function",
    )
    originals = {name: getattr(module, name) for name in names}

    def freeze(concrete: Any, *args: Any, **kwargs: Any) -> Any:
        frozen.append(concrete)
        if not is_of_version_1(saved.path):  # such a graph also has the operations that saved it
            state_changes.check(concrete, saved.label, saved.path)
        return _without_bfloat16(originals["_freeze_saved_model_v2"](concrete, *args, **kwargs))

    def initialise(model: Any) -> Any:
        uses_tables = len(frozen[0].captured_inputs) > len(frozen[0].graph.variables)
        return originals["_get_resource_initializer_concrete_function"](model) if uses_tables else None

    def freeze_version_1(*args: Any) -> Any:
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and is_of_version_1(saved.path):
            return originals["_freeze_saved_model_v1"](*args)
        raise _cannot_freeze(saved, frozen[0], error) from None

    try:
        for name, replacement in zip(names, (freeze, freeze_version_1, initialise), strict=True):
            setattr(module, name, replacement)
        yield frozen
    finally:
        for name, original in originals.items():
            setattr(module, name, original)


def _without_bfloat16(graph: Any) -> Any:
    """The graph with float32 for bfloat16, which the converter cannot store; constants stay rounded."""
    import tensorflow as tf

    definition = graph.as_graph_def()
    if "bfloat16" not in half_operations(definition).values():
        return graph
    found = tf.Graph()
    with found.as_default():
        tf.import_graph_def(in_float32(definition, [BFLOAT16], rounded_constants=True), name="")
    return found


def _is_bfloat16(concrete: Any) -> bool:
    return "bfloat16" in half_operations(concrete.graph.as_graph_def()).values()


def _cannot_freeze(saved: SavedModel, concrete: Any, error: BaseException | None) -> BaseException:
    """The error for a model that TensorFlow cannot freeze; errors of this project are returned unchanged."""
    if error is None:
        return ConversionError(f"the converter cannot freeze '{saved.label}', and does not say why")
    if isinstance(error, TfjsError) or not isinstance(error, Exception):
        return error
    tables = _mutable_tables(saved.path)
    if tables:
        return ConversionError(
            f"'{saved.label}' cannot become a graph model: {_with_places(saved.path, [_LOOKUP])} needs a "
            f"table that can change ({', '.join(tables)}), and TF.js has none. Use a "
            "tf.lookup.StaticHashTable, or give the Keras layer its vocabulary= instead of calling adapt()"
        )
    refusal = read_refusal(error, saved.path)
    advice = "save it again with TensorFlow 2"
    if len(concrete.captured_inputs) > len(concrete.graph.variables):
        advice = "save a tf.Module that has only the lookup tables of the signature"
    return ConversionError(
        f"the converter cannot freeze '{saved.label}': {refusal.where}{type(error).__name__}: "
        f"{refusal.reason}. Build this layer from other operations, or {advice}"
    )


def _mutable_tables(path: Path) -> list[str]:
    """The operations of a SavedModel that make tables to which keys can be added."""
    found = {
        node.op
        for graph in _meta_graphs(path)
        for nodes in (graph.graph_def.node, *(one.node_def for one in graph.graph_def.library.function))
        for node in nodes
    }
    return sorted(filter(_MUTABLE_TABLE.fullmatch, found))


def _name_signature(content: dict[str, Any], concrete: Any, saved: SavedModel) -> None:
    """Gives inputs and outputs the signature's names and a fixed order.

    The converter matches names by dtype and shape, so two similar inputs keep their tensor names (`a:0`). It
    writes them in hash order.
    """
    signature = content["signature"]
    inputs, outputs = tensor_names(concrete)
    signature["inputs"] = _renamed(signature.get("inputs", {}), inputs, saved.inputs)
    signature["outputs"] = _renamed(signature.get("outputs", {}), outputs, saved.outputs)
    for entry in (*signature["inputs"].values(), *signature["outputs"].values()):
        if entry.get("dtype") == "DT_BFLOAT16":
            entry["dtype"] = "DT_FLOAT"


def tensor_names(concrete: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The signature's name of each tensor (`x:0`): for a ConcreteFunction's inputs, and for its outputs."""
    count = len(concrete.inputs) - len(concrete.captured_inputs)
    inputs = [tensor.name for tensor in concrete.inputs[:count]]
    named = getattr(concrete, "_arg_keywords", None)
    if named is None or len(named) != count:
        named = [name.partition(":")[0] for name in inputs]
    outputs = [tensor.name for tensor in concrete.outputs]
    structure = concrete.structured_outputs
    known = isinstance(structure, dict) and len(structure) == len(outputs)
    results = sorted(structure) if known else outputs
    return dict(zip(inputs, named, strict=True)), dict(zip(outputs, results, strict=True))


def _renamed(entries: Mapping[str, Any], names: Mapping[str, str], order: tuple[str, ...]) -> dict[str, Any]:
    found = {names.get(entry["name"], key): entry for key, entry in entries.items()}
    rest = sorted((name for name in found if name not in order), key=_natural)
    return {name: found[name] for name in [*(name for name in order if name in found), *rest]}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts output_10 after output_9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _unsupported(saved: SavedModel, operations: list[str]) -> ConversionError:
    return ConversionError(
        f"'{saved.label}' uses operations that TensorFlow.js does not have: "
        f"{_with_places(saved.path, operations)}. Build these layers from other operations, or compute them "
        "outside the model"
    )


def cannot_convert(label: str, format_: str, saved_model: Path, error: Exception) -> ConversionError:
    """The error for a model that TensorFlow, Keras or the converter refuses."""
    unknown = _UNREGISTERED.search(str(error))
    if unknown is not None:
        return ConversionError(
            f"'{label}' uses operations that the installed TensorFlow does not have: "
            f"{_with_places(saved_model, [unknown['op']])}. Import the package that registers them before "
            "the test, or build these layers from other operations"
        )
    refusal = read_refusal(error, saved_model if saved_model.is_dir() else None)
    advice = ". Mend this layer, or build it from other operations" if refusal.where else ""
    return ConversionError(
        f"'{label}' cannot be converted to a {format_} model: {refusal.where}{type(error).__name__}: "
        f"{refusal.reason}{advice}"
    )


def _with_places(path: Path, operations: Iterable[str]) -> str:
    """The operations, each with the Keras layers or else the nodes that it is in."""
    places = _places(path, set(operations)) if path.is_dir() else {}
    items = []
    for name in sorted(operations):
        nodes = list(dict.fromkeys(_place(path, node) for node in places.get(name, [])))
        more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        items.append(name + (f" (in {', '.join(nodes[:_NAMED])}{more})" if nodes else ""))
    return "; ".join(items)


def _place(path: Path, node: str) -> str:
    call = layer_of(path, node)
    return repr(short_name(node)) if call is None else f"{call.name!r} ({call.layer_class})"


def _places(path: Path, operations: set[str]) -> dict[str, list[str]]:
    """The names of each operation's nodes in the SavedModel, which begin with the layers' names."""
    places: dict[str, list[str]] = {}
    for graph in _meta_graphs(path):
        functions = graph.graph_def.library.function
        nodes: Iterable[Any] = [
            *graph.graph_def.node,
            *(node for function in functions for node in function.node_def),
        ]
        for node in nodes:
            if node.op in operations and node.name not in places.setdefault(node.op, []):
                places[node.op].append(node.name)
    return places


def _meta_graphs(path: Path) -> list[Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:  # each implementation of protobuf has its own DecodeError
        raise SourceError(f"{path / 'saved_model.pb'} is damaged: {error}. Save the model again") from error
    return list(proto.meta_graphs)
