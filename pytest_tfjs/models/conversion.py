"""Converts a source to artifacts with the TensorFlow.js converter, or reads the cache."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pytest_tfjs.compare.layer_patterns import matches_nothing
from pytest_tfjs.errors import ConversionError, SettingsError, SourceError, TfjsError
from pytest_tfjs.models.artifacts import add_note, read_artifacts
from pytest_tfjs.models.tensorflow import (
    float32_layers,
    functions,
    graph_conversion,
    keras_models,
    layer_calls,
    state_changes,
)
from pytest_tfjs.models.tensorflow import importing as converters
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.models.tensorflow.refusals import is_of_tensorflow
from pytest_tfjs.settings.quantisation import patterns_of, quantisation_map, spell_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.models.artifacts import Artifacts, Format
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.models.tensorflow.process import Runner

# Part of every key: raise it when the same source would be converted differently than before.
_SCHEMA = 8


def convert(
    source: Source,
    *,
    format: Literal["auto", "layers", "graph"] = "auto",  # noqa: A002  (the public API's word)
    weights: str | Mapping[str, Any] = "float32",
    cache: ContentCache,
    runner: Runner = run_here,
) -> Artifacts:
    """The source's artifacts, converted now or taken from the cache.

    Artifacts in format `graph` know the SavedModel that they were converted from. Prebuilt artifacts are read
    as they are; `weights` does not apply to them. `runner` makes all calls that need TensorFlow; a file whose
    artifacts are cached needs none.
    Raises ConversionError with the reason, SourceError, ArtifactsError or MissingPackageError.
    """
    wanted = resolve_format(source, format)
    try:
        weights = spell_weights(weights)
    except SettingsError as error:
        raise ConversionError(f"weights={weights!r}: {error}") from None
    if source.kind == "prebuilt":
        return _prebuilt(source, cache, runner)
    fingerprint = source.fingerprint(runner)

    def build(folder: Path) -> None:
        runner(f"converting {source.label!r}", build_artifacts, source, wanted, weights, folder)
        _check_unchanged(source, fingerprint, runner)

    folder = cache.entry("artifacts", _key(fingerprint, wanted, weights), build)
    return _with_saved_model(read_artifacts(folder / "artifacts"), folder)


def resolve_format(source: Source, wanted: str) -> Format:
    """`layers` or `graph`. Raises ConversionError where the source cannot be converted to `wanted`."""
    if wanted not in ("auto", "layers", "graph"):
        raise ConversionError(f"format={wanted!r} is not one of auto, layers, graph")
    if wanted in ("auto", source.format):
        return source.format
    if source.kind == "prebuilt":
        raise ConversionError(
            f"{source.path} is already converted, to format '{source.format}', so it cannot be tested in "
            f"format='{wanted}'. Use format='auto'"
        )
    if wanted == "layers" and source.keras == 3:  # noqa: PLR2004
        raise ConversionError(
            f"'{source.label}' is a Keras 3 model, and TensorFlow.js cannot load the layers model that its "
            "converter writes for Keras 3. Use format='graph' (or 'auto'), or build the model with "
            "tf_keras (Keras 2)"
        )
    if wanted == "layers" and source.keras is None:
        raise ConversionError(
            f"'{source.label}' is not a Keras model, so it has no layers to convert: use format='graph' (or "
            "'auto')"
        )
    return cast("Format", wanted)


def build_artifacts(source: Source, format_: Format, weights: str, folder: Path) -> None:
    """Converts into an empty folder: `artifacts/` with model.json, and `saved_model/` for a graph model.

    Writes nothing to the terminal. Raises ConversionError with the reason and the converter's output.
    """
    converter = converters.import_converter()
    chatter = converters.Chatter()
    try:
        with converters.captured(chatter):
            if format_ == "layers":
                _convert_layers(source, converter, weights, folder / "artifacts")
            else:
                saved = _save_model(source, folder)
                graph_conversion.convert_graph(saved, converter, weights, folder / "artifacts")
        _check_patterns(source, weights, read_artifacts(folder / "artifacts"))
    except TfjsError:
        raise
    except Exception as error:
        _check_overlap(source, weights, error)
        if is_of_tensorflow(error):
            raise graph_conversion.cannot_convert(
                source.label, format_, folder / "saved_model", error
            ) from None
        output = chatter.tail()
        raise ConversionError(
            f"'{source.label}' cannot be converted to a {format_} model: {type(error).__name__}: {error}"
            + (f"\nThe converter's output:\n{output}" if output else "")
        ) from error


def _check_patterns(source: Source, weights: str, artifacts: Artifacts) -> None:
    """Raises ConversionError for a pattern that matches no float32 weight: no other is ever quantised."""
    names = artifacts.weight_names(dtype="float32")
    for pattern in patterns_of(weights):
        if not fnmatch.filter(names, pattern):
            kind = f"float32 weight of '{source.label}'"
            raise ConversionError(matches_nothing("weights", pattern, kind, names))


_TWO_DTYPES = re.compile(r"Two quantization values .* match the same node (?P<name>.+)", re.DOTALL)


def _check_overlap(source: Source, weights: str, error: Exception) -> None:
    """Raises ConversionError where the converter failed because patterns of two dtypes match one weight."""
    found = _TWO_DTYPES.fullmatch(str(error))
    if found is None:
        return
    name = found["name"]
    both = [pattern for pattern in patterns_of(weights) if fnmatch.fnmatch(name, pattern)]
    raise ConversionError(
        f"weights={weights!r}: the patterns {' and '.join(map(repr, both))} have different dtypes, but both "
        f"match the weight {name!r} of '{source.label}'. Make one of the patterns narrower"
    ) from error


def _prebuilt(source: Source, cache: ContentCache, runner: Runner) -> Artifacts:
    assert source.path is not None
    artifacts = read_artifacts(source.path)
    if artifacts.format == "layers" or source.origin is None:
        return artifacts
    origin = source.origin
    fingerprint = origin.fingerprint(runner)

    def build(folder: Path) -> None:
        runner(f"saving {origin.label!r}", _save_origin, origin, folder)
        _check_unchanged(origin, fingerprint, runner)

    folder = cache.entry("saved_model", _key(fingerprint, "saved_model", ""), build)
    return _with_saved_model(artifacts, folder)


def _save_origin(origin: Source, folder: Path) -> None:
    converters.import_tensorflow()
    with converters.captured():
        _save_model(origin, folder)


def _with_saved_model(artifacts: Artifacts, folder: Path) -> Artifacts:
    if not (folder / "saved_model.json").is_file():
        return artifacts
    content = json.loads((folder / "saved_model.json").read_text(encoding="utf-8"))
    return dataclasses.replace(
        artifacts,
        saved_model=folder / "saved_model",
        signature=content["signature"],
        output_keys=content.get("output_keys", {}),
    )


def _check_unchanged(source: Source, fingerprint: str, runner: Runner) -> None:
    if source.path is not None and source.fingerprint(runner) != fingerprint:
        raise ConversionError(
            f"{source.path} changed while it was converted: run again when the file is complete"
        )


def _key(fingerprint: str, format_: str, weights: str) -> str:
    parts = {
        "schema": _SCHEMA,
        "source": fingerprint,
        "format": format_,
        "weights": weights,
        "versions": converters.versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _convert_layers(source: Source, converter: converters.Converter, weights: str, out: Path) -> None:
    model = source.load()
    _check_layers(source, model)
    h5py = converters.import_h5py()
    with tempfile.TemporaryDirectory(prefix="pytest-tfjs-") as temporary:
        path = Path(temporary) / "model.h5"
        try:
            # Without the optimizer: TF.js would try to compile the model with it.
            model.save(str(path), include_optimizer=False, save_format="h5")
        except NotImplementedError:
            raise ConversionError(
                f"'{source.label}' is a subclass of Model, so no config describes its layers. Use "
                "format='graph', or build the model with the functional API"
            ) from None
        with h5py.File(path, "r") as file:
            topology, groups = converter.keras.h5_merged_saved_model_to_tfjs_format(file)
    _check_input_known(source, topology)
    half = float32_layers.declare_float32(topology)
    float32_layers.weights_in_float32(groups)
    out.mkdir()
    converter.keras.write_artifacts(
        topology, groups, str(out), quantization_dtype_map=quantisation_map(weights)
    )
    if half:
        model_json = out / "model.json"
        content = json.loads(model_json.read_text(encoding="utf-8"))
        add_note(content, float32_layers.DECLARED_FLOAT32.format(" and ".join(half)))
        model_json.write_text(json.dumps(content), encoding="utf-8")


def _check_layers(source: Source, model: Any) -> None:
    """Raises ConversionError for a layer that a layers model cannot hold."""
    found = keras_models.layer_that_cannot_be_saved(model)
    if found is not None:
        raise ConversionError(
            f"'{source.label}' cannot become a layers model: {found}. Use format='graph', which needs no "
            "config of a layer, or mend the layer"
        )


def _check_input_known(source: Source, topology: Any) -> None:
    config = topology["model_config"]["config"]
    first = (config["layers"] if isinstance(config, dict) else config)[0]["config"]
    if not {"batch_input_shape", "layers", "batch_shape"} & first.keys():
        raise ConversionError(
            f"the input shape of '{source.label}' is unknown: begin the model with an Input layer, or call "
            "model.build(input_shape)"
        )


def _save_model(source: Source, folder: Path) -> graph_conversion.SavedModel:
    """Writes `saved_model/` into the folder, and beside it the name of the signature used.

    `saved_model.json` also has the keys of outputs that are exported under other names.
    """
    target = folder / "saved_model"
    inputs: list[str] = []
    outputs: list[str] = []
    keys: dict[str, str] = {}
    signature = "serving_default"
    if source.kind == "saved_model":
        assert source.path is not None
        shutil.copytree(source.path, target)
        names = graph_conversion.signature_names(target)
        signature = functions.choose_signature(names, f"the SavedModel {source.path}")
    elif source.keras is not None:
        model = source.load()
        with layer_calls.observed_calls(converters.import_keras(source.keras)) as calls:
            inputs, outputs = keras_models.export_keras(model, source.keras, target)
        keys = keras_models.output_keys(model) if outputs else {}
        layer_calls.write_calls(calls, folder)
    else:
        owner = source.model if source.kind == "module" else None
        try:
            inputs = functions.save_function(source.load(), owner, target)
        except (AssertionError, ValueError) as error:
            state_changes.check(source.load(), source.label)
            raise SourceError(
                f"'{source.label}' cannot be saved as a SavedModel: {str(error).splitlines()[0]} If the "
                "function uses a table or variables of another object, pass the tf.Module that owns them"
            ) from error
    content = {"signature": signature, "output_keys": keys}
    (folder / "saved_model.json").write_text(json.dumps(content), encoding="utf-8")
    return graph_conversion.SavedModel(target, signature, source.label, tuple(inputs), tuple(outputs))
