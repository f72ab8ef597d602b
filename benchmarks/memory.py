"""Measures the memory of a comparison whose activations far exceed the tap budget.

A pytest of its own compares a model of 66 activations of 33.6 MB (2.2 GB) on wasm under a budget of
256 MB, while this process reads how much memory the kernel counts for it and for its browser.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIZE, CHANNELS, BLOCKS = 512, 32, 22
LEAST_BYTES = 2_000_000_000
LIMIT = 1_500_000_000
SAMPLE_S = 0.05
TESTS = """
import time
from pathlib import Path

import numpy as np
import tf_keras as k


def model():
    k.utils.set_random_seed(1)
    x = y = k.Input(({size}, {size}, {channels}), batch_size=1, name="x")
    for block in range({blocks}):
        some = k.initializers.RandomUniform(-0.3, 0.3)
        conv = k.layers.DepthwiseConv2D(
            3, padding="same", activation="relu", bias_initializer=some, depthwise_initializer=some,
            name=f"conv_{{block}}",
        )
        y = k.layers.Activation("tanh", name=f"tanh_{{block}}")(conv(y))
        y = k.layers.Add(name=f"add_{{block}}")([x, y])
    return k.Model(x, y, name="wide")


def test_memory(tfjs):
    made = model()
    x = np.random.default_rng(1).uniform(-1, 1, (1, {size}, {size}, {channels})).astype(np.float32)
    tfjs.convert(made, format={format!r})
    tfjs.target  # opens the page
    Path("idle").touch()
    while not Path("go").exists():
        time.sleep(0.1)
    tfjs.assert_close(made, x, format={format!r})
"""


class Memory(NamedTuple):
    """Bytes of resident memory: of pytest and its helpers, and of the browser's processes."""

    python: int
    browser: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where either took more than the limit over what it has when idle."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--budget", default="256MB", help="the tap budget (default: 256MB)")
    parser.add_argument("--format", default="graph", choices=("graph", "layers"), help="(default: graph)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pytest-tfjs-memory-") as name:
        folder = Path(name)
        text = TESTS.format(size=SIZE, channels=CHANNELS, blocks=BLOCKS, format=options.format)
        (folder / "test_memory.py").write_text(text, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        start = time.perf_counter()
        idle, peak = watch(folder, options.budget)
        seconds = time.perf_counter() - start
        (comparison,) = json.loads((folder / "results.json").read_text(encoding="utf-8"))["comparisons"]
    nbytes = comparison["bytes"]["activations"]
    rows = sum(layer["coverage"] == "compared" for layer in comparison["layers"])
    print(
        f"{options.format}, wasm, {rows} activations, {nbytes / 1e9:.2f} GB, budget {options.budget}: ",
        end="",
    )
    print(f"{comparison['verdict']}, {seconds:.0f} s in all, {os.cpu_count()} cores")
    print(f"resident memory in MB ({'PSS' if has_pss() else 'RSS'}, every {SAMPLE_S:g} s)")
    over = 0
    for what, before, most in zip(("pytest", "browser"), idle, peak, strict=True):
        over = max(over, most - before)
        columns = (
            f"{label} {size / 1e6:6.0f}"
            for label, size in (("idle", before), ("peak", most), ("over idle", most - before))
        )
        print(f"{what:<8}", *columns, sep="   ")
    print(f"the aim is under {LIMIT / 1e6:.0f} over idle")
    return 1 if over >= LIMIT or nbytes < LEAST_BYTES else 0


def watch(folder: Path, budget: str) -> tuple[Memory, Memory]:
    """Runs the test in `folder`: the memory before the comparison, and the most of each during it."""
    command = [sys.executable, "-m", "pytest", "-q", "--tfjs-backends=wasm", f"--tfjs-tap-budget={budget}"]
    command += ["--tfjs-timeout=1200", "--tfjs-json=results.json"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTEST_ADDOPTS", None)
    with (folder / "output").open("w+") as output:
        run = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        process = psutil.Process(run.pid)
        peak = idle = Memory(0, 0)
        for now in samples(run, process):
            if (folder / "go").exists():
                peak = Memory(*map(max, peak, now))
            elif (folder / "idle").exists():
                idle = peak = memory_of(process)
                (folder / "go").touch()
        if run.returncode != 0:
            output.seek(0)
            sys.exit(f"the test did not pass:\n{output.read()}")
    return idle, peak


def samples(run: subprocess.Popen[bytes], process: psutil.Process) -> Iterator[Memory]:
    """The memory of a run, again and again until it ends."""
    while run.poll() is None:
        try:
            yield memory_of(process)
        except psutil.NoSuchProcess:
            return
        time.sleep(SAMPLE_S)


def memory_of(process: psutil.Process) -> Memory:
    """What a pytest process takes now."""
    python = browser = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            size = resident(one)
            is_python = one.pid == process.pid or "python" in one.name().lower()
        except (psutil.Error, OSError):
            continue
        python, browser = (python + size, browser) if is_python else (python, browser + size)
    return Memory(python, browser)


def resident(process: psutil.Process) -> int:
    """The bytes in memory: with shared ones in parts where the system tells them so, else all."""
    if has_pss():
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        return 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return int(process.memory_info().rss)


def has_pss() -> bool:
    """Whether the kernel tells the proportional set size."""
    return Path("/proc/self/smaps_rollup").exists()


if __name__ == "__main__":
    sys.exit(main())
