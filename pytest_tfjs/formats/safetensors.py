"""Encodes and decodes tensors as safetensors, with string tensors in the metadata."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

_STRINGS = "pytest_tfjs.strings"
_WIDEST = 4
"""The greatest size of an array of dtype `U`, as a multiple of the characters in it."""
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
    "C64": "<c8",
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class WireError(ValueError):
    """The bytes are not a valid safetensors file, or the tensors cannot be written as one."""


def encode(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a safetensors file with the tensors.

    Tensors have any shape and dtype bool, (u)int8 to 64, float16 to 64, complex64 or strings (`U`, `S`, or
    `O` of str or UTF-8 bytes). Raises WireError for other dtypes, and for a tensor named `__metadata__`.
    """
    from safetensors.numpy import save

    plain, strings = _split(tensors)
    little = {name: _little_endian(value) for name, value in plain.items()}
    try:
        return save(little, {_STRINGS: json.dumps(strings)} if strings else None)
    except UnicodeEncodeError as error:
        raise _not_unicode(error) from error


def write(stream: BinaryIO, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes the file of `encode` tensor by tensor, without a copy of all of them in memory.

    Raises WireError as `encode` does.
    """
    import numpy as np

    plain, strings = _split(tensors)
    # The widest dtypes first, so that each tensor begins at a multiple of its item size.
    ordered = dict(sorted(plain.items(), key=lambda item: -item[1].dtype.itemsize))
    header: dict[str, Any] = {_METADATA: {_STRINGS: json.dumps(strings)}} if strings else {}
    end = 0
    for name, value in ordered.items():
        dtype = _NAMES[value.dtype.newbyteorder("<").str]
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [end, end + value.nbytes]}
        end += value.nbytes
    try:
        text = json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _not_unicode(error) from error
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for value in ordered.values():
        stream.write(_little_endian(value).reshape(-1).view(np.uint8).data)


def decode(data: bytes | bytearray | memoryview) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file, by name; strings have dtype `U`, or `O` with elements of `str`.

    The arrays are views of `data`, and writable if `data` is a bytearray. Raises WireError if `data` is not
    exactly one valid file.
    """
    # safetensors.numpy.load accepts only bytes and copies each tensor twice: 23 ms for the 35.5 MB of
    # MobileNetV2, for which these views take 0.2 ms.
    view = memoryview(data).cast("B")
    header, start = _header(view)
    metadata = header.pop(_METADATA, {})
    tensors: dict[str, NDArray[Any]] = {}
    end = 0
    for name, entry in sorted(header.items(), key=_offset):
        tensors[name], end = _tensor(name, entry, view[start:], end)
    if start + end != len(view):
        raise WireError(f"{len(view) - start - end} unexpected bytes follow the last tensor")
    strings = _strings(metadata)
    both = tensors.keys() & strings
    if both:
        raise WireError(f"tensor {min(both)!r} is stored twice, once with numbers and once with strings")
    return {**tensors, **strings}


def _split(tensors: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The tensors of numbers and bools, and the metadata for the string tensors.

    Raises WireError for a dtype that cannot be written.
    """
    if _METADATA in tensors:
        raise WireError(f"a tensor cannot be named {_METADATA!r}: safetensors reserves that name")
    plain = {name: value for name, value in tensors.items() if value.dtype.kind not in "USO"}
    for name, value in plain.items():
        if value.dtype.newbyteorder("<").str not in _NAMES:
            raise WireError(
                f"tensor {name!r} has the unsupported dtype {value.dtype}: expected one of {_dtype_names()}"
            )
    strings = {
        name: {
            "shape": list(value.shape),
            "values": [_text(name, item) for item in value.reshape(-1).tolist()],
        }
        for name, value in tensors.items()
        if name not in plain
    }
    return plain, strings


def _not_unicode(error: UnicodeEncodeError) -> WireError:
    return WireError(f"a tensor's name is not valid Unicode: {error.object!r}")


def _little_endian(value: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    dtype = value.dtype.newbyteorder("<")
    # require(), because ascontiguousarray() gives a scalar one dimension.
    return np.require(value, dtype=dtype, requirements="C")


def _dtype_names() -> str:
    import numpy as np

    return ", ".join([*(np.dtype(text).name for text in _DTYPES.values()), "str"])


def _text(name: str, item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise WireError(f"tensor {name!r} holds bytes that are not UTF-8: {item!r}") from error
    raise WireError(f"tensor {name!r} holds {type(item).__name__}: expected str or bytes")


def _header(view: memoryview) -> tuple[dict[str, Any], int]:
    """The header, and the offset of the data."""
    if len(view) < 8:  # noqa: PLR2004 (the length of the header has 8 bytes)
        raise WireError(
            f"the data has {len(view)} bytes, expected at least the 8 that give the length of the header"
        )
    start = 8 + int.from_bytes(view[:8], "little")
    if start > len(view):
        raise WireError(f"the header needs {start - 8} bytes, but only {len(view) - 8} bytes are left for it")
    try:
        header = strict_json.loads(bytes(view[8:start]))
    except ValueError as error:
        raise WireError(f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header, start


def _offset(item: tuple[str, Any]) -> tuple[int, int]:
    name, entry = item
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and [type(offset) for offset in offsets] == [int, int]:
        return offsets[0], offsets[1]
    raise WireError(f"tensor {name!r} has invalid data_offsets: expected two whole numbers")


def _tensor(name: str, entry: Any, data: memoryview, expected: int) -> tuple[NDArray[Any], int]:
    """A tensor and the offset of its end; it must begin at `expected`, the end of the one before it."""
    import numpy as np

    begin, end = _offset((name, entry))
    shape, dtype = entry.get("shape"), _DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise WireError(
            f"tensor {name!r} has the unsupported dtype {entry.get('dtype')!r}: expected one of"
            f" {', '.join(_DTYPES)}"
        )
    size = math.prod(_shape(name, shape)) * np.dtype(dtype).itemsize
    if begin != expected or end != begin + size or end > len(data):
        raise WireError(
            f"tensor {name!r} of shape {shape} has bytes {begin} to {end}, expected {expected} to"
            f" {expected + size}; the data has {len(data)} bytes"
        )
    array: NDArray[Any] = np.frombuffer(data[begin:end], "|u1" if dtype == "|b1" else dtype)
    if dtype == "|b1":
        array = array.view(np.bool_) if not (array > 1).any() else array != 0
    try:
        return array.reshape(shape), end
    except ValueError as error:  # more dimensions than numpy supports, or too large ones beside a 0
        raise WireError(f"tensor {name!r} has the invalid shape {shape}: {error}") from error


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape):
        return tuple(shape)
    raise WireError(
        f"tensor {name!r} has the invalid shape {shape!r}: expected a list of whole numbers from 0"
    )


def _strings(metadata: Any) -> dict[str, NDArray[Any]]:
    try:
        entries = strict_json.loads(metadata.get(_STRINGS, "{}")).items()
        return {name: _text_array(entry["values"], _shape(name, entry["shape"])) for name, entry in entries}
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise WireError(f"the string tensors cannot be read: {error}") from error


def _text_array(values: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    import numpy as np

    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("the values are not a list of strings")
    # Dtype U drops trailing NULs, and each element takes the space of the longest: one string of a million
    # characters among a million empty ones would take 4 TB.
    longest, total = max(map(len, values), default=0), sum(map(len, values))
    wide = longest * len(values) > _WIDEST * (total + len(values))
    dtype = np.object_ if wide or any(value.endswith("\0") for value in values) else np.str_
    return np.array(values, dtype).reshape(shape)
