"""Provokes each fault, and writes what the user sees into `docs/faults.md`.

`python -m tools.faults_table`; further arguments go to pytest. `-k Ctrl` writes only those rows again.
"""

from __future__ import annotations

import re
import sys
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from tools.reported_rows import ROOT, RowTests, cells_of, table_line

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "faults.md"
TESTS = RowTests("tests/whole/test_faults.py", "TFJS_FAULTS", "tfjs_fault")

_HEADINGS = ("fault", "browser", "caused by", "the test", "message")
_HEADING = f"| {' | '.join(_HEADINGS)} |"
_INTRODUCTION = """\
# Faults

What happens if something breaks during a run. For each row the fault was caused in a run of three tests: one
before the fault, the test during which it happens, and one after it. The test after it passed, on a fresh
browser if the fault concerned the browser. The run left no process, port, temporary file, held lock or
session of the cache behind. `make faults` writes this page, and `make test-all` checks its words.

- **repeated**: the browser was lost, so the comparison was repeated on a fresh browser, and passed. The
  message is shown under `tfjs browsers lost` in the terminal, in a note of the comparison, as `retried` in
  the [JSON](json.md) and as `tfjs_retried` in a JUnit file.
- **fails**: the message is the first line of the failure.
- **passes**: the fault has no effect on the test.
- **the run ends**: with exit code 2; the results of the tests before it are written.

"""


@dataclass(frozen=True)
class Row:
    """A row of the table; `told` is what the user sees, without the paths of the machine."""

    fault: str
    browser: str
    caused: str
    outcome: str
    told: str

    @property
    def key(self) -> tuple[str, str]:
        """Fault and browser, which identify the row."""
        return self.fault, self.browser

    @property
    def masked(self) -> Row:
        """The row without its numbers, which differ from run to run."""
        told = re.sub(r"\d+(\.\d+)*(e[+-]\d+)?", "0", self.told)
        return Row(self.fault, self.browser, self.caused, self.outcome, told)


def main() -> int:
    """Runs the tests and writes the page; gives pytest's exit code, or 1 where there is no row."""
    status, found = TESTS.run(sys.argv[1:])
    made = [Row(**fields) for fields in found]
    rows = {row.key: row for row in [*read(), *made]}
    if not made:
        return status or 1
    PAGE.write_text(page(list(rows.values())), encoding="utf-8")
    print(f"\n{PAGE.relative_to(ROOT)}: {len(made)} rows written anew, {len(rows)} in all")
    return status


def page(rows: list[Row]) -> str:
    """The whole page."""
    lines = [_HEADING, f"|{'---|' * len(_HEADINGS)}", *(table_line(astuple(row)) for row in rows)]
    return _INTRODUCTION + "\n".join(lines) + "\n"


def read() -> list[Row]:
    """The rows of the page as it stands; none where there is no page."""
    if not PAGE.is_file():
        return []
    lines = PAGE.read_text(encoding="utf-8").partition(_HEADING)[2].splitlines()
    return [Row(*cells_of(line)) for line in lines if line.startswith("| ")]


def plain(text: str, *folders: Path) -> str:
    """The text without the folders of the machine, and without hexadecimal names."""
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return re.sub(r"\b[0-9a-f]{32,}\b", "…", text)


if __name__ == "__main__":
    sys.exit(main())
