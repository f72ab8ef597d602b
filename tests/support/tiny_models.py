"""The weights, feed and results of the models written by hand, and their files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KERNEL = np.array([[1, -2], [3, 4], [-5, 6]], np.float32)
BIAS = np.array([0.5, -0.5], np.float32)
X = np.array([[1, 2, 3], [-1, 0, 1]], np.float32)
DENSE = X @ KERNEL + BIAS
RELU = np.maximum(DENSE, 0)
DTYPES = {
    "float32": "DT_FLOAT",
    "int32": "DT_INT32",
    "bool": "DT_BOOL",
    "str": "DT_STRING",
    "complex64": "DT_COMPLEX64",
}


def write_model(
    folder: Path, topology: Mapping[str, Any], weights: Mapping[str, np.ndarray], **more: Any
) -> Path:
    """A model.json with one shard; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = [
        {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}
        for name, value in weights.items()
    ]
    assert {spec["dtype"] for spec in specs} <= DTYPES.keys()
    shard = "group1-shard1of1.bin"
    (folder / shard).write_bytes(b"".join(value.tobytes() for value in weights.values()))
    manifest = [{"paths": [shard], "weights": specs}] if specs else []
    path = folder / "model.json"
    path.write_text(json.dumps({"modelTopology": topology, "weightsManifest": manifest, **more}))
    return path
