"""The progress line is shown and cleared on a terminal, and never written to a file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.report.progress_line import ProgressLine
from tests.support.tiny_layers_models import dense_model

if TYPE_CHECKING:
    from tests.support.inner_runs import Project

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")

SAVE, RESTORE, ERASE = "\x1b7", "\x1b8", "\x1b[K"

TESTS = """
import numpy as np
def test_before(): pass
def test_timed(tfjs):
    print("printed by the test")
    tfjs.time("model.json", np.ones((1, 3), np.float32), runs=2)
"""

# Reports progress as a page does, without a page.
SHOWN = """
from pytest_tfjs.browsers.messages import Progress
def test_shown(tfjs):
    tfjs._context.progress(Progress("layers", 41, 70))
"""


def on_terminal(project: Project, *arguments: str) -> str:
    """All output of a run on its own terminal of 100 columns."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = project.environment(TERM="xterm", COLUMNS="100")
    process = subprocess.Popen(
        project.command("--tfjs-backends=cpu", *arguments),
        cwd=project.folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as stream:
        try:
            while part := stream.read(65536):
                written += part
        except OSError:  # Linux: the other end is closed
            pass
    assert process.wait() == pytest.ExitCode.OK, written.decode()
    return written.decode()


def on_screen(written: str) -> list[str]:
    """The lines left on the screen, if no line is wider than the screen."""
    lines, line, column, saved = [], "", 0, 0
    position = 0
    while position < len(written):
        for code in (SAVE, RESTORE, ERASE, "\r", "\n", written[position]):
            if written.startswith(code, position):
                break
        position += len(code)
        if code == SAVE:
            saved = column
        elif code == RESTORE:
            column = saved
        elif code == ERASE:
            line = line[:column]
        elif code == "\r":
            column = 0
        elif code == "\n":
            lines.append(line.rstrip())
            line, column = "", 0
        else:
            line = line[:column].ljust(column) + code + line[column + 1 :]
            column += 1
    return [*lines, line]


@pytest.mark.browser
def test_stages_are_shown_on_a_terminal_and_cleared_at_the_end(project):
    dense_model(project.folder)
    project.write(test_model=TESTS)
    written = on_terminal(project, "--color=no")
    for stage in ("converting", "starting chrome", "opening a page for cpu", "loading model", "first run"):
        assert f"{SAVE} tfjs: test_timed, cpu on chrome: {stage}{ERASE}{RESTORE}" in written, written
    screen = on_screen(written)
    assert not any("cpu on chrome" in line for line in screen), "\n".join(screen)
    assert any(line.startswith("test_model.py ..") and line.endswith("[100%]") for line in screen)
    assert "printed by the test" not in written


def test_progress_follows_the_test_name_and_is_cleared_before_the_result(project):
    project.write(test_model=SHOWN)
    written = on_terminal(project, "--color=no", "-v")
    shown = f"{SAVE} tfjs: test_shown, cpu on chrome: layers 41/70{ERASE}{RESTORE}"
    cleared = f"{SAVE}{ERASE}{RESTORE}"
    assert f"test_model.py::test_shown[chrome-cpu] {shown}{cleared}PASSED" in written, written


@pytest.mark.parametrize("arguments", [["-q"], ["-p", "no:terminal"], ["--collect-only"]])
def test_progress_is_not_shown_with_quiet_no_terminal_or_collect_only(project, arguments):
    project.write(test_model=SHOWN)
    assert SAVE not in on_terminal(project, *arguments)


def test_progress_is_not_written_to_a_file(project):
    project.write(test_model=SHOWN)
    run = project.run("--tfjs-backends=cpu", "--color=yes")
    assert "1 passed" in run.text
    assert SAVE not in run.text
    assert "layers 41/70" not in run.text


def test_run_without_tfjs_tests_passes_on_a_terminal(project):
    project.write(test_plain="def test_plain(): pass")
    assert "1 passed" in on_terminal(project, "--color=no")


def test_progress_is_not_shown_if_no_columns_are_left(project):
    project.write(test_model=SHOWN.replace("test_shown", f"test_{'long_' * 14}"))
    assert SAVE not in on_terminal(project, "-v")


class Screen(io.StringIO):
    encoding = "utf-8"


class ClosedScreen(Screen):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_closed_terminal_raises_no_error():
    line = ProgressLine(ClosedScreen(), lambda: 80)
    line.show("loading model")
    line.show("first run")
    line.clear()


def test_stage_is_updated_at_most_ten_times_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("pytest_tfjs.report.progress_line.time.monotonic", lambda: now[0])
    stream = Screen()
    line = ProgressLine(stream, lambda: 80)
    for done, moment in [(1, 100.0), (2, 100.05), (3, 100.11), (4, 100.12)]:
        now[0] = moment
        line.show("layers", done, 4)
    assert [done for done in range(1, 5) if f"layers {done}/4" in stream.getvalue()] == [1, 3]
    line.show("warm runs", 1, 4)
    assert "warm runs 1/4" in stream.getvalue()


def test_progress_is_cleared_only_if_shown():
    stream = Screen()
    line = ProgressLine(stream, lambda: 80)
    line.clear()
    line.show("loading model")
    line.clear()
    line.clear()
    assert stream.getvalue().count(ERASE) == 2
