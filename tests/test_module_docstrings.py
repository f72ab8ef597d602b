"""Each module begins with a line that says what the module is, in under 90 characters."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("pytest_tfjs", "tests/support", "tools", "benchmarks", "demo", "fixtures", "scripts")
SUFFIXES = {".py", ".js", ".mjs"}
LIMIT = 90
# The block comment at the top of a JavaScript module, after lines such as `// @ts-check`.
LEADING_COMMENT = re.compile(r"(?://[^\n]*\n)*/\*\*(.*?)\*/", re.DOTALL)


def modules(folder: str) -> list[str]:
    """The paths of the folder's modules, without TF.js's bundles in `page/vendor`."""
    vendor = ROOT / "pytest_tfjs/page/vendor"
    found = (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
    return sorted(str(path.relative_to(ROOT)) for path in found if vendor not in path.parents)


MODULES = [module for folder in FOLDERS for module in modules(folder)]


def first_line(path: Path) -> str:
    """The first line of a module's docstring, or "" if the module has none."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        docstring = ast.get_docstring(ast.parse(text)) or ""
    else:
        comment = LEADING_COMMENT.match(text)
        docstring = re.sub(r"(?m)^ *\* ?", "", comment[1]) if comment else ""
    return docstring.strip().partition("\n")[0]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_begins_with_one_short_sentence(module):
    line = first_line(ROOT / module)
    assert line, f"{module} has no docstring"
    assert len(line) < LIMIT, f"the first line has {len(line)} characters; the limit is under {LIMIT}"
    assert line.endswith("."), "the first sentence does not end on the first line, or has no period"


@pytest.mark.parametrize("module", [module for module in modules("tests") if module not in MODULES])
def test_the_first_line_of_a_test_module_is_short(module):
    line = first_line(ROOT / module)
    assert len(line) < LIMIT, f"the first line has {len(line)} characters; the limit is under {LIMIT}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_are_found_in_each_folder(folder):
    assert modules(folder)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_modules_of_each_language_are_found(suffix):
    assert any(module.endswith(suffix) for module in MODULES)
