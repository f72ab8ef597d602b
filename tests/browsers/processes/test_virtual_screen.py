from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_tfjs.browsers.processes import virtual_screen
from pytest_tfjs.browsers.processes.virtual_screen import has_screen, start_screen
from pytest_tfjs.browsers.processes.workspace import Workspace
from pytest_tfjs.errors import BrowserError
from tests.support.processes import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Linux program's")
needs_server = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")


@pytest.fixture
def workspace():
    made = Workspace()
    yield made
    made.close()


def socket_of(environment):
    return Path(f"/tmp/.X11-unix/X{environment['DISPLAY'][1:]}")


def admits(environment, cookie):
    """Whether the screen accepts a client with this cookie: the first byte of X11's response."""
    name = b"MIT-MAGIC-COOKIE-1" if cookie else b""
    greeting = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
    padded = [part + bytes(-len(part) % 4) for part in (name, cookie)]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(socket_of(environment)))
        client.sendall(greeting + b"".join(padded))
        return client.recv(1) == b"\1"


@needs_server
def test_screen_requires_its_cookie_and_ends_with_the_workspace(workspace):
    environment = start_screen(workspace)
    file = Path(environment["XAUTHORITY"])
    cookie = file.read_bytes()[-16:]
    assert admits(environment, cookie)
    assert not admits(environment, bytes(16))
    assert not admits(environment, b"")
    assert file.stat().st_mode & 0o077 == 0
    workspace.close()
    assert not socket_of(environment).exists()
    assert not workspace.directory.exists()


@needs_server
def test_each_workspace_has_its_own_screen(workspace):
    other = Workspace()
    try:
        first, second = start_screen(workspace), start_screen(other)
        assert first["DISPLAY"] != second["DISPLAY"]
        other.close()
        assert admits(first, Path(first["XAUTHORITY"]).read_bytes()[-16:])
    finally:
        other.close()


@needs_server
def test_screen_ends_with_a_killed_owner():
    script = """
import os
from pytest_tfjs.browsers.processes.workspace import Workspace
from pytest_tfjs.browsers.processes.virtual_screen import start_screen
print(start_screen(Workspace())["DISPLAY"], flush=True)
os._exit(1)
"""
    owner = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    wait_until(lambda: not socket_of({"DISPLAY": owner.stdout.strip()}).exists())


def test_missing_xvfb_error_names_the_remedy(workspace, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrowserError, match=r"Xvfb is not installed .*apt-get install xvfb"):
        start_screen(workspace)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "Xvfb exited with status 1 before it created a screen"),
        ("echo nonsense", "Xvfb exited with status 0 before it created a screen"),
        (
            "echo one >&2; echo 'No displays' >&2; echo >&2; exit 3",
            "Xvfb exited with status 3 before it created a screen: No displays",
        ),
        ("echo 'no fonts' >&2; exec sleep 600", "Xvfb did not create a screen within 2 s: no fonts"),
    ],
)
def test_failing_xvfb_is_reported(workspace, monkeypatch, tmp_path, script, message):
    server = tmp_path / "Xvfb"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    monkeypatch.setattr(virtual_screen, "START_S", 2.0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BrowserError) as caught:
        start_screen(workspace)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_display_is_detected_from_the_environment(monkeypatch, name):
    for each in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(each, raising=False)
    assert not has_screen()
    monkeypatch.setenv(name, "")
    assert not has_screen()
    monkeypatch.setenv(name, ":0")
    assert has_screen()
