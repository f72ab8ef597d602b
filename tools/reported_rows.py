"""Runs tests that report rows of a page in docs/, and reads the rows they report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RowTests:
    """The tests of a file, each of which reports its row in a user property.

    - `file`: the test file, relative to the repository.
    - `writing`: the environment variable that is set while the page is written.
    - `property_name`: the name of the user property.
    """

    file: str
    writing: str
    property_name: str

    def is_writing(self) -> bool:
        """Whether the page is being written, so that the tests must not check it."""
        return self.writing in os.environ

    def user_property(self, row: Any) -> tuple[str, str]:
        """The user property in which a test reports its row, a dataclass instance."""
        return self.property_name, json.dumps(asdict(row))

    def run(self, arguments: Sequence[str]) -> tuple[int, list[dict[str, str]]]:
        """Runs the tests with these arguments; gives pytest's exit code and the fields of each row."""
        with tempfile.TemporaryDirectory() as folder:
            junit = Path(folder) / "junit.xml"
            status = subprocess.run(
                [sys.executable, "-m", "pytest", self.file, f"--junitxml={junit}", *arguments],
                cwd=ROOT,
                env={**os.environ, self.writing: "1"},
                check=False,
            ).returncode
            return status, self.rows_of(junit) if junit.is_file() else []

    def rows_of(self, junit: Path) -> list[dict[str, str]]:
        """The fields of the rows that the tests reported, in the order of the tests."""
        found = ET.parse(junit).iter("property")
        return [json.loads(str(one.get("value"))) for one in found if one.get("name") == self.property_name]


def table_line(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def cells_of(line: str) -> list[str]:
    """The cells of a line that `table_line` made."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
