"""The properties of a test in the JUnit XML."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.junit_properties import junit_properties
from pytest_tfjs.timing import Timing
from tests.support.comparisons import comparison, everything

TIMED = Timing(np.float64(120.5), 80, (np.float32(3), 4.5))


def assert_scalars(properties: list) -> None:
    for name, value in properties:
        assert type(name) is str
        assert type(value) in {str, int, float, bool}
        assert not isinstance(value, str) or value.isprintable()


def test_equal_properties_of_several_tests_are_the_same_objects():
    first, second = (junit_properties(comparison_to_json(everything(timing=TIMED))) for _ in range(2))
    shared = [one is other for one, other in zip(first, second, strict=True) if isinstance(one[1], str)]
    assert len(shared) > 4
    assert all(shared)


def test_junit_properties_are_scalars_under_stable_names():
    found = junit_properties(comparison_to_json(everything(timing=TIMED)))
    assert_scalars(found)
    assert dict(found) == {
        "tfjs_model": "digits",
        "tfjs_target": "webgl on chrome",
        "tfjs_verdict": "diverged",
        "tfjs_reason": "5 of 8 compared layers diverged, first 'wrong', 'nan', 'shape' and 2 more",
        "tfjs_first_divergence": "wrong, nan, shape, zero, text",
        "tfjs_worst_layer": "nan",
        "tfjs_allowed": pytest.approx(1e-3 + 1e-4),
        "tfjs_first_ms": 80.0,
        "tfjs_median_ms": 3.75,
    }


def test_expected_failure_has_its_reason():
    found = comparison_to_json(everything(), expected="0/0 is 1 there")
    assert (found["verdict"], found["expected"]) == ("diverged", "0/0 is 1 there")
    assert dict(junit_properties(found))["tfjs_expected"] == "0/0 is 1 there"
    assert comparison_to_json(everything())["expected"] is None


def test_comparison_without_layers_has_four_properties():
    found = junit_properties(comparison_to_json(comparison([], {}, verdict="error", reason="lost")))
    assert [name for name, _ in found] == ["tfjs_model", "tfjs_target", "tfjs_verdict", "tfjs_reason"]
