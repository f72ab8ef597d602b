"""Validation of jobs, and their JSON."""

from __future__ import annotations

import json

import pytest

from pytest_tfjs.browsers.jobs import TimingPlan, job_message
from tests.support.small_jobs import A, job


def test_number_of_activations_of_a_job():
    assert job().taps == 3
    assert job(chunks=()).taps == 0


@pytest.mark.parametrize(
    "changes", [{"feeds": ()}, {"chunks": ((A,), (A,))}, {"chunks": ((A, A),)}, {"chunks": ((A,), ())}]
)
def test_invalid_job_is_rejected(changes):
    with pytest.raises(ValueError, match="a job"):
        job(**changes)


@pytest.mark.parametrize("numbers", [(-1, 1, 1.0), (0, -1, 1.0), (0, 1, -1.0), (0, 1, float("nan"))])
def test_negative_timing_plan_is_rejected(numbers):
    with pytest.raises(ValueError, match="timing plan"):
        TimingPlan(*numbers)


def test_job_to_json():
    message = json.loads(
        json.dumps(job_message(job(timing=TimingPlan(1, 2, 3.5), chunk_limit=9), 4, "http://m"))
    )
    assert message == {
        "job": 4,
        "artifacts": "http://m",
        "format": "graph",
        "feeds": 1,
        "chunks": [
            [
                {"name": "a", "address": {"node": "a:0"}, "alone": None},
                {"name": "b", "address": {"node": "b:0"}, "alone": None},
            ],
            [{"name": "c", "address": {"node": "c:0"}, "alone": None}],
        ],
        "outputs": [],
        "plainRuns": 0,
        "timing": {"warmup": 1, "runs": 2, "budgetMs": 3.5},
        "chunkLimit": 9,
        "alone": False,
    }
    assert job_message(job(), 1, "")["timing"] is None
