"""Every layer of every model family is close on every backend, as docs/models.md says."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from fixtures.families import FAMILIES, cases
from fixtures.family import BACKENDS
from tests.support.family_runs import assert_close, failure_of, parameters
from tests.support.family_targets import QUICK, is_quick
from tools import models_table as table

CASES = cases()

ALL = os.environ.get(table.WHICH) == "all"


@pytest.fixture(scope="session")
def found():
    """The comparisons of this run, by case and backend."""
    return {}


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="chrome", backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", parameters(CASES, QUICK))
def test_every_layer_is_accounted_for_and_close(tfjs, tfjs_target, case, saved_family, found):
    if not (is_quick(case, tfjs_target.backend) or ALL):
        pytest.skip(f"it takes long: `make models` runs it, and {table.WHICH}=all")
    gap = case.gap(tfjs_target.backend)
    if gap is not None:
        assert gap.is_told(failure_of(tfjs, saved_family(case), case))
        return
    found[case, tfjs_target.backend] = assert_close(tfjs, saved_family(case), case)


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="chrome", backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", parameters(CASES, QUICK))
def test_models_table_matches_the_results(tfjs_target, case, found):
    if case.gap(tfjs_target.backend) is not None:
        pytest.skip("it does not run there, as the table says")
    if (case, tfjs_target.backend) not in found:
        pytest.skip("the comparison did not run, or failed")
    comparison = found[case, tfjs_target.backend]
    counts = Counter(row.layer.coverage for row in comparison.layers)
    expected = {row.case: row for row in table.read()}[str(case)]
    assert expected.counts == tuple(counts[name] for name in ("compared", "fused", "eliminated")), (
        "run `make models`"
    )
    assert expected.verdicts[tfjs_target.backend] == comparison.verdict


def test_models_table_covers_every_case():
    """If this fails, run `make models`."""
    assert {row.case: tuple(row.verdicts) for row in table.read()} == {
        str(case): case.backends for case in CASES if case.backends
    }
    page = table.PAGE.read_text(encoding="utf-8")
    gaps = [case.gap(backend) for case in CASES for backend in BACKENDS if backend not in case.backends]
    assert all(gap.reason in page for gap in gaps)


def test_each_family_has_a_description_and_a_builder():
    for family in FAMILIES.values():
        assert family.covers
        assert set(family.keras) <= {2, 3}
        assert {feed.shape for feed in family.inputs().values()}
