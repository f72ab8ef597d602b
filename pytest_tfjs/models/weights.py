"""Checks, decodes and rewrites the weights of artifacts: manifest and shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.settings.quantisation import QUANTISED

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

SHARD_BYTES = 4 * 2**20  # the converter's default: all major browsers cache files of this size
_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int32": np.dtype("<i4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
    "complex64": np.dtype("<c8"),
}

_MOST_ELEMENTS = 2**40
_LARGEST_SIZE = 2**31 - 1
_HIGHEST_RANK = 32  # numpy's before version 2
_DEQUANTISED = frozenset({"float32", "int32"})

Manifest = Sequence[Mapping[str, Any]]
Array = np.ndarray[Any, np.dtype[Any]]


def check_manifest(model_json: Path, manifest: Any) -> None:
    """Raises ArtifactsError for a malformed manifest, and a missing, too short or too long shard."""
    if not isinstance(manifest, list):
        raise ArtifactsError(
            f"{model_json} has no 'weightsManifest' list, so its weights cannot be found; convert the "
            f"model again"
        )
    seen: set[str] = set()
    for group in manifest:
        _check_group(model_json, group, seen)


def shard_paths(model_json: Path, manifest: Manifest) -> list[Path]:
    """The paths of the weight files, in the manifest's order."""
    return [_shard(model_json, name) for group in manifest for name in group["paths"]]


def decode_weights(model_json: Path, manifest: Manifest) -> dict[str, Array]:
    """Every weight by name, dequantised to its declared dtype; strings are arrays of bytes objects."""
    return {
        str(entry["name"]): _decode(entry, raw)
        for group in manifest
        for entry, raw in split_group(group, _read_group(model_json, group))
    }


def replace_weights(
    model_json: Path, manifest: Manifest, changes: Mapping[str, Array], out_dir: Path
) -> list[dict[str, Any]]:
    """Writes the shards with some weights changed into `out_dir`; returns the new manifest.

    A changed weight is stored in its declared dtype, not quantised, so that the browser gets exact values;
    all others keep their bytes. Raises ArtifactsError for an unknown name, and another shape or dtype.
    """
    names = {str(entry["name"]) for group in manifest for entry in group["weights"]}
    if unknown := sorted(set(changes) - names):
        raise ArtifactsError(f"the model has no weights named {unknown}; its weights are {sorted(names)}")
    result: list[dict[str, Any]] = []
    for number, group in enumerate(manifest, start=1):
        entries, blobs = [], []
        for entry, raw in split_group(group, _read_group(model_json, group)):
            if entry["name"] not in changes:
                entries.append(dict(entry))
                blobs.append(raw)
                continue
            entries.append({key: value for key, value in entry.items() if key != "quantization"})
            blobs.append(_encode(entry, changes[entry["name"]]))
        paths = _write_shards(out_dir, number, b"".join(blobs))
        result.append({"paths": paths, "weights": entries})
    return result


def keep_weights(
    model_json: Path, manifest: Manifest, names: Container[str], shard: Path
) -> list[dict[str, Any]]:
    """Writes the named weights, as they are stored, into the file `shard`; returns the new manifest.

    For no weights it writes no file and returns an empty manifest.
    """
    found = [
        (entry, raw)
        for group in manifest
        if any(entry["name"] in names for entry in group["weights"])
        for entry, raw in split_group(group, _read_group(model_json, group))
        if entry["name"] in names
    ]
    if not found:
        return []
    shard.write_bytes(b"".join(raw for _, raw in found))
    return [{"paths": [shard.name], "weights": [dict(entry) for entry, _ in found]}]


def split_group(group: Mapping[str, Any], data: bytes) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each weight's manifest entry with its stored bytes."""
    for entry, start, end in _spans(group, data):
        yield entry, data[start:end]


def _spans(group: Mapping[str, Any], data: bytes) -> Iterator[tuple[Mapping[str, Any], int, int]]:
    """Each weight's entry with its expected start and end, even where the data are shorter."""
    start = 0
    for entry in group["weights"]:
        size = _stored_bytes(entry)
        end = _string_end(entry, data, start) if size is None else start + size
        yield entry, start, end
        start = end


