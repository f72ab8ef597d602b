"""Finds the layer or input that gives a tensor of a Keras config, through nested models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.alone.plan import CannotRunAloneError, Fed
from pytest_tfjs.models.keras_config import Call, Called, Path, calls_of, in_order, inputs_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Key = tuple[Path, str, int, int]
"""A tensor of the whole model: nested models, layer, number of its call, index of the output."""


@dataclass(eq=False)
class Scope:
    """A model, or one call of a nested one: `called` in `parent`."""

    model: Mapping[str, Any]
    parent: Scope | None = None
    called: Called | None = None

    @cached_property
    def path(self) -> Path:
        """The steps from the whole model into this one."""
        if self.parent is None or self.called is None:
            return ()
        return (*self.parent.path, self.called.step)

    @cached_property
    def calls(self) -> dict[tuple[str, int], Called]:
        """The calls of its layers, by layer and the config's number of the call."""
        return {(one.name, one.number): one for one in calls_of(self.model)}

    @cached_property
    def inputs(self) -> list[Call]:
        """The tensors that are its inputs."""
        return inputs_of(self.model)

    @cached_property
    def nested(self) -> dict[tuple[str, int], Scope]:
        """The scopes of the nested models that it calls."""
        return {key: Scope(one.layer, self, one) for key, one in self.calls.items() if one.is_model}

    def within(self, called: Called) -> Scope:
        """The scope of a call of a nested model."""
        return self.nested[called.name, called.number]

    def names(self) -> Iterator[str]:
        """The names of all layers, those within nested models too."""
        for called in self.calls.values():
            yield called.name
            if called.is_model:
                yield from self.within(called).names()

    def key(self, call: Call) -> Key:
        """The tensor's identity in the whole model."""
        return (self.path, *call)


@dataclass(eq=False)
class LayerCall:
    """A call of a layer that computes something: no input, and no nested model."""

    scope: Scope
    called: Called

    @property
    def layer(self) -> tuple[str, ...]:
        """The layer's name behind those of the nested models that it is in."""
        return (*(name for name, _, _ in self.scope.path), self.called.name)


@dataclass(frozen=True)
class Output:
    """One output of a call of a layer."""

    call: LayerCall
    index: int


class KerasTensors:
    """The tensors of a layers model, and what computes them.

    `known`: the taps of the layers whose reference can be fed. `input_names` are those of the feed, in order.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        input_names: Sequence[str],
        known: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.root = Scope(model)
        self._input_names = input_names
        self._calls: dict[Key, LayerCall] = {}
        self._rows: dict[Key, str] = {}
        for row, tap in known.items():
            found = self._find(tap)
            if found is not None:
                scope, call = found
                self._rows.setdefault(scope.key(call), row)
        self._masks: dict[LayerCall, LayerCall | None] = {}
        self._masked_in_keras: dict[Key, bool] = {}
        self._fill_masks(self.root)

    def at(self, tap: Mapping[str, Any]) -> tuple[Scope, Call]:
        """The tensor at a tap. Raises CannotRunAloneError where there is none."""
        found = self._find(tap)
        if found is None:
            raise CannotRunAloneError(f"the artifacts have no layer at {json.dumps(tap)}")
        return found

    def source(self, scope: Scope, call: Call, *, feed_rows: bool = True) -> Fed | Output:
        """What a tensor is fed, or the call of a layer that computes it.

        `feed_rows`: whether known layers are fed. Raises CannotRunAloneError where nothing gives the tensor.
        """
        while True:
            row = self._rows.get(scope.key(call)) if feed_rows else None
            if row is not None:
                return Fed(row=row)
            further = _through(scope, call)
            if further is None:
                return self._end(scope, call)
            scope, call = further

    def mask(self, scope: Scope, call: Call) -> LayerCall | None:
        """The call of the layer whose output's mask a tensor carries; None where it carries none."""
        while (further := _through(scope, call)) is not None:
            scope, call = further
        called = scope.calls.get(call[:2])
        if called is None or called.layer["class_name"] == "InputLayer":
            return None
        return self._masks.get(self._call(scope, called))

    def is_masked_in_keras(self, scope: Scope, call: Call) -> bool:
        """Whether a tensor carries a mask in Keras, which hands on masks where TF.js drops them."""
        while (further := _through(scope, call)) is not None:
            scope, call = further
        key = scope.key(call)
        if key not in self._masked_in_keras:
            called = scope.calls.get(call[:2])
            self._masked_in_keras[key] = False  # also while the inputs are asked
            self._masked_in_keras[key] = called is not None and (
                _makes_mask(called.layer)
                or (
                    _hands_on_in_keras(called.layer)
                    and any(self.is_masked_in_keras(scope, one) for one in called.inputs)
                )
            )
        return self._masked_in_keras[key]

    def _find(self, tap: Mapping[str, Any]) -> tuple[Scope, Call] | None:
        scope = self.root
        *outer, last = tap["path"]
        for step in outer:
            name, node = step if isinstance(step, (list, tuple)) else (step, None)
            called = _called(scope, name, node)
            if called is None or not called.is_model:
                return None
            scope = scope.within(called)
        called = _called(scope, last, tap.get("node"))
        return None if called is None else (scope, (called.name, called.number, int(tap.get("tensor", 0))))

    def _end(self, scope: Scope, call: Call) -> Fed | Output:
        """The source of a tensor that is neither an output of a nested model nor an input of one."""
        called = scope.calls.get(call[:2])
        if called is not None and called.layer["class_name"] != "InputLayer":
            return Output(self._call(scope, called), call[2])
        if scope.parent is None and call in scope.inputs:
            return Fed(source_input=self._input_names[scope.inputs.index(call)])
        raise CannotRunAloneError(f"the layer depends on {call[0]!r}, which is not an input of the model")

    def _call(self, scope: Scope, called: Called) -> LayerCall:
        key = scope.key((called.name, called.number, 0))
        return self._calls.setdefault(key, LayerCall(scope, called))

    def _fill_masks(self, scope: Scope) -> None:
        """Notes which calls return a mask: they compute one, or pass on an input's mask."""
        for called in in_order(list(scope.calls.values())):
            if called.is_model:
                self._fill_masks(scope.within(called))
            elif called.layer["class_name"] != "InputLayer" and _handles_masks(called.layer):
                carried = any(self.mask(scope, one) is not None for one in called.inputs)
                call = self._call(scope, called)
                self._masks[call] = call if carried or _makes_mask(called.layer) else None


