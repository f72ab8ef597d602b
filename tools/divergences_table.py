"""Causes each known divergence of TF.js, and writes docs/known-divergences.md.

`python -m tools.divergences_table`; arguments go to pytest. `-k one-hot` writes only those rows again.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from tests.support.divergences.table import KNOWN
from tools.reported_rows import ROOT, RowTests, cells_of, table_line

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = ROOT / "docs" / "known-divergences.md"
TESTS = RowTests("tests/whole/test_known_divergences.py", "TFJS_DIVERGENCES", "tfjs_divergence")

_SOURCES = "https://github.com/tensorflow/tfjs/blob/tfjs-v4.22.0/"
_HEADINGS = ("operation", "when", "TF.js gives", "on", "the plugin says", "way round", "source")
_INTRODUCTION = """\
# Known divergences of TF.js 4.22

Operations for which TF.js computes something else than TensorFlow, although the model was converted
correctly. If your model goes wrong in the browser, search for the operations that it uses. The list is not
complete: it has what was found by reading TF.js's sources, in reports, and in models that failed.

Each row was caused in a real browser, by a model in `tests/support/divergences/`: the plugin fails the test,
blames this operation (`faulty`), and says what the row quotes; its numbers are those of that model. On the
backends that are not named the same model is close, or TF.js has no kernel for it. webgl ran on SwiftShader;
what the standards leave undefined differs from GPU to GPU. `make divergences` writes this page, and
`make test-all` checks it.

Rounding, and constants that TF.js adds on purpose, are no divergences: the plugin allows for them, see
[what kernels do on purpose](kernel-arithmetic.md). Operations that TF.js refuses or that a
backend does not have are not listed either: the message names them and says what to do.
"""


@dataclass(frozen=True)
class Row:
    """A row of the page. `targets`: joined by commas. `said`: what the plugin says on the first of them."""

    section: str
    operation: str
    when: str
    result: str
    targets: str
    said: str
    instead: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Operation, condition and result, which identify the row."""
        return self.operation, self.when, self.result

    @property
    def masked(self) -> Row:
        """The row without what differs from run to run: numbers, and which other backends were asked."""
        said = self.said.replace("max |error|", "|error|")
        said = re.sub(r"-?\d+(\.\d+)*(e[+-]\d+)?", "0", said)
        said = re.sub(r"(; .* is wrong, but) .* agrees? with Python", r"\1 others agree with Python", said)
        return replace(self, said=re.sub(r"; .* give the same wrong values", "; others are wrong too", said))


def main() -> int:
    """Runs the tests and writes the page; gives pytest's exit code, or 1 where there is no row."""
    status, found = TESTS.run(sys.argv[1:])
    made = [Row(**fields) for fields in found]
    if not made:
        return status or 1
    whole = len(sys.argv) == 1 and status == 0
    rows = {row.key: row for row in [*([] if whole else read()), *made]}
    # pytest runs the tests of one target together; the page has the order of the cases.
    order = [(case.operation, case.when, case.result) for case in KNOWN.values()]
    rows = {key: rows[key] for key in order if key in rows}
    PAGE.write_text(page(rows.values()), encoding="utf-8")
    print(f"\n{PAGE.relative_to(ROOT)}: {len(made)} rows written anew, {len(rows)} in all")
    return status


def page(rows: Iterable[Row]) -> str:
    """The whole page; sections in the order of their first rows."""
    rows = list(rows)
    order = list(dict.fromkeys(row.section for row in rows))
    lines = [_INTRODUCTION]
    for section, own in groupby(
        sorted(rows, key=lambda row: order.index(row.section)), lambda row: row.section
    ):
        lines += [f"## {section}\n", f"| {' | '.join(_HEADINGS)} |", f"|{'---|' * len(_HEADINGS)}"]
        lines += [*map(_line, own), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def read() -> list[Row]:
    """The rows of the page as it stands; none where there is no page."""
    if not PAGE.is_file():
        return []
    rows, section = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(f"| {_HEADINGS[0]} |"):
            *cells, source = cells_of(line)
            source = source.partition(_SOURCES)[2].removesuffix(")")
            rows.append(Row(section, *cells, source))
    return rows


def _line(row: Row) -> str:
    name = re.sub(r"#L\d+$", "", row.source).rpartition("/")[2]
    source = f"[{name}]({_SOURCES}{row.source})"
    return table_line((row.operation, row.when, row.result, row.targets, row.said, row.instead, source))


if __name__ == "__main__":
    sys.exit(main())
