"""What the plugin's import costs a project that does not use it, beside pytest's own start."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 15
AIM_MS = 5.0
HEAVY = ("numpy", "selenium", "tensorflow", "starlette", "uvicorn", "safetensors")
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")


def main() -> int:
    """Measures and prints; 1 where the import brings what it should not."""
    with tempfile.TemporaryDirectory(prefix="pytest-tfjs-import-") as folder:
        import_plugin(folder)  # compiled now, and in the file cache
        plugin, starts, imported = [], [], set()
        for _ in range(RUNS):
            milliseconds, names = import_plugin(folder)
            plugin.append(milliseconds)
            imported |= names
            starts.append(start_pytest(folder))
    own, start = statistics.median(plugin), statistics.median(starts)
    heavy = sorted(imported & set(HEAVY))
    print(f"import of pytest_tfjs.plugin after pytest's own, the median of {RUNS} (least to greatest):")
    print(f"{own:.2f} ms ({min(plugin):.2f} to {max(plugin):.2f}; aim: under {AIM_MS:.0f})")
    print(f"{100 * own / start:.1f}% of the {start:.0f} ms that pytest without it takes to find no tests")
    print(f"heavy packages imported with it: {', '.join(heavy) or 'none'}")
    return 1 if heavy else 0


def import_plugin(folder: str) -> tuple[float, set[str]]:
    """Milliseconds that the plugin and all that only it imports take in a pytest run; and those packages."""
    told = pytest(folder, "-p", "pytest_tfjs.plugin", options=["-X", "importtime"])
    return parse(told)


def parse(told: str) -> tuple[float, set[str]]:
    """Of what `-X importtime` tells: the milliseconds of `pytest_tfjs` and all below it, and the packages.

    A module stands after those that it imports, which are indented further. Raises ValueError where the
    plugin is not among them.
    """
    lines = [match.groups() for match in map(_LINE.match, told.splitlines()) if match is not None]
    total, names, depth = 0, set(), None
    for own, _, indent, name in reversed(lines):
        if depth is not None and len(indent) <= depth:
            depth = None
        if depth is None and name.partition(".")[0] == "pytest_tfjs":
            depth = len(indent)
        if depth is not None:
            total += int(own)
            names.add(name.partition(".")[0])
    if not names:
        raise ValueError("the plugin was not imported: -X importtime does not tell of it")
    return total / 1000, names


def start_pytest(folder: str) -> float:
    """Milliseconds of pytest without the plugin, in a folder without tests."""
    start = time.perf_counter()
    pytest(folder)
    return (time.perf_counter() - start) * 1000


def pytest(folder: str, *arguments: str, options: list[str] | None = None) -> str:
    """What a run in `folder` writes to stderr, with no other plugins than those named."""
    # Bytecode as pip leaves it: some machines forbid to write any, and then each start compiles the sources.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode")}
    environment = {**os.environ, **compiled, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, *(options or []), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 5:  # no tests were collected
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stderr


if __name__ == "__main__":
    sys.exit(main())
