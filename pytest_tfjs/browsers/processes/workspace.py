"""Groups the processes and temporary files of one browser, and removes them together."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psutil

MARK = "PYTEST_TFJS_WORKSPACE"
KILL_S = 5.0
LOOK_AGAIN_S = 0.01
# Chrome makes a socket in its temporary folder, 46 characters deeper; macOS allows 104 for its whole path.
TEMPORARY_LIMIT = 58
# Names of programs that have files outside the folder, which they remove where they are asked to end.
CLEANS_UP = ("Xvfb",)


class Workspace:
    """A temporary folder, and all processes started with `environment()`.

    `close` kills what is left of them and removes the folder. Should this process die without closing,
    whatever the cause, a small process that waits for it (reaper.py) does the same.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pytest-tfjs-"))
        self._known: set[psutil.Process] = set()
        self._started: list[subprocess.Popen[bytes]] = []
        try:
            self._reaper = _start_reaper(self.directory)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def environment(self) -> dict[str, str]:
        """The environment for a process of this workspace: it bears the mark, and hands it down.

        Its temporary files go into the folder, as browser and driver leave some behind where they are killed.
        """
        folder = str(self.directory)
        temporary = {name: folder for name in ("TMPDIR", "TEMP", "TMP") if len(folder) <= TEMPORARY_LIMIT}
        return {**os.environ, MARK: folder, **temporary}

    def start(self, command: Sequence[str], complaints: Path) -> subprocess.Popen[bytes]:
        """Start a process of this workspace; what it says is on its `stdout`, its stderr in that file."""
        with complaints.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def remember(self) -> None:
        """Take note of the processes that there are: when one is gone, its children cannot be told by it."""
        self._known |= find_processes(self.directory)

    def close(self) -> None:
        """End all processes and remove the folder. May be called again."""
        clear(self.directory, self._known)
        while self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started.pop().communicate(timeout=KILL_S)
        if self._reaper is not None:
            with contextlib.suppress(OSError):
                self._reaper.communicate(b"done\n", timeout=KILL_S)
            self._reaper = None


def clear(directory: Path, known: Iterable[psutil.Process] = ()) -> None:
    """Kill the processes of the workspace at `directory`, and `known` ones, and remove it."""
    import psutil

    deadline = time.monotonic() + KILL_S
    politely_until = time.monotonic() + KILL_S / 2
    while True:
        processes = {process for process in known if process.is_running()} | find_processes(directory)
        left = {process for process in processes if not _has_ended(process)}
        for process in left:
            with contextlib.suppress(psutil.Error):
                if process.name() in CLEANS_UP and time.monotonic() < politely_until:
                    process.terminate()
                else:
                    process.kill()
        _wait_for_the_end(left, seconds=1.0)
        shutil.rmtree(directory, ignore_errors=True)
        if (not left and not directory.exists()) or time.monotonic() > deadline:
            return


def _wait_for_the_end(processes: set[psutil.Process], seconds: float) -> None:
    """Wait until they ended, and leave how they did to whoever started them.

    psutil's own wait takes the exit status of our children; Selenium takes one that it cannot have for 0, and
    goes on waiting for the driver that it started.
    """
    deadline = time.monotonic() + seconds
    while not all(map(_has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN_S)


def find_processes(directory: Path) -> set[psutil.Process]:
    """The processes of the workspace at `directory`, with their descendants; never this one or the reaper."""
    import psutil

    found = {process for process in psutil.process_iter() if _belongs(process, str(directory))}
    for process in list(found):
        with contextlib.suppress(psutil.Error):
            found |= set(process.children(recursive=True))
    return {process for process in found if process.pid != os.getpid()}


def _belongs(process: psutil.Process, folder: str) -> bool:
    """Whether it carries the mark, or names the folder as its profile: some rewrite their own environment."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        if any(folder in argument for argument in process.cmdline()):
            return True
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == folder
    return False


def _has_ended(process: psutil.Process) -> bool:
    import psutil

    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _start_reaper(directory: Path) -> subprocess.Popen[bytes] | None:
    """The process that clears `directory` once our end of its standard input closes."""
    # The folder is told over the pipe: on the command line it would make the reaper look like one of the
    # browser's. In a session of its own it does not get the terminal's Ctrl-C, which may be what ends us.
    reaper = subprocess.Popen(
        [sys.executable, "-m", "pytest_tfjs.browsers.processes.reaper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert reaper.stdin is not None
    reaper.stdin.write(os.fsencode(directory) + b"\n")
    reaper.stdin.flush()
    return reaper
