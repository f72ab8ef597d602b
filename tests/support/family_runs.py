"""Compares model families on any target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fixtures.families import FAMILIES
from pytest_tfjs import TfjsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from fixtures.family import Case
    from pytest_tfjs import Comparison

# In groups for `--dist loadgroup`, by family: a model is built and converted by the worker that compares it.
GROUPS = 4
_GROUP = {name: f"families-{index % GROUPS}" for index, name in enumerate(FAMILIES)}


def parameters(cases: Iterable[Case], quick: Collection[str] = ()) -> list[Any]:
    """The cases as parameters of a test, each in its group; those not named in `quick` are slow."""
    return [
        pytest.param(
            case,
            id=str(case),
            marks=[
                pytest.mark.xdist_group(_GROUP[case.family.name]),
                *([] if str(case) in quick else [pytest.mark.slow]),
            ],
        )
        for case in cases
    ]


def assert_close(tfjs: Any, model: Path, case: Case) -> Comparison:
    """The comparison of a case, which is close with every layer accounted for."""
    comparison: Comparison = tfjs.assert_close(model, case.family.inputs(), format=case.format)
    assert comparison.format == case.format
    assert set(comparison.observation.checked) == set(comparison.outputs)
    assert comparison.observation.cause is None
    rows = comparison.layers
    assert {row.layer.coverage for row in rows} <= {"compared", "fused", "eliminated"}
    assert all(row.layer.into for row in rows if row.layer.coverage == "fused")
    assert all(row.layer.reason for row in rows if row.layer.coverage == "eliminated")
    compared = [row for row in rows if row.layer.coverage == "compared"]
    outputs = {row.layer.name for row in rows if row.layer.output}
    assert {row.layer.name for row in compared} >= outputs != set()
    assert sum(row.metrics.elements for row in compared if row.metrics is not None) > 0
    return comparison


def failure_of(tfjs: Any, model: Path, case: Case) -> str:
    """The error message of a case that does not run; empty for one that does."""
    try:
        comparison = tfjs.compare(model, case.family.inputs(), format=case.format)
    except TfjsError as error:
        return str(error)
    return comparison.reason or ""
