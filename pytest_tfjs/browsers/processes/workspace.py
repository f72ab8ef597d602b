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
# Chrome creates a socket in its temporary folder, 46 characters deeper; macOS limits its path to 104.
TEMPORARY_LIMIT = 58
# Names of programs that have files outside the folder, and remove them when they are terminated.
CLEANS_UP = ("Xvfb",)


class Workspace:
    """A temporary folder, and all processes started with `environment()`.

    `close` kills the remaining processes and removes the folder. If this process ends without calling it, a
    small process that waits for that (reaper.py) does the same.
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
        """The environment for a process of this workspace: it holds the mark, which child processes inherit.

        Temporary files go into the folder, as a killed browser or driver leaves some behind.
        """
        folder = str(self.directory)
        temporary = {name: folder for name in ("TMPDIR", "TEMP", "TMP") if len(folder) <= TEMPORARY_LIMIT}
        return {**os.environ, MARK: folder, **temporary}

    def start(self, command: Sequence[str], complaints: Path) -> subprocess.Popen[bytes]:
        """Start a process of this workspace; `stdout` is a pipe, stderr goes to the file `complaints`."""
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
        """Note the current processes: the children of an ended process cannot be found through it."""
        self._known |= find_processes(self.directory)

    def close(self) -> None:
        """End all processes and remove the folder. May be called more than once."""
        clear(self.directory, self._known)
        while self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started.pop().communicate(timeout=KILL_S)
        if self._reaper is not None:
            with contextlib.suppress(OSError):
                self._reaper.communicate(b"done\n", timeout=KILL_S)
            self._reaper = None


def clear(directory: Path, known: Iterable[psutil.Process] = ()) -> None:
    """Kill the processes of the workspace at `directory`, and the `known` ones; then remove the folder."""
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
    """Wait until the processes have ended, without collecting their exit status.

    psutil's own wait collects the exit status of this process's children. Selenium would then read the status
    of its driver as 0, and continue to wait for it.
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
    """Whether a process has the mark in its environment, or the folder in its command line.

    Some programs rewrite their own environment.
    """
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
    """Start the process that clears `directory` when this process closes the pipe to it, or ends."""
    # The folder's name goes through the pipe: on the command line it would mark the reaper as a process of
    # the workspace. A session of its own keeps the terminal's Ctrl-C from it, which may end this process.
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
