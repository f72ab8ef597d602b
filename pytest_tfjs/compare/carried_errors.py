"""Errors of sound layers that the layers behind them carry through the whole run.

A kernel may be off by much of a layer's largest value and still be right: `exp(x) - 1`, as TF.js computes an
Elu, rounds at 1, whatever x is, so an activation of 1e-8 loses all its digits. The layer's allowance covers
that. The layers behind it are right too, and cannot give back what is lost. So each of them may be off in the
whole run by as much as the layers before it are, relative to their largest values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pytest_tfjs.compare.layers import layers_before
from pytest_tfjs.compare.numbers.element_loops import largest
from pytest_tfjs.compare.numbers.tolerances import CARRIED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.local_error import Local
    from pytest_tfjs.compare.numbers.metrics import Metrics


_LOST = 0.1


class AcceptedError(NamedTuple):
    """An error in the whole run that is beyond the layer's tolerance, and that rounding explains.

    `share`: the error relative to the layer's largest value. `source`: which of the layer and those
    before it is off most alone; `source_share`: by how much.
    """

    share: float
    source: str
    source_share: float


@dataclass
class CarriedErrors:
    """The errors of one feed that sound layers pass on, relative to the layers' largest values.

    `inputs`: the layers whose activations enter each layer. `alone`: the errors of layers run alone.
    `accepted`: those in the whole run that are beyond a tolerance and were accepted.
    """

    inputs: Mapping[str, Sequence[str]]
    alone: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, local: Local) -> None:
        """Notes the local error of a layer; that of a wrong layer excuses nothing."""
        if local.passed and math.isfinite(local.metrics.max_abs) and local.metrics.max_abs > 0:
            self.alone[name] = share_of(local.metrics)

    def allowed(self, name: str, whole: Metrics, arithmetic: Arithmetic | None) -> float:
        """The error allowed at each element of a layer, in its unit, for the errors that enter it.

        `whole`: the layer's metrics in the whole run. The errors of layers are independent, so their root sum
        of squares counts, and those of n terms add up to 1/√n of the terms' magnitudes. Where the terms of a
        sum cancel, that is more than its largest value; the reference loses digits there too. Further layers
        may enlarge such an error as any other.
        """
        entering = _largest_value(whole)
        if arithmetic is not None and arithmetic.magnitude is not None and not arithmetic.functions:
            entering = max(entering, largest(arithmetic.magnitude) / math.sqrt(max(arithmetic.terms, 1)))
        before = layers_before(self.inputs, name)
        errors = [max(self.alone.get(one, 0.0), self.accepted.get(one, 0.0)) for one in before]
        return CARRIED * math.hypot(*errors) * entering

    def accept(self, name: str, whole: Metrics) -> AcceptedError:
        """Notes an error in the whole run, as `whole` has it, that is allowed beyond the tolerance."""
        self.accepted[name] = share_of(whole)
        found = {one: self.alone.get(one, 0.0) for one in (name, *layers_before(self.inputs, name))}
        source = max(found, key=found.__getitem__)
        return AcceptedError(self.accepted[name], source, found[source])


def share_of(metrics: Metrics) -> float:
    """The largest |error| / the layer's largest value, where that is not 0."""
    return metrics.max_abs / _largest_value(metrics)


def _largest_value(metrics: Metrics) -> float:
    """The largest |reference|; where that is 0, the largest value in the browser, which is the error then."""
    return metrics.scale or metrics.max_abs


def note_on_accepted(layers: Mapping[str, Layer], accepted: Mapping[str, AcceptedError]) -> Iterator[str]:
    """What the user has to know of errors that are beyond tolerances and no fault; `layers` by name."""
    if not accepted:
        return
    outputs = [one for one in accepted if layers[one].output]
    name = max(outputs or accepted, key=lambda one: accepted[one].share)
    error, source = accepted[name], layers[accepted[name].source]
    text = f"{layers[name].known_as!r} is off by {error.share:.1e} of its largest value"
    if source.name != name:
        text += (
            f". The error comes from {source.known_as!r} ({source.op}), which alone is off by "
            f"{error.source_share:.1e} of its largest value"
        )
    if error.share > _LOST:
        so = "the browser loses values as small as these: feed inputs that give larger ones"
    else:
        so = "the browser computes the values no better than that"
    yield f"{text}. Rounding explains that, so no layer is wrong; but {so}"
