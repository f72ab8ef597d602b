"""How weights are to be stored, as it is written: `uint8`, or by pattern `uint8:*/kernel,float16`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_tfjs.errors import SettingsError

QUANTISED = ("float16", "uint16", "uint8")
WEIGHTS = ("float32", *QUANTISED)


def spell_weights(value: Any) -> str:
    """How weights are to be stored, spelled in one way; given so, or as a mapping from dtype to patterns.

    `uint8` stores all weights so, `uint8:*/kernel` those whose name the glob matches and the others as
    float32, `uint8:*/kernel,float16` the others as float16. A mapping has a pattern, several in a list, or
    True for all others. Raises SettingsError.
    """
    if isinstance(value, Mapping):
        return _spelled(_parts_of_mapping(value))
    if not isinstance(value, str):
        raise SettingsError(f"expected one of {', '.join(WEIGHTS)}, or a mapping from dtype to patterns")
    return _spelled([_part(part) for part in value.split(",")])


def quantisation_map(spelled: str) -> dict[str, bool | list[str]] | None:
    """The converter's map for what `spell_weights` gave; None where all is stored as float32."""
    if spelled == "float32":
        return None
    found: dict[str, bool | list[str]] = {}
    for dtype, pattern in map(_part, spelled.split(",")):
        known = found.setdefault(dtype, True if pattern is None else [])
        if isinstance(known, list) and pattern is not None:
            known.append(pattern)
    return found


def patterns_of(spelled: str) -> list[str]:
    """The patterns in what `spell_weights` gave."""
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
            raise SettingsError(f"{dtype!r} is no dtype: expected one of {', '.join(QUANTISED)}")
        parts.extend([(dtype, None)] if patterns is True else _parts_of_dtype(dtype, patterns))
    return parts


def _parts_of_dtype(dtype: str, patterns: Any) -> list[_Part]:
    wanted = f"{dtype} has {patterns!r}: expected a pattern, a list of them, or True"
    listed = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(listed, Iterable) or isinstance(listed, (Mapping, bytes, bytearray)):
        raise SettingsError(wanted)
    parts: list[_Part] = [(dtype, pattern) for pattern in listed]
    if not parts or not all(isinstance(pattern, str) for _, pattern in parts):
        raise SettingsError(wanted)
    return parts


def _spelled(parts: list[_Part]) -> str:
    if parts == [("float32", None)]:
        return "float32"
    for dtype, pattern in parts:
        if dtype not in WEIGHTS:
            raise SettingsError(f"expected one of {', '.join(WEIGHTS)}, alone or as DTYPE:PATTERN")
        if dtype == "float32":
            raise SettingsError("float32 stands alone: what no pattern matches is stored so")
        if pattern is not None and (not pattern or "," in pattern):
            raise SettingsError(
                f"{pattern!r} is no pattern: expected a glob over weight names, without commas"
            )
    rest = [dtype for dtype, pattern in parts if pattern is None]
    if len(rest) > 1 or not parts:
        raise SettingsError("expected one dtype for all the weights that no pattern matches")
    mixed = [dtype for dtype in rest if any(other == dtype and pattern for other, pattern in parts)]
    if mixed:
        raise SettingsError(f"{mixed[0]} is for all that no pattern matches, so it needs no pattern")
    return ",".join(dtype if pattern is None else f"{dtype}:{pattern}" for dtype, pattern in parts)
