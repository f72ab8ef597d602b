"""webgpu computes correctly and reports its errors, also on a software adapter."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job
from pytest_tfjs.browsers.launching.local import has_gpu
from pytest_tfjs.errors import PageError
from tests.support.page_jobs import node_tap, open_page, tap
from tests.support.tiny_graphs import constant, dense_graph, dtype_attribute, node, placeholder, write_graph
from tests.support.tiny_models import X

pytestmark = pytest.mark.browser


@pytest.fixture
def page(harness):
    return open_page(harness, "webgpu")


def script(harness, text):
    return harness._browser._driver.execute_script(text)


def small_graph(folder, nodes, weights=None, shape=(2, 3)):
    """A model from `x` to the node `out`."""
    return write_graph(
        folder,
        [placeholder("serving_x", *shape), *nodes],
        weights or {},
        inputs={"x": "serving_x:0"},
        outputs={"y": "out:0"},
    )


def padded(folder):
    """A Pad of rank 5, for which TF.js 4.22 writes an invalid shader."""
    sides = np.array([[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]], np.int32)
    nodes = [constant("sides", sides), node("Pad", "out", "serving_x", "sides")]
    return small_graph(folder, nodes, {"sides": sides}, shape=(1, 2, 2, 2, 1))


FIVE = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2, 1)


def test_adapter_and_software_rendering_are_reported(page):
    facts = page.facts
    assert (facts.backend, facts.flags) == ("webgpu", {})
    assert facts.renderer not in (None, "unknown")
    if not has_gpu():
        assert (facts.renderer, facts.software) == ("google swiftshader", True)
    assert facts.float32_textures is None


def test_shape_arithmetic_reads_tensors_synchronously(harness, page, tmp_path):
    """TF.js reads through a canvas, which loses the device without the right browser arguments."""
    low = np.array([3, 1], np.int32)
    nodes = [
        constant("low", low),
        constant("lower", low - 1),
        node("Maximum", "shape", "low", "lower", T=dtype_attribute("int32")),
        node("Reshape", "flat", "serving_x", "whole"),
        constant("whole", np.array([6], np.int32)),
        constant("half", np.array([3], np.int32)),
        node("Slice", "first", "flat", "start", "half"),
        constant("start", np.array([0], np.int32)),
        node("Reshape", "out", "first", "shape"),
    ]
    weights = {
        "low": low,
        "lower": low - 1,
        "whole": np.array([6], np.int32),
        "half": np.array([3], np.int32),
        "start": np.array([0], np.int32),
    }
    tensors = tap(page, small_graph(tmp_path, nodes, weights), "graph", {"x": X}, node_tap("out"))
    np.testing.assert_array_equal(tensors["out"], X.reshape(-1)[:3].reshape(3, 1))
    assert page.healthy


def test_invalid_shader_fails_only_its_job(harness, page, tmp_path):
    """The shader does not run, so its buffer holds old data."""
    job = Job(padded(tmp_path / "padded"), "graph", ({"x": FIVE},), ((node_tap("out"),),))
    for _ in range(2):
        page = open_page(harness, "webgpu")
        with pytest.raises(PageError, match=r"the GPU refused.*WGSL.*cannot index") as caught:
            page.run(job, lambda _: None)
        assert caught.value.refused
        assert "CreateShaderModule" in caught.value.stack
    after = tap(open_page(harness, "webgpu"), dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))
    assert after["relu"].shape == (2, 2)


@pytest.mark.parametrize(
    "lose",
    [
        lambda harness: script(harness, "tf.backend().device.destroy()"),
        lambda harness: harness._browser._driver.execute_cdp_cmd("Browser.crashGpuProcess", {}),
    ],
    ids=["destroyed", "crash"],
)
def test_lost_device_is_reported_and_the_next_job_runs(harness, page, tmp_path, lose):
    lose(harness)
    with pytest.raises(
        PageError, match=r"webgpu on chrome: the browser was lost while .*: the page's GPU device was lost"
    ) as caught:
        page.run(Job(dense_graph(tmp_path), "graph", ({"x": X},), ((node_tap("relu"),),)), lambda _: None)
    assert not caught.value.refused
    assert not page.healthy
    tensors = tap(open_page(harness, "webgpu"), dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))
    assert tensors["relu"].any()
