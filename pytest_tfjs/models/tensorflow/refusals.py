"""Shortens errors of TensorFlow and Keras to the layer that they are about and the reason.

TensorFlow's own message quotes the stack of every call that led to an operation, often hundreds of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.models.tensorflow.layer_calls import layer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_LONGEST = 300
"""In characters, of a reason."""

_PACKAGES = frozenset({"tensorflow", "keras", "tf_keras", "tensorflowjs"})
_KERAS_2 = re.compile(r"Exception encountered when calling layer '(?P<name>[^']+)' \(type (?P<op>[^)]+)\)")
_KERAS_3 = re.compile(r"Exception encountered when calling (?P<op>\w+)\.call\(\)")
_NODES = (
    re.compile(r"\{\{node (?P<name>[^}]+)\}\}"),
    re.compile(r"Detected at node (?P<name>\S+) defined at"),
    re.compile(r"Input \d+ of node (?P<name>\S+) was passed"),
)
_INLINED = re.compile(r"^((Stateful)?PartitionedCall(_\d+)?/)+")
"""The scopes of inlined functions, such as the one that a signature calls."""

_NOISE = re.compile(
    r"\{\{function_node [^}]*\}\} ?"
    r"| ?\[Op:[^\]]*\]( name:.*)?"
    r"|\[\[\{\{node [^}]*\}\}\]\]"
    r"| for '\{\{node [^']*'"
    r"|^\(\d+\) [A-Z_]+: +"
    r"|\x1b\[\d*m"
)
_BOILERPLATE = (
    "Graph execution error",
    "Detected at node",
    "Original stack trace",
    "<stack traces unavailable>",
    "File ",
    "Exception encountered when calling",
    "in user code",
)
"""Beginnings of lines without a reason."""

_END = re.compile(r"^(Call arguments received by|Arguments received by|\d+ successful operations)")
_IN_USER_CODE = re.compile(r'File "(?:[^"]*[/\\])?([^"/\\]+)", line (\d+), in \S+ +\*$', re.MULTILINE)
"""A line of code that autograph converted; library code ends in two stars."""

_ROOTS = re.compile(r"^\d+ root error\(s\) found")
_NO_MEMORY = "OOM when allocating"
_INDEX = re.compile(r"indices\[(?P<at>[\d, ]*)\] = (?P<value>-?\d+) is not in \[0, (?P<size>\d+)\)")


@dataclass(frozen=True)
class Refusal:
    """What TensorFlow says: the `reason`, in one line, and the layer or node it is about, if it names one.

    `name`: the Keras layer's name if `op` is its class, else the graph node's.
    """

    reason: str
    name: str | None = None
    op: str | None = None

    @property
    def where(self) -> str:
        """The layer as messages begin with it, such as `'embedding' (Embedding): `; empty if unknown."""
        if self.name is None:
            return "" if self.op is None else f"a layer of class {self.op}: "
        return f"{self.name!r}: " if self.op is None else f"{self.name!r} ({self.op}): "

    @property
    def advice(self) -> str:
        """What to do about it, as a sentence."""
        found = _INDEX.search(self.reason)
        if found is not None:
            return f"Feed numbers from 0 to {int(found['size']) - 1}, or enlarge the layer's table"
        if _NO_MEMORY in self.reason:
            return "Feed fewer or smaller inputs at once, or run the test on a machine with more memory"
        return (
            "Feed inputs that the layer accepts, or mend the layer: the model does not run in Python either"
        )


def is_of_tensorflow(error: BaseException) -> bool:
    """Whether an error comes out of TensorFlow or Keras, or of a layer that they call."""
    return any(name.partition(".")[0] in _PACKAGES for name in _modules(error.__traceback__))


def read_refusal(error: BaseException, saved_model: Path | None = None) -> Refusal:
    """The refusal that an error of TensorFlow or Keras stands for.

    `saved_model`: that of a Keras model, to find the layers that made its nodes.
    """
    text = str(error)
    reason = _reason(text) or type(error).__name__
    layer = _KERAS_2.search(text)
    if layer is not None:
        return Refusal(reason, layer["name"], layer["op"])
    node = next(filter(None, (pattern.search(text) for pattern in _NODES)), None)
    if node is not None:
        call = None if saved_model is None else layer_of(saved_model, node["name"])
        if call is not None:
            return Refusal(reason, call.name, call.layer_class)
        return Refusal(reason, short_name(node["name"]))
    layer = _KERAS_3.search(text)
    return Refusal(reason, None, None if layer is None else layer["op"])


def short_name(node: str) -> str:
    """A node's name without the scopes of inlined functions."""
    return _INLINED.sub("", node) or node


def _reason(text: str) -> str:
    """The informative lines of a message, joined into one that is not too long."""
    lines: list[str] = []
    for line in text.splitlines():
        plain = _NOISE.sub("", line.strip()).strip()
        if _END.match(plain) or (lines and line.startswith("\t")):
            break
        if plain and not plain.startswith(_BOILERPLATE) and not _ROOTS.match(plain):
            lines.append(plain)
    joined = " ".join(lines)
    if "in user code" in text and lines:
        # Of code that autograph converted, the error is the last line; those before quote the code.
        joined = lines[-1].rstrip(". ") + _place_in_code(text)
    return joined.rstrip(". ") if len(joined) <= _LONGEST else f"{joined[:_LONGEST]}..."


def _place_in_code(text: str) -> str:
    """Where the user's code called what failed, such as ` (model.py, line 7)`; empty if unknown."""
    places = _IN_USER_CODE.findall(text)
    return f" ({places[-1][0]}, line {places[-1][1]})" if places else ""


def _modules(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
