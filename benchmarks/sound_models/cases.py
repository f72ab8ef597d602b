"""Lists the comparisons of sound models, by group."""

from __future__ import annotations

from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.sound_models.applications import APPLICATIONS, FULL_SIZE
from benchmarks.sound_models.building import SoundModel, State
from benchmarks.sound_models.feed_kinds import KINDS, ORDINARY
from benchmarks.sound_models.networks import NETWORKS
from benchmarks.sound_models.single_layers import SINGLE_LAYERS
from fixtures.families import FAMILIES, cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fixtures.family import Gap

MAIN = ("chrome/cpu", "chrome/wasm", "chrome/webgl")
HALF = ("chrome/webgl:f16",)
OTHERS = tuple(
    f"{browser}/{backend}" for browser, backend in product(("firefox", "webkitgtk"), ("cpu", "wasm", "webgl"))
)
TRAINED: tuple[State, ...] = ("initial", "trained")
CALIBRATED: tuple[State, ...] = ("initial", "calibrated")


class SoundCase(NamedTuple):
    """One model with one feed in one format: a comparison on each of the targets."""

    model: SoundModel
    format: str
    feed: str
    seed: int = 0
    weights: str = "float32"

    def __str__(self) -> str:
        return f"{self.model}/{self.format}/{self.weights}/{self.feed}{self.seed}"

    def gap(self, target: str) -> Gap | None:
        """Why a family does not run on a target; None for any other model."""
        if self.model.state is not None:
            return None
        browser, _, backend = target.partition("/")
        own = (case for case in cases() if case.family is FAMILIES[self.model.name])
        same = [case for case in own if (case.keras, case.format) == (self.model.keras, self.format)]
        return same[0].gap(backend.partition(":")[0], browser)


class Group(NamedTuple):
    """Cases that are compared on the same targets; `cases(seed)` draws other weights and feeds for each."""

    targets: Sequence[str]
    cases: Callable[[int], Iterator[SoundCase]]


def _formats(keras: int, *, layers: bool) -> tuple[str, ...]:
    return ("layers", "graph") if keras == 2 and layers else ("graph",)


def _kinds(number: int, count: int, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[str]:
    """`count` kinds of feeds, others for the next number."""
    return (kinds[(number * count + place) % len(kinds)] for place in range(count))


def _networks(seed: int) -> Iterator[SoundCase]:
    built = product(TRAINED, NETWORKS.items(), (2, 3))
    for number, (state, (name, network), keras) in enumerate(built, 3 * seed):
        model = SoundModel(name, keras, state, seed)
        for format_ in _formats(keras, layers=network.layers):
            for feed in _kinds(number, 2):
                yield SoundCase(model, format_, feed, seed)


def _layers(seed: int) -> Iterator[SoundCase]:
    for number, (name, layer) in enumerate(SINGLE_LAYERS.items(), seed):
        keras = 3 if number % 3 == 2 else 2
        format_ = _formats(keras, layers=layer.layers)[number % 3 == 1 and layer.layers]
        for feed in _kinds(number, 2):
            yield SoundCase(SoundModel(name, keras, "initial", seed), format_, feed, seed)


def _applications(seed: int) -> Iterator[SoundCase]:
    number = seed
    for state, one in product(CALIBRATED, APPLICATIONS.values()):
        for keras in one.keras:
            model = SoundModel(one.name, keras, state, seed, one.small)
            for format_ in _formats(keras, layers=one.layers):
                number += 1
                for feed in _kinds(number, 2):
                    yield SoundCase(model, format_, feed, seed)


def _full_size(seed: int) -> Iterator[SoundCase]:
    for number, (state, name) in enumerate(product(CALIBRATED, FULL_SIZE), seed):
        one = APPLICATIONS[name]
        keras = one.keras[number % len(one.keras)]
        model = SoundModel(name, keras, state, seed, one.full)
        for feed in _kinds(number, 2):
            yield SoundCase(model, _formats(keras, layers=one.layers)[0], feed, seed)


def _families(seed: int) -> Iterator[SoundCase]:
    for case in cases():
        yield SoundCase(SoundModel(case.family.name, case.keras, None), case.format, "own", seed)


def _quantised(seed: int) -> Iterator[SoundCase]:
    stored = product(("float16", "uint16", "uint8"), ("cnn", "mobile", "lstm", "attention", "unet", "audio"))
    for number, (weights, name) in enumerate(stored, seed):
        keras = 2 + number % 2
        model = SoundModel(name, keras, "trained", seed)
        formats = _formats(keras, layers=True)
        for feed in _kinds(number, 2, ORDINARY):
            yield SoundCase(model, formats[number // 2 % len(formats)], feed, seed, weights)


def _half(seed: int) -> Iterator[SoundCase]:
    built = product(TRAINED, NETWORKS.items(), (2, 3))
    for number, (state, (name, network), keras) in enumerate(built, seed):
        formats = _formats(keras, layers=network.layers)
        for feed in _kinds(number, 2, ORDINARY):
            yield SoundCase(
                SoundModel(name, keras, state, seed), formats[number // 2 % len(formats)], feed, seed
            )


def _browsers(seed: int) -> Iterator[SoundCase]:
    """Models that other groups convert as well, so that little but the browsers' work is left."""
    for number, (name, network) in enumerate(NETWORKS.items(), seed):
        keras = 2 + number % 2
        (feed,) = _kinds(number, 1)
        yield SoundCase(
            SoundModel(name, keras, "initial", seed), _formats(keras, layers=network.layers)[0], feed, seed
        )


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "networks": Group(MAIN, _networks),
        "layers": Group(MAIN, _layers),
        "half": Group(HALF, _half),
        "browsers": Group(OTHERS, _browsers),
        "quantised": Group(MAIN, _quantised),
        "applications": Group(MAIN, _applications),
        "full_size": Group(MAIN, _full_size),
        "families": Group(MAIN, _families),
    }
)
