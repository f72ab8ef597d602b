"""Compares the model families on every target, and writes `docs/targets.md`.

`python -m tools.targets_table`; further arguments go to pytest. With `--results FILE` nothing runs: FILE is
the `--tfjs-json` file of an earlier run. The page is written only if every model that should be close was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.family_targets import UNAVAILABLE, targets
from tools import models_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fixtures.family import Case, Gap

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "targets.md"
TESTS = ("tests/whole/test_every_target.py", f"{models_table.TEST}::{models_table.NAME}")
FILES = {test.partition("::")[0] for test in TESTS}

_HEADING = "| browser | target | models | close | gaps | computed by |"
_INTRODUCTION = """\
# Targets

How many of the [model families](models.md) run and are close at every layer, on each browser, backend and
variant, at the default tolerances. A model counts once for each Keras that builds it and each format. A gap
is a model that does not run on the target, or that TF.js computes wrongly there; the second table gives the
reasons. `make targets` writes this page, and `make test-all` checks it.

Not every target runs every model. Chrome runs all models on `cpu`, `wasm` and `webgl`, except that the six
largest run one case each, on `wasm` (`make models` runs them on every backend); on `webgpu` Chrome runs the
small ones. The other browsers run one case of each model, alternating between Kerases and formats. The
variants run the models that use each kind of kernel.
"""


@dataclass(frozen=True)
class Row:
    """A row of the table: a target, and how many models were tried there and were close."""

    browser: str
    backend: str
    models: int
    close: int
    renderer: str

    def __str__(self) -> str:
        cells = (self.browser, self.backend, self.models, self.close, self.models - self.close, self.renderer)
        return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    """Runs the tests and writes the page; gives pytest's exit code, or 1 if a target's run is incomplete."""
    if sys.argv[1:2] == ["--results"]:
        return write(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        status = subprocess.run(
            [sys.executable, "-m", "pytest", *TESTS, f"--tfjs-json={results}", *sys.argv[1:]],
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
            check=False,
        ).returncode
        written = write(json.loads(results.read_text(encoding="utf-8"))) if results.is_file() else 1
    return status or written


def write(document: Mapping[str, Any]) -> int:
    """Writes the page from the JSON of a run; gives 1, and writes nothing, if results are missing."""
    found = list(rows_of(document["comparisons"]))
    expected = _expected()
    short = [row for row in found if row.close != expected[row.browser, row.backend]]
    for row in short:
        count = expected[row.browser, row.backend]
        print(f"{row.backend} on {row.browser}: {row.close} models close, of {count} that should be")
    if short:
        print(f"{PAGE.relative_to(ROOT)} is not written")
        return 1
    PAGE.write_text(page(found, document), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} targets")
    return 0


def rows_of(comparisons: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """The counts of each target; `comparisons` are those of the JSON."""
    close: set[str] = set()
    renderers: dict[tuple[str, str], str] = {}
    for comparison in comparisons:
        target = comparison["target"]
        variant = target["variant"]
        key = target["browser"], target["backend"] + (f":{variant}" if variant else "")
        file, _, test = comparison["test"].partition("::")
        if file in FILES and comparison["verdict"] == "close":
            close.add(test.partition("[")[2].removesuffix("]"))
            renderers[key] = target["renderer"] or "the processor"
    for browser, backend, cases in targets():
        of_it = sum(f"{browser}-{backend}-{case}" in close for case in cases)
        yield Row(browser, backend, len(cases), of_it, renderers.get((browser, backend), "nothing"))


def page(rows: Iterable[Row], document: Mapping[str, Any]) -> str:
    """The whole page; `document` is the JSON of the run."""
    lines = [_INTRODUCTION, _environment(document), "", _HEADING, "|---" * (_HEADING.count("|") - 1) + "|"]
    lines += map(str, rows)
    lines += ["", "## What does not run or is wrong, and where", ""]
    lines += ["| model | built with | format | targets | reason |", "|---|---|---|---|---|", *_gaps()]
    if UNAVAILABLE:
        lines += ["", "## Targets that need a GPU", "", "| target | reason |", "|---|---|"]
        lines += [f"| {target} | {reason} |" for target, reason in UNAVAILABLE.items()]
    return "\n".join(lines) + "\n"


def read() -> list[Row]:
    """The rows of the page as it stands."""
    table = PAGE.read_text(encoding="utf-8").partition(_HEADING)[2].partition("\n\n")[0]
    return [_row(line) for line in table.splitlines()[2:]]


def _row(line: str) -> Row:
    browser, backend, models, close, _, renderer = (cell.strip() for cell in line.strip("|").split("|"))
    return Row(browser, backend, int(models), int(close), renderer)


def _expected() -> dict[tuple[str, str], int]:
    """How many models should be close, by target."""
    return {
        (browser, backend): sum(_gap(case, browser, backend) is None for case in cases)
        for browser, backend, cases in targets()
    }


def _gap(case: Case, browser: str, backend: str) -> Gap | None:
    return case.gap(backend.partition(":")[0], browser)


def _gaps() -> Iterator[str]:
    """A line for each model and reason, with all targets that it holds for."""
    where: dict[tuple[Case, Gap], list[str]] = {}
    for browser, backend, cases in targets():
        for case in cases:
            gap = _gap(case, browser, backend)
            if gap is not None:
                where.setdefault((case, gap), []).append(f"{browser}/{backend}")
    for (case, gap), names in where.items():
        source = "SavedModel" if case.keras is None else f"Keras {case.keras}"
        yield f"| {case.family.name} | {source} | {case.format} | {', '.join(names)} | {gap.reason} |"


def _environment(document: Mapping[str, Any]) -> str:
    versions = document["environment"]
    all_targets = [comparison["target"] for comparison in document["comparisons"]]
    # A browser that was lost while it started has no version.
    started = (target for target in all_targets if target["browser_version"])
    browsers = sorted({f"{target['browser']} {target['browser_version']}" for target in started})
    return (
        f"Written with TF.js {versions['tfjs']}, TensorFlow {versions['tensorflow']}; {', '.join(browsers)}."
    )


if __name__ == "__main__":
    sys.exit(main())
