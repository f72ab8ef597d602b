"""Plans to run layers of Keras models alone, and what the plans say, as short text."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_tfjs.models.alone.layers_planner import LayersPlanner
from pytest_tfjs.models.alone.plan import Fed
from pytest_tfjs.models.artifacts import Artifacts, TensorSpec
from tests.support.tiny_layers_models import functional, input_layer


def artifacts(model, *inputs):
    specs = tuple(TensorSpec(name, None, "float32") for name in inputs or ("x",))
    return Artifacts(Path("model.json"), "layers", "float32", specs, (), 0, {"model_config": model})


def tap(text):
    """An address: `a`, `inner/b`, `inner#1/b` (that call of the nested model), `a@1:2` (call 1, output 2)."""
    path, node, index = re.fullmatch(r"([^@:]*)(?:@(\d+))?(?::(\d+))?", text).groups()
    steps = [
        [step.split("#")[0], int(step.split("#")[1])] if "#" in step else step for step in path.split("/")
    ]
    return {"path": steps, "tensor": int(index or 0), **({} if node is None else {"node": int(node)})}


def plan_of(model, known, text):
    made = model if isinstance(model, Artifacts) else artifacts(model)
    return LayersPlanner.of(made, {name: tap(name) for name in known}).plan(tap(text))


def takes(model, known, text):
    return " ".join(plan_of(model, known, text).takes)


def called(model, known, text):
    """The calls in order, each with the rows, model inputs or steps it is called on: `c(b) d(0 <x>)`."""

    def describe(source):
        if not isinstance(source, Fed):
            return f"{source.step}" + (f":{source.output}" if source.output else "")
        return source.row or f"<{source.source_input}>"

    steps = plan_of(model, known, text).steps
    return " ".join(f"{'/'.join(step.layer)}({' '.join(map(describe, step.inputs))})" for step in steps)


def chain(*layers, name="chain"):
    """A Functional model of layers in a row, from the input `x`."""
    names = ["x", *(one["config"]["name"] for one in layers)]
    rows = [(one, [[(before, 0, 0)]]) for one, before in zip(layers, names, strict=False)]
    return functional(name, [(input_layer("x", 3), []), *rows], ["x"], [(names[-1], 0, 0)])


def masks_of(model, known, text):
    """The layers whose masks the last step takes, by input; None where it takes none."""
    plan = plan_of(model, known, text)
    names = ["/".join(step.layer) for step in plan.steps]
    return [[None if mask is None else names[mask] for mask in step.masks] for step in plan.steps][-1]
