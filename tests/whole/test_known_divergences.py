"""Each row of docs/known-divergences.md is found, blamed and explained as it says."""

from __future__ import annotations

import re
from functools import cache

import pytest

from pytest_tfjs.report.failure_message import failure_message
from tests.support.divergences.case import save
from tests.support.divergences.table import KNOWN, SECTIONS
from tests.support.sizes import slow_except
from tools import divergences_table as table

QUICK = ("bool of a float", "relu of -Inf", "asinh", "boxes at the threshold")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Gives the file of a case's model, which is saved once."""
    pytest.importorskip("tensorflow")
    return cache(lambda name: save(KNOWN[name], tmp_path_factory.mktemp("models")))


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(backends="cpu,wasm,webgl,webgl:f16,webgpu")
@pytest.mark.parametrize("name", slow_except(QUICK, KNOWN))
def test_divergence_is_blamed_and_explained(tfjs, tfjs_target, request, saved, name):
    case, target = KNOWN[name], tfjs_target.backend_variant
    if target not in (case.wrong[:1] if table.TESTS.is_writing() else (*case.wrong, *case.right)):
        pytest.skip("the page says nothing of this target")
    comparison = tfjs.compare(saved(name), case.arrays, format=case.format, alone="all", allow_vacuous="*")
    if target in case.right:
        assert (comparison.verdict, comparison.first_divergence) == ("close", ()), failure_message(comparison)
        return
    message = failure_message(comparison)
    assert comparison.verdict == "diverged", message
    assert case.blamed in message.splitlines()[0], message
    assert comparison.first_divergence == (case.blamed,), message
    assert comparison.diagnosis.layer == case.blamed, message
    assert comparison.diagnosis.kind in case.kinds, message
    if target == case.wrong[0]:
        row = _row(name, _said(comparison))
        request.node.user_properties.append(table.TESTS.user_property(row))
        if not table.TESTS.is_writing():
            assert row.masked in [one.masked for one in table.read()], "run `make divergences`"


def test_page_has_exactly_the_rows_of_these_tests():
    said = {row.key: row.said for row in table.read()}
    rows = [_row(name, "") for name in KNOWN]
    rows = [_row(name, said.get(row.key, "")) for name, row in zip(KNOWN, rows, strict=True)]
    assert table.PAGE.read_text(encoding="utf-8") == table.page(rows), "run `make divergences`"


def _row(name, said):
    case = KNOWN[name]
    section = next(one for one, cases in SECTIONS.items() if name in cases)
    return table.Row(
        section=section,
        operation=case.operation,
        when=case.when,
        result=case.result,
        targets=", ".join(case.wrong),
        said=said,
        instead=case.instead,
        source=case.source,
    )


def _said(comparison):
    """The first line without the target, and the cause."""
    line = failure_message(comparison).splitlines()[0].partition(" on chrome: ")[2]
    line = re.sub(r" \((output '.*'; )?made there, not passed on\)$", "", line)
    return f"{line}; {comparison.diagnosis.said}"
