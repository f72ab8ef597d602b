"""Short texts for coverage and verdicts."""

from __future__ import annotations

from pytest_tfjs.report.labels import coverage_text
from tests.support.comparisons import layer
from tests.support.reported_comparisons import CHAIN, reported


def test_coverage_text_counts_each_reason():
    away = [
        layer(f"e{n}", coverage="eliminated", reason=r)
        for n, r in enumerate(["identity"] * 2 + ["constant: x"])
    ]
    lost = [layer("u", coverage="unmapped", reason="gone")]
    found = coverage_text(reported((*CHAIN[:3], *away, *lost), {})["layers"])
    assert found == "compared 2, fused 1, eliminated 3: identity 2, constant 1, unmapped 1"
    assert coverage_text([]) == "no layers"
