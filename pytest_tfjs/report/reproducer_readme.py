"""The README of a reproducer: what is wrong, where, and how to see it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.number_text import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
    from pytest_tfjs.compare.numbers.element_check import ElementCheck
    from pytest_tfjs.compare.results import Comparison, LayerResult

_THREADS_FLAG = "WASM_HAS_MULTITHREAD_SUPPORT"


@dataclass(frozen=True)
class Case:
    """One layer run alone from its own artifacts: its inputs, its operations and the result.

    `inputs`: a row for each input file. `operations`: what the layer computes, as JSON values. `values`: the
    browser's and the reference's value at the worst element, None if there is none.
    """

    comparison: Comparison
    result: LayerResult
    held: ElementCheck
    target: str
    environment: Mapping[str, str]
    inputs: Sequence[Mapping[str, Any]]
    operations: Sequence[Mapping[str, Any]]
    values: tuple[str, str] | None

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The diagnosis, if it applies to this layer or to the whole model."""
        diagnosis = self.comparison.diagnosis
        return (
            diagnosis if diagnosis is not None and diagnosis.layer in (None, self.result.layer.name) else None
        )


def readme(case: Case) -> str:
    """The text in Markdown; names and values are escaped as code."""
    layer = case.result.layer
    parts = [
        f"# {_code(layer.name)} on {case.target}",
        _what(case),
        _HOW,
        *_headers(case.comparison),
        "## Where it was seen",
        _table(("", ""), [(name, _code(value)) for name, value in case.environment.items() if value]),
        "## What is wrong",
        _table(("", ""), _figures(case)),
        *_diagnosis(case),
        "## What is computed",
        f"```json\n{json.dumps(list(case.operations), indent=2)}\n```",
        "Its inputs:",
        _table(
            ("input", "what it is", "dtype", "shape", "file"),
            [
                (
                    _code(one["name"]),
                    _cell(one["standsFor"]),
                    one["dtype"],
                    _code(str(one["shape"])),
                    _code(one["file"]),
                )
                for one in case.inputs
            ],
        ),
        _FILES,
    ]
    return "\n\n".join(parts) + "\n"


_HOW = """To see the error, serve this folder with any web server and open the page in a browser:

```
python -m http.server
```

The page at <http://localhost:8000> computes the layer with TensorFlow.js from the inputs in this folder and
shows its output beside the reference. It can run the other backends too."""

_HEADERS = """This backend uses threads, which browsers allow only in a cross-origin isolated page. The server
has to send the headers `Cross-Origin-Opener-Policy: same-origin` and
`Cross-Origin-Embedder-Policy: require-corp`. The other backends do not need these headers."""

_FILES = """## The files

- `index.html`, `repro.js`, `element_check.js`, `repro.css`: the page
- `compute.js`: everything that the page does with TensorFlow.js
- `reproducer.json`: what the page computes, and the dtype and shape of each file of numbers
- `model/`: the layer as a model of its own, with its weights
- `input-*.bin`: the inputs, from the reference
- `reference.bin`, `browser.bin`: the output of Python and of the browser
- `allowed.bin`: the |error| allowed at each element
- `tfjs/`: TensorFlow.js, with its licence

The `.bin` files hold numbers only: little-endian, the last axis fastest; `allowed.bin` is float64."""


def _what(case: Case) -> str:
    layer, held = case.result.layer, case.held
    comparison, target = case.comparison, case.comparison.target
    where = f"on {case.target} in {_cell(target.browser)} {_cell(target.browser_version)}"
    subject = f"{_code(layer.name)} ({_cell(layer.op)}) of the model {_code(comparison.model)}"
    if held.passed:
        return (
            f"{subject} diverged from its Python reference {where}. When the layer runs alone on the "
            "reference's inputs, its error is within its allowance, so the divergence comes from its inputs."
        )
    if held.reason is not None:
        return f"{subject}, run on the reference's inputs, is wrong {where}: {_cell(held.reason)}."
    count = "1 element" if held.wrong == 1 else f"{held.wrong} elements"
    return f"{subject}, run on the reference's inputs, is wrong {where}: {count} of {held.elements}."


def _headers(comparison: Comparison) -> list[str]:
    if comparison.target.flags.get(_THREADS_FLAG) is not True:
        return []
    return [_HEADERS]


def _figures(case: Case) -> list[tuple[str, str]]:
    held, metrics = case.held, case.result.metrics
    rows = [
        ("largest \\|error\\|", number(held.max_abs, 3)),
        ("wrong elements", f"{held.wrong} of {held.elements}"),
    ]
    if held.worst is not None:
        rows += [
            ("worst at", _code(str(list(held.worst)))),
            ("\\|error\\| there", _error(held)),
        ]
    if case.values is not None:
        rows += [("browser", _code(case.values[0])), ("reference", _code(case.values[1]))]
    if held.rms_allowed is not None:
        rows.append(("root mean square", f"{number(held.rms, 3)}, {number(held.rms_allowed, 3)} allowed"))
    if metrics is not None and metrics.reason is None:
        rows.append(("in the whole model", f"largest \\|error\\| {number(metrics.max_abs, 3)}"))
    return rows


def _error(held: ElementCheck) -> str:
    if math.isinf(held.error):
        return "one value is NaN or Inf and the other differs"
    return f"{number(held.error, 3)}, {number(held.allowed, 3)} allowed"


def _diagnosis(case: Case) -> list[str]:
    diagnosis = case.diagnosis
    if diagnosis is None:
        return []
    evidence = "\n".join(f"- {_cell(one)}" for one in diagnosis.evidence)
    title = "## The cause" if diagnosis.kind == "unknown" else "## The likely cause"
    return [title, _cell(diagnosis.said), *([evidence] if evidence else [])]


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """Any text as Markdown code, for a heading or a table: fenced with more backticks than it contains."""
    shown = printable(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    blank = " " if shown[:1] == "`" or shown[-1:] == "`" or not shown else ""
    return f"{fence}{blank}{shown}{blank}{fence}"


def _cell(text: str) -> str:
    """Any text with its Markdown escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", printable(text))
