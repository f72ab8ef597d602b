"""MobileNetV2 at full size is close on every backend, with all layers accounted for."""

from __future__ import annotations

import re

import pytest

import fixtures
from pytest_tfjs import NotClose

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.slow,
    pytest.mark.tfjs(backends="webgl,wasm,cpu", rtol=1e-3, atol=1e-4),
]


@pytest.fixture(scope="session")
def mobilenet(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mobilenet_v2.keras"
    fixtures.build("mobilenet_v2", 2).save(path)
    return path


@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_every_layer_is_accounted_for_and_close(tfjs, mobilenet, format_):
    comparison = tfjs.assert_close(mobilenet, fixtures.inputs("mobilenet_v2"), format=format_)
    assert comparison.format == format_
    rows = [result.layer for result in comparison.layers]
    assert {row.coverage for row in rows} <= {"compared", "fused", "eliminated"}
    assert all(row.reason for row in rows if row.coverage == "eliminated")
    assert all(row.into for row in rows if row.coverage == "fused")
    # 52 convolutions and a dense layer; every other layer is fused into one or has its own row.
    assert len([row for row in rows if row.coverage == "compared"]) >= 53
    assert {row.name for row in rows if row.output} == set(comparison.outputs) != set()


@pytest.mark.tfjs(backends="wasm", rtol=1e-5, atol=1e-6)
@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_too_small_tolerance_suggests_a_larger_one(tfjs, mobilenet, format_):
    feed = fixtures.inputs("mobilenet_v2")
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(mobilenet, feed, format=format_)
    comparison = failure.value.comparison
    assert comparison.verdict == "diverged"
    assert comparison.first_divergence
    message = " ".join(str(failure.value).split())
    needed = max(float(number) for number in re.findall(r"atol=(\S+) would let", message))
    assert 1e-6 < needed < 1e-4
    tfjs.assert_close(mobilenet, feed, format=format_, atol=needed)
