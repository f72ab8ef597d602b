"""Runs the same tests over model files twice: with an empty cache, then with a full one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from demo.models import MODELS, NAMES, make_models

TESTS = """
from pathlib import Path

import numpy as np
import pytest

MODELS = Path({models!r})


@pytest.mark.parametrize("name", {names!r})
def test_model(tfjs, name):
    tfjs.assert_close(MODELS / (name + ".keras"), np.load(MODELS / (name + ".npy")), format="graph")
"""
# What the process imported, told by the process itself when its run is over.
WATCH = """
import json
import sys
from pathlib import Path


def pytest_unconfigure():
    heavy = [name for name in ("tensorflow", "tensorflowjs", "tf_keras", "keras") if name in sys.modules]
    Path("imported.json").write_text(json.dumps(heavy))
"""
BACKENDS = "wasm"


class Run(NamedTuple):
    """Seconds of a pytest run, what of TensorFlow it imported, and the cache's entries after it, by name."""

    seconds: float
    imported: list[str]
    entries: dict[str, int]


def main() -> int:
    """Measures and prints; 1 where a run did what it should not."""
    make_models()
    with tempfile.TemporaryDirectory(prefix="pytest-tfjs-warm-") as name:
        folder = Path(name)
        (folder / "test_models.py").write_text(
            TESTS.format(models=str(MODELS), names=NAMES), encoding="utf-8"
        )
        (folder / "watch.py").write_text(WATCH, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        cold, warm = run(folder), run(folder)
    print(f"The same tests twice: {', '.join(NAMES)}, graph, {BACKENDS}; {os.cpu_count()} cores")
    for label, one in (("cold", cold), ("warm", warm)):
        imported = ", ".join(one.imported) or "nothing"
        print(f"{label}  {one.seconds:6.1f} s   imported of TensorFlow in pytest's process: {imported}")
    print(f"warm/cold {warm.seconds / cold.seconds:.2f}")
    made = {entry for entry, written in warm.entries.items() if cold.entries.get(entry) != written}
    print(f"converted or computed anew in the warm run: {', '.join(sorted(made)) or 'nothing'}")
    if not cold.entries:
        print("the cold run was none: it converted nothing")
        return 1
    return 1 if cold.imported or warm.imported or made else 0


def run(folder: Path) -> Run:
    """One run of the tests, with the cache in `folder`."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-q", "-p", "watch", f"--tfjs-backends={BACKENDS}"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"the tests did not pass:\n{done.stdout}\n{done.stderr}")
    imported = json.loads((folder / "imported.json").read_text(encoding="utf-8"))
    return Run(seconds, imported, cache_entries(folder / ".pytest_cache"))


def cache_entries(cache: Path) -> dict[str, int]:
    """When each entry of the plugin's cache was written, in nanoseconds; reading one does not change that."""
    return {
        "/".join(content.parts[-3:-1]): content.stat().st_mtime_ns
        for content in cache.glob("**/entries/*/*/content")
    }


if __name__ == "__main__":
    sys.exit(main())
