"""Starts a Selenium Grid on loopback: a hub and two nodes, each with Chrome and Firefox."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.browsers.launching.grid_status import GridStatus, grid_status
from pytest_tfjs.browsers.processes.workspace import Workspace
from pytest_tfjs.settings.addresses import parse_remote
from tests.support.paths import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

LIB = TESTS / "grid" / "lib"
LIMIT_S = 90.0
# Includes the browser's start, which is slow on a busy machine.
QUEUE_S = 20
# A Java that starts quickly rather than runs fast.
JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")
BROWSERS = {
    name: (ENGINES[name].programs, ENGINES[name].driver_program, key)
    for name, key in {"chrome": "goog:chromeOptions", "firefox": "moz:firefoxOptions"}.items()
    if name in ENGINES
}


class Grid:
    """A Grid that starts when created; `close` ends it and its browsers."""

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            port, *self._bus = free_ports(3)
            self.url = f"http://127.0.0.1:{port}"
            self._start(
                "hub", port, "--session-request-timeout", QUEUE_S, "--session-request-timeout-period", 1
            )
            self.start_nodes()
        except BaseException:
            self.close()
            raise

    def start_nodes(self) -> None:
        """Restore two running, registered nodes."""
        while len(self.pids()) < 2:
            (port,) = free_ports(1)
            node = self._start(
                "node", port, "--config", self._config(), "--hub", self.url, "--register-cycle", 1
            )
            self._nodes[f"http://127.0.0.1:{port}"] = node
        wait_for(lambda: self.pids().keys() <= {slot.node for slot in self.status().slots if slot.up})

    def status(self) -> GridStatus:
        """The hub's status; no slots while it starts."""
        return grid_status(parse_remote(self.url)) or GridStatus(())

    def used(self) -> list[str]:
        """The nodes that have sessions and run."""
        return [slot.node for slot in self.status().slots if slot.busy and slot.node in self.pids()]

    def queue(self) -> list[Any]:
        """The requests for sessions that wait."""
        with urllib.request.urlopen(f"{self.url}/se/grid/newsessionqueue/queue", timeout=30) as answer:
            waiting: list[Any] = json.load(answer)["value"]
            return waiting

    def pids(self) -> dict[str, int]:
        """The process of each node that runs."""
        return {uri: node.pid for uri, node in self._nodes.items() if node.poll() is None}

    def close(self) -> None:
        """End the hub, the nodes and their browsers."""
        self._workspace.close()

    def _start(self, role: str, port: int, *arguments: Any) -> subprocess.Popen[bytes]:
        publish, subscribe = (f"tcp://127.0.0.1:{one}" for one in self._bus)
        own = (
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--publish-events",
            publish,
            "--subscribe-events",
            subscribe,
        )
        command = ["java", *JAVA, "-cp", f"{LIB}/*", "org.openqa.selenium.grid.Bootstrap", role]
        with (self._workspace.directory / f"{role}-{port}.log").open("wb") as log:
            return subprocess.Popen(
                [*command, *map(str, (*own, "--tracing", "false", *arguments))],
                env=self._workspace.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _config(self) -> Path:
        path = self._workspace.directory / "node.toml"
        lines = ["[node]", "detect-drivers = false", "max-sessions = 2", "override-max-sessions = true"]
        for name, (programs, driver, key) in BROWSERS.items():
            binary = next(filter(None, map(shutil.which, programs)))
            stereotype = json.dumps({"browserName": name, key: {"binary": binary}})
            lines += ["[[node.driver-configuration]]", f'display-name = "{name}"', "max-sessions = 1"]
            lines += [f'webdriver-executable = "{shutil.which(driver)}"', f"stereotype = '{stereotype}'"]
        path.write_text("\n".join(lines))
        return path


def missing_requirements() -> list[str]:
    """The missing requirements of a Grid."""
    programs = [programs[0] for programs, _, _ in BROWSERS.values() if not any(map(shutil.which, programs))]
    drivers = [driver for _, driver, _ in BROWSERS.values()]
    others = [name for name in ("java", *drivers) if shutil.which(name) is None]
    jars = [] if any(LIB.glob("selenium-grid-*.jar")) else ["tests/grid/lib (sh scripts/setup.sh grid)"]
    return [*jars, *programs, *others]


def free_ports(count: int) -> list[int]:
    """Free ports."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


def wait_for(holds: Callable[[], T], seconds: float = LIMIT_S) -> T:
    """The value of `holds` once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)
    return found


def node_of(url: str, session: str) -> str:
    """The node that has a session."""
    with urllib.request.urlopen(f"{url}/status", timeout=30) as answer:
        nodes = json.load(answer)["value"]["nodes"]
    return next(
        node["uri"]
        for node in nodes
        for slot in node["slots"]
        if (slot["session"] or {}).get("sessionId") == session
    )
