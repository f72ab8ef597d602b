"""Ends a browser and removes its files if the test run was killed before it did so.

A signal, `os._exit` or a crash leave the process no time to clean up; pytest-timeout and CI systems end runs
in these ways.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_tfjs.browsers.processes.workspace import clear


def main() -> None:
    """Read the workspace's folder, then wait for `done` or for the end of the input."""
    # In bytes: the encoding of this process may differ.
    directory = os.fsdecode(sys.stdin.buffer.readline().rstrip(b"\n"))
    if sys.stdin.buffer.readline() != b"done\n" and directory:
        clear(Path(directory))


if __name__ == "__main__":
    main()
