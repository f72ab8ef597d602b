"""The same tests pass through a real Selenium Grid, and none is lost when a node dies."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.settings.addresses import local_address_towards, parse_remote
from tests.support.selenium_grid import BROWSERS, QUEUE_S, Grid, free_ports, missing_requirements, wait_for
from tests.support.tls_proxy import tls_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.inner_runs import InnerRun, Project

# In one worker of pytest-xdist, so that the Grid is started once.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.grid,
    pytest.mark.xdist_group("grid"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

# As root, Chrome needs --no-sandbox; on a Grid the user must set it.
ASKED = {"goog:chromeOptions": {"args": ["--no-sandbox"]}, "acceptInsecureCerts": True}

TESTS = """
import pytest
from pytest_tfjs import Prebuilt

def test_layers(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)

def test_graph(tfjs, models, x): tfjs.assert_close(models / "tiny.keras", x)

def test_damaged(tfjs, models, x): tfjs.assert_close(Prebuilt(models / "damaged", models / "tiny.h5"), x)
"""

THREADS = """
def test_threads(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)
"""

KILLING = """
import psutil
import pytest
from tests.support.selenium_grid import node_of

NODES = {nodes!r}
URL = {url!r}

def kill(trouble):
    session = trouble.browser._driver.session_id
    node = psutil.Process(NODES[node_of(URL, session)])
    for process in [*node.children(recursive=True), node]:
        process.kill()

def test_before(tfjs, models, x): tfjs.assert_close(models / "tiny.h5", x)

def test_killed(tfjs, trouble, models, x):
    first = trouble.browser and trouble.browser._driver.session_id
    trouble(kill)
    comparison = tfjs.assert_close(models / "tiny.h5", x)
    assert "its session ended" in comparison.retried
    assert trouble.browser._driver.session_id != first

def test_after(tfjs, models, x): tfjs.assert_close(models / "tiny.keras", x)
"""

WAITING = """
import time

def test_long(tfjs, models, x):
    tfjs.target
    open({ready!r}, "w").close()
    tfjs.time(models / "layers", x, runs=10**9)
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Grid]:
    missing = missing_requirements()
    if missing:
        pytest.fail(
            f"these tests need {', '.join(missing)}; leave them out with -m 'not grid'", pytrace=False
        )
    grid = Grid()
    yield grid
    grid.close()


@pytest.fixture
def grid(running: Grid) -> Iterator[Grid]:
    """The Grid with both nodes; all its sessions must have ended when the test does."""
    running.start_nodes()
    yield running
    wait_for(lambda: not running.used())


@pytest.fixture(scope="module")
def project(tiny_project: Callable[[str], Project]) -> Project:
    made = tiny_project("grid")
    (made.folder / "asked.json").write_text(json.dumps(ASKED))
    made.write(test_models=TESTS, test_threads=THREADS)
    return made


def through(project: Project, grid: Grid, *arguments: str, **environment: str) -> InnerRun:
    there = (f"--tfjs-remote={grid.url}", "--tfjs-capabilities=asked.json")
    return project.run(*there, *arguments, environment=environment)


def verdicts(run: InnerRun) -> list[tuple[str, str, str]]:
    comparisons = run.results["comparisons"]
    return sorted((one["test"], one["verdict"], ",".join(one["first_divergence"])) for one in comparisons)


@contextlib.contextmanager
def sessions(grid: Grid, count: int) -> Iterator[None]:
    """Occupies the Grid's Chrome slots."""
    options = LaunchOptions(remote=parse_remote(grid.url), capabilities=ASKED)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.callback(launch("chrome", options).close)
        assert len(set(grid.used())) == count
        yield


def started(project: Project, grid: Grid, *arguments: str):
    """A run in the background."""
    there = (f"--tfjs-remote={grid.url}", "--tfjs-capabilities=asked.json", "--tfjs-backends=cpu")
    return project.started(*there, *arguments)


def outward() -> str:
    """An address of this machine that browsers treat as remote."""
    return local_address_towards("192.0.2.1", 9) or "127.0.0.1"


