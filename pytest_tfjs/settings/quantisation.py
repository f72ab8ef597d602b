"""Parses how the converter stores weights: `uint8`, or by pattern `uint8:*/kernel,float16`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_tfjs.errors import SettingsError

QUANTISED = ("float16", "uint16", "uint8")
WEIGHTS = ("float32", *QUANTISED)


def spell_weights(value: Any) -> str:
    """The canonical text for `value`, which is such text or a mapping from dtype to patterns.

    `uint8` stores all weights as uint8; `uint8:*/kernel` stores weights whose name the glob matches as uint8
    and the others as float32; `uint8:*/kernel,float16` stores the others as float16. The values of a mapping
    are a pattern, a list of patterns, or True for all other weights. Raises SettingsError.
    """
    if isinstance(value, Mapping):
        return _canonical(_parts_of_mapping(value))
    if not isinstance(value, str):
        raise SettingsError(f"expected one of {', '.join(WEIGHTS)}, or a mapping from dtype to patterns")
    return _canonical([_part(part) for part in value.split(",")])


def quantisation_map(spelled: str) -> dict[str, bool | list[str]] | None:
    """The converter's `quantization_dtype_map` for a text of `spell_weights`; None if it is `float32`."""
    if spelled == "float32":
        return None
    by_dtype: dict[str, bool | list[str]] = {}
    for dtype, pattern in map(_part, spelled.split(",")):
        patterns = by_dtype.setdefault(dtype, True if pattern is None else [])
        if isinstance(patterns, list) and pattern is not None:
            patterns.append(pattern)
    return by_dtype


def patterns_of(spelled: str) -> list[str]:
    """The patterns in a text of `spell_weights`."""
    return [pattern for _, pattern in map(_part, spelled.split(",")) if pattern is not None]


_Part = tuple[str, str | None]


def _part(text: str) -> _Part:
    dtype, colon, pattern = text.strip().partition(":")
    return dtype, pattern if colon else None


def _parts_of_mapping(value: Mapping[Any, Any]) -> list[_Part]:
    if not value:
        raise SettingsError(
            "the mapping is empty: expected a dtype with patterns, such as {'uint8': '*stem*'}"
        )
    parts: list[_Part] = []
    for dtype, patterns in value.items():
        if not isinstance(dtype, str):
            raise SettingsError(f"{dtype!r} is not a dtype: expected one of {', '.join(QUANTISED)}")
        parts.extend([(dtype, None)] if patterns is True else _parts_of_dtype(dtype, patterns))
    return parts


def _parts_of_dtype(dtype: str, patterns: Any) -> list[_Part]:
    invalid = SettingsError(
        f"{dtype} is mapped to {patterns!r}: expected a pattern, a list of patterns, or True"
    )
    listed = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(listed, Iterable) or isinstance(listed, (Mapping, bytes, bytearray)):
        raise invalid
    parts: list[_Part] = [(dtype, pattern) for pattern in listed]
    if not parts or not all(isinstance(pattern, str) for _, pattern in parts):
        raise invalid
    return parts


def _canonical(parts: list[_Part]) -> str:
    if parts == [("float32", None)]:
        return "float32"
    for dtype, pattern in parts:
        if dtype not in WEIGHTS:
            raise SettingsError(f"expected one of {', '.join(WEIGHTS)}, or DTYPE:PATTERN")
        if dtype == "float32":
            raise SettingsError(
                "float32 cannot be combined with other dtypes. Leave float32 out: weights that no pattern"
                " matches stay float32 anyway"
            )
        if pattern is not None and (not pattern or "," in pattern):
            raise SettingsError(
                f"{pattern!r} is not a pattern: expected a glob over weight names, without commas"
            )
    rest = [dtype for dtype, pattern in parts if pattern is None]
    if len(rest) > 1 or not parts:
        raise SettingsError("expected one dtype for all the weights that no pattern matches")
    mixed = [dtype for dtype in rest if any(other == dtype and pattern for other, pattern in parts)]
    if mixed:
        raise SettingsError(
            f"{mixed[0]} already applies to every weight that no pattern matches. Remove its pattern"
        )
    return ",".join(dtype if pattern is None else f"{dtype}:{pattern}" for dtype, pattern in parts)
