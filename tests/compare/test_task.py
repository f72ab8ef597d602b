"""Agreement, IoU and accuracy over classes, with their intervals and verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tfjs.compare.numbers.tolerances import Tolerance
from pytest_tfjs.compare.task import (
    Classified,
    Measure,
    among_first,
    classes_of,
    judge_task,
    scores_of,
    unproven,
)
from pytest_tfjs.errors import SettingsError
from pytest_tfjs.timing.intervals import bootstrap, bootstrap_of_sums, samples_to_prove, wilson
from pytest_tfjs.workflows.call_arguments import Task, require_minimum
from tests.support import comparisons  # noqa: F401 (its profile: no test is timed)

NAN = math.nan
TOLERANCE = Tolerance(rtol=0.0, atol=0.01)
SCORES = arrays.arrays(np.float32, (5, 4), elements=st.integers(-3, 3).map(float))


def f32(*rows):
    return np.array(rows, np.float32)


def classified(actual, reference, labels=None, **given):
    made = Classified(TOLERANCE, **given)
    made.add(np.asarray(actual), np.asarray(reference), None if labels is None else np.asarray(labels))
    return made


@given(SCORES)
def test_equal_outputs_agree_fully(scores):
    made = classified(scores, scores, ks=(1, 3), overlapping=True)
    assert (made.agreement(1).value, made.agreement(3).value, made.iou().value, made.flips) == (1, 1, 1, 0)


@given(SCORES, SCORES)
def test_top_1_compares_argmax_and_agreement_grows_with_k(actual, reference):
    made = classified(actual, reference, ks=(1, 2, 4))
    equal = (actual.argmax(axis=1) == reference.argmax(axis=1)).mean()
    assert made.agreement(1).value == pytest.approx(equal)
    assert made.flips == round(5 * (1 - equal))
    assert made.agreement(1).value <= made.agreement(2).value <= made.agreement(4).value == 1


@given(SCORES, SCORES, st.integers(1, 4))
def test_result_does_not_depend_on_how_samples_are_split_into_feeds(actual, reference, cut):
    whole = classified(actual, reference, actual.argmax(axis=1), ks=(1, 2), overlapping=True)
    parts = Classified(TOLERANCE, ks=(1, 2), overlapping=True)
    for piece in (slice(0, cut), slice(cut, 5)):
        parts.add(actual[piece], reference[piece], actual[piece].argmax(axis=1))
    for made in (whole, parts):
        assert made.samples == 5
    assert (whole.agreement(1), whole.agreement(2)) == (parts.agreement(1), parts.agreement(2))
    assert whole.iou().value == pytest.approx(parts.iou().value, nan_ok=True)
    assert (whole.flips, whole.near_ties, whole.worst) == (parts.flips, parts.near_ties, parts.worst)
    assert whole.accuracy() == parts.accuracy()
    assert whole.accuracy()[0].value == 1


def test_flips_have_margins_and_near_ties_are_marked():
    reference = f32([0.6, 0.4], [0.501, 0.499], [0.2, 0.8], [0.9, 0.1])
    actual = f32([0.4, 0.6], [0.499, 0.501], [0.2, 0.8], [0.8, 0.2])
    made = classified(actual, reference)
    assert (made.flips, made.near_ties) == (2, 1)
    first, second = made.worst
    assert (first.sample, first.reference, first.browser, first.near_tie) == (0, 0, 1, False)
    assert first.margin == pytest.approx(0.2)
    assert (second.sample, second.near_tie) == (1, True)
    assert made.agreement(1).value == 0.5  # a near tie is a flip still


def test_only_the_ten_worst_flips_are_stored():
    margins = np.linspace(0.1, 0.9, 30, dtype=np.float32)
    reference = np.stack([margins, np.zeros(30, np.float32)], axis=1)
    made = Classified(TOLERANCE)
    for piece in (slice(0, 15), slice(15, 30)):
        made.add(reference[piece, ::-1], reference[piece])
    assert made.flips == 30
    assert [flip.sample for flip in made.worst] == list(range(29, 19, -1))


@pytest.mark.parametrize(("actual", "reference"), [(NAN, 1.0), (1.0, NAN), (NAN, NAN)])
def test_nan_never_agrees(actual, reference):
    made = classified(
        f32([actual, 0.0], [0, 1]), f32([reference, 0.0], [0, 1]), [0, 1], ks=(1, 2), overlapping=True
    )
    assert (made.agreement(1).value, made.agreement(2).value, made.flips) == (0.5, 0.5, 1)
    assert math.isnan(made.worst[0].margin)
    assert made.iou().value < 1 or math.isnan(actual + reference)


def test_single_probability_means_two_classes():
    scores = scores_of(f32([0.2], [0.5], [0.7]))
    assert classes_of(scores).tolist() == [0, 0, 1]
    assert classes_of(scores_of(np.array([0.2, 0.7], np.float32))).tolist() == [0, 1]


def test_integer_outputs_are_classes():
    made = classified(np.array([1, 2, 5]), np.array([1, 3, 2]), overlapping=True)
    assert (made.agreement(1).value, made.flips, made.near_ties) == (pytest.approx(1 / 3), 2, 0)
    assert made.iou().value == pytest.approx(1 / 4)  # class 1 of the classes 1, 2, 3 and 5


def test_first_of_equal_scores_is_the_class():
    assert among_first(f32([1, 1, 1]), np.array([0]), 1).tolist() == [True]
    assert among_first(f32([1, 1, 1]), np.array([2]), 2).tolist() == [False]


def test_iou_of_class_maps():
    reference = np.zeros((2, 2, 2, 3), np.float32)
    reference[0, :, :, 0] = 1
    reference[1, 0, :, 1] = reference[1, 1, :, 0] = 1
    actual = reference.copy()
    actual[1, 0, 0] = [0, 0, 1]
    made = classified(actual, reference, overlapping=True)
    assert made.agreement(1).value == 7 / 8
    # class 0: 6 of 6; class 1: 1 of 2; class 2, which is in the browser alone: 0 of 1
    assert made.iou().value == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert (made.worst[0].sample, made.worst[0].place) == (1, (0, 0))
    low, high = made.iou().interval
    assert low <= made.iou().value <= high == 1
    assert made.iou() == made.iou()  # the drawings are always the same


def test_accuracy_in_the_browser_and_in_the_reference():
    browser, reference = classified(f32([1, 0], [1, 0]), f32([1, 0], [0, 1]), [0, 1]).accuracy()
    assert (browser.value, reference.value) == (0.5, 1)
    assert classified(f32([1, 0]), f32([1, 0])).accuracy() is None


def test_one_class_for_all_samples_is_vacuous():
    made = classified(f32([0, 1], [0, 2]), f32([0, 1], [0, 2]))
    assert (
        made.vacuous()
        == "the reference gives class 1 for all 2 samples: a model that always gives class 1 would also agree"
    )
    made.add(f32([1, 0]), f32([1, 0]))
    assert made.vacuous() is None
    assert "the one sample" in classified(f32([0, 1]), f32([0, 1])).vacuous()


def test_wilson_interval_matches_r():
    # 15 of 20 and 0 of 10 in R: prop.test(15, 20, correct=FALSE), prop.test(0, 10, correct=FALSE)
    assert wilson(15 / 20, 20) == pytest.approx((0.5312994, 0.8881381), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0, 0.2775328), abs=1e-6)


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_contains_the_share(samples, data):
    share = data.draw(st.integers(0, samples)) / samples
    low, high = wilson(share, samples)
    assert 0 <= low <= share <= high <= 1


@given(st.floats(0.01, 0.9999))
def test_samples_to_prove_is_the_smallest_sufficient_number(least):
    needed = samples_to_prove(least)
    assert wilson(1.0, needed)[0] >= least
    assert needed == 1 or wilson(1.0, needed - 1)[0] < least


def test_too_few_samples_are_reported_and_do_not_fail():
    few = Measure("top-1 agreement", 1.0, wilson(1.0, 20), "Wilson", 0.99)
    assert few.passed
    assert unproven(few, 20) == (
        "20 samples do not prove a top-1 agreement of 0.99: the 95 % interval begins at 0.8389 "
        "(at least 381 samples are needed, if all agree)"
    )
    enough = Measure("top-1 agreement", 1.0, wilson(1.0, 381), "Wilson", 0.99)
    assert enough.proven
    assert unproven(enough, 381) is None
    low = Measure("top-1 agreement", 0.5, wilson(0.5, 20), "Wilson", 0.99)
    assert unproven(low, 20) is None  # a failure is reported as such
    without = Measure("mean IoU", 1.0, None, "bootstrap", 0.9)
    assert unproven(without, 5) == (
        "5 samples do not prove a mean IoU of 0.9: "
        "every sample has the same value, so there is no confidence interval"
    )
    assert samples_to_prove(1.0) is None


def test_verdict_of_a_task():
    low, high = (Measure("m", value, None, None, 0.9) for value in (0.5, 0.95))
    assert judge_task([high], None) == ("close", None)
    assert judge_task([high, low], "all alike") == ("diverged", "m is 0.5, 0.9 required")
    assert judge_task([high], "all alike") == ("vacuous", "all alike")
    assert judge_task([Measure("m", NAN, None, None, 0.9)], None)[0] == "diverged"


def test_bootstrap_is_reproducible_and_gives_no_interval_for_equal_draws():
    values = np.arange(50.0)
    mean = bootstrap(lambda chosen: float(values[chosen].mean()), 50, 200)
    assert mean == bootstrap(lambda chosen: float(values[chosen].mean()), 50, 200)
    of_sums = bootstrap_of_sums(values[:, np.newaxis], lambda sums: float(sums[0] / 50))
    spread = 1.96 * values.std() / math.sqrt(50)
    for low, high in (mean, of_sums):
        assert (low, high) == pytest.approx((24.5 - spread, 24.5 + spread), abs=1)
    assert bootstrap(lambda _: 1.0, 50, 200) is None
    assert bootstrap(lambda chosen: NAN if chosen[0] else 1.0, 50, 200) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_top1": 99}, "min_top1=99: expected a share above 0 and at most 1"),
        ({"min_top1": 0}, "min_top1=0: expected a share"),
        ({"min_iou": NAN}, "min_iou=nan: expected a share"),
        ({"min_topk": 0.99}, r"min_topk=0.99: expected \(k, share\), such as \(5, 0.99\)"),
        ({"min_topk": (0, 0.9)}, r"expected \(k, share\)"),
        ({"min_topk": (5, 9)}, "min_topk=9: expected a share"),
        ({"min_metric": 1.0}, "min_metric is a minimum for the function `metric`, which is missing"),
        ({"min_metric": NAN, "metric": max}, "min_metric=nan: expected a finite number"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, message):
    with pytest.raises(SettingsError, match=message):
        Task(**arguments)


def test_task_without_a_minimum_is_rejected():
    with pytest.raises(SettingsError, match="no minimum to check, so it could never fail"):
        require_minimum({"min_top1": None, "labels": [1]})
    require_minimum({"min_iou": 0.5})
