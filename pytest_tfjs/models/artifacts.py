"""Reads and checks converted artifacts: `model.json`, inputs, outputs and weights."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_tfjs.compare.weight_check import Storage
from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.formats import strict_json
from pytest_tfjs.models import topology as _topology
from pytest_tfjs.models import weights as _weights
from pytest_tfjs.models.cache import file_digest
from pytest_tfjs.models.topology import GraphNode, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.models.weights import Array

__all__ = ["Artifacts", "Format", "GraphNode", "TensorSpec", "read_artifacts", "with_weights"]

Format = Literal["layers", "graph"]

_METADATA = "userDefinedMetadata"
_NOTES = "pytest_tfjs.notes"


@dataclass(frozen=True)
class Artifacts:
    """A converted model: its files, inputs, outputs, topology and weights.

    `bytes` is the length of model.json and all shards. `weights` is how the weights are stored: float32,
    float16, uint16 or uint8, or several of these joined by `+`, the most frequent one first. `inputs` and
    `outputs` are in signature order. `saved_model` is the SavedModel that a graph model was converted from
    and `signature` the signature used; None where no SavedModel is available. `notes`: one sentence for each
    change that this plugin made to the converter's result. `output_keys`: by the names of outputs in the
    SavedModel, the keys or layers of the Keras model, where they are not valid names there.

    `resources`: the tensors of a graph model that TF.js itself feeds with lookup tables.

    Graph models of 2019's converters have no signature (`has_signature` is False). Their inputs are the
    placeholders, and their outputs the nodes that no other node uses.
    """

    model_json: Path
    format: Format
    weights: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bytes: int
    topology: Mapping[str, Any] = field(repr=False)
    converted_by: str | None = None
    manifest: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    saved_model: Path | None = None
    signature: str | None = None
    output_keys: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    has_signature: bool = True
    resources: tuple[str, ...] = ()

    def nodes(self) -> tuple[GraphNode, ...]:
        """The nodes of a graph model, in the order of model.json; empty for a layers model."""
        return _topology.graph_nodes(self.topology) if self.format == "graph" else ()

    def read_weights(self) -> dict[str, Array]:
        """Every weight by name, dequantised to its declared dtype. Decodes all shards at each call."""
        return _weights.decode_weights(self.model_json, self.manifest)

    @property
    def quantised(self) -> bool:
        """Whether any weight is stored in fewer bits than its declared dtype has."""
        return self.weights != "float32"

    def weight_names(self, dtype: str | None = None) -> list[str]:
        """The names of all weights, or of those declared as `dtype`, in the order of the manifest."""
        return [str(entry["name"]) for entry in self._entries() if dtype in (None, entry["dtype"])]

    def storage(self) -> dict[str, Storage]:
        """How each quantised weight is stored, by name."""
        return {
            str(entry["name"]): Storage(
                quantization["dtype"], quantization.get("scale"), quantization.get("min")
            )
            for entry in self._entries()
            if (quantization := entry.get("quantization")) is not None
        }

    def weights_digest(self) -> str:
        """SHA-256 in hex over the weights' manifest and shards."""
        digest = hashlib.sha256(json.dumps(list(self._entries()), sort_keys=True).encode())
        for _, shard_digest in self._shards:
            digest.update(shard_digest.encode())
        return digest.hexdigest()

    def changed(self) -> str | None:
        """How a shard has changed since the first call of `weights_digest`, in words; None: not at all."""
        changes = map(_change, self._shard_paths(), *zip(*self._shards, strict=True))
        return next(filter(None, changes), None)

    @cached_property
    def _shards(self) -> tuple[tuple[int, str], ...]:
        """Size and digest of each shard at the first access."""
        return tuple((path.stat().st_size, file_digest(path)) for path in self._shard_paths())

    def _shard_paths(self) -> list[Path]:
        return _weights.shard_paths(self.model_json, self.manifest)

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        return (entry for group in self.manifest for entry in group["weights"])


def _change(path: Path, size: int, digest: str) -> str | None:
    try:
        now = path.stat().st_size
        if now != size:
            return f"the size of {path} has changed from {size} to {now} bytes"
        return None if file_digest(path) == digest else f"the content of {path} has changed"
    except OSError as error:
        return f"{path} can no longer be read: {error.strerror}"


