"""Finds where a layers model's config can be changed without changing a shape."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from benchmarks.artifact_faults.drawing import Draw, Fault, Site, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.artifact_faults.drawing import Array, Edit
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.models.artifacts import Artifacts

    Config = Mapping[str, Any]
    Changes = Mapping[str, Any]

_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "linear": ("relu", "tanh"),
    "relu": ("linear", "relu6", "elu"),
    "tanh": ("sigmoid", "relu"),
    "sigmoid": ("hardSigmoid", "tanh"),
    "softmax": ("sigmoid", "linear"),
}
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "Add": ("Multiply", "Maximum", "Average"),
    "MaxPooling2D": ("AveragePooling2D",),
    "GlobalAveragePooling2D": ("GlobalMaxPooling2D",),
}
_EPSILONS = st.floats(-2, 0).map(lambda power: float(10.0**power))
_ORDERED = frozenset({"Concatenate", "Dot"})


class LayersSites:
    """A layers model of no models; `layers` are the rows of its comparison."""

    def __init__(self, artifacts: Artifacts, layers: Sequence[Layer]) -> None:
        self.weights: Mapping[str, Array] = artifacts.read_weights()
        self._layers = artifacts.topology["model_config"]["config"]["layers"]
        self._rows = {layer.name: layer for layer in layers if layer.coverage == "compared"}
        self._takers: defaultdict[str, list[str]] = defaultdict(list)
        for layer in self._layers:
            for name in _inputs(layer):
                self._takers[name].append(layer["name"])

    def rows_with(self, weight: str) -> tuple[str, ...]:
        """The compared layer that a weight belongs to."""
        name = weight.partition("/")[0]
        return (name,) if name in self._rows else ()

    def sites(self) -> Iterator[Site]:
        """Where configuration and edges could be others."""
        for layer in self._layers:
            name = layer["name"]
            if name not in self._rows:
                continue
            rows = (name,)
            for kind, variants in _variants(layer):
                yield Site(kind, rows, one_of(kind, rows, variants))
            if "epsilon" in layer["config"]:
                yield Site("epsilon", rows, _other_epsilon(name))
            moved = list(self._moved(layer))
            if moved:
                yield Site("edge moved", rows, one_of("edge moved", rows, moved))

    def _downstream(self, name: str) -> set[str]:
        seen, ahead = {name}, [name]
        while ahead:
            new = set(self._takers[ahead.pop()]) - seen
            seen |= new
            ahead.extend(new)
        return seen

    def _moved(self, layer: Config) -> Iterator[tuple[str, Edit]]:
        after = self._downstream(layer["name"])
        for place, name in enumerate(_inputs(layer)):
            # A layer that nothing takes any more is no part of the model.
            row = self._rows.get(name) if len(self._takers[name]) > 1 else None
            for other, candidate in self._rows.items() if row is not None else ():
                same = (candidate.shape, candidate.dtype) == (row.shape, row.dtype)
                if same and other != name and other not in after:
                    description = f"input {place} of {layer['name']!r} is {other!r}, not {name!r}"
                    yield description, _with_input(layer["name"], place, other)


def _variants(layer: Config) -> Iterator[tuple[str, list[tuple[str, Edit]]]]:
    """What could be wrong of a layer by itself, by kind: in words, and as an edit of the topology."""
    name, kind, config = layer["name"], layer["class_name"], layer["config"]
    if kind in _CLASSES:
        yield (
            "operation",
            [(f"{name!r} is {other}, not {kind}", _with_class(name, other)) for other in _CLASSES[kind]],
        )
    for fault, path, changes in _changes(kind, config):
        description = ", ".join(f"{key}={value!r}" for key, value in changes.items())
        yield fault, [(f"{name!r} has {description}", _with_config(name, path, changes))]
    if kind in _ORDERED and len(_inputs(layer)) == 2:
        yield "inputs swapped", [(f"those of {name!r}", _with_swapped_inputs(name))]


def _changes(kind: str, config: Config) -> Iterator[tuple[str, tuple[str, ...], Changes]]:
    """Kind of fault, where in the configuration, and what it has there."""
    path: tuple[str, ...] = ()
    if kind == "Bidirectional":
        config, path = config["layer"]["config"], ("layer", "config")
        yield "direction", path, {"go_backwards": not config["go_backwards"]}
    for key in ("activation", "recurrent_activation"):
        for other in _ACTIVATIONS.get(config.get(key, ""), ()):
            yield "activation", path, {key: other}
    if kind == "ReLU":
        yield "activation", path, {"max_value": 1.0 if config["max_value"] is None else None}
    if kind == "ZeroPadding2D" and any(before != behind for before, behind in config["padding"]):
        turned = [[behind, before] for before, behind in config["padding"]]
        yield "padding turned round", path, {"padding": turned}
    if kind == "UpSampling2D":
        yield "operation", path, {"interpolation": "bilinear"}
    if (
        kind == "Conv2D"
        and config["padding"] == "same"
        and config["kernel_size"][0] > 1 == config["strides"][0]
    ):
        yield "dilation", path, {"dilation_rate": [2, 2]}
    if kind == "Softmax":
        yield "axis", path, {"axis": 1}


def _other_epsilon(name: str) -> Callable[[Draw], Fault]:
    def make(draw: Draw) -> Fault:
        epsilon = draw(_EPSILONS)
        return Fault(
            "epsilon",
            f"{name!r} has {epsilon:.1e}",
            (name,),
            edit=_with_config(name, (), {"epsilon": epsilon}),
        )

    return make


def _inputs(layer: Config) -> list[str]:
    return [str(inbound[0]) for node in layer["inbound_nodes"] for inbound in node]


def _layer(topology: Any, name: str) -> Any:
    return next(layer for layer in topology["model_config"]["config"]["layers"] if layer["name"] == name)


def _with_class(name: str, kind: str) -> Edit:
    def edit(topology: Any) -> None:
        _layer(topology, name)["class_name"] = kind

    return edit


def _with_config(name: str, path: Sequence[str], changes: Changes) -> Edit:
    def edit(topology: Any) -> None:
        config = _layer(topology, name)["config"]
        for key in path:
            config = config[key]
        config.update(changes)

    return edit


def _with_input(name: str, place: int, other: str) -> Edit:
    def edit(topology: Any) -> None:
        _layer(topology, name)["inbound_nodes"][0][place][:3] = [other, 0, 0]

    return edit


def _with_swapped_inputs(name: str) -> Edit:
    def edit(topology: Any) -> None:
        _layer(topology, name)["inbound_nodes"][0].reverse()

    return edit
