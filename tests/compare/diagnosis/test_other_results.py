"""Results of other backends beside the failing one: dtypes, shapes, texts, complex."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.diagnose import diagnose
from pytest_tfjs.compare.diagnosis.evidence import Evidence
from pytest_tfjs.compare.diagnosis.other_results import other_result
from tests.support.comparisons import f32

EXPECTED, WRONG = f32(1, 2, 3), f32(1, 2, 9)
TEXTS = np.array([b"ab", b"c"], object)


def said(value, actual, expected) -> str:
    found = other_result("wasm", np.asarray(value), np.asarray(actual), np.asarray(expected))
    return diagnose(Evidence("a", "cpu", others=(found,))).evidence[0]


@pytest.mark.parametrize(
    ("value", "actual", "expected", "text"),
    [
        (EXPECTED, WRONG, EXPECTED, "wasm agrees with Python"),
        (WRONG, WRONG, EXPECTED, "wasm is wrong in the same way"),
        (
            f32(1, 2, 6),
            WRONG,
            EXPECTED,
            "wasm agrees neither with Python (off by 50% of the error) nor with cpu",
        ),
        (f32(math.nan, 2, 3), WRONG, EXPECTED, "(NaN or Inf at different elements)"),
        (f32(1, 2), WRONG, EXPECTED, "(shape [2] instead of [3])"),
        (EXPECTED.astype(np.int32), WRONG, EXPECTED, "(dtype int32 instead of float32)"),
        # The failing target has the right values in another dtype.
        (EXPECTED, EXPECTED.astype(np.int32), EXPECTED, "wasm agrees with Python"),
        (EXPECTED.astype(np.int32), EXPECTED.astype(np.int32), EXPECTED, "wasm is wrong in the same way"),
        (f32(1, 2, 3.01), EXPECTED.astype(np.int32), EXPECTED, "(they differ by 0.267% of the values)"),
        (f32(1, 5, 3), EXPECTED.astype(np.int32), EXPECTED, "(off by 80.2% of the values)"),
        # Texts
        (TEXTS, TEXTS[::-1], TEXTS, "wasm agrees with Python"),
        (TEXTS[::-1], TEXTS[::-1], TEXTS, "wasm is wrong in the same way"),
        (np.array(["ab", "c"]), TEXTS[::-1], TEXTS, "wasm agrees with Python"),
        (np.array(["x", "y"], object), TEXTS[::-1], TEXTS, "(off by 100% of the error)"),
        (f32(1, 2), TEXTS[::-1], TEXTS, "(dtype float32 instead of str)"),
        # Complex numbers
        (EXPECTED * 1j, WRONG * 1j, EXPECTED * 1j, "wasm agrees with Python"),
        (EXPECTED * -1j, EXPECTED * -1j, EXPECTED * 1j, "wasm is wrong in the same way"),
        (EXPECTED, EXPECTED * 1j, EXPECTED * (1 + 0j), "(dtype float32 instead of complex64)"),
    ],
)
def test_other_result_in_words(value, actual, expected, text):
    found = said(value, actual, expected)
    assert text in found
    assert ("NaN" in found) == ("NaN" in text)