def read_artifacts(path: Path | str) -> Artifacts:
    """Reads and checks a `model.json`, quantization by its own path or its folder's.

    Raises ArtifactsError where the file is missing or not a TF.js model, and where a shard is missing, too
    short or too long.
    """
    model_json = _find_model_json(Path(path))
    content = _parse(model_json)
    topology = content.get("modelTopology")
    if not isinstance(topology, dict):
        raise ArtifactsError(
            f"{model_json} has no 'modelTopology': it holds weights only, or is not a TensorFlow.js model. "
            "Convert the whole model"
        )
    format_ = _format(model_json, content, topology)
    manifest = content.get("weightsManifest")
    _weights.check_manifest(model_json, manifest)
    try:
        read = _topology.graph_signature if format_ == "graph" else _topology.layers_signature
        inputs, outputs = read(content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArtifactsError(
            f"{model_json} does not describe its inputs and outputs ({error!r}); convert the model again"
        ) from error
    shards = _weights.shard_paths(model_json, manifest or [])
    return Artifacts(
        model_json=model_json,
        format=format_,
        weights=_quantisation(manifest or []),
        inputs=inputs,
        outputs=outputs,
        bytes=sum(file.stat().st_size for file in (model_json, *shards)),
        topology=topology,
        converted_by=None if content.get("convertedBy") is None else str(content["convertedBy"]),
        manifest=tuple(manifest or []),
        notes=_notes(content),
        has_signature=format_ == "layers" or _topology.has_signature(content),
        resources=_topology.captured_resources(content) if format_ == "graph" else (),
    )


def add_note(content: dict[str, Any], note: str) -> None:
    """Adds a note to the content of a `model.json`, for `Artifacts.notes`."""
    notes = content.setdefault(_METADATA, {}).setdefault(_NOTES, [])
    if note not in notes:
        notes.append(note)


def with_weights(artifacts: Artifacts, changes: Mapping[str, Array], out_dir: Path | str) -> Artifacts:
    """Writes a copy of the artifacts with some weights changed into `out_dir`.

    Raises ArtifactsError for an unknown name, and for a value without the weight's declared shape and dtype.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    manifest = _weights.replace_weights(artifacts.model_json, artifacts.manifest, changes, out)
    content = _parse(artifacts.model_json)
    content["weightsManifest"] = manifest
    target = out / "model.json"
    target.write_text(json.dumps(content), encoding="utf-8")
    assets = artifacts.model_json.with_name("assets.zip")
    if assets.is_file():
        shutil.copyfile(assets, out / assets.name)
    return dataclasses.replace(
        read_artifacts(target), saved_model=artifacts.saved_model, signature=artifacts.signature
    )


def _notes(content: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = content.get(_METADATA)
    notes = metadata.get(_NOTES) if isinstance(metadata, dict) else None
    return tuple(map(str, notes)) if isinstance(notes, list) else ()


def _find_model_json(path: Path) -> Path:
    model_json = path / "model.json" if path.is_dir() else path
    if not model_json.is_file():
        raise ArtifactsError(
            f"there is no converted model at {model_json}: expected the converter's model.json there"
        )
    return model_json.absolute()


def _parse(model_json: Path) -> dict[str, Any]:
    try:
        content = strict_json.loads(model_json.read_bytes())
    except (ValueError, OSError) as error:
        raise ArtifactsError(
            f"{model_json} cannot be read as JSON ({error}); convert the model again"
        ) from error
    if not isinstance(content, dict):
        raise ArtifactsError(
            f"{model_json} is not a TensorFlow.js model: it holds no JSON object. Convert the model again"
        )
    return content


def _format(model_json: Path, content: Mapping[str, Any], topology: Mapping[str, Any]) -> Format:
    named = content.get("format")
    if named == "graph-model" or (named is None and "node" in topology):
        return "graph"
    if named == "layers-model" or (named is None and {"model_config", "class_name"} & topology.keys()):
        return "layers"
    raise ArtifactsError(
        f"{model_json} has the format {named!r}; expected 'graph-model' or 'layers-model'. Convert the "
        "model again"
    )


def _quantisation(manifest: Any) -> str:
    kinds = [
        entry.get("quantization", entry)["dtype"]
        for group in manifest
        for entry in group["weights"]
        if "quantization" in entry or entry["dtype"] == "float32"
    ]
    return "+".join(sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind))) or "float32"
