"""Runs pytest on a project in a separate process, and reads the result of each test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import psutil

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMIT_S = 240.0
TINY_X = [[1, 2, 3], [0.5, 0.25, 4]]
"""What the tiny models of conftest.py are fed."""

TINY_CONFTEST = f"""
from pathlib import Path
import numpy as np
import pytest

@pytest.fixture
def x():
    return np.array({TINY_X}, np.float32)

@pytest.fixture
def models():
    return Path(@MODELS@)
"""
"""The conftest of a project that gives the tiny models: `x`, the feed, and `models`, their folder."""


@dataclass(frozen=True)
class Case:
    """One test: `failure` is its traceback as pytest shows it, `message` the line of the summary."""

    outcome: str
    message: str = ""
    failure: str = ""
    output: str = ""
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def error_lines(self) -> list[str]:
        """The lines of the error itself, without pytest's mark before them."""
        return [line[1:].strip() for line in self.failure.splitlines() if line.startswith("E  ")]


@dataclass(frozen=True)
class InnerRun:
    code: int
    text: str
    cases: dict[str, Case]
    results: dict[str, Any]

    def section(self, title: str) -> list[str]:
        """The lines of the terminal under a heading `=== title ===`."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("==") and line.strip("= ") == title:
                break
        found = []
        for line in lines:
            if line.startswith("=="):
                break
            found.append(line)
        return found


class Project:
    """A folder with tests; what is derived from its models is cached beside them."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder = folder
        self.models = models
        self.cache = models / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pytest.ini").write_text("[pytest]\n")
        # Chrome does not start where the path of its socket, in a temporary folder, is over 107 bytes.
        self.scratch = Path(tempfile.mkdtemp(prefix="tfjs-"))

    def write(self, **files: str) -> None:
        """Modules by name: `write(test_a="def test(): pass")`."""
        for name, content in files.items():
            (self.folder / f"{name}.py").write_text(content.replace("@MODELS@", repr(str(self.models))))

    def command(self, *arguments: str) -> list[str]:
        cache = ("-o", f"cache_dir={self.cache}")
        return [sys.executable, "-m", "pytest", f"--basetemp={self.folder / 'base'}", *cache, *arguments]

    def environment(self, **changes: str) -> dict[str, str]:
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))
        }
        # Other plugins take a second to load, in each process of each run.
        plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_tfjs.plugin,xdist.plugin"}
        own = {"COLUMNS": "160", "PY_COLORS": "0", "TMPDIR": str(self.scratch)}
        return {**outer, **plugins, **own, **changes}

    def with_helpers(self) -> dict[str, str]:
        """What the environment needs for its tests to import modules beside this one."""
        here = str(ROOT)
        return {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, limit_s: float = LIMIT_S
    ) -> InnerRun:
        """Runs pytest to its end."""
        xml, results = self.folder / "junit.xml", self.folder / "results.json"
        finished = subprocess.run(
            self.command(f"--junitxml={xml}", f"--tfjs-json={results}", *arguments),
            cwd=self.folder,
            env=self.environment(**(environment or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            timeout=limit_s,
            check=False,
            start_new_session=True,  # signals to its process group stay there
        )
        return InnerRun(finished.returncode, finished.stdout, _cases(xml), _results(results))

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Starts pytest; kills it at the end of the context if it still runs."""
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def left_behind(self) -> list[str]:
        """Temporary files of its runs, and processes that name them."""
        mark = str(self.scratch)
        found = [path.name for path in self.scratch.iterdir()]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if any(mark in word for word in [*process.cmdline(), *process.environ().values()]):
                    found.append(f"{process.pid} {process.name()}")
        return found

    def wait_until_nothing_is_left(self, limit_s: float = 60.0) -> None:
        """Waits for the cleanup after a process that was killed."""
        deadline = time.monotonic() + limit_s
        while left := self.left_behind():
            if time.monotonic() > deadline:
                raise AssertionError(f"still there after {limit_s:g} s: {left}")
            time.sleep(0.1)


def _cases(xml: Path) -> dict[str, Case]:
    if not xml.exists():
        return {}
    return {case.get("name", ""): _case(case) for case in ET.parse(xml).iter("testcase")}


def _case(case: ET.Element) -> Case:
    wrong = case.find("failure") if case.find("failure") is not None else case.find("error")
    properties = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
    output = "\n".join(one.text or "" for tag in ("system-out", "system-err") for one in case.iter(tag))
    if wrong is None:
        return Case("passed", properties=properties, output=output)
    return Case(wrong.tag, wrong.get("message", ""), wrong.text or "", output, properties)


def _results(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no strict JSON")

    return json.loads(path.read_text(), parse_constant=refuse) if path.exists() else {}
