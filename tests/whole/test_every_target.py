"""The model families are close on every target, as docs/targets.md says."""

from __future__ import annotations

import pytest

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.browsers.launching.local import has_gpu
from pytest_tfjs.browsers.targets import BACKENDS as ALL_BACKENDS
from pytest_tfjs.browsers.targets import VARIANTS as ALL_VARIANTS
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.errors import TargetUnavailableError
from tests.support.family_runs import assert_close, failure_of, parameters
from tests.support.family_targets import (
    BACKENDS,
    BROWSERS,
    ONE_OF_EACH,
    QUICK_ON_WEBGPU,
    QUICK_ONE_OF_EACH,
    QUICK_VARIED,
    SMALL,
    UNAVAILABLE,
    VARIANTS,
    VARIED,
    targets,
)
from tools import targets_table as table


def require(browser):
    if not ENGINES[browser].is_found():
        pytest.skip(f"{browser} is not installed: sh scripts/setup.sh browsers")


def _hold(tfjs, target, case, saved_family):
    require(target.browser)
    gap = case.gap(target.backend, target.browser)
    if gap is None:
        assert_close(tfjs, saved_family(case), case)
    else:
        assert gap.is_told(failure_of(tfjs, saved_family(case), case))


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="firefox,webkitgtk", backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", parameters(ONE_OF_EACH, QUICK_ONE_OF_EACH))
def test_every_family_is_close_on_other_browsers(tfjs, tfjs_target, case, saved_family):
    _hold(tfjs, tfjs_target, case, saved_family)


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers="chrome", backends="webgpu")
@pytest.mark.parametrize("case", parameters(SMALL, QUICK_ON_WEBGPU))
def test_every_family_is_close_on_webgpu(tfjs, tfjs_target, case, saved_family):
    _hold(tfjs, tfjs_target, case, saved_family)


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(browsers=BROWSERS, backends=VARIANTS)
@pytest.mark.parametrize("case", parameters(VARIED, QUICK_VARIED))
def test_every_family_is_close_on_the_variants(tfjs, tfjs_target, case, saved_family):
    _hold(tfjs, tfjs_target, case, saved_family)


@pytest.mark.browser
@pytest.mark.skipif(has_gpu(), reason="with a GPU these targets may be there")
@pytest.mark.parametrize("path", UNAVAILABLE)
def test_unavailable_target_says_why(tfjs_harness, path):
    browser, _, backend = path.partition("/")
    (target,) = parse_targets([browser], [backend])
    require(browser)
    with pytest.raises(TargetUnavailableError, match=UNAVAILABLE[path]):
        tfjs_harness.open(target)


def test_every_backend_and_variant_runs():
    assert set(BACKENDS) == set(ALL_BACKENDS)
    named = {f"{backend}:{name}" for backend, variants in ALL_VARIANTS.items() for name in variants}
    assert set(VARIANTS) == named


def test_targets_page_has_a_row_for_each_target():
    """If this fails, run `make targets`."""
    rows = {(row.browser, row.backend): (row.models, row.close) for row in table.read()}
    expected = {}
    for browser, backend, cases in targets():
        close = [case for case in cases if case.gap(backend.partition(":")[0], browser) is None]
        expected[browser, backend] = (len(cases), len(close))
    assert rows == expected
