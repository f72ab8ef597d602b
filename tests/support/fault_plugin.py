"""A pytest plugin: the fixture `trouble` breaks browsers, servers and files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_tfjs.browsers.harness import Page
from pytest_tfjs.browsers.processes.workspace import find_processes
from pytest_tfjs.report import json_report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from pytest_tfjs.browsers.harness import Harness

LOAD = "tf.loadGraphModel = tf.loadLayersModel = "
HOLD = f"{LOAD}() => new Promise(() => {{}})"
"""Makes the page wait forever while it builds a model, so a fault hits it there."""

LOOP = f"{LOAD}() => {{ for (;;); }}"
FILL = f"{LOAD}() => {{ for (const kept = [];;) kept.push(Array.from({{length: 1e5}}, () => ({{}}))); }}"
LOSE_CONTEXT = "tf.backend().gpgpu.gl.getExtension('WEBGL_lose_context').loseContext()"
LATE = """
const load = tf.loadLayersModel;
tf.loadLayersModel = async (...source) => {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return load(...source);
};
"""

PAGES = ("--type=renderer", "tab", "WebKitWebProces", "WebKitWebProcess")
"""Arguments or names of content processes in Chrome, Firefox and WebKit (truncated by Linux)."""

SLEEP = """
import os, signal, sys, time
seconds, *processes = map(float, sys.argv[1:])
for process in processes:
    os.kill(int(process), signal.SIGSTOP)
time.sleep(seconds)
for process in reversed(processes):
    os.kill(int(process), signal.SIGCONT)
"""


class Trouble:
    """Breaks something during a job, once or in several browsers, or at another stage."""

    def __init__(self, tfjs: Any, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tfjs = tfjs
        self.harness = harness
        self._monkeypatch = monkeypatch
        self._left: list[Callable[[Trouble], object]] = []

    def __call__(self, cause: Callable[[Trouble], object], *, times: int = 1, hold: str = HOLD) -> None:
        """`cause` is called while a job is in the page, which `hold` keeps there; so for `times` jobs."""
        self._left = [cause] * times
        self.before_the_job(lambda: self.script(hold) if self._left else None)
        self.at("loading model", lambda: self._left.pop()(self) if self._left else None)

    def at(self, stage: str, cause: Callable[[], object]) -> None:
        """`cause` is called each time that a stage of this name begins."""
        context = self.tfjs._context

        def on_progress(progress: Any) -> None:
            context.progress(progress)
            if progress.stage == stage:
                cause()

        self._monkeypatch.setattr(self.tfjs, "_context", replace(context, progress=on_progress))

    def before_the_job(self, cause: Callable[[], object]) -> None:
        """`cause` is called when all that Python does is done, and the page is there."""
        run = Page.run

        def troubled(page: Page, *arguments: Any, **limits: Any) -> Any:
            cause()
            return run(page, *arguments, **limits)

        self._monkeypatch.setattr(Page, "run", troubled)

    @property
    def browser(self) -> Any:
        """The current browser."""
        return self.harness._browser

    @property
    def _driver(self) -> Any:
        return self.browser._driver

    def script(self, text: str) -> Any:
        """Runs JavaScript in the page, from outside of it."""
        return self._driver.execute_script(text)

    def kill_browser(self) -> None:
        """Kills it as the system does where memory is short."""
        driver = self._driver.service.process.pid
        for process in psutil.Process(driver).children():
            process.kill()

    def kill_driver(self) -> None:
        """Kills only the driver."""
        self._driver.service.process.kill()

    def crash_tab(self) -> None:
        """Kills the page's own process, as the system does where memory is short."""
        self._signal(PAGES, signal.SIGKILL)

    def lose_context(self) -> None:
        """Makes WebGL lose its context."""
        self.script(LOSE_CONTEXT)

    def kill_gpu(self) -> None:
        """Kills the process that draws and computes on the GPU."""
        self._signal({"--type=gpu-process"}, signal.SIGKILL)

    def _signal(self, words: Collection[str], signum: int) -> None:
        """To the browser's processes that have one of these as program or argument."""
        for process in find_processes(self.browser._workspace.directory):
            with contextlib.suppress(psutil.Error):  # it ended with another
                if {process.name(), *process.cmdline()} & set(words):
                    process.send_signal(signum)

    def close_server(self) -> None:
        """Closes the server's port and all connections to it."""
        server = self.harness._server
        assert server is not None
        assert server._uvicorn is not None
        assert server._thread is not None
        server._uvicorn.should_exit = server._uvicorn.force_exit = True
        server._thread.join()

    def sleep(self, seconds: float) -> None:
        """Stops pytest, the driver and the browser for so long, as a machine does that sleeps."""
        us = psutil.Process()
        processes = [us.pid, *(child.pid for child in us.children(recursive=True))]
        words = [str(number) for number in (seconds, *processes)]
        subprocess.Popen([sys.executable, "-c", SLEEP, *words], start_new_session=True)

    def spoil(self, model: Path, change: Callable[[bytes], bytes]) -> None:
        """Changes the shard of a converted model when all that Python does is done."""
        (shard,) = self.tfjs.convert(model).model_json.parent.glob("*.bin")
        self.before_the_job(lambda: shard.write_bytes(change(shard.read_bytes())))
        self.new_page()

    def fill(self) -> None:
        """Fills the file system of the cache."""
        with self._filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """Frees the space again."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return Path(self.tfjs._context.cache.root) / "filler"

    def new_page(self) -> None:
        """Makes the next job open a new page."""
        if self.harness._page is not None:
            self.harness._page.close()

    def new_browser(self) -> None:
        """Makes the next job start a new browser."""
        self.harness.discard_browser()


def interrupt(after_s: float = 0.0) -> None:
    """Ctrl-C in a terminal: the signal comes to all of its processes, and while they are at work."""
    threading.Timer(after_s, os.killpg, (os.getpgrp(), signal.SIGINT)).start()


def interrupt_report() -> None:
    """Ctrl-C when the results are being written."""
    write = json_report.write_json

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*arguments)

    json_report.write_json = interrupted  # type: ignore[assignment]


@pytest.fixture
def trouble(tfjs: object, tfjs_harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Breaks things while `tfjs` works."""
    return Trouble(tfjs, tfjs_harness, monkeypatch)


@pytest.fixture(autouse=True)
def _record_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """The JUnit file tells of each test on which browser and server it ended."""
    yield
    if "tfjs_harness" not in request.fixturenames:
        return
    harness = request.getfixturevalue("tfjs_harness")
    browser, server = harness._browser, harness._server
    workspace = getattr(browser, "_workspace", None)  # a browser of a Grid has none
    folder: Path | None = workspace and workspace.directory
    found = {"browser": folder and folder.name, "server": server and server._socket and server.url}
    request.node.user_properties.extend((name, str(value)) for name, value in found.items() if value)
