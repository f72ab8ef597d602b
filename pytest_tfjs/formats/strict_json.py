"""JSON that others wrote, read so that it means the same to every reader."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

DEEPEST = 200
"""Levels of lists and objects within each other; a nested Keras model takes five."""

_DIGITS = 20
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def loads(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text in UTF-8.

    Raises ValueError where it is none, and for what readers of JSON take differently: a key that is there
    twice, NaN and Infinity, numbers beyond a float64 or of more than 20 digits, text that is no Unicode, and
    more than 200 levels.
    """
    given = text if isinstance(text, str) else text.decode("utf-8")
    try:
        value = _DECODER.decode(given)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if _depth(given) > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    if "\\ud" in given or "\\uD" in given:
        _refuse_surrogates(value)
    return value


def _depth(text: str) -> int:
    """The levels of a text that is JSON; of one that has more than the deepest, one more than these."""
    brackets = _STRING.sub("", text).encode().translate(_BRACKETS, delete=_OTHERS)
    depth = 0
    while brackets and depth <= DEEPEST:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


def _refuse_surrogates(value: Any) -> None:
    r"""Raises where a string has half a character, as `"\ud800"` has: it cannot be written again."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str) and _SURROGATE.search(one):
            raise ValueError(f"{one!r} is no Unicode text")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:_DIGITS]} is beyond every float64")
    return value


def _int(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:_DIGITS]}… has more than {_DIGITS} digits")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
