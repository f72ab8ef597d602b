"""The job protocol, Python's side: what a page is asked to do, and the messages it answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK_LIMIT = 1 << 30

_LARGEST = 1e300
# In characters. The page cuts what it tells (events.js); this holds where something else tells it.
_TEXT_LIMIT = 20_000
_ARGUMENTS = 1000


@dataclass(frozen=True)
class Tap:
    """One activation to read: the name it comes back under, and where the page finds it.

    `address`, format graph: `{"node": "Conv/Relu6:0"}`. Format layers: `{"path": ["outer", "inner"], "node":
    0, "tensor": 0}`, a layer by names through nested models, the layer's inbound node and the tensor of it.
    Where a nested model is called more than once, `["outer", 2]` in place of its name tells its inbound node.
    `alone`: how the page runs the layer alone, as JSON (`models.alone.plan`), whose `rows` are the layers
    whose reference it fetches; None: it does not run alone.
    """

    name: str
    address: Mapping[str, Any]
    alone: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TimingPlan:
    """How a model is timed: `warmup` runs that do not count, then `runs`, or fewer once `budget_ms` is up."""

    warmup: int
    runs: int
    budget_ms: float

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.runs < 0 or not self.budget_ms >= 0:
            raise ValueError(f"a timing plan holds no negative numbers: {self}")


@dataclass(frozen=True)
class Job:
    """One model run in the page: over all feeds, with all taps of one chunk in one pass.

    `artifacts`: the model.json. `chunks`: the taps, in groups small enough to hold in memory; each chunk of
    each feed comes back by itself. `timing`: None where nothing is timed. `chunk_limit`: the most bytes that
    one chunk of one feed may have. `outputs`: taps that are the model's outputs; before the chunks they come
    from `plain_runs` runs of a model that nothing else is read from.

    `references` gives the reference's activations for a feed's number and names of layers, in the dtypes of
    TF.js; it is called in another thread. With it, each layer of a chunk that has a plan is run once more,
    alone, and the results come after the chunk. None: no layer is run alone.
    """

    artifacts: Path
    format: Literal["layers", "graph"]
    feeds: tuple[Mapping[str, NDArray[Any]], ...]
    chunks: tuple[tuple[Tap, ...], ...]
    timing: TimingPlan | None = None
    chunk_limit: int = CHUNK_LIMIT
    outputs: tuple[Tap, ...] = ()
    plain_runs: int = 0
    references: Callable[[int, Collection[str]], Mapping[str, NDArray[Any]]] | None = None

    def __post_init__(self) -> None:
        if not self.feeds:
            raise ValueError("a job needs at least one feed")
        names = [tap.name for chunk in self.chunks for tap in chunk]
        if len(set(names)) != len(names) or not all(self.chunks):
            raise ValueError("a job's chunks are not empty, and its taps' names unique")

    @cached_property
    def fetched(self) -> frozenset[str]:
        """The layers whose reference the page may fetch."""
        plans = (tap.alone for chunk in self.chunks for tap in chunk if tap.alone is not None)
        return frozenset(row for plan in plans for row in plan["rows"])

    @property
    def groups(self) -> tuple[tuple[Tap, ...], ...]:
        """What comes back for each feed: the outputs of the plain runs, then the chunks.

        Where layers are run alone, each chunk is there twice: as the model computes it, then each of its
        layers alone.
        """
        chunks = tuple(chunk for chunk in self.chunks for _ in range(self._passes))
        return (self.outputs,) * self.plain_runs + chunks

    def runs_alone(self, group: int) -> bool:
        """Whether a group is of layers that were run alone."""
        return self._passes > 1 and group >= self.plain_runs and (group - self.plain_runs) % self._passes == 1

    def group_at(self, received: int) -> tuple[int, int] | None:
        """The group and feed that come after `received` others; None after the last.

        All feeds of a plain run, then of the next; all feeds of a chunk, each with its layers alone right
        after it, then of the next.
        """
        feeds = len(self.feeds)
        if received >= feeds * len(self.groups):
            return None
        if received < feeds * self.plain_runs:
            return divmod(received, feeds)
        chunk, within = divmod(received - feeds * self.plain_runs, feeds * self._passes)
        feed, number = divmod(within, self._passes)
        return self.plain_runs + chunk * self._passes + number, feed

    @property
    def _passes(self) -> int:
        return 1 if self.references is None else 2

    @property
    def taps(self) -> int:
        """How many activations there are to read for each feed."""
        return sum(len(chunk) for chunk in self.chunks)


@dataclass(frozen=True)
class Activations:
    """The tensors of one chunk for one feed, by tap name; of a plain run those outputs that it gave.

    `alone`: they are of layers that were run alone; those are missing that could not be.
    """

    feed: int
    tensors: dict[str, NDArray[Any]]
    plain_run: int | None = None
    alone: bool = False


@dataclass
class JobResult:
    """What a job gave beside its activations.

    Times in milliseconds: `load_ms` fetches, parses and builds the model, `first_ms` is the first run up to
    its outputs in memory, `warm_ms` the runs after it; the latter two stay empty where nothing was timed.
    `memory`: `tf.memory()` after the job, with `numTensorsBefore` it. `model`: under `layers` the name and
    class of each layer (graph: node and op) of the loaded model, with its `path` if it is nested.
    `not_alone`: why a layer that has a plan was not run alone, or not for all feeds.
    """

    load_ms: float | None = None
    first_ms: float | None = None
    warm_ms: tuple[float, ...] = ()
    memory: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    not_alone: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """What is being done: a stage, and how much of it where that is known."""

    stage: str
    done: int | None = None
    total: int | None = None

    def __str__(self) -> str:
        return self.stage if self.total is None else f"{self.stage} {self.done}/{self.total}"


@dataclass(frozen=True)
class ConsoleLine:
    """One call of the page's console: its level (`log`, `warn`, …), all arguments, and the stack."""

    level: str
    arguments: tuple[str, ...]
    stack: str | None = None

    @property
    def text(self) -> str:
        """The arguments as the browser's console shows them, in one line or as many as they have."""
        return " ".join(self.arguments)

    def __str__(self) -> str:
        return f"[{self.level}] {self.text}"


