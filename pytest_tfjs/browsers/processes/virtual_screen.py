"""Starts a virtual screen for browsers that need one, if the machine has none."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import select
import shutil
import struct
import subprocess
import time
from typing import TYPE_CHECKING

from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from pytest_tfjs.browsers.processes.workspace import Workspace

SERVER = "Xvfb"
START_S = 20.0
END_S = 1.0
NO_SCREEN = "there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set)"
_ANY_ADDRESS = 0xFFFF
_PROTOCOL = b"MIT-MAGIC-COOKIE-1"


def has_screen() -> bool:
    """Whether programs can show windows; assumed on systems other than Linux."""
    return platform.system() != "Linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def can_make_screen() -> bool:
    """Whether the program for virtual screens is installed."""
    return shutil.which(SERVER) is not None


def start_screen(workspace: Workspace) -> dict[str, str]:
    """Start a virtual screen in the workspace; gives the environment variables for programs that use it.

    Only users who can read the workspace can connect to the screen. Raises BrowserError if it does not start.
    """
    server = shutil.which(SERVER)
    if server is None:
        raise BrowserError(
            f"{NO_SCREEN}, and {SERVER} is not installed (Debian and Ubuntu: 'apt-get install xvfb')"
        )
    cookie = workspace.directory / "screen"
    cookie.touch(mode=0o600)
    cookie.write_bytes(_entry(secrets.token_bytes(16)))
    # The server picks a free display number, and writes it to file descriptor 1 when it is ready.
    options = ("-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp", "-auth", str(cookie))
    complaints = workspace.directory / "screen.log"
    started = workspace.start([server, *options], complaints)
    assert started.stdout is not None
    number = _first_line(started.stdout)
    if not number.isdigit():
        raise BrowserError(f"{SERVER} {_trouble(started)}{_last_line(complaints)}")
    return {"DISPLAY": f":{number}", "XAUTHORITY": str(cookie)}


def _entry(cookie: bytes) -> bytes:
    """The one entry of an Xauthority file, for every address and every display number."""
    fields = (b"", b"", _PROTOCOL, cookie)
    return struct.pack(">H", _ANY_ADDRESS) + b"".join(struct.pack(">H", len(f)) + f for f in fields)


def _trouble(server: subprocess.Popen[bytes]) -> str:
    """Why no screen was created, in words."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        # Its output ends a moment before the process.
        return f"exited with status {server.wait(END_S)} before it created a screen"
    return f"did not create a screen within {START_S:g} s"


def _last_line(complaints: Path) -> str:
    lines = complaints.read_bytes().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""


def _first_line(stream: IO[bytes]) -> str:
    """The stream's first line; only a part of it if the stream ends first, or after START_S."""
    deadline = time.monotonic() + START_S
    line = b""
    while b"\n" not in line:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(stream.fileno(), 100) if ready else b""
        if not more:
            break
        line += more
    return line.decode(errors="replace").strip()
