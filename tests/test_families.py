"""Every layer of every model family is accounted for and close on every backend, and the table says so."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from benchmarks import families as table
from fixtures.applications import APPLICATIONS
from fixtures.families import FAMILIES, cases
from fixtures.family import BACKENDS
from pytest_tfjs import TfjsError

# In groups for `--dist loadgroup`, by family: a model is built and converted by the worker that compares it.
GROUPS = 4
CASES = cases()

# In plain JavaScript each of these takes minutes, together half of the time of all: `make models` does them.
SLOW = {family.name for family in APPLICATIONS} - {"mobilenetv2", "mobilenetv3small"}
ALL = os.environ.get(table.WHICH) == "all"


_GROUP = {name: f"families-{index % GROUPS}" for index, name in enumerate(FAMILIES)}
PARAMETERS = [
    pytest.param(case, id=str(case), marks=pytest.mark.xdist_group(_GROUP[case.family.name]))
    for case in CASES
]


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Gives a case's model as a file, built once: later backends find what was derived of it in the cache."""
    made = {}

    def save(case):
        key = (case.family.name, case.keras)
        if key not in made:
            made[key] = case.family.save(case.keras, tmp_path_factory.mktemp(case.family.name))
        return made[key]

    return save


@pytest.fixture(scope="session")
def found():
    """The comparisons of this run, by case and backend."""
    return {}


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", PARAMETERS)
def test_every_layer_is_accounted_for_and_close(tfjs, tfjs_target, case, saved, found):
    feed = case.family.inputs()
    gap = case.gap(tfjs_target.backend)
    if gap is not None:
        assert gap.message in _failure(tfjs, saved(case), feed, case.format)
        return
    if tfjs_target.backend == "cpu" and case.family.name in SLOW and not ALL:
        pytest.skip(f"it takes minutes there: `make models` runs it, and {table.WHICH}=all")
    comparison = tfjs.assert_close(saved(case), feed, format=case.format)
    found[case, tfjs_target.backend] = comparison
    assert comparison.format == case.format
    assert set(comparison.observation.checked) == set(comparison.outputs)
    assert comparison.observation.cause is None
    rows = comparison.layers
    assert {row.layer.coverage for row in rows} <= {"compared", "fused", "eliminated"}
    assert all(row.layer.into for row in rows if row.layer.coverage == "fused")
    assert all(row.layer.reason for row in rows if row.layer.coverage == "eliminated")
    compared = [row for row in rows if row.layer.coverage == "compared"]
    assert (
        {row.layer.name for row in compared} >= {row.layer.name for row in rows if row.layer.output} != set()
    )
    assert sum(row.metrics.elements for row in compared) > 0


def _failure(tfjs, model, feed, format_):
    """What is said where a model does not run; nothing where it does."""
    try:
        comparison = tfjs.compare(model, feed, format=format_)
    except TfjsError as error:
        return str(error)
    return comparison.reason or ""


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", PARAMETERS)
def test_the_table_tells_what_was_found(tfjs_target, case, found):
    if case.gap(tfjs_target.backend) is not None:
        pytest.skip("it does not run there, as the table says")
    if (case, tfjs_target.backend) not in found:
        pytest.skip("the comparison did not run, or failed")
    comparison = found[case, tfjs_target.backend]
    counts = Counter(row.layer.coverage for row in comparison.layers)
    told = {row.case: row for row in table.read()}[str(case)]
    assert told.counts == tuple(counts[name] for name in ("compared", "fused", "eliminated")), (
        "run `make models`"
    )
    assert told.verdicts[tfjs_target.backend] == comparison.verdict


def test_the_table_has_a_row_for_each_case_that_runs_and_a_reason_for_each_that_does_not():
    """Run `make models` where it has not."""
    assert {row.case: tuple(row.verdicts) for row in table.read()} == {
        str(case): case.backends for case in CASES if case.backends
    }
    told = table.PAGE.read_text(encoding="utf-8")
    gaps = [case.gap(backend) for case in CASES for backend in BACKENDS if backend not in case.backends]
    assert all(gap.reason in told for gap in gaps)


def test_each_family_says_what_it_covers_and_what_builds_it():
    for family in FAMILIES.values():
        assert family.covers
        assert set(family.keras) <= {2, 3}
        assert {feed.shape for feed in family.inputs().values()}
