"""How this suite is spread over processes."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.conftest import LONG
from tests.support.family_runs import GROUPS
from tests.support.paths import ROOT


def test_long_groups_are_groups_that_there_are():
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(LONG) <= files | {f"families-{index}" for index in range(GROUPS)}
    assert len(set(LONG)) == len(LONG)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("given", "spread"),
    [
        ([], "-n 2 --dist loadgroup"),
        (["WORKERS=3"], "-n 3 --dist loadgroup"),
        (["WORKERS=0"], None),
        (["ARGS=-k dist"], None),
        (["ARGS=-k dist", "WORKERS=2"], "-n 2 --dist loadgroup"),
    ],
)
def test_make_spreads_the_whole_suite(given, spread):
    outer = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "ARGS", "WORKERS")
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "pytest", *given],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = (line for line in told.splitlines() if "-m pytest" in line)
    assert ("-n " in line) == (spread is not None)
    assert (spread or "") in line
    assert line.endswith("-k dist") == ("ARGS=-k dist" in given)
