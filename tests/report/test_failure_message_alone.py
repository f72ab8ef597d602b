"""Failure messages for a layer that is wrong run alone but passes in the whole run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.compare.weight_check import WeightCheck, WeightFinding
from pytest_tfjs.report.failure_message import failure_message
from tests.support.comparisons import TOLERANCE, close, comparison, layer

REFERENCE = np.linspace(1, 2, 32, dtype=np.float32)
ONES = np.ones_like(REFERENCE)
SCATTERED, EVERYWHERE = REFERENCE.copy(), REFERENCE + np.float32(3e-6)
SCATTERED[:4] += np.float32(2e-5)
DIFFERENT = WeightCheck.of([WeightFinding("b/kernel", "b", "differs", "1 of 4 values differ")])


def failure_text(
    actual: np.ndarray,
    check: WeightCheck | None = None,
    kind: str = "growth",
    magnitude: np.ndarray = ONES,
    rms: float = 1e-6,
) -> str:
    """The failure message on one line. The allowance is 1e-5 of an element's magnitude, and `rms`."""
    allowed = Allowance(1e-5, 0.0, rms)
    local = measure_local(actual, REFERENCE, Arithmetic(terms=9, magnitude=magnitude), allowed)
    rows = [layer("a"), layer("b", "a", output=True)]
    metrics = {"a": close(), "b": close()}
    alone = Alone(local={"b": local}, propagated={"b": 0.0})
    judgement = judge(rows, metrics, dict.fromkeys(metrics, TOLERANCE), alone=alone, weight_check=check)
    assert judgement.verdict == "diverged"
    found = replace(
        comparison(rows, metrics, weight_check=check, diagnosis=Diagnosis(kind, "b", "what was found")),
        verdict="diverged",
        reason=judgement.reason,
        layers=judgement.results,
        first_divergence=judgement.first_divergence,
    )
    return " ".join(failure_message(found).split())


def test_message_counts_elements_that_are_wrong_run_alone():
    assert "mismatched run alone: 4 / 32 elements; whole run: none" in failure_text(SCATTERED)


def test_message_gives_the_root_mean_square_if_it_exceeds_its_allowance():
    text = failure_text(EVERYWHERE)
    assert "0 / 32 elements, but the layer's root mean square error is too large" in text
    own = "the layer's root mean square error on the reference's inputs is 3.0e-06, "
    assert text.split(own, 1)[1].split()[1:4] == ["times", "its", "allowance;"]
    assert "the layer's root mean square error on" not in failure_text(SCATTERED)


def test_details_give_the_error_of_the_first_line_and_name_a_larger_one_as_another():
    actual, magnitude = REFERENCE.copy(), ONES.copy()
    actual[0] += np.float32(2e-5)
    magnitude[1], actual[1] = 1e3, actual[1] + np.float32(4e-3)
    text = failure_text(actual, magnitude=magnitude, rms=1.0)
    assert "'b' diverged first: |error| 2.0e-05 at [0], 1.0e-05 allowed" in text
    assert (
        "the layer's error on the reference's inputs is 2.0e-05, 2 times its allowance (the largest |error| "
        "is 4.0e-03, at an element with a larger allowance);"
    ) in text
    assert "the largest |error| is" not in failure_text(SCATTERED)


def test_suggested_tolerance_excludes_wrong_weights():
    text = failure_text(SCATTERED, DIFFERENT)
    # Joined again: the message is wrapped.
    passing = "any explicit tolerance would let all layers pass; the comparison would still fail because"
    assert passing in " ".join(text.split())
    assert "the wrong weights" not in failure_text(SCATTERED)


@pytest.mark.parametrize(("kind", "shown"), [("growth", True), ("weight", False), ("feed", False)])
def test_rounding_is_suggested_only_without_another_diagnosis(kind, shown):
    assert ("more likely rounding" in failure_text(EVERYWHERE, kind=kind)) == shown
