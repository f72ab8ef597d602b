"""Runs pytest and writes how long each plugin took to import, as JSON.

Usage: `python timed_pytest.py OUT [ARGUMENT ...]`. `importtime.py` runs this file in an environment that has
pytest and the plugins, and nothing else of this project. `-X importtime` would not do: pytest loads an entry
point with `importlib.import_module`, which it does not list. Times are CPU times, as other processes affect
them less.
"""

from __future__ import annotations

import builtins
import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_load = importlib.metadata.EntryPoint.load
_import = builtins.__import__


class Imports:
    """Times the imports of packages, as pytest loads their entry points and as their hooks run."""

    def __init__(self, packages: list[str]) -> None:
        self.seconds = {name: {"load": 0.0, "hooks": 0.0} for name in packages}
        self.modules: dict[str, list[str]] = {name: [] for name in packages}
        self._running = False

    def timed(self, name: str, when: str, run: Any, *arguments: Any) -> Any:
        """Runs an import; adds its time to the package's, unless it is part of an import that is timed."""
        package = name.partition(".")[0]
        if self._running or package not in self.seconds:
            return run(*arguments)
        before, self._running = set(sys.modules), True
        start = time.process_time()
        try:
            return run(*arguments)
        finally:
            self._running = False
            self.seconds[package][when] += time.process_time() - start
            self.modules[package] += sorted(set(sys.modules) - before)


def main(out: str, arguments: list[str]) -> int:
    """Pytest's exit status."""
    imports = Imports(["pytest_tfjs", "empty_plugin"])
    importlib.metadata.EntryPoint.load = (  # type: ignore[method-assign]
        lambda entry: imports.timed(entry.value, "load", _load, entry)
    )
    builtins.__import__ = lambda name, *rest: imports.timed(name, "hooks", _import, name, *rest)
    status = pytest.main(arguments)
    Path(out).write_text(json.dumps({"seconds": imports.seconds, "modules": imports.modules}))
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
