"""The faults of docs/faults.md, each caused in its own run of pytest."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.inner_runs import InnerRun, Project

Outcome = Literal["repeated", "passes", "fails", "the run ends"]

TESTS = """
import pytest
from tests.support.fault_plugin import *
from pytest_tfjs import Prebuilt

@pytest.fixture(scope="session")
def tfjs_browser_args():
    return @ARGUMENTS@

def test_before(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)

@pytest.mark.tfjs(@MARKER@)
def test_with_fault(tfjs, trouble, models, x):
    @BODY@

def test_after(tfjs, models, x):
    tfjs.assert_close(models / "tiny.h5", x)
"""
COMPARE = 'tfjs.assert_close(models / "tiny.h5", x)'
IN_A_JOB = ", during a job"


@dataclass(frozen=True)
class Fault:
    """One fault: its name, its cause in words, the test `body` that causes it, and the test's outcome.

    `fresh`: whether the test after the fault has to run in another browser than the test before it.
    """

    name: str
    caused: str
    body: str
    outcome: Outcome
    browser: str = "chrome"
    backend: str = "cpu"
    marker: str = ""
    arguments: tuple[str, ...] = ()
    fresh: bool = True

    def __str__(self) -> str:
        return f"{self.browser}-{self.name.replace(' ', '_')}"

    def tests(self) -> str:
        """The tests of a project in which it happens."""
        body = self.body if "tfjs.assert_close" in self.body else f"{self.body}\n{COMPARE}"
        text = TESTS.replace("@BODY@", body.replace("\n", "\n    "))
        text = text.replace("@MARKER@", self.marker).replace("@ARGUMENTS@", repr(self.arguments))
        return text.replace("@BROWSER@", self.browser)


def _of_browsers(browser: str) -> tuple[Fault, ...]:
    """Faults that can happen in any browser."""
    return (
        Fault(
            "browser killed",
            f"SIGKILL to the browser{IN_A_JOB}",
            "trouble(Trouble.kill_browser)",
            "repeated",
            browser,
        ),
        Fault(
            "tab crashed",
            f"SIGKILL to the process of the page{IN_A_JOB}",
            "trouble(Trouble.crash_tab)",
            "repeated",
            browser,
        ),
        Fault(
            "driver killed",
            "SIGKILL to the driver, before a page is opened",
            "tfjs.target\ntrouble.new_page()\ntrouble.kill_driver()",
            "repeated",
            browser,
        ),
        Fault(
            "page hung",
            f"an endless loop in the page{IN_A_JOB}",
            "trouble(lambda _: None, hold=LOOP)",
            "fails",
            browser,
            marker="timeout=10",
        ),
    )


DISK_FULL = Fault(
    "disk full",
    "the file system of the cache is full",
    "trouble.fill()\n"
    "try:\n"
    '    tfjs.assert_close(models / "tiny.h5", x, weights="float16")\n'
    "finally:\n"
    "    trouble.free()",
    "fails",
    fresh=False,
)
SLEEP = Fault(
    "machine asleep",
    "SIGSTOP to pytest, driver and browser for a minute, during a job that may take 30 s",
    f"trouble(lambda trouble: trouble.sleep(60), hold=LATE)\n{COMPARE}",
    "passes",
    marker="timeout=30",
    fresh=False,
)
_STAGES = (
    (
        "converting",
        "a model is converted",
        f'trouble.at("converting", interrupt)\n{COMPARE[:-1]}, weights="float16")',
    ),
    (
        "reference",
        "Python computes the reference",
        f'trouble.at("computing the reference", interrupt)\n{COMPARE[:-2]}[x, 2 * x, 3 * x])',
    ),
    (
        "browser",
        "the browser starts",
        f'trouble.new_browser()\ntrouble.at("starting @BROWSER@", lambda: interrupt(0.1))\n{COMPARE}',
    ),
    (
        "page",
        "the page opens",
        f'trouble.new_page()\ntrouble.at("opening a page for cpu", interrupt)\n{COMPARE}',
    ),
    ("job", "a job is in the page", f"trouble(lambda _: interrupt())\n{COMPARE}"),
    (
        "diagnosing",
        "the plugin looks for the cause of a divergence",
        'trouble.at("looking for the cause", interrupt)\n'
        + COMPARE.replace('models / "tiny.h5"', 'Prebuilt(models / "damaged", models / "tiny.h5")'),
    ),
    ("report", "the results are written", f"interrupt_report()\n{COMPARE}"),
)
IN_A_BROWSER = ("browser", "job")


def _interrupted(stage: str, when: str, body: str, browser: str = "chrome") -> Fault:
    caused = f"SIGINT to the terminal's processes while {when}"
    return Fault(f"Ctrl-C, {stage}", caused, body, "the run ends", browser)


FAULTS = (
    *_of_browsers("chrome"),
    *_of_browsers("firefox"),
    *_of_browsers("webkitgtk"),
    Fault(
        "WebGL context lost",
        f"`WEBGL_lose_context`{IN_A_JOB}",
        "trouble(Trouble.lose_context)",
        "repeated",
        backend="webgl",
    ),
    Fault(
        "GPU reset",
        f"SIGKILL to the browser's GPU process{IN_A_JOB}",
        "trouble(Trouble.kill_gpu)",
        "repeated",
        backend="webgl",
    ),
    Fault(
        "GPU device lost",
        "SIGKILL to the browser's GPU process, during a job on webgpu",
        "trouble(Trouble.kill_gpu)",
        "repeated",
        backend="webgpu",
    ),
    Fault(
        "page out of memory",
        "the page allocates all memory, in the second browser too",
        "trouble(lambda _: None, times=2, hold=FILL)",
        "fails",
        arguments=("--js-flags=--max-old-space-size=64",),
    ),
    Fault(
        "server gone",
        f"the server's port and connections are closed{IN_A_JOB}",
        "trouble(Trouble.close_server)",
        "fails",
        fresh=False,
    ),
    Fault(
        "shard truncated",
        "the last byte of a shard is cut off after the conversion",
        f'trouble.spoil(models / "tiny.h5", lambda shard: shard[:-1])\n{COMPARE}',
        "fails",
        fresh=False,
    ),
    Fault(
        "shard changed",
        "the bytes of a shard change after the conversion, its length does not",
        f'trouble.spoil(models / "tiny.h5", lambda shard: shard[4:] + shard[:4])\n{COMPARE}',
        "fails",
        fresh=False,
    ),
    *(_interrupted(*stage) for stage in _STAGES),
    *(
        _interrupted(*stage, browser)
        for browser in ("firefox", "webkitgtk")
        for stage in _STAGES
        if stage[0] in IN_A_BROWSER
    ),
)


def run_of(fault: Fault, project: Project) -> InnerRun:
    """Causes the fault in its own run of pytest."""
    project.write(test_model=fault.tests())
    arguments = ("-p", "tests.support.fault_plugin", "--tfjs-timeout=60", f"--tfjs-browsers={fault.browser}")
    return project.run(*arguments, f"--tfjs-backends={fault.backend}", environment=project.with_helpers())


def remains(project: Project, run: InnerRun) -> Iterator[str]:
    """Leftovers of a run: processes, ports, temporary files, locks, sessions of the cache, half files."""
    yield from project.left_behind()
    for address in {case.properties["server"] for case in run.cases.values() if "server" in case.properties}:
        parts = urlsplit(address)
        with socket.socket() as probe:
            if probe.connect_ex((parts.hostname, parts.port)) == 0:
                yield f"the port of {address}"
    yield from map(str, project.folder.rglob("*.tmp"))
    root = project.cache / "d" / "tfjs"
    yield from map(str, (root / "sessions").glob("*"))
    yield from (f"{path}, held" for path in (root / "locks").glob("*.lock") if _is_held(path))


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def seen(run: InnerRun) -> str:
    """The message to the user: how a browser was lost, the failure's first line, or how the run ended."""
    case = next((case for name, case in run.cases.items() if name.startswith("test_with_fault")), None)
    if case is not None and case.outcome == "passed" and run.code == 0:
        return case.properties.get("tfjs_retried", "nothing")
    if case is not None and case.message:
        return re.sub(r"^pytest_tfjs\.(\w+\.)*\w+: ", "", case.message.splitlines()[0])
    lines = run.text.splitlines()
    unwritten = [line for line in lines if line.startswith("--tfjs-json=") and "not written" in line]
    interrupted = [line.strip("! ") for line in lines if line.startswith("!!!")]
    passed = lines[-1].strip("= ").partition(" in ")[0]
    return "; ".join([*unwritten, *interrupted, passed])
