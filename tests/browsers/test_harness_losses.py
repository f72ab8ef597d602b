"""Lost, hanging and slow browsers."""

from __future__ import annotations

import logging
import re

import pytest

from pytest_tfjs.browsers import watchdog
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import TimingPlan
from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.browsers.processes.workspace import find_processes
from pytest_tfjs.browsers.targets import Target
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import (
    BrowserLostError,
    JobTimeoutError,
)
from tests.support.harness_pages import assert_runs, graph_job, open_page, script

pytestmark = pytest.mark.browser


LONG = TimingPlan(warmup=0, runs=10**9, budget_ms=1e12)


@pytest.fixture
def page(harness):
    return open_page(harness)


class Trouble:
    """Runs a job and breaks the browser during it."""

    def __init__(self, harness):
        self.harness = harness
        self.backend = "cpu"

    def during_a_job(self, tmp_path, trouble, error, timeout_s=120):
        page = open_page(self.harness, self.backend)
        workspace = self.harness._browser._workspace.directory
        pending = [trouble]

        def on_progress(progress):
            if progress.stage == "warm runs" and pending:
                pending.pop()()

        job = graph_job(tmp_path, timing=LONG)
        with pytest.raises(error) as caught:
            page.run(job, lambda _: None, timeout_s=timeout_s, on_progress=on_progress)
        assert not page.healthy
        assert not workspace.exists()
        assert find_processes(workspace) == set()
        assert_runs(self.harness, tmp_path, self.backend)
        return str(caught.value)


@pytest.fixture
def trouble(harness):
    return Trouble(harness)


def test_crashed_tab_is_a_lost_browser(trouble, tmp_path):
    def crash():
        trouble.harness._browser._driver.get("chrome://crash")

    message = trouble.during_a_job(tmp_path, crash, BrowserLostError)
    assert re.search(
        r"cpu on chrome: the browser was lost while warm runs \d+/1000000000: tab crashed$", message
    )


def test_killed_browser_is_a_lost_browser(trouble, tmp_path):
    def kill():
        trouble.harness._browser._process.kill()

    message = trouble.during_a_job(tmp_path, kill, BrowserLostError)
    assert "its process has ended" in message


def test_frozen_page_is_a_lost_browser(trouble, tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENT_S", 4.0)

    def freeze():
        for process in find_processes(trouble.harness._browser._workspace.directory):
            if "--type=renderer" in process.cmdline():
                process.suspend()

    assert "the page has not responded for" in trouble.during_a_job(tmp_path, freeze, BrowserLostError)


def test_busy_main_thread_reaches_the_timeout(trouble, tmp_path):
    def hang():
        script(trouble.harness, "setTimeout(() => { for (;;); })")

    message = trouble.during_a_job(tmp_path, hang, JobTimeoutError, timeout_s=8)
    assert re.search(
        r"timed out after 8 s while warm runs \d+/1000000000; the page's main thread has been busy for",
        message,
    )
    assert "--tfjs-timeout" in message


def test_long_job_reaches_the_timeout(trouble, tmp_path):
    message = trouble.during_a_job(tmp_path, lambda: None, JobTimeoutError, timeout_s=4)
    assert "timed out after 4 s while warm runs" in message


def test_lost_webgl_context_fails_the_job(trouble, tmp_path):
    trouble.backend = "webgl"
    lose = "tf.backend().gpgpu.gl.getExtension('WEBGL_lose_context').loseContext()"
    message = trouble.during_a_job(tmp_path, lambda: script(trouble.harness, lose), BrowserLostError)
    assert re.search(r"the browser was lost while .*: the page's WebGL context was lost \(the GPU", message)


def test_driver_message_is_shown_without_the_token():
    harness = Harness(dist=Dist.shipped())
    try:
        message = f"Reached error page: {harness.server.url}/page/index.html?page=1"
        error = harness.lose(Target("firefox", "cpu"), Progress("opening a page"), message)
    finally:
        harness.close()
    assert str(error).endswith("while opening a page: Reached error page: …/page/index.html?page=1")


def test_driver_log_has_no_token(harness, caplog):
    open_page(harness, "wasm")
    with caplog.at_level(logging.DEBUG):
        open_page(harness, "cpu")
    assert "selenium.webdriver" in caplog.text
    assert harness.server.url.rpartition("/")[2] not in caplog.text


def test_closed_harness_leaves_no_process_or_file(tmp_path):
    harness = Harness(dist=Dist.shipped())
    harness.close()
    assert_runs(harness, tmp_path)
    workspace = harness._browser._workspace.directory
    harness.close()
    harness.close()
    assert not workspace.exists()
    assert find_processes(workspace) == set()
    assert_runs(harness, tmp_path)
    harness.close()


def test_page_that_failed_between_jobs_is_replaced(harness, page, tmp_path):
    channel = page._channel
    channel.add_events(
        channel._events, [{"type": "failed", "reason": "the server answered 500", "fatal": True}]
    )
    assert not page.healthy
    assert harness.open(page.target) is not page
    assert_runs(harness, tmp_path)
