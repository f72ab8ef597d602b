"""Plans how to compute a layer of a layers model alone, from the layers before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.alone.keras_tensors import (
    IGNORE_MASKS,
    USE_MASKS,
    KerasTensors,
    LayerCall,
    Output,
)
from pytest_tfjs.models.alone.plan import (
    CannotRunAloneError,
    Computed,
    Fed,
    LayersPlan,
    RandomNumbersError,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_tfjs.models.artifacts import Artifacts


@dataclass(eq=False)
class _Sources:
    """What a call takes: the source of each input, and the call whose output's mask it carries."""

    inputs: tuple[Fed | Output, ...]
    masks: tuple[LayerCall | None, ...]

    def calls(self) -> Iterator[LayerCall]:
        """The calls that compute the inputs, then the calls that compute the masks."""
        yield from (one.call for one in self.inputs if isinstance(one, Output))
        yield from (one for one in self.masks if one is not None)


@dataclass
class LayersPlanner:
    """Plans of the layers of one layers model."""

    tensors: KerasTensors
    _sources: dict[LayerCall, _Sources] = field(default_factory=dict)

    @classmethod
    def of(cls, artifacts: Artifacts, known: Mapping[str, Mapping[str, Any]]) -> LayersPlanner:
        """`known`: the taps of the layers whose reference can be fed."""
        model = artifacts.topology.get("model_config", artifacts.topology)
        return cls(KerasTensors(model, [spec.name for spec in artifacts.inputs], known))

    def plan(self, tap: Mapping[str, Any]) -> LayersPlan:
        """The plan for the tensor at `tap`; of a nested model's output, for the layer within that gives it.

        Raises CannotRunAloneError, with the reason.
        """
        source = self.tensors.source(*self.tensors.at(tap), feed_rows=False)
        if isinstance(source, Fed):
            raise CannotRunAloneError(f"the layer is the model's input {source.source_input!r}")
        _check(source.call)
        steps = {call: at for at, call in enumerate(self._in_order(source.call))}
        return LayersPlan(
            steps=tuple(self._step(call, steps) for call in steps),
            output=source.index,
            takes=self._rows(source.call, masks=False),
            fetched=self._rows(source.call, masks=True),
            loses_mask=self._loses_mask(source.call),
            trains=bool(source.call.called.arguments.get("training")),
        )

    def _loses_mask(self, call: LayerCall) -> bool:
        class_name = call.called.layer["class_name"]
        if class_name not in USE_MASKS:
            return False
        given = any(self.tensors.is_masked_in_keras(call.scope, one) for one in call.called.inputs)
        passed_on = any(mask is not None for mask in self._of(call).masks)
        return given and (class_name in IGNORE_MASKS or not passed_on)

    def _step(self, call: LayerCall, steps: Mapping[LayerCall, int]) -> Step:
        sources = self._of(call)
        return Step(
            layer=call.layer,
            node=call.called.ordinal,
            inputs=tuple(
                one if isinstance(one, Fed) else Computed(steps[one.call], one.index)
                for one in sources.inputs
            ),
            masks=tuple(None if one is None else steps[one] for one in sources.masks),
        )

    def _of(self, call: LayerCall) -> _Sources:
        if call not in self._sources:
            taken = call.called.inputs
            inputs = tuple(self.tensors.source(call.scope, one) for one in taken)
            for one in inputs:
                if isinstance(one, Output):
                    _check(one.call)
            masks = tuple(self.tensors.mask(call.scope, one) for one in taken)
            self._sources[call] = _Sources(inputs, masks)
        return self._sources[call]

    def _in_order(self, target: LayerCall) -> Iterable[LayerCall]:
        """The target and all calls that it needs, each after the calls whose results it uses."""
        done: dict[LayerCall, None] = {}
        ahead = [(target, False)]
        while ahead:
            call, ready = ahead.pop()
            if ready:
                done[call] = None
            elif call not in done:
                ahead.append((call, True))
                ahead += [(one, False) for one in self._of(call).calls()]
        return done

    def _rows(self, target: LayerCall, *, masks: bool) -> tuple[str, ...]:
        """The layers that are fed, in the order of the inputs of what takes them."""
        rows: dict[str, None] = {}
        calls = [target]
        seen = {target}
        for call in calls:
            sources = self._of(call)
            rows |= {one.row: None for one in sources.inputs if isinstance(one, Fed) and one.row is not None}
            more = sources.calls() if masks else (o.call for o in sources.inputs if isinstance(o, Output))
            for one in more:
                if one not in seen:
                    seen.add(one)
                    calls.append(one)
        return tuple(rows)


_DROPOUT = re.compile(r"(Spatial)?Dropout|Gaussian|AlphaDropout")
"""Classes of layers that draw random numbers where they are called with `training=True`."""


def _check(call: LayerCall) -> None:
    """Raises CannotRunAloneError where the layer's results depend on more than its inputs and weights."""
    _check_random(call)
    _check_state(call)


def _check_random(call: LayerCall) -> None:
    layer, name = call.called.layer, call.called.name
    class_name = layer["class_name"]
    if class_name.startswith("Random"):
        raise RandomNumbersError(
            f"the layer {name!r} ({class_name}) draws random numbers, which are not the same in TF.js and in"
            " Keras"
        )
    if call.called.arguments.get("training") and (_DROPOUT.match(class_name) or _drops(layer["config"])):
        raise RandomNumbersError(
            f"the layer {name!r} ({class_name}, called with training=True) draws random numbers in Keras,"
            " while TF.js ignores training=True"
        )


def _drops(config: Any) -> bool:
    """Whether a layer, or one that it wraps, has a rate of dropout."""
    if not isinstance(config, Mapping):
        return False
    inner = (config.get(key) for key in ("layer", "cell"))
    return bool(config.get("dropout") or config.get("recurrent_dropout")) or any(
        _drops(one.get("config")) for one in inner if isinstance(one, Mapping)
    )


def _check_state(call: LayerCall) -> None:
    """Raises CannotRunAloneError where an earlier call in the same run leaves the layer a state."""
    if call.called.only and all(only for _, _, only in call.scope.path):
        return
    config = call.called.layer["config"]
    inner = config.get("layer")
    # Of the wrappers, TF.js's Bidirectional keeps the state of its layer.
    wrapped = call.called.layer["class_name"] == "Bidirectional" and isinstance(inner, dict)
    if config.get("stateful") or (wrapped and inner["config"].get("stateful")):
        raise CannotRunAloneError(
            f"the layer {call.called.name!r} keeps a state, which its earlier calls change"
        )
