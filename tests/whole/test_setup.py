"""What scripts/setup.sh installs, on machines with given programs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SETUP = ROOT / "scripts" / "setup.sh"
# All that the tests' browsers take, apart from the driver of Firefox.
BROWSERS = ("chromium", "WebKitWebDriver", "Xvfb", "firefox")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")


@pytest.fixture
def machine(tmp_path):
    """Runs a part of the script where the programs named are; each writes down that it was run."""
    programs, log = tmp_path / "programs", tmp_path / "log"
    programs.mkdir()
    for name in ("sh", "dirname"):
        (programs / name).symlink_to(shutil.which(name))

    def run(part: str, *there: str) -> tuple[str, list[str]]:
        for name in there:
            program = programs / name
            program.write_text(f'#!{programs}/sh\necho "{name} $*" >>"{log}"\n')
            program.chmod(0o755)
        environment = {"PATH": str(programs), "HOME": str(tmp_path)}
        told = subprocess.run(
            ["sh", str(SETUP), part], env=environment, capture_output=True, text=True, check=True
        )
        return told.stdout, log.read_text().splitlines()

    return run


def test_missing_geckodriver_is_built(machine):
    told, ran = machine("browsers", *BROWSERS, "cargo")
    assert "setup: geckodriver, with cargo" in told
    assert "cargo install --quiet --locked geckodriver" in ran


def test_nothing_is_installed_if_nothing_is_missing(machine):
    told, ran = machine("browsers", *BROWSERS, "cargo", "geckodriver")
    assert told == ""
    assert ran == ["chromium --version"]


def test_without_cargo_selenium_manager_is_named(machine):
    told, _ = machine("browsers", *BROWSERS)
    assert "Selenium Manager will fetch it" in told
