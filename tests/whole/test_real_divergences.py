"""Operations that TF.js computes wrongly are blamed and explained among correct layers.

On the backends that compute the operation rightly the same model is close.
"""

from __future__ import annotations

from functools import cache

import pytest

from pytest_tfjs.report.failure_message import failure_message
from tests.support.divergences.among_layers import DIVERGENCES, FEED, save
from tests.support.sizes import slow_except

pytestmark = [pytest.mark.browser, pytest.mark.convert]

QUICK = ("0/0", "maximum with NaN", "exp of 20")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Gives the file of a network, which is saved once."""
    pytest.importorskip("tensorflow")
    return cache(lambda name: save(DIVERGENCES[name], tmp_path_factory.mktemp("models")))


@pytest.mark.tfjs(backends="cpu,wasm,webgl,webgl:f16,webgpu")
@pytest.mark.parametrize("name", slow_except(QUICK, DIVERGENCES))
def test_diverging_node_is_blamed_and_explained(tfjs, tfjs_target, saved, name):
    case, target = DIVERGENCES[name], tfjs_target.backend_variant
    if target not in (*case.wrong, *case.right):
        pytest.skip("other nodes are wrong there too")
    feed = dict(FEED, ids=FEED["ids"] % 700) if "f16" in target or case.right == ("webgl",) else FEED
    comparison = tfjs.compare(saved(name), feed, alone="all")
    rows = {row.layer.name: row.layer for row in comparison.layers}
    assert rows["faulty"].op == case.op
    assert rows["faulty"].coverage == "compared"
    if target in case.right:
        assert (comparison.verdict, comparison.first_divergence) == ("close", ())
        return
    headline, cause = case.wrong[target]
    message = failure_message(comparison)
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ("faulty",)), message
    assert comparison.diagnosis.layer == "faulty"
    assert comparison.diagnosis.kind == ("half range" if target == "webgl:f16" else "kernel")
    first, *rest = message.splitlines()
    assert first.startswith(f"{target} on chrome: 'faulty' diverged first: ")
    assert headline in first
    assert cause in " ".join(" ".join(rest).split())
