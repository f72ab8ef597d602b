"""Declares float32 in layers models of half precision, so that TF.js can load them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DECLARED_FLOAT32 = (
    "the model has layers in {}, which TF.js does not have: model.json declares float32 instead, so that "
    "TF.js can load it"
)
"""The note on such artifacts, to be formatted with the dtypes."""

_POLICIES = {
    "float16": "float16",
    "mixed_float16": "float16",
    "bfloat16": "bfloat16",
    "mixed_bfloat16": "bfloat16",
}


def declare_float32(topology: Any) -> list[str]:
    """Replaces half precision by float32 in a layers model's config; returns what was replaced."""
    found = set()
    for config in _configs(topology):
        dtype = config.get("dtype")
        policy = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
        if isinstance(policy, str) and policy in _POLICIES:
            found.add(_POLICIES[policy])
            config["dtype"] = "float32"
    return sorted(found)


def weights_in_float32(groups: Iterable[list[dict[str, Any]]]) -> None:
    """Casts weights in bfloat16, which h5py gives as pairs of bytes, to float32."""
    import ml_dtypes  # comes with TensorFlow

    for group in groups:
        for weight in group:
            if weight["data"].dtype == np.dtype("V2"):
                weight["data"] = weight["data"].view(ml_dtypes.bfloat16).astype(np.float32)


def _configs(value: Any) -> Iterator[dict[str, Any]]:
    """Each dict in a config that has a dtype, at any depth."""
    if isinstance(value, dict):
        if "dtype" in value:
            yield value
        for item in value.values():
            yield from _configs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _configs(item)
