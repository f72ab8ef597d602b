"""Compares every model family in the browser, and writes the results into `docs/models.md`.

`python -m tools.models_table`; further arguments go to pytest. `-k unet` writes only those rows again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixtures.families import cases
from fixtures.family import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fixtures.family import Case, Gap

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
TEST = "tests/whole/test_families.py"
WHICH = "TFJS_FAMILIES"
"""Environment variable: with `all` the tests leave nothing out."""
NAME = "test_every_layer_is_accounted_for_and_close"

_COVERAGES = ("compared", "fused", "eliminated")
_HEADING = f"| model | built with | format | {' | '.join(_COVERAGES)} | {' | '.join(BACKENDS)} |"
_NONE = "-"
_INTRODUCTION = """\
# Models

Every layer of these models is accounted for, and close at the default tolerances, on every backend for which
the table has seconds. `make models` writes this page, and `make test-all` checks its counts. The models are
small examples of their kind, with random weights, biases and batch-norm statistics; their code is in
`fixtures/`.

`compared`, `fused` and `eliminated` count the model's layers (format `layers`) or operations (format
`graph`), as explained in [failures](failures.md#coverage); none is `unmapped`. The seconds are those of the
whole test. The first backend's test also builds and converts the model and computes the reference; the
others find these in the cache.
"""


@dataclass(frozen=True)
class Row:
    """A row of the table: counts of layers, and a cell for each backend, such as `close, 4 s`."""

    case: str
    counts: tuple[int, ...]
    cells: Mapping[str, str]

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdict by backend, without the backends on which the model does not run."""
        return {name: cell.split(",")[0] for name, cell in self.cells.items() if cell != _NONE}


def main() -> int:
    """Runs the tests and writes the page; gives pytest's exit code, or 1 where rows are missing."""
    with tempfile.TemporaryDirectory() as folder:
        results, junit = Path(folder) / "results.json", Path(folder) / "junit.xml"
        written = (f"--tfjs-json={results}", f"--junitxml={junit}")
        status = subprocess.run(
            [sys.executable, "-m", "pytest", f"{TEST}::{NAME}", *written, *sys.argv[1:]],
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, WHICH: "all"},
            check=False,
        ).returncode
        if not results.is_file() or not junit.is_file():
            return status or 1
        document = json.loads(results.read_text(encoding="utf-8"))
        made = rows_of(document["comparisons"], seconds_of(junit))
    kept = {row.case: row for row in read()} if PAGE.is_file() else {}
    rows = {str(case): made.get(str(case)) or kept.get(str(case)) for case in cases() if case.backends}
    missing = [case for case, row in rows.items() if row is None]
    PAGE.write_text(page([row for row in rows.values() if row], document), encoding="utf-8")
    print(f"\n{PAGE.relative_to(ROOT)}: {len(made)} rows written anew, {len(rows) - len(missing)} in all")
    if missing:
        print(f"not compared, and so not in the table: {', '.join(missing)}")
    return status or int(bool(missing))


def rows_of(comparisons: Iterable[Mapping[str, Any]], seconds: Mapping[str, float]) -> dict[str, Row]:
    """The rows of a run, by case; `comparisons` are those of the JSON, `seconds` is by the test's name.

    A case has no row unless it was close on every backend on which it should run.
    """
    names = {f"{backend}-{case}": (case, backend) for case in cases() for backend in BACKENDS}
    counts: dict[Case, tuple[int, ...]] = {}
    cells: defaultdict[Case, dict[str, str]] = defaultdict(dict)
    for comparison in comparisons:
        test = comparison["test"].rpartition("::")[2]
        browser = comparison["target"]["browser"]
        case, backend = names[test.partition(f"[{browser}-")[2].removesuffix("]")]
        if case.gap(backend) is None and comparison["verdict"] == "close":
            coverage = Counter(layer["coverage"] for layer in comparison["layers"])
            counts[case] = tuple(coverage[name] for name in _COVERAGES)
            cells[case][backend] = f"{comparison['verdict']}, {seconds[test]:.0f} s"
    return {
        str(case): Row(str(case), counts[case], {name: cells[case].get(name, _NONE) for name in BACKENDS})
        for case in counts
        if set(cells[case]) == set(case.backends)
    }


def seconds_of(junit: Path) -> dict[str, float]:
    """The seconds that each test took, by its name, from pytest's JUnit XML."""
    return {str(test.get("name")): float(test.get("time", 0)) for test in ET.parse(junit).iter("testcase")}


def page(rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    """The whole page; `document` is the JSON of the run."""
    listed = {str(case): case for case in cases()}
    lines = [_INTRODUCTION, _environment(document), "", _HEADING, "|---" * _HEADING.count(" | ") + "|---|"]
    lines += [_line(listed[row.case], row) for row in rows]
    lines += ["", "## What each stands for", "", "| model | stands for |", "|---|---|"]
    families = {case.family.name: case.family for case in listed.values()}
    lines += [f"| {family.name} | {family.covers} |" for family in families.values()]
    gaps = list(_gaps(listed.values()))
    if gaps:
        lines += ["", "## What does not run", "", "| model | built with | format | backends | reason |"]
        lines += ["|---|---|---|---|---|", *gaps]
    return "\n".join(lines) + "\n"


def read() -> list[Row]:
    """The rows of the page as it stands."""
    table = PAGE.read_text(encoding="utf-8").partition(_HEADING)[2].partition("\n\n")[0]
    return [_row(line) for line in table.splitlines()[2:]]


def _row(line: str) -> Row:
    name, source, format_, *cells = (cell.strip() for cell in line.strip("|").split("|"))
    counts = tuple(map(int, cells[: len(_COVERAGES)]))
    case = "-".join([name, source.lower().replace(" ", ""), format_])
    return Row(case, counts, dict(zip(BACKENDS, cells[len(_COVERAGES) :], strict=True)))


def _line(case: Case, row: Row) -> str:
    source = "SavedModel" if case.keras is None else f"Keras {case.keras}"
    cells = [case.family.name, source, case.format, *map(str, row.counts), *row.cells.values()]
    return f"| {' | '.join(cells)} |"


def _gaps(listed: Iterable[Case]) -> Iterable[str]:
    for case in listed:
        backends: defaultdict[Gap, list[str]] = defaultdict(list)
        for backend in BACKENDS:
            gap = case.gap(backend)
            if gap is not None:
                backends[gap].append(backend)
        for gap, names in backends.items():
            source = "SavedModel" if case.keras is None else f"Keras {case.keras}"
            yield f"| {case.family.name} | {source} | {case.format} | {', '.join(names)} | {gap.reason} |"


def _environment(document: Mapping[str, Any]) -> str:
    versions = document["environment"]
    targets = [comparison["target"] for comparison in document["comparisons"]]
    browser = next((f"{target['browser']} {target['browser_version']}" for target in targets), "no browser")
    renderer = next((target["renderer"] for target in targets if target["renderer"]), "no GPU backend")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Written with TF.js {versions['tfjs']}, TensorFlow {versions['tensorflow']}, {browser}, "
        f"{cores} cores; webgl by {renderer}."
    )


if __name__ == "__main__":
    sys.exit(main())
