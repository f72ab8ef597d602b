"""Writes one layer of converted artifacts as a model of its own, for a reproducer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.alone.graph_content import graph_content
from pytest_tfjs.models.alone.layers_content import layers_content
from pytest_tfjs.models.alone.plan import CannotRunAloneError
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.weights import keep_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfjs.models.alone.content import AloneContent
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.weights import Array

WEIGHTS = "weights.bin"


class AloneModelError(TfjsError):
    """A layer of the artifacts cannot be written as a model of its own."""


@dataclass(frozen=True)
class AloneModel:
    """The model of one layer: where it comes from, and what model.json holds.

    `content.fed` are its inputs, `content.address` is the layer's tap in this model.
    """

    artifacts: Artifacts
    content: AloneContent

    def write(self, folder: Path, fed: Mapping[str, Array]) -> Artifacts:
        """Writes the model.json and one shard into `folder`, with inputs of the shapes and dtypes of `fed`.

        `fed` is by the names of `content.fed`, in the dtypes of TF.js. A weight keeps its bytes, quantised
        or not. Raises ArtifactsError where the shards cannot be read, OSError where nothing can be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        source = self.artifacts
        manifest = keep_weights(source.model_json, source.manifest, self.content.weights, folder / WEIGHTS)
        path = folder / "model.json"
        content = {**self.content.model_json(fed), "weightsManifest": manifest}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return read_artifacts(path)


def single_layer_model(
    artifacts: Artifacts, tap: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> AloneModel:
    """The model that computes the tensor at `tap` from the nearest inputs and layers of `known`.

    `known`: the taps of the layers whose activation can be fed, by name; the layer itself may be among them.
    Raises AloneModelError, with the reason, where the layer cannot be computed alone.
    """
    content_of = graph_content if artifacts.format == "graph" else layers_content
    try:
        return AloneModel(artifacts, content_of(artifacts, tap, known))
    except CannotRunAloneError as error:
        raise AloneModelError(str(error)) from error
