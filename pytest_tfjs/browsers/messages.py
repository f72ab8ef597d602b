"""The messages of the page: their types, and how they are parsed from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.jobs import JobResult
from pytest_tfjs.errors import RefusedLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 1e300
# In characters. The page shortens its texts too (events.js); this bounds what anything else may send.
_TEXT_LIMIT = 20_000
_ARGUMENTS = 1000
# Of the layer that TF.js refuses: the characters of its name, and the number of inputs.
_NAME_LIMIT = 500
_INPUTS = 20
_LINE = 300
"""The most characters of TF.js's message in the first line of an error."""


@dataclass(frozen=True)
class Progress:
    """What the page is doing: the stage, and how much of it is done, if that is known."""

    stage: str
    done: int | None = None
    total: int | None = None

    def __str__(self) -> str:
        return self.stage if self.total is None else f"{self.stage} {self.done}/{self.total}"


@dataclass(frozen=True)
class ConsoleLine:
    """One call of the page's console: level (`log`, `warn`, …), all arguments, and the stack."""

    level: str
    arguments: tuple[str, ...]
    stack: str | None = None

    @property
    def text(self) -> str:
        """The arguments, separated by spaces as the browser's console shows them."""
        return " ".join(self.arguments)

    def __str__(self) -> str:
        return f"[{self.level}] {self.text}"


LOST = frozenset({"contextlost", "devicelost"})
"""The kinds of `PageFault` that mean that the GPU was lost: results after it are invalid."""


@dataclass(frozen=True)
class PageFault:
    """An uncaught error of the page: `kind` is `error`, `unhandledrejection`, or one of `LOST`."""

    kind: str
    message: str
    stack: str | None = None

    def __str__(self) -> str:
        return f"[{self.kind}] {self.message}" + (f"\n{self.stack}" if self.stack else "")


@dataclass(frozen=True)
class PageUp:
    """The page has started its backend; `facts` describes it."""

    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A job failed in the page, or starting the backend did.

    `fatal`: the page does no further job. `job`: the number of the job; None where starting failed.
    `refused`: TF.js cannot load or run the model; `layer`: at which layer, if that was found.
    `unavailable`: the machine lacks what the target needs.
    """

    reason: str
    stack: str | None = None
    stage: str | None = None
    fatal: bool = False
    job: int | None = None
    refused: bool = False
    unavailable: bool = False
    layer: RefusedLayer | None = None

    @property
    def text(self) -> str:
        """The reason, with the layer in front in one line, and the whole reason below if it has several."""
        if self.layer is None:
            return self.reason
        first, _, more = self.reason.strip().partition("\n")
        if not more and len(first) <= _LINE:
            return f"{self.layer}: {first}"
        # It announces the lines that follow.
        short = first.rpartition(". ")[0] if first.endswith(":") and ". " in first else first
        short = short if len(short) <= _LINE else f"{short[:_LINE]}..."
        return f"{self.layer}: {short}\nTF.js: {self.reason.strip()}"


Event = Progress | ConsoleLine | PageFault | PageUp | Failure


class ProtocolError(ValueError):
    """A message of the page does not follow the protocol."""


def parse_event(message: Any) -> Event:
    """Parses one event of the page. Raises ProtocolError where it is malformed."""
    kind = _field(message, "type", str)
    if kind == "progress":
        return Progress(
            _text(message, "stage"), *(_optional(message, name, int) for name in ("done", "total"))
        )
    if kind == "console":
        return ConsoleLine(_text(message, "level"), _arguments(message), _optional_text(message, "stack"))
    if kind == "fault":
        return PageFault(_text(message, "kind"), _text(message, "message"), _optional_text(message, "stack"))
    if kind == "up":
        return PageUp(_facts(message))
    if kind == "failed":
        return Failure(
            _text(message, "reason"),
            _optional_text(message, "stack"),
            _optional_text(message, "stage"),
            message.get("fatal") is True,
            _optional(message, "job", int),
            message.get("refused") is True,
            message.get("unavailable") is True,
            _refused_layer(message),
        )
    raise ProtocolError(f"unknown event {kind!r}")


def _refused_layer(message: Any) -> RefusedLayer | None:
    layer = _optional(message, "layer", dict)
    if layer is None:
        return None
    inputs = _optional(layer, "inputs", list)
    if inputs is not None and not all(isinstance(item, str) for item in inputs):
        raise ProtocolError("a layer's inputs must be strings")
    texts = None if inputs is None else tuple(item[:_NAME_LIMIT] for item in inputs[:_INPUTS])
    name, op = (_text(layer, key)[:_NAME_LIMIT] for key in ("name", "op"))
    return RefusedLayer(name, op, texts, _optional(layer, "computable", int))


def _arguments(message: Any) -> tuple[str, ...]:
    arguments = _field(message, "arguments", list)
    if len(arguments) > _ARGUMENTS or not all(isinstance(item, str) for item in arguments):
        raise ProtocolError(f"a console line must have at most {_ARGUMENTS} arguments, and only strings")
    left, shortened = _TEXT_LIMIT, []
    for argument in arguments:
        shortened.append(argument[:left])
        left -= len(shortened[-1])
    return tuple(shortened)


def _facts(message: Any) -> dict[str, Any]:
    facts: dict[str, Any] = _field(message, "facts", dict)
    _optional(facts, "flags", dict)
    for name in ("backend", "renderer", "tfjsVersion", "userAgent"):
        _optional(facts, name, str)
    return facts


def _text(message: Any, name: str) -> str:
    return str(_field(message, name, str))[:_TEXT_LIMIT]


def _optional_text(message: Any, name: str) -> str | None:
    return None if message.get(name) is None else _text(message, name)


def parse_result(message: Any) -> JobResult:
    """Parses the result of a job. Raises ProtocolError where it is malformed."""
    warm = _field(message, "warmMs", list)
    if not all(is_number(item) for item in warm):
        raise ProtocolError("warmMs must hold only numbers")
    return JobResult(
        load_ms=_optional(message, "loadMs", float),
        first_ms=_optional(message, "firstMs", float),
        warm_ms=tuple(float(item) for item in warm),
        memory=_field(message, "memory", dict),
        model=_field(message, "model", dict),
        not_alone=dict(_text_pairs(message, "notAlone")),
        overwrites=tuple(_text_pairs(message, "overwrites")),
        changed_feeds=_texts(message, "changedFeeds"),
        without_mask=_texts(message, "withoutMask"),
    )


def _text_pairs(message: Any, name: str) -> list[tuple[str, str]]:
    """An optional list of pairs of texts; a JavaScript object cannot have every name as a key."""
    pairs = _optional(message, name, list) or []
    for pair in pairs:
        if not (isinstance(pair, list) and [type(item) for item in pair] == [str, str]):
            raise ProtocolError(f"{name!r} must hold pairs of a name and a text")
    return [(key, value) for key, value in pairs]


def _texts(message: Any, name: str) -> tuple[str, ...]:
    texts = _optional(message, name, list) or []
    if not all(isinstance(text, str) for text in texts):
        raise ProtocolError(f"{name!r} must hold texts")
    return tuple(texts)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number that a float holds."""
    # NaN fails every comparison.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _field(message: Any, name: str, kind: type) -> Any:
    value = message.get(name) if isinstance(message, dict) else None
    fits = is_number(value) if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        raise ProtocolError(f"{name!r} must be of type {kind.__name__} in {str(message)[:200]}")
    return value


def _optional(message: Any, name: str, kind: type) -> Any:
    if isinstance(message, dict) and message.get(name) is None:
        return None
    return _field(message, name, kind)
