"""Jobs of the page: one model, its feeds, the activations to read, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK_LIMIT = 1 << 30


@dataclass(frozen=True)
class Tap:
    """One activation to read: the layer's name, and where the page finds it.

    `address` in format graph: `{"node": "Conv/Relu6:0"}`. In format layers: `{"path": ["outer", "inner"],
    "node": 0, "tensor": 0}`: the layer's name behind those of nested models, its inbound node (the number of
    the call), and the index of the output. A nested model that is called more than once is `["outer", 2]`,
    its name and its inbound node.

    `alone`: the plan for running the layer alone, as JSON (`models.alone.plan`). Its `rows` are the
    layers whose reference the page fetches. None: the layer does not run alone.
    """

    name: str
    address: Mapping[str, Any]
    alone: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TimingPlan:
    """How a model is timed: `warmup` runs that do not count, then `runs`, fewer if `budget_ms` runs out."""

    warmup: int
    runs: int
    budget_ms: float

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.runs < 0 or not self.budget_ms >= 0:
            raise ValueError(f"the numbers of a timing plan must not be negative: {self}")


@dataclass(frozen=True)
class Job:
    """One model run in the page: over all feeds, with all taps of one chunk in one pass.

    `artifacts`: the model.json. `chunks`: the taps, in groups small enough to hold in memory; the page sends
    each chunk of each feed by itself. `timing`: None where nothing is timed. `chunk_limit`: the most bytes of
    one chunk of one feed. `outputs`: the taps of the model's outputs; the page first sends these from
    `plain_runs` runs of a model from which nothing else is read.

    `references` gives the reference's activations for a feed's number and names of layers, in the dtypes of
    TF.js; the server's thread calls it. With it, each layer of a chunk that has a plan also runs alone, and
    these activations come after the chunk. None: no layer runs alone.
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
            raise ValueError("each chunk of a job needs at least one tap, and each tap a name of its own")

    @cached_property
    def fetched(self) -> frozenset[str]:
        """The layers whose reference the page may fetch."""
        plans = (tap.alone for chunk in self.chunks for tap in chunk if tap.alone is not None)
        return frozenset(row for plan in plans for row in plan["rows"])

    @property
    def groups(self) -> tuple[tuple[Tap, ...], ...]:
        """The groups of activations for each feed: the outputs of each plain run, then the chunks.

        Where layers run alone, each chunk is there twice: as the model computes it, then its layers alone.
        """
        chunks = tuple(chunk for chunk in self.chunks for _ in range(self._passes))
        return (self.outputs,) * self.plain_runs + chunks

    def runs_alone(self, group: int) -> bool:
        """Whether a group holds layers that ran alone."""
        return self._passes > 1 and group >= self.plain_runs and (group - self.plain_runs) % self._passes == 1

    def group_at(self, received: int) -> tuple[int, int] | None:
        """The group and feed of the message after the first `received` ones; None after the last.

        The order: all feeds of the first plain run, then of the next; then all feeds of the first chunk, each
        followed by its layers alone, then of the next chunk.
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
        """The number of activations to read for each feed."""
        return sum(len(chunk) for chunk in self.chunks)


@dataclass(frozen=True)
class Activations:
    """The tensors of one chunk for one feed, by tap name; or the outputs of plain run number `plain_run`.

    `alone`: the tensors come from layers that ran alone; layers that could not run are missing.
    """

    feed: int
    tensors: dict[str, NDArray[Any]]
    plain_run: int | None = None
    alone: bool = False


@dataclass
class JobResult:
    """The result of a job, without the activations.

    Times in milliseconds: `load_ms` to fetch, parse and build the model, `first_ms` for the first run until
    its outputs are in memory, `warm_ms` for each run after it; the latter two are empty where nothing was
    timed. `memory`: `tf.memory()` after the job, and `numTensorsBefore` it. `model`: under `layers` the name
    and class of each layer (format graph: node and op) of the loaded model, with its `path` if it is nested.
    `not_alone`: the reason why a layer that has a plan did not run alone, or not for all feeds. `overwrites`:
    pairs of a layer that wrote into a tensor that it was fed alone, and the layer or input of that tensor.
    `changed_feeds`: the model's inputs that the whole model wrote into. `without_mask`: the layers that ran
    without the mask that their inputs have in Keras, as TF.js calls them in the whole model.
    """

    load_ms: float | None = None
    first_ms: float | None = None
    warm_ms: tuple[float, ...] = ()
    memory: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    not_alone: Mapping[str, str] = field(default_factory=dict)
    overwrites: tuple[tuple[str, str], ...] = ()
    changed_feeds: tuple[str, ...] = ()
    without_mask: tuple[str, ...] = ()


def job_message(job: Job, number: int, artifacts_url: str) -> dict[str, Any]:
    """The JSON of a job that the page receives; it fetches the feeds separately."""
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
