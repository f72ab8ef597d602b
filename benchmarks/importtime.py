"""Measures how much the plugin slows the start of a pytest run that does not use it.

Builds the wheel, installs it with pytest into a fresh environment and runs one unrelated test, in which
pytest finds the plugin by its entry point. An empty plugin of as many modules shows the least time that
pytest takes to load such a plugin on this machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = 25
AIM_MS = 3.0
EMPTY = "empty_plugin"
HEAVY = ("numpy", "selenium", "tensorflow", "starlette", "uvicorn", "safetensors", "asyncio", "ipaddress")


def main() -> int:
    """Measures and prints; 1 if a heavy package is imported or loading takes longer than the aim."""
    with tempfile.TemporaryDirectory(prefix="pytest-tfjs-import-") as name:
        folder = Path(name)
        python = install(folder)
        project = folder / "project"
        project.mkdir()
        (project / "test_unrelated.py").write_text("def test_unrelated(tmp_path): pass\n")
        modules = run(python, project)[1]["modules"]["pytest_tfjs"]
        own = [module for module in modules if module.startswith("pytest_tfjs")]
        add_empty_plugin(python, len(own))
        run(python, project)  # pytest compiles its own bytecode of a plugin in the first run
        measured = [(run(python, project), run(python, project, "-p", "no:tfjs")) for _ in range(RUNS)]
    heavy = sorted({module.partition(".")[0] for module in modules} & set(HEAVY))
    load = times(measured, "pytest_tfjs", "load")
    print(f"milliseconds, CPU time, the median of {RUNS} runs of one unrelated test (least to greatest):")
    print(f"{shown(load)} loading the plugin by its entry point; aim: under {AIM_MS:g}")
    print(f"{shown(times(measured, 'pytest_tfjs', 'hooks'))} more imports in its hooks, for the run's header")
    print(f"{shown(times(measured, EMPTY, 'load'))} loading an empty plugin of {len(own)} modules: the floor")
    with_it, without = ([1000 * one[at][0] for one in measured] for at in (0, 1))
    print(f"{shown(with_it)} the whole run with the plugin, wall-clock time")
    print(f"{shown(without)} the whole run without it (-p no:tfjs)")
    print(f"modules: {', '.join(own)}")
    print(f"others: {', '.join(sorted(set(modules) - set(own))) or 'none'}")
    print(f"heavy packages imported: {', '.join(heavy) or 'none'}")
    return 1 if heavy or statistics.median(load) >= AIM_MS else 0


def install(folder: Path) -> Path:
    """Makes an environment with pytest and this project's wheel, without dependencies; gives its Python."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    wheel = next(folder.glob("pytest_tfjs-*.whl"))
    subprocess.run([*pip, "install", "-q", "pytest"], check=True)
    subprocess.run([*pip, "install", "-q", "--no-deps", str(wheel)], check=True)
    return python


def add_empty_plugin(python: Path, modules: int) -> None:
    """Installs a plugin of so many modules, including the package, that only import each other."""
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    names = [f"module_{number}" for number in range(modules - 2)]
    files = {
        f"{EMPTY}/__init__.py": "",
        f"{EMPTY}/plugin.py": "".join(f"import {EMPTY}.{name}\n" for name in names),
        **{f"{EMPTY}/{name}.py": "" for name in names},
        f"{EMPTY}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {EMPTY}\nVersion: 1\n",
        f"{EMPTY}-1.dist-info/entry_points.txt": f"[pytest11]\n{EMPTY} = {EMPTY}.plugin\n",
    }
    files[f"{EMPTY}-1.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    for name, text in files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)


def run(python: Path, project: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    """The seconds of a run of the project's test, and what `timed_pytest.py` wrote of its imports."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))
    }
    command = [str(python), str(ROOT / "benchmarks" / "timed_pytest.py"), "times.json"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        check=False,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return seconds, json.loads((project / "times.json").read_text())


def times(measured: list[Any], package: str, when: str) -> list[float]:
    """A package's milliseconds in each run with the plugin."""
    return [1000 * run_with[1]["seconds"][package][when] for run_with, _ in measured]


def shown(milliseconds: list[float]) -> str:
    """`2.41 (2.20 to 3.05)`."""
    return f"{statistics.median(milliseconds):.2f} ({min(milliseconds):.2f} to {max(milliseconds):.2f})"


if __name__ == "__main__":
    sys.exit(main())