LOST = frozenset({"contextlost", "devicelost"})
"""The kinds of a `PageFault` that tell that the GPU was lost, and with it all that was computed."""


@dataclass(frozen=True)
class PageFault:
    """An error that nothing in the page caught: `kind` is `error`, `unhandledrejection`, or of `LOST`."""

    kind: str
    message: str
    stack: str | None = None

    def __str__(self) -> str:
        return f"[{self.kind}] {self.message}" + (f"\n{self.stack}" if self.stack else "")


@dataclass(frozen=True)
class PageUp:
    """The page has made its backend: the facts about it."""

    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A job, or making the backend, failed in the page; after a `fatal` one the page does nothing more.

    `job`: the number of the job; None where it was none. `refused`: TF.js cannot load or run the model.
    `unavailable`: the machine cannot have the target.
    """

    reason: str
    stack: str | None = None
    stage: str | None = None
    fatal: bool = False
    job: int | None = None
    refused: bool = False
    unavailable: bool = False


Event = Progress | ConsoleLine | PageFault | PageUp | Failure


class ProtocolError(ValueError):
    """A message of the page is not what the protocol says."""


def job_message(job: Job, number: int, artifacts_url: str) -> dict[str, Any]:
    """The job as the page is told it; the feeds are fetched apart."""
    timing = job.timing
    return {
        "job": number,
        "artifacts": artifacts_url,
        "format": job.format,
        "feeds": len(job.feeds),
        "chunks": [_taps(chunk) for chunk in job.chunks],
        "outputs": _taps(job.outputs),
        "plainRuns": job.plain_runs,
        "timing": timing and {"warmup": timing.warmup, "runs": timing.runs, "budgetMs": timing.budget_ms},
        "chunkLimit": job.chunk_limit,
        "alone": job.references is not None,
    }


def _taps(taps: tuple[Tap, ...]) -> list[dict[str, Any]]:
    return [{"name": tap.name, "address": dict(tap.address), "alone": tap.alone} for tap in taps]


def parse_event(message: Any) -> Event:
    """One event of the page; raises ProtocolError where it is malformed."""
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
        )
    raise ProtocolError(f"unknown event {kind!r}")


def _arguments(message: Any) -> tuple[str, ...]:
    arguments = _field(message, "arguments", list)
    if len(arguments) > _ARGUMENTS or not all(isinstance(item, str) for item in arguments):
        raise ProtocolError(f"a console line's arguments are {_ARGUMENTS} strings at most")
    left, kept = _TEXT_LIMIT, []
    for argument in arguments:
        kept.append(argument[:left])
        left -= len(kept[-1])
    return tuple(kept)


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
    """What the page tells at the end of a job; raises ProtocolError where it is malformed."""
    warm = _field(message, "warmMs", list)
    if not all(is_number(item) for item in warm):
        raise ProtocolError("warmMs does not hold numbers only")
    return JobResult(
        load_ms=_optional(message, "loadMs", float),
        first_ms=_optional(message, "firstMs", float),
        warm_ms=tuple(float(item) for item in warm),
        memory=_field(message, "memory", dict),
        model=_field(message, "model", dict),
        not_alone=dict(_text_pairs(message, "notAlone")),
    )


def _text_pairs(message: Any, name: str) -> list[tuple[str, str]]:
    """A list of pairs of texts: a JavaScript object does not keep all names. It may be missing."""
    pairs = _optional(message, name, list) or []
    for pair in pairs:
        if not (isinstance(pair, list) and [type(item) for item in pair] == [str, str]):
            raise ProtocolError(f"{name!r} does not hold pairs of a name and a text")
    return [(key, value) for key, value in pairs]


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number that a float holds."""
    # NaN is not between anything.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _field(message: Any, name: str, kind: type) -> Any:
    value = message.get(name) if isinstance(message, dict) else None
    fits = is_number(value) if kind is float else isinstance(value, kind) and not isinstance(value, bool)
    if not fits:
        raise ProtocolError(f"{name!r} should be of type {kind.__name__} in {str(message)[:200]}")
    return value


def _optional(message: Any, name: str, kind: type) -> Any:
    if isinstance(message, dict) and message.get(name) is None:
        return None
    return _field(message, name, kind)
