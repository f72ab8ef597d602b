"""The diagnosis of a layer whose error came in through its inputs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.compare.blame import input_error_text
from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.results import Alone, LayerResult
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.workflows.diagnosis import diagnosed
from tests.support.comparisons import TOLERANCE, close, comparison, layer, wrong

REFERENCE = np.linspace(1, 2, 4, dtype=np.float32)
READ = "the error came in through its inputs"
NOT_READ = f"{READ}, whose activations were not read"


def message(*, given=(), before=None):
    """The failure message, on one line, of `add` that is wrong in the whole run only.

    `before`: the metrics of its input; None: the input is equal to the reference.
    """
    arithmetic = Arithmetic(terms=1, magnitude=np.ones_like(REFERENCE))
    local = measure_local(REFERENCE, REFERENCE, arithmetic, Allowance(1e-5, 0.0, 1e-6))
    rows = [layer("x"), layer("add", "x", output=True)]
    metrics = {"x": before or measure(REFERENCE, REFERENCE, TOLERANCE), "add": wrong()}
    alone = Alone(local={"add": local}, propagated={"add": 5.0})
    judgement = judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone, given=given)
    one = replace(
        comparison(rows, metrics),
        verdict=judgement.verdict,
        reason=judgement.reason,
        layers=judgement.results,
        first_divergence=judgement.first_divergence,
        growth=judgement.blame.growth,
    )
    target = SimpleNamespace(backend_variant="webgl", half=False)
    context = SimpleNamespace(target=target, progress=lambda progress: None)
    artifacts = SimpleNamespace(
        format="graph", nodes=tuple, topology={"node": []}, weight_names=tuple, inputs=(), resources=()
    )
    reference = SimpleNamespace(plan=SimpleNamespace(layers=[]))
    model = SimpleNamespace(artifacts=artifacts, reference=reference)
    return " ".join(failure_message(diagnosed(one, model, context)).split())


def test_error_of_inputs_that_were_not_read_is_not_called_rounding():
    text = message()
    assert f"allowed ({NOT_READ})" in text
    assert f" cause unknown: {NOT_READ}" in text
    for word in ("rounding", "given tolerance", "likely"):
        assert word not in text


def test_tolerance_given_by_the_user_is_called_smaller_than_rounding():
    text = message(given=("add",))
    assert "allowed (made by rounding only)" in text
    assert "likely growth: the layer itself is correct; the given tolerance is smaller" in text
    assert NOT_READ not in text


def test_error_that_grew_from_a_compared_input_is_called_growth():
    text = message(before=close())
    assert "likely growth: no layer is wrong alone; the error grows" in text
    assert NOT_READ not in text


@pytest.mark.parametrize(("error", "read"), [(0.0, False), (1e-6, True)])
def test_inputs_with_an_error_were_read(error, read):
    metrics = measure(REFERENCE + np.float32(error), REFERENCE, TOLERANCE)
    rows = [LayerResult(layer(name, *inputs), "close", metrics, None, None) for name, *inputs in ["x", "yx"]]
    assert input_error_text(rows, rows[1]) == (READ if read else NOT_READ)
