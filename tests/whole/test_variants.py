"""Each variant runs as its name says: half precision, unpacked, SIMD, threads."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.browsers import harness as module
from pytest_tfjs.browsers.targets import Target
from pytest_tfjs.errors import PageError, TargetUnavailableError
from tests.support.page_jobs import node_tap, open_page, tap
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_models import RELU, X

pytestmark = pytest.mark.browser


def script(harness, text):
    return harness._browser._driver.execute_script(text)


THREADS_THAT_WORK = """
const { wasm } = tf.backend();
const x = tf.randomUniform([1, 64, 64, 32]), kernel = tf.randomUniform([3, 3, 32, 32]);
for (let run = 0; run < 20; run++) tf.conv2d(x, kernel, 1, "same").dataSync();
const memory = wasm.HEAPU8.buffer.constructor.name;
return [memory, tf.wasm.getThreadsCount(), wasm.PThread?.runningWorkers.length ?? 0];
"""


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("wasm", ("ArrayBuffer", 1, 0)),
        ("wasm:plain", ("ArrayBuffer", 1, 0)),
        ("wasm:simd", ("ArrayBuffer", 1, 0)),
        ("wasm:threads", ("SharedArrayBuffer", 2, 1)),
    ],
)
def test_only_threads_share_memory_with_workers(harness, tmp_path, backend, expected):
    page = open_page(harness, backend)
    tensors = tap(page, dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))
    np.testing.assert_allclose(tensors["relu"], RELU)
    memory, threads, workers = script(harness, THREADS_THAT_WORK)
    assert memory == expected[0]
    if memory == "ArrayBuffer":
        assert (threads, workers) == expected[1:]
    else:
        assert threads >= expected[1]
        assert workers == threads - 1  # the page's own thread takes part


FILES = "return performance.getEntriesByType('resource').map(({ name }) => name.split('/').pop())"


@pytest.mark.parametrize(
    ("backend", "file"),
    [
        ("wasm:plain", "tfjs-backend-wasm.wasm"),
        ("wasm:simd", "tfjs-backend-wasm-simd.wasm"),
        ("wasm:threads", "tfjs-backend-wasm-threaded-simd.wasm"),
    ],
)
def test_each_variant_loads_its_own_wasm(harness, backend, file):
    open_page(harness, backend)
    assert [name for name in script(harness, FILES) if name.endswith(".wasm")] == [file]


@pytest.mark.parametrize(("backend", "packed"), [("webgl", True), ("webgl:unpacked", False)])
def test_unpacked_variant_packs_no_textures(harness, backend, packed):
    open_page(harness, backend)
    made = "const sum = tf.add(tf.ones([8, 8]), 1); sum.dataSync(); const { texData } = tf.backend();"
    assert script(harness, f"{made} return texData.get(tf.relu(sum).dataId).isPacked === true") is packed


def test_threads_without_simd_are_rejected(harness):
    flags = (("WASM_HAS_SIMD_SUPPORT", False), ("WASM_HAS_MULTITHREAD_SUPPORT", True))
    with pytest.raises(PageError, match="WASM_HAS_MULTITHREAD_SUPPORT is false, but true was requested"):
        harness.open(Target("chrome", "wasm", "odd", flags))


def test_flag_that_disables_float32_textures_is_blamed(harness):
    target = Target("chrome", "webgl", "nof32", (("WEBGL_RENDER_FLOAT32_CAPABLE", False),))
    with pytest.raises(PageError, match="the flag WEBGL_RENDER_FLOAT32_CAPABLE=false leaves") as caught:
        harness.open(target)
    assert not isinstance(caught.value, TargetUnavailableError)


def test_lost_backend_is_not_reported_as_unavailable(harness):
    target = open_page(harness, "cpu").target
    with pytest.raises(module.BrowserLostError, match=r"although .* was available earlier in this run"):
        harness.give_up(target, "there is none")
    assert open_page(harness, "cpu").healthy
