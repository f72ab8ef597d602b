"""Parses untrusted JSON strictly: rejects duplicate keys, NaN and over-long numbers."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

DEEPEST = 200
"""The greatest depth of nested lists and objects; a nested Keras model needs five."""

_DIGITS = 20
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def loads(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text, which is UTF-8 if it is given as bytes.

    Raises ValueError if the text is not JSON, and for what parsers of JSON read differently: duplicate keys,
    NaN and Infinity, numbers too large for float64 or with more than 20 digits, strings that are not valid
    Unicode, and more than 200 levels of nesting.
    """
    decoded = text if isinstance(text, str) else text.decode("utf-8")
    try:
        value = _DECODER.decode(decoded)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if _depth(decoded) > DEEPEST:
        raise ValueError(f"the JSON is nested deeper than {DEEPEST} levels")
    if "\\ud" in decoded or "\\uD" in decoded:
        _refuse_surrogates(value)
    return value


def _depth(text: str) -> int:
    """The depth of a JSON text, at most DEEPEST + 1."""
    brackets = _STRING.sub("", text).encode().translate(_BRACKETS, delete=_OTHERS)
    depth = 0
    while brackets and depth <= DEEPEST:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth


def _refuse_surrogates(value: Any) -> None:
    r"""Raises ValueError for a string with half a surrogate pair, such as `"\ud800"`."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and _SURROGATE.search(one):
            raise ValueError(f"{one!r} is not valid Unicode")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        duplicate = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {duplicate[:100]!r} appears twice")
    return result


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:_DIGITS]} is too large for float64")
    return value


def _int(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:_DIGITS]}… has more than {_DIGITS} digits")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
