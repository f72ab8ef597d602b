"""Every installed browser runs jobs, reports its loss and leaves no process or file."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.launching.local import has_gpu
from pytest_tfjs.browsers.processes.workspace import find_processes
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import BrowserError
from tests.support.page_jobs import layer_tap, node_tap, open_page, run, tap
from tests.support.paths import ROOT
from tests.support.processes import running, wait_until
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import DENSE, RELU, X

pytestmark = pytest.mark.browser

TESTED = ("chrome", "firefox", "webkitgtk")
# The argument that marks a browser's content process.
CONTENT = {"chrome": "--type=renderer", "firefox": "tab", "webkitgtk": "WebKitWebProcess"}
BUSY = "data:text/html,<title>busy</title><script>onload=()=>{setTimeout(()=>{for(;;);})}</script>"
# Ends without closing the browser, as a killed owner would.
OWNER = """
import os, sys
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.processes.workspace import find_processes
from tests.browsers.engines.test_engine import display_sockets
browser = launch(sys.argv[1], LaunchOptions())
browser.open("data:text/html,hello")
folder = browser._workspace.directory
print(folder, *display_sockets(browser))
print(*(process.pid for process in find_processes(folder)), flush=True)
os._exit(1)
"""


def is_here(name):
    if not ENGINES[name].is_found():
        pytest.skip(f"{name} is not installed: sh scripts/setup.sh browsers")
    return name


@pytest.fixture(params=TESTED)
def name(request):
    return is_here(request.param)


@pytest.fixture
def browser(name, temporary):
    started = launch(name, LaunchOptions())
    yield started
    started.close()


@pytest.fixture(scope="module", params=[name for name in TESTED if name != "chrome"])
def other(request):
    """A browser other than Chrome, which test_harness.py covers, and its harness."""
    harness = Harness(dist=Dist.shipped())
    yield is_here(request.param), harness
    harness.close()


def display_sockets(browser):
    """The sockets of its virtual screen outside the workspace; none without a screen."""
    display = psutil.Process(browser._driver.service.process.pid).environ().get("DISPLAY")
    if display == os.environ.get("DISPLAY"):
        return []
    return [Path(f"/tmp/.X11-unix/X{display[1:]}")]


def content(browser):
    """The content processes."""
    found = []
    for process in find_processes(browser._workspace.directory):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
            if any(word.endswith(CONTENT[browser.name]) for word in process.cmdline()):
                found.append(process)
    return found


def used(process):
    """The CPU seconds of a process."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cpu_times().user
    return 0.0


def has_title(browser, title):
    from selenium.common import WebDriverException

    try:
        return browser._driver.title == title
    except WebDriverException:  # the page is being replaced
        return False


def test_closed_browser_leaves_no_process_or_file(browser, temporary):
    driver = browser._driver
    assert ENGINES[browser.name].name == browser.name
    assert browser.version[0].isdigit()
    assert browser.alive()
    for title in "abc":
        former = driver.current_window_handle
        browser.open(f"data:text/html,<title>{title}</title>")
        wait_until(lambda title=title: has_title(browser, title))
        assert driver.window_handles == [driver.current_window_handle] != [former]
    assert browser.trouble() is None
    assert content(browser) != []
    program = psutil.Process(driver.service.process.pid)
    # Browsers start processes ahead of need, also between the two calls.
    wait_until(lambda: set(program.children(recursive=True)) <= find_processes(browser._workspace.directory))
    found = find_processes(browser._workspace.directory)
    screen = display_sockets(browser)
    assert all(path.exists() for path in screen)
    browser.close()
    assert not any(running(process.pid) for process in found)
    assert not browser.alive()
    assert list(temporary.iterdir()) == []
    assert not any(path.exists() for path in screen)
    browser.close()
    assert find_processes(temporary) == set()


def test_opening_a_page_does_not_wait_for_it(browser):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        browser.open(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert browser.trouble() is None


def test_busy_page_is_replaced_by_the_next(browser):
    browser.open(BUSY)
    pages = content(browser)
    before = max(map(used, pages))
    wait_until(lambda: max(map(used, pages)) > before + 0.2)
    assert browser.trouble() is None
    browser.open("data:text/html,<title>next</title>")
    assert len(browser._driver.window_handles) == 1
    wait_until(lambda: has_title(browser, "next"))


def test_crashed_tab_is_detected(browser):
    browser.open("data:text/html,<title>hello</title>")
    wait_until(lambda: has_title(browser, "hello"))
    for process in content(browser):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not browser.alive() or browser.trouble() is not None)


def test_killed_browser_is_detected_and_leaves_nothing(browser, temporary):
    browser._process.kill()
    wait_until(lambda: not browser.alive())
    with pytest.raises(BrowserError):
        browser.open("data:text/html,hello")
    browser.close()
    assert find_processes(temporary) == set()


