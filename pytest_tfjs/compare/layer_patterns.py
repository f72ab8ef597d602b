"""Matches glob patterns against layer names.

`per_layer`, `allow_vacuous` and the outputs of a task are such patterns. Patterns are globs as in a shell
(`*`, `?`, `[abc]`) and case-sensitive, and a name always matches itself: a name such as `out[0]` holds what
a glob reads as a set of characters.
"""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_tfjs.compare.layers import Layer

_SHOWN = 5
_SIMILAR = 0.4


def names_of(layer: Layer) -> tuple[str, ...]:
    """The names by which patterns find a layer: its own, those of its members and group, and as an output."""
    return (
        layer.name,
        *layer.members,
        *(() if layer.group is None else (layer.group,)),
        *layer.output_names,
    )


def input_names(name: str) -> tuple[str, ...]:
    """The names by which a user may know an input: `x` and `x:0` are the same one."""
    return (name, name.removesuffix(":0") if name.endswith(":0") else f"{name}:0")


def exported_name(name: str) -> str:
    """The name that a Keras model's input or output has in a graph model: a valid name of an argument.

    TensorFlow renames others and then does not find them.
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain[:1].isalpha() else f"x{plain}"


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a pattern matches at least one of the names."""
    return any(pattern == name or fnmatchcase(name, pattern) for name in names)


def matches_nothing(setting: str, pattern: str, kind: str, names: Sequence[str]) -> str:
    """The message for a pattern that matches none of `names`, with close names or else the first ones.

    `setting`: where the pattern was given, such as `per_layer`. `kind`: what it should have matched, such as
    `compared layer`.
    """
    message = f"{setting} pattern {pattern!r} matches no {kind}"
    names = list(dict.fromkeys(names))
    if not names:
        return f"{message}: there is none"
    close = difflib.get_close_matches(pattern, names, n=_SHOWN, cutoff=_SIMILAR)
    listed = ", ".join(repr(name) for name in close or names[:_SHOWN])
    return f"{message}; {'close names' if close else 'the first names'}: {listed}"
