"""What scripts/setup.sh installs, on machines with given programs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SETUP = ROOT / "scripts" / "setup.sh"
# Everything that the browsers need, except Firefox's driver.
BROWSERS = ("chromium", "WebKitWebDriver", "Xvfb", "firefox")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")


@pytest.fixture
def machine(tmp_path):
    """Runs a part of the script with only these programs on PATH; returns its output and the programs run."""
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
        finished = subprocess.run(
            ["sh", str(SETUP), part], env=environment, capture_output=True, text=True, check=True
        )
        return finished.stdout, log.read_text().splitlines()

    return run


def test_missing_geckodriver_is_built(machine):
    output, ran = machine("browsers", *BROWSERS, "cargo")
    assert "setup: building geckodriver, with cargo" in output
    assert "cargo install --quiet --locked geckodriver" in ran


def test_nothing_is_installed_if_nothing_is_missing(machine):
    output, ran = machine("browsers", *BROWSERS, "cargo", "geckodriver")
    assert output == ""
    assert ran == ["chromium --version"]


def test_without_cargo_selenium_manager_is_named(machine):
    output, _ = machine("browsers", *BROWSERS)
    assert "Selenium Manager will fetch it" in output