def _called(scope: Scope, name: str, node: int | None) -> Called | None:
    """A call of a layer by its inbound node in TF.js, where a nested model's creation precedes its calls."""
    calls = [called for called in scope.calls.values() if called.name == name]
    if node is None:
        unambiguous = len(calls) == 1 or (bool(calls) and not calls[0].is_model)
        return calls[0] if unambiguous else None
    return next((called for called in calls if called.ordinal + called.is_model == int(node)), None)


def _through(scope: Scope, call: Call) -> tuple[Scope, Call] | None:
    """The tensor inside that a nested model's output is, or the one outside that its input is; else None."""
    called = scope.calls.get(call[:2])
    if called is not None and called.is_model:
        inner = scope.within(called)
        return inner, outputs_of(inner.model)[call[2]]
    is_input = called is None or called.layer["class_name"] == "InputLayer"
    if not is_input or scope.parent is None or scope.called is None or call not in scope.inputs:
        return None
    return scope.parent, scope.called.inputs[scope.inputs.index(call)]


# `supportsMasking` of the classes of TF.js 4.22. The TF.js in the page may differ: the page leaves out a mask
# that a layer does not hand on, and runs no layer alone that TF.js gives a mask that the plan lacks.
HANDS_ON_MASKS = frozenset(
    {
        *("Dropout", "SpatialDropout1D", "Dense", "Activation", "Masking", "BatchNormalization"),
        *("LayerNormalization", "ReLU", "PReLU", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
        *("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
        *("RNN", "SimpleRNN", "GRU", "LSTM", "ConvLSTM2D"),
        *("Bidirectional", "TimeDistributed"),
    }
)
"""The classes of layers that hand on the mask of what they take."""


_ONLY_IN_KERAS = frozenset(
    {"LeakyReLU", "ELU", "ThresholdedReLU", "Softmax", "Subtract", "ActivityRegularization", "Lambda"}
)
"""The classes that hand on masks in Keras, but not in TF.js."""

_RECURRENT = frozenset({"RNN", "SimpleRNN", "GRU", "LSTM", "ConvLSTM2D"})

USE_MASKS = _RECURRENT | {"Bidirectional", "TimeDistributed", "Softmax", "GlobalAveragePooling1D"}
"""The classes whose results depend on a mask, in Keras."""

IGNORE_MASKS = frozenset({"GlobalAveragePooling1D"})
"""Those of `USE_MASKS` whose results do not depend on a mask in TF.js."""


def _hands_on_in_keras(layer: Mapping[str, Any]) -> bool:
    name, config = layer["class_name"], layer["config"]
    if name == "Bidirectional":
        config = config["layer"]["config"]
    if name in _RECURRENT or name == "Bidirectional":
        return bool(config.get("return_sequences"))
    return name in HANDS_ON_MASKS | _ONLY_IN_KERAS and name != "Dot"


def _handles_masks(layer: Mapping[str, Any]) -> bool:
    return layer["class_name"] in HANDS_ON_MASKS or _makes_mask(layer)


def _makes_mask(layer: Mapping[str, Any]) -> bool:
    if layer["class_name"] == "Embedding":
        return bool(layer["config"].get("mask_zero"))
    return bool(layer["class_name"] == "Masking")