def _check_group(model_json: Path, group: Any, seen: set[str]) -> None:
    try:
        paths, entries = list(group["paths"]), list(group["weights"])
        for entry in entries:
            _check_entry(entry)
        names = [entry["name"] for entry in entries]
        sizes = [_stored_bytes(entry) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactsError(
            f"{model_json} has a damaged weights manifest ({error!r}); convert the model again"
        ) from error
    for name in names:
        if name in seen:
            raise ArtifactsError(f"{model_json} names the weight '{name}' twice; convert the model again")
        seen.add(name)
    shards = [_shard(model_json, name) for name in paths]
    for shard in shards:
        if not shard.is_file():  # missing, or a folder, device or pipe
            raise ArtifactsError(
                f"{model_json} names the weight shard '{shard.name}', which does not exist ({shard}). Copy "
                "all the files that the converter wrote, or convert the model again"
            )
    found = [shard.stat().st_size for shard in shards]
    numeric = [size for size in sizes if size is not None]
    if len(numeric) == len(sizes):
        expected = sum(numeric)
    else:
        expected = _bytes_with_strings(model_json, group, b"".join(shard.read_bytes() for shard in shards))
    if sum(found) != expected:
        raise _wrong_length(model_json, shards, found, expected)


def _check_entry(entry: Mapping[str, Any]) -> None:
    """Raises ValueError, TypeError or KeyError for an entry that TF.js or numpy cannot read."""
    name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
    if not isinstance(name, str) or not isinstance(dtype, str):
        raise TypeError(f"a weight has the invalid name {name!r} or dtype {dtype!r}")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ValueError(f"the weight '{name}' has the shape {shape}, which is not a list of whole numbers")
    if len(shape) > _HIGHEST_RANK or not all(0 <= size <= _LARGEST_SIZE for size in shape):
        raise ValueError(f"the weight '{name}' has the impossible shape {shape}")
    if math.prod(size for size in shape if size > 0) > _MOST_ELEMENTS:
        raise ValueError(f"the weight '{name}' has the shape {shape}, which does not fit into memory")
    if "quantization" in entry:
        _check_quantisation(name, dtype, entry["quantization"])


def _check_quantisation(name: str, dtype: str, quantization: Mapping[str, Any]) -> None:
    stored = quantization["dtype"]
    if stored not in QUANTISED or dtype not in _DEQUANTISED or (stored == "float16" and dtype != "float32"):
        raise ValueError(f"the weight '{name}' is {dtype} quantised as {stored!r}, which is not supported")
    numbers = [quantization.get("scale"), quantization.get("min")]
    if not all(type(number) in (int, float) for number in numbers) and (
        stored != "float16" or numbers != [None, None]
    ):
        raise ValueError(f"the weight '{name}' has the invalid scale and minimum {numbers}")


def _bytes_with_strings(model_json: Path, group: Mapping[str, Any], data: bytes) -> int:
    try:
        return max(end for _, _, end in _spans(group, data))
    except ValueError as error:
        raise ArtifactsError(
            f"{model_json}: the shards {list(group['paths'])} end within a string weight, after {len(data)} "
            "bytes; copy them again, or convert the model again"
        ) from error


def _wrong_length(
    model_json: Path, shards: Sequence[Path], found: Sequence[int], expected: int
) -> ArtifactsError:
    if not shards:
        return ArtifactsError(
            f"{model_json} names no shard file for its {expected} bytes of weights; convert the model again"
        )
    due = _due_sizes(found, expected)
    index = next(
        (i for i, (have, want) in enumerate(zip(found, due, strict=True)) if have != want), len(due) - 1
    )
    word = "short" if found[index] < due[index] else "long"
    return ArtifactsError(
        f"the weight shard {shards[index]} is too {word}: {due[index]} bytes expected, {found[index]} found "
        f"(its group of {len(shards)} shards should hold {expected} bytes, and holds {sum(found)}). "
        "Copy the shard again, or convert the model again"
    )


def _due_sizes(found: Sequence[int], expected: int) -> list[int]:
    """The expected size of each shard of a group: all equal, except that the last has the rest."""
    count = len(found)
    candidates = [SHARD_BYTES, *found[:-1]] if count > 1 else []
    for size in candidates:
        if (count - 1) * size < expected <= count * size:
            return [size] * (count - 1) + [expected - (count - 1) * size]
    return [*found[:-1], expected - sum(found[:-1])]


def _shard(model_json: Path, name: Any) -> Path:
    folder = model_json.parent
    if not isinstance(name, str):
        raise ArtifactsError(
            f"{model_json} names the weight shard {name!r:.300}, which is not a file name; "
            "convert the model again"
        )
    pure, windows = PurePosixPath(name), PureWindowsPath(name)
    leaves = pure.is_absolute() or windows.drive or windows.root or ".." in {*pure.parts, *windows.parts}
    try:
        leaves = leaves or not (folder / pure).resolve().is_relative_to(folder.resolve())
        (folder / pure).exists()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, too long, or circular links
        raise ArtifactsError(
            f"{model_json} names the weight shard {name!r:.300}, which is not a usable path: {error}"
        ) from error
    if leaves:
        raise ArtifactsError(
            f"{model_json} names a weight shard outside its own folder: {name!r}. Put the shards "
            f"beside model.json"
        )
    return folder / pure


def _read_group(model_json: Path, group: Mapping[str, Any]) -> bytes:
    return b"".join(_shard(model_json, name).read_bytes() for name in group["paths"])


def _stored_dtype(entry: Mapping[str, Any]) -> np.dtype[Any]:
    name = entry.get("quantization", entry)["dtype"]
    if name not in _STORED:
        raise ValueError(
            f"the weight '{entry['name']}' has the dtype {name!r}, which TensorFlow.js does not know"
        )
    return _STORED[name]


def _stored_bytes(entry: Mapping[str, Any]) -> int | None:
    """Length in the shards, in bytes; None for strings, whose length only the shards tell."""
    if entry["dtype"] == "string":
        return None
    shape: list[int] = entry["shape"]
    return math.prod(shape) * _stored_dtype(entry).itemsize


def _string_end(entry: Mapping[str, Any], data: bytes, start: int) -> int:
    # Each string is a little-endian uint32 length and that many bytes.
    for _ in range(math.prod(entry["shape"])):
        start += 4 + int.from_bytes(data[start : start + 4], "little")
        if start > len(data):
            raise ValueError("the data end within a string")
    return start


def _decode(entry: Mapping[str, Any], raw: bytes) -> Array:
    shape = tuple(entry["shape"])
    if entry["dtype"] == "string":
        return _decode_strings(raw).reshape(shape)
    stored = np.frombuffer(raw, _stored_dtype(entry)).reshape(shape)
    if "quantization" not in entry:
        return stored.copy()
    declared = _STORED[entry["dtype"]]
    scale = entry["quantization"].get("scale")
    if scale is None:  # float16
        return stored.astype(declared)
    # In double precision and rounded once, as JavaScript does it. A range of Inf gives NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        values: Array = stored.astype(np.float64) * scale + entry["quantization"]["min"]
        if declared.kind == "i":
            values = values.round()
        return values.astype(declared)


def _decode_strings(raw: bytes) -> Array:
    strings, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        strings.append(raw[start + 4 : end])
        start = end
    result = np.empty(len(strings), dtype=object)
    result[:] = strings
    return result


def _encode(entry: Mapping[str, Any], value: Array) -> bytes:
    declared = _STORED.get(entry["dtype"])
    if declared is None or value.dtype != declared or list(value.shape) != list(entry["shape"]):
        raise ArtifactsError(
            f"the weight '{entry['name']}' is {entry['dtype']} of shape {list(entry['shape'])}, "
            f"but its new value is {value.dtype} of shape {list(value.shape)}"
        )
    return value.astype(declared).tobytes()


def _write_shards(out_dir: Path, number: int, data: bytes) -> list[str]:
    count = math.ceil(len(data) / SHARD_BYTES)
    names = [f"group{number}-shard{index}of{count}.bin" for index in range(1, count + 1)]
    for index, name in enumerate(names):
        (out_dir / name).write_bytes(data[index * SHARD_BYTES : (index + 1) * SHARD_BYTES])
    return names
