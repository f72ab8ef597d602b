from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfjs.timing import Timing

RUNS = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


def timing(*warm: float) -> Timing:
    return Timing(load_ms=120.0, first_ms=80.0, warm_ms=warm)


def test_a_timing_without_warm_runs_has_no_statistics():
    assert (timing().median_ms, timing().p95_ms) == (None, None)


@pytest.mark.parametrize(("warm", "median"), [((3,), 3), ((1, 9), 5), ((9, 1, 2), 2)])
def test_the_median(warm, median):
    assert timing(*warm).median_ms == median


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (40, 38), (100, 95)]
)
def test_the_95th_percentile_is_a_measured_run(count, rank):
    assert timing(*range(count, 0, -1)).p95_ms == rank


@given(RUNS)
@settings(deadline=None)
def test_at_most_5_percent_of_runs_are_slower_than_the_percentile(warm):
    found = timing(*warm).p95_ms
    assert found in warm
    assert sum(run <= found for run in warm) * 100 >= 95 * len(warm)
    assert sum(run < found for run in warm) * 100 < 95 * len(warm)
    assert found >= statistics.median(warm) or math.isclose(found, statistics.median(warm))
