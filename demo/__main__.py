"""Runs the demonstration and checks its results.

The exit code is 0 if they are as expected.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from itertools import product
from typing import TYPE_CHECKING, Any

from demo.checks import problems_of_close, problems_of_fault, read_messages
from demo.models import BUILD, NAMES, ROOT, make_models
from demo.test_fault import LAYER

if TYPE_CHECKING:
    from pathlib import Path

BACKENDS = ("webgl", "wasm", "cpu")
FORMATS = ("graph", "layers")
FAULT_BACKEND = "wasm"


def main() -> int:
    """Runs both parts; the exit code."""
    print("pytest-tfjs tests that a TensorFlow.js model computes in the browser what it computes in Python.")
    try:
        prepare_models()
    except subprocess.CalledProcessError as error:
        print(f"\n{error.output}\nThe sample models could not be built: see above.", file=sys.stderr)
        return 1
    problems = [*show_close(), *show_fault()]
    if problems:
        print("\nThe demonstration did not give the expected results:")
        for problem in problems:
            print(f"- {problem}")
        return 1
    print("\nAll results are as expected. README.md shows how to test your own model; docs/ has the details.")
    return 0


def prepare_models() -> None:
    """Builds the models unless a previous run has built them, and prints which."""
    print("The sample models, MobileNetV2 and a small CNN, as Keras files: ", end="", flush=True)
    start = time.monotonic()
    built = make_models()
    print(f"built in {time.monotonic() - start:.0f} s." if built else "already built.")


def show_close() -> list[str]:
    """Compares both models in both formats on every backend; gives the problems found."""
    print(
        "\n== 1 of 2: each model is converted, to a graph model and to a layers model, and run in the\n"
        "   browser on webgl, wasm and cpu (a minute or two). Every layer must be close to what Keras\n"
        "   computes; docs/tolerances.md explains how close.",
        flush=True,
    )
    results = BUILD / "close.json"
    backends = f"--tfjs-backends={','.join(BACKENDS)}"
    status = run_pytest("demo/test_models.py", backends, tfjs_json=results)
    expected = set(product((f"{name}.keras" for name in NAMES), FORMATS, BACKENDS))
    problems = problems_of_close(read_comparisons(results), expected)
    if status != 0:
        problems.append(f"pytest ended with exit code {status} over sound models, not with 0")
    if not problems:
        print(f"Close at every layer: {len(NAMES)} models, {len(FORMATS)} formats, {len(BACKENDS)} backends.")
    return problems


def show_fault() -> list[str]:
    """Compares the CNN with one wrong weight in the converted model; gives the problems found."""
    print(
        f"\n== 2 of 2: what a fault looks like. One weight of the CNN's layer '{LAYER}' is doubled in the\n"
        "   converted model. Both tests must fail, and name that layer as the one that diverged first.",
        flush=True,
    )
    results, xml = BUILD / "fault.json", BUILD / "fault.xml"
    backends = f"--tfjs-backends={FAULT_BACKEND}"
    status = run_pytest("demo/test_fault.py", backends, tfjs_json=results, junitxml=xml)
    expected = set(product(["damaged"], FORMATS, [FAULT_BACKEND]))
    messages = read_messages(xml) if xml.is_file() else {}
    problems = problems_of_fault(read_comparisons(results), messages, expected, LAYER)
    if status != 1:
        problems.append(f"pytest ended with exit code {status} over damaged models, not with 1")
    if not problems:
        print(
            f"Both failures above are expected: each names '{LAYER}', and no other layer, in its first line."
        )
    return problems


def run_pytest(*arguments: str, **outputs: Path) -> int:
    """Prints the command line and runs pytest; gives the exit code. Removes earlier output files."""
    for path in outputs.values():
        path.unlink(missing_ok=True)
    written = [f"--{option.replace('_', '-')}={path.relative_to(ROOT)}" for option, path in outputs.items()]
    command = ["pytest", *arguments, *written]
    print(f"\n$ {shlex.join(command)}", flush=True)
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment = {**inherited, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if not sys.stdout.isatty():
        environment.setdefault("COLUMNS", "110")  # pytest's default of 80 is too narrow for the tables
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=False).returncode


def read_comparisons(results: Path) -> list[dict[str, Any]]:
    """The comparisons in the file of `--tfjs-json`; none if there is no file."""
    if not results.is_file():
        return []
    comparisons: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["comparisons"]
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
