"""Makes the plans for running each layer of a model alone in the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.alone.graph_planner import GraphPlanner
from pytest_tfjs.models.alone.layers_planner import LayersPlanner
from pytest_tfjs.models.alone.plan import CannotRunAloneError, RandomNumbersError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.models.alone.plan import AlonePlan
    from pytest_tfjs.models.artifacts import Artifacts


@dataclass(frozen=True)
class AlonePlans:
    """The plans of those layers that can be run alone, and of the others the reason, by name.

    `random`: the reasons of those that draw random numbers, or take some that have no reference.
    """

    plans: Mapping[str, AlonePlan]
    reasons: Mapping[str, str]
    random: Mapping[str, str] = field(default_factory=dict)


def plan_alone(
    artifacts: Artifacts, taps: Mapping[str, Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]
) -> AlonePlans:
    """How each layer in `taps` is run alone, from the nearest inputs and layers of `known` in front of it.

    `taps` and `known` are addresses (see `browsers.jobs.Tap`) by the names of layers. `known`: the layers
    whose reference can be fed; the layer itself may be among them, and is never fed to itself.
    """
    planner = planner_of(artifacts, known)
    plans: dict[str, AlonePlan] = {}
    reasons: dict[str, CannotRunAloneError] = {}
    for name, address in taps.items():
        plan = _plan_or_reason(planner, address)
        if isinstance(plan, CannotRunAloneError):
            reasons[name] = plan
        else:
            plans[name] = plan
    random = {name: str(why) for name, why in reasons.items() if isinstance(why, RandomNumbersError)}
    return AlonePlans(plans, {name: str(why) for name, why in reasons.items()}, random)


def _plan_or_reason(
    planner: GraphPlanner | LayersPlanner, tap: Mapping[str, Any]
) -> AlonePlan | CannotRunAloneError:
    try:
        return planner.plan(tap)
    except CannotRunAloneError as error:
        return error


def planner_of(artifacts: Artifacts, known: Mapping[str, Mapping[str, Any]]) -> GraphPlanner | LayersPlanner:
    """The planner of the artifacts' format."""
    if artifacts.format == "graph":
        return GraphPlanner(artifacts, known)
    return LayersPlanner.of(artifacts, known)