def test_tests_pass_through_a_grid_in_each_browser(project, grid):
    given = ("test_models.py", f"--tfjs-browsers={','.join(BROWSERS)}", "--tfjs-backends=cpu,wasm")
    here = project.run(*given, "-p", "no:xdist")
    there = through(project, grid, *given, "-p", "no:xdist")
    assert verdicts(there) == verdicts(here)
    assert len(verdicts(there)) == 6 * len(BROWSERS)
    assert [verdict for _, verdict, _ in verdicts(there)].count("close") == 4 * len(BROWSERS)
    assert there.code == here.code == pytest.ExitCode.TESTS_FAILED
    targets = [one["target"] for one in there.results["comparisons"]]
    assert {target["browser"] for target in targets} == set(BROWSERS)
    assert all(target["browser_version"][0].isdigit() for target in targets)
    assert f"remote {grid.url} (command line)" in there.text
    assert project.left_behind() == []


@pytest.mark.slow
def test_each_worker_gets_a_browser_of_the_grid(project, grid):
    run = through(project, grid, "test_models.py", "--tfjs-backends=cpu,wasm", "-n2", "--dist=load")
    assert [verdict for _, verdict, _ in verdicts(run)].count("close") == 4
    assert len(verdicts(run)) == 6
    assert project.left_behind() == []


@pytest.mark.slow
def test_killed_node_fails_no_test(project, grid):
    project.write(test_killing=KILLING.format(nodes=grid.pids(), url=grid.url))
    killing = ("test_killing.py", "--tfjs-backends=wasm", "-p", "tests.support.fault_plugin")
    run = through(project, grid, *killing, **project.with_helpers())
    assert run.code == pytest.ExitCode.OK, run.text
    assert [case.outcome for case in run.cases.values()] == ["passed"] * 3
    retried = [one["retried"] for one in run.results["comparisons"]]
    assert retried[0] is retried[2] is None
    assert "the browser was lost while loading model: its session ended: " in retried[1]


@pytest.mark.slow
def test_plain_http_page_on_another_host_is_a_secure_context(project, grid):
    """Threads need a secure context and shared memory, which needs cross-origin isolation."""
    given = ("test_threads.py", f"--tfjs-browsers={','.join(BROWSERS)}", "--tfjs-backends=wasm:threads")
    run = through(project, grid, *given, "--tfjs-strict-targets", "--tfjs-bind=0.0.0.0")
    assert run.code == pytest.ExitCode.OK, run.text
    assert len(run.results["comparisons"]) == len(BROWSERS)
    assert f"reached at http://{outward()}" in run.text


@pytest.mark.slow
def test_tls_proxy_page_is_cross_origin_isolated_with_secure_sockets(project, grid, tmp_path):
    port, inner = free_ports(2)
    host = outward()
    with tls_proxy(tmp_path, host, port, ("127.0.0.2", inner)) as lines:
        bound = (f"--tfjs-bind=127.0.0.2:{inner}", f"--tfjs-public-url=https://{host}:{port}/a/path")
        given = ("test_threads.py", f"--tfjs-browsers={','.join(BROWSERS)}", "--tfjs-backends=wasm:threads")
        run = through(project, grid, *given, "--tfjs-strict-targets", *bound)
    assert run.code == pytest.ExitCode.OK, run.text
    assert len(run.results["comparisons"]) == len(BROWSERS)
    assert all(line.split()[1].startswith(b"/a/path/") for line in lines)
    assert any(b"/uploads/" in line for line in lines)


@pytest.mark.slow
def test_busy_grid_error_lists_request_and_nodes(project, grid):
    with sessions(grid, 2):
        run = through(project, grid, "test_threads.py", "--tfjs-backends=cpu")
    message = run.cases["test_threads[chrome-cpu]"].failure
    assert f"{grid.url} did not start a session with Chrome or Chromium: " in message
    assert "timed out" in message, message
    assert "Requested: browserName chrome; also set: " in message
    assert "goog:chromeOptions" in message
    assert "no-sandbox" not in message  # user capabilities may contain a key
    for node in grid.pids():
        line = next(line for line in message.splitlines() if f"{node}: " in line)
        assert "1 × chrome linux (1 in use)" in line


def test_stopped_run_leaves_no_session(project, grid, tmp_path):
    ready = tmp_path / "ready"
    project.write(test_waiting=WAITING.format(ready=str(ready)))
    with started(project, grid, "test_waiting.py") as process:
        wait_for(ready.exists)
        assert len(grid.used()) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
    wait_for(lambda: not grid.used(), 10)


@pytest.mark.slow
def test_run_stopped_while_queued_leaves_no_session(project, grid):
    with sessions(grid, 2), started(project, grid, "test_threads.py") as process:
        wait_for(grid.queue)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        # The Grid forgets the request in its own time; a browser that were free by then would be given to it.
        wait_for(lambda: not grid.queue(), 3 * QUEUE_S)
    wait_for(lambda: not grid.used(), 10)
