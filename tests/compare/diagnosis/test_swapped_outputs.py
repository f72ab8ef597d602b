"""Outputs in each other's place are recognised by their values."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.diagnose import diagnose
from pytest_tfjs.compare.diagnosis.evidence import Evidence, OtherResult
from pytest_tfjs.compare.diagnosis.swapped_outputs import output_found_in, swapped_briefly, swapped_text
from tests.support.comparisons import f32

A, B, C = f32(1, 2, 3), f32(5, -1, 0), f32(1, 2, 3.0001)
TEXTS = np.array([b"a", b"b", b"c"], object)


@pytest.mark.parametrize(
    ("actual", "expected", "others", "found"),
    [
        (B, A, {"b": B, "c": C}, "b"),
        (B * np.float32(1.0001), A, {"b": B}, "b"),
        (B + 1, A, {"b": B}, None),
        (B, A[:2], {"b": B}, "b"),  # of another shape than its own reference
        (B, A, {"b": B[:2]}, None),
        (B, A, {"b": B.astype(np.float64)}, None),
        (C, A, {"c": C}, None),  # `c` cannot be told from the reference
        (TEXTS[::-1], TEXTS, {"b": TEXTS[::-1]}, "b"),
        (B, TEXTS, {"b": B}, "b"),
        (f32(np.nan, 1, 2), A, {"b": f32(np.nan, 1, 2)}, "b"),
        (B, A, {}, None),
    ],
)
def test_the_other_output_is_found_by_its_reference(actual, expected, others, found):
    assert output_found_in(actual, expected, others) == found


def test_swapped_outputs_come_before_a_kernel_and_a_weight():
    for mutual, text in (
        (True, "the outputs 'a' and 'b' are swapped: the browser gives each in place of the other"),
        (False, "the browser gives the output 'b' in place of the output 'a'"),
    ):
        evidence = Evidence(
            "Identity",
            "cpu",
            others=(OtherResult("wasm on chrome", 1.0, 0.0),),
            weight="a weight differs",
            swapped=swapped_text("a", "b", mutual=mutual),
        )
        found = diagnose(evidence)
        assert (found.kind, found.said) == ("wiring", text)


def test_swapped_outputs_fit_into_the_first_line():
    evidence = Evidence("a", "cpu", swapped="in words", swapped_briefly=swapped_briefly("b", mutual=True))
    assert diagnose(evidence).briefly == "swapped with the output 'b'"
    assert swapped_briefly("b", mutual=False) == "the output 'b' is in its place"
    assert diagnose(Evidence("a", "cpu", weight="it differs", swapped_briefly="no")).briefly is None
