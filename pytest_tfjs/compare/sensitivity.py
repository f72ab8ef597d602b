"""The results of a sensitivity measurement: which injected faults a comparison would catch."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Self

    from pytest_tfjs.compare.mutants import MutantKind

Fate = Literal["caught", "survived", "equivalent", "not applicable"]
FATES: tuple[Fate, ...] = ("caught", "survived", "equivalent", "not applicable")


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: of one kind, in one layer, over all feeds.

    - `caught`: the layer would not have been close.
    - `survived`: the fault changes the activation, and the layer would have been close.
    - `equivalent`: the fault changes no bit of the activation, so that nothing could catch it.
    - `not applicable`: the layer cannot have such a fault.

    `what`: what was changed, in words; None where nothing could be. `why`: why it was not caught, in words;
    None where it was.
    """

    kind: MutantKind
    fate: Fate
    what: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class LayerSensitivity:
    """The mutants of one layer.

    `smallest`: the smallest part of itself by which the whole activation has to be off to be caught, at the
    feed where that is least; 0 where any change is; None where no number does, as for strings and for
    an activation of zeros.
    """

    name: str
    op: str
    outcomes: tuple[Outcome, ...]
    smallest: float | None


@dataclass(frozen=True)
class Sensitivity:
    """What a comparison of `model` on `target` would have caught, layer by layer; `str()` is a table of it.

    Channels and weights were drawn with `seed`, for which the same are drawn again.
    """

    model: str
    target: str
    feeds: int
    seed: int
    layers: tuple[LayerSensitivity, ...]

    @property
    def counts(self) -> Mapping[Fate, int]:
        """How many mutants had each fate."""
        return counted(outcome for _, outcome in self._all())

    @property
    def share(self) -> float | None:
        """The share caught of the mutants that change anything, from 0 to 1; None where none does."""
        counts = self.counts
        changing = counts["caught"] + counts["survived"]
        return counts["caught"] / changing if changing else None

    @property
    def survivors(self) -> tuple[tuple[str, Outcome], ...]:
        """The mutants that change an activation and were not caught, each with the name of its layer."""
        return tuple((name, outcome) for name, outcome in self._all() if outcome.fate == "survived")

    def of_kind(self, kind: MutantKind) -> Mapping[Fate, int]:
        """How many mutants of one kind had each fate."""
        return counted(outcome for _, outcome in self._all() if outcome.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """The JSON's `sensitivity`; Python builtins only."""
        return {
            "seed": self.seed,
            "feeds": self.feeds,
            "share": self.share,
            "counts": dict(self.counts),
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "smallest": layer.smallest,
                    "mutants": [asdict(outcome) for outcome in layer.outcomes],
                }
                for layer in self.layers
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, model: str, target: str) -> Self:
        """What `to_json` gave, of `model` on `target`."""
        layers = (
            LayerSensitivity(
                layer["name"],
                layer["op"],
                tuple(Outcome(**mutant) for mutant in layer["mutants"]),
                layer["smallest"],
            )
            for layer in content["layers"]
        )
        return cls(model, target, content["feeds"], content["seed"], tuple(layers))

    def _all(self) -> Iterator[tuple[str, Outcome]]:
        return ((layer.name, outcome) for layer in self.layers for outcome in layer.outcomes)


def counted(outcomes: Iterable[Outcome]) -> Mapping[Fate, int]:
    """How many outcomes had each fate."""
    counts = Counter(outcome.fate for outcome in outcomes)
    return {fate: counts[fate] for fate in FATES}