@pytest.mark.skipif(sys.platform == "win32", reason="the folder is given to TMPDIR")
def test_browser_ends_with_its_owner_process(name):
    command = [sys.executable, "-c", OWNER, name]
    owner = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert owner.returncode == 1, owner.stderr
    paths, pids = (line.split() for line in owner.stdout.splitlines())
    assert len(pids) > 2
    wait_until(lambda: not any(Path(path).exists() for path in paths))
    wait_until(lambda: not any(running(int(pid)) for pid in pids))


def test_virtual_screen_is_started_only_without_a_display(monkeypatch, temporary):
    is_here("firefox")
    monkeypatch.setenv("DISPLAY", ":12345")
    browser = launch("firefox", LaunchOptions())
    try:
        assert "Xvfb" not in {process.name() for process in find_processes(temporary)}
    finally:
        browser.close()


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
def test_each_backend_returns_all_layers_in_both_formats(other, backend, tmp_path):
    name, harness = other
    page = open_page(harness, backend, name)
    facts = page.facts
    assert (facts.browser, facts.backend, facts.tfjs_version) == (name, backend, Dist.shipped().version)
    assert facts.browser_version[0].isdigit()
    assert "Chrome" not in facts.user_agent
    assert (facts.renderer is not None) == (facts.float32_textures is not None) == (backend == "webgl")
    tensors = tap(
        page, dense_model(tmp_path / "l"), "layers", {"x": X}, *map(layer_tap, ("x", "dense", "relu"))
    )
    np.testing.assert_allclose(tensors["x"], X)
    np.testing.assert_allclose(tensors["dense"], DENSE)
    np.testing.assert_allclose(tensors["relu"], RELU)
    names = ("serving_x", "product:0", "sum", "Identity:0")
    tensors = tap(page, dense_graph(tmp_path / "g"), "graph", {"x": X}, *map(node_tap, names))
    assert set(tensors) == set(names)
    np.testing.assert_allclose(tensors["sum"], DENSE)
    np.testing.assert_allclose(tensors["Identity:0"], RELU)
    plan = TimingPlan(warmup=1, runs=3, budget_ms=60_000)
    timed, _ = run(page, Job(dense_graph(tmp_path / "g"), "graph", ({"x": X},), ((node_tap("relu"),),), plan))
    assert len(timed.warm_ms) == 3
    assert timed.memory["numTensors"] == timed.memory["numTensorsBefore"]
    assert list(page.errors) == []


@pytest.mark.parametrize(
    ("backend", "flag", "value"),
    [
        ("webgl:f16", "WEBGL_FORCE_F16_TEXTURES", True),
        ("webgl:unpacked", "WEBGL_PACK", False),
        ("wasm:plain", "WASM_HAS_SIMD_SUPPORT", False),
        ("wasm:threads", "WASM_HAS_MULTITHREAD_SUPPORT", True),
    ],
)
def test_variants_run_with_their_flags(other, backend, flag, value, tmp_path):
    name, harness = other
    page = open_page(harness, backend, name)
    assert page.facts.flags[flag] is value
    np.testing.assert_allclose(
        tap(page, dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))["relu"], RELU
    )


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_renderer_without_a_gpu_is_reported_as_software(other):
    name, harness = other
    facts = open_page(harness, "webgl", name).facts
    assert facts.software is True
    assert facts.float32_textures is True
    assert facts.renderer == "hidden by the browser" if name == "webkitgtk" else "llvmpipe" in facts.renderer


TESTS = """
from pytest_tfjs import Prebuilt

def test_close(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)
def test_graph(tfjs, models, x): tfjs.assert_close(models / "tiny.keras", x)
def test_damaged(tfjs, models, x): tfjs.assert_close(Prebuilt(models / "damaged", models / "tiny.h5"), x)
"""


@pytest.mark.convert
@pytest.mark.parametrize("backends", ["wasm", pytest.param("wasm,webgl", marks=pytest.mark.slow)])
def test_run_over_all_browsers_has_a_verdict_for_each(tiny_project, backends):
    project = tiny_project("engines")
    project.write(test_model=TESTS)
    names = [is_here(name) for name in TESTED]
    inner_run = project.run(f"--tfjs-browsers={','.join(names)}", f"--tfjs-backends={backends}")
    verdicts = {one["test"].partition("::")[2]: one["verdict"] for one in inner_run.results["comparisons"]}
    expected = {"test_close": "close", "test_graph": "close", "test_damaged": "diverged"}
    assert verdicts == {
        f"{test}[{name}-{backend}]": verdict
        for test, verdict in expected.items()
        for name in names
        for backend in backends.split(",")
    }, inner_run.text
    for one in inner_run.results["comparisons"]:
        coverage = {layer["name"]: layer["coverage"] for layer in one["layers"]}
        assert list(coverage.values()).count("compared") >= 2, coverage
        assert set(coverage.values()) <= {"compared", "fused", "eliminated"}, coverage
        assert one["first_divergence"] == (["scores"] if one["verdict"] == "diverged" else [])
    assert project.left_behind() == []
