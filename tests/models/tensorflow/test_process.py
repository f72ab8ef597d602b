"""Calls in the TensorFlow process: results, errors, crashes, time limits and cleanup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from pytest_tfjs.errors import ConversionError, PageError, SourceError, TfjsError
from pytest_tfjs.models.tensorflow.importing import captured
from pytest_tfjs.models.tensorflow.process import ChildTraceback, TensorFlowProcess, run_here

LIMIT_S = 60.0
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def process(scratch, monkeypatch):
    # Other tests of this run may have imported it.
    for name in ("tensorflow", "keras"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with TensorFlowProcess() as process:
        yield process
    assert list(scratch.iterdir()) == []


def double(number):
    return 2 * number


def kill_itself(signum):
    os.kill(os.getpid(), signum)


def write_and_exit(*lines):
    """Writes as a converter does, from Python and from C++, and ends the process."""
    with captured():
        for line in lines:
            sys.stdout.write(f"{line}\n")
        os.write(2, b"in C++\n")
        os._exit(7)


def write(word):
    sys.stderr.write(f"{word}\n")
    with captured() as chatter:
        os.write(1, f"{word} while captured\n".encode())
    return chatter.text


def interrupt_and_hang(pid):
    os.kill(pid, signal.SIGINT)
    time.sleep(LIMIT_S)


def hang():
    print("reached the loop", flush=True)
    while True:
        pass


def stop_for(pid, seconds):
    """Suspends a process; gives the seconds until it ran again."""
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)  # time for pytest to read the clock again, during the call
    return time.monotonic() - began


def length(data):
    return len(data)


def raise_page_error():
    raise PageError("one line", stack="a stack", stage="loading")


def raise_with_a_cause():
    try:
        int("the cause")
    except ValueError as error:
        raise SourceError("what is wrong") from error


class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raise_odd_error():
    raise OddError("this", "that")


def temporary_file():
    with tempfile.NamedTemporaryFile(delete=False) as file:
        return file.name


def test_all_calls_run_in_one_other_process(process):
    pid = process.run("asking", os.getpid)
    assert pid != os.getpid()
    assert process.run("doubling", double, 21) == 42
    assert process.run("asking", os.getpid) == pid
    process.close()
    assert not psutil.pid_exists(pid)


def test_no_process_starts_before_the_first_call(scratch):
    before = psutil.Process().children()
    with TensorFlowProcess():
        assert psutil.Process().children() == before


@pytest.mark.parametrize("module", ["tensorflow", "keras"])
def test_calls_run_in_this_process_once_tensorflow_is_imported(process, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, object())
    assert process.run("asking", os.getpid) == run_here("asking", os.getpid) == os.getpid()


def test_each_call_uses_the_current_import_path_and_folder(process, monkeypatch, tmp_path_factory):
    process.run("starting", os.getpid)
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    (folder / "found_there.py").write_text("import os\ndef where(): return os.getcwd()")
    import found_there

    assert process.run("asking", found_there.where) == str(folder)


@posix
@pytest.mark.parametrize(
    ("signum", "message"),
    [
        (signal.SIGKILL, r"^converting 'm': .* was killed by SIGKILL: out of memory\?"),
        (signal.SIGSEGV, r"(?s)^converting 'm': .* was killed by SIGSEGV\n.*Segmentation fault.*kill_itself"),
    ],
)
def test_after_a_fatal_signal_the_next_call_gets_a_new_process(process, signum, message):
    before = process.run("asking", os.getpid)
    with pytest.raises(ConversionError, match=message):
        process.run("converting 'm'", kill_itself, signum)
    assert process.run("asking", os.getpid) not in (before, os.getpid())


def test_a_crash_message_ends_with_the_log_of_that_call_only(process, capfd):
    assert process.run("writing", write, "harmless") == "harmless while captured\n"
    with pytest.raises(ConversionError) as caught:
        process.run("converting 'm'", write_and_exit, *(f"line {number}" for number in range(50)))
    message = str(caught.value)
    assert "converting 'm': the TensorFlow process ended with exit code 7" in message
    assert message.endswith("line 48\nline 49\nin C++")
    assert "harmless" not in message
    assert "line 9\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_call_past_its_time_limit_is_stopped_and_the_next_gets_a_new_process(process):
    child = psutil.Process(process.run("asking", os.getpid))
    runner = process.runner(timeout_s=1)
    with pytest.raises(
        ConversionError,
        match=r"(?s)^converting 'm': the TensorFlow process did not finish within 1 s and was stopped\. "
        r"Give it more time with --tfjs-timeout=SECONDS, .*\nIts log ends with:\nreached the loop$",
    ):
        runner("converting 'm'", hang)
    assert not child.is_running()
    assert process.runner(timeout_s=LIMIT_S)("doubling", double, 5) == 10


@posix
def test_a_process_that_does_not_read_requests_is_stopped(process):
    """The arguments are larger than a pipe holds, so that sending them blocks."""
    large = bytes(1 << 20)
    assert process.run("measuring", length, large) == len(large)
    psutil.Process(process.run("asking", os.getpid)).suspend()
    with pytest.raises(ConversionError, match=r"did not finish within 0\.5 s"):
        process.run("measuring", length, large, timeout_s=0.5)
    assert process.run("measuring", length, large) == len(large)


@posix
def test_time_while_pytest_is_suspended_does_not_count(process, request):
    """The TensorFlow process suspends pytest for three seconds; the time limit is two."""
    limit_s, stopped_s = 2.0, 3.0
    process.run("starting", os.getpid)
    assert process.run("stopping", stop_for, os.getpid(), stopped_s, timeout_s=limit_s) >= stopped_s


@posix
def test_a_process_that_died_between_calls_is_replaced(process):
    child = psutil.Process(process.run("asking", os.getpid))
    child.kill()
    child.wait(LIMIT_S)
    assert process.run("doubling", double, 4) == 8


def test_tfjs_errors_are_raised_unchanged(process):
    with pytest.raises(PageError, match=r"^one line$") as caught:
        process.run("asking", raise_page_error)
    assert (caught.value.stack, caught.value.stage) == ("a stack", "loading")
    with pytest.raises(SourceError, match=r"^what is wrong$") as caught:
        process.run("asking", raise_with_a_cause)
    assert isinstance(caught.value.__cause__, ChildTraceback)
    assert "ValueError: invalid literal for int() with base 10: 'the cause'" in str(caught.value.__cause__)


def test_other_errors_become_text_with_type_message_and_line(process):
    with pytest.raises(
        TfjsError,
        match=r"^computing 'm' failed: OddError: this and that \(.*test_process\.py:\d+, in raise_odd",
    ) as caught:
        process.run("computing 'm'", raise_odd_error)
    assert "raise_odd_error" in str(caught.value.__cause__)
    assert process.run("doubling", double, 1) == 2


def test_temporary_files_are_removed_on_close(process, scratch):
    name = process.run("littering", temporary_file)
    assert scratch in Path(name).parents
    process.close()
    assert list(scratch.iterdir()) == []


@posix
def test_ctrl_c_ends_the_call_and_the_process(process):
    child = psutil.Process(process.run("asking", os.getpid))
    child.send_signal(signal.SIGINT)  # the terminal sends it to both
    with pytest.raises(KeyboardInterrupt):
        process.run("waiting", interrupt_and_hang, os.getpid())
    assert not child.is_running()
    assert process.run("doubling", double, 3) == 6


# Without a main guard: starting the process must not run this script again. It prints the process's id.
SCRIPT = """
import os
import time
from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

print("started", flush=True)
process = TensorFlowProcess()
print(process.run("asking", os.getpid), flush=True)
process.run("converting", time.sleep, 10**6)
"""


@posix
def test_the_process_ends_if_pytest_is_killed_during_a_call(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        **os.environ,
        "TMPDIR": str(scratch),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    script = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert script.stdout is not None
    with script:
        assert script.stdout.readline() == "started\n"
        other = psutil.Process(int(script.stdout.readline()))
        script.kill()
        assert script.stdout.read() == ""
    assert psutil.wait_procs([other], timeout=LIMIT_S)[1] == []
    assert list(scratch.iterdir()) == []
