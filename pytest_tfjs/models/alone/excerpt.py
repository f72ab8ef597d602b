"""A part of converted artifacts as a model of its own: one row's operations, fed with what enters them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.alone import graph_cut, layers_cut
from pytest_tfjs.models.alone.plan import CannotRunAloneError
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.weights import keep_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfjs.models.alone.cut import Cut
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.weights import Array

WEIGHTS = "weights.bin"


class ExcerptError(TfjsError):
    """A part of the artifacts cannot stand as a model of its own."""


@dataclass(frozen=True)
class Excerpt:
    """What computes one row, out of artifacts: its inputs, and the model that it is.

    `cut.fed` tells what its inputs stand for, `cut.address` is the row's tap in the new model.
    """

    artifacts: Artifacts
    cut: Cut

    def write(self, folder: Path, fed: Mapping[str, Array]) -> Artifacts:
        """Writes the model.json and one shard into `folder`, with inputs of the shapes and dtypes of `fed`.

        `fed` is by the names of `cut.fed`, in the dtypes of TF.js. A weight keeps its bytes, quantised or
        not. Raises ArtifactsError where the shards cannot be read, OSError where nothing can be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        source = self.artifacts
        manifest = keep_weights(source.model_json, source.manifest, self.cut.weights, folder / WEIGHTS)
        path = folder / "model.json"
        content = {**self.cut.content(fed), "weightsManifest": manifest}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return read_artifacts(path)


def excerpt(artifacts: Artifacts, tap: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Excerpt:
    """What computes the tensor at `tap`, from the nearest tensors that are inputs or one of `known` on.

    `known`: the taps of the rows whose activation can be fed, by their names; the row's own may be among
    them. Raises ExcerptError where what computes it cannot stand alone, in words.
    """
    cut = graph_cut.cut if artifacts.format == "graph" else layers_cut.cut
    try:
        return Excerpt(artifacts, cut(artifacts, tap, known))
    except CannotRunAloneError as error:
        raise ExcerptError(str(error)) from error
