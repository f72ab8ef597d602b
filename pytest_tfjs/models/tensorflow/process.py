"""Starts the TensorFlow process and calls functions in it.

process_main.py runs in that process. A crash, a hang or a lack of memory there fails one test and not the
run.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_tfjs.errors import ConversionError, TfjsError
from pytest_tfjs.models.tensorflow.importing import Chatter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_IMPORTED = ("tensorflow", "keras")
_T = TypeVar("_T")
LOG = "log"
"""The log's file name in the folder that the process gets."""

# A process may end unnoticed where another one holds its end of the pipe open: so often we look.
_POLL_S = 1.0
_END_S = 5.0


class Runner(Protocol):
    """Calls a function that needs TensorFlow: in pytest's process or in the TensorFlow process.

    `activity` names the call in messages ("converting 'model.keras'"). The function is defined at the top of
    a module; its arguments and result can be pickled.
    """

    def __call__(self, activity: str, function: Callable[..., _T], /, *arguments: Any) -> _T:
        """The function's result."""


def run_here(activity: str, function: Callable[..., _T], /, *arguments: Any) -> _T:  # noqa: ARG001  (a Runner)
    """Calls the function in this process, without a time limit."""
    return function(*arguments)


@dataclass(frozen=True)
class Answer:
    """A call's result or its error, with the traceback; errors of other packages are text."""

    value: Any = None
    error: TfjsError | str | None = None
    traceback: str = ""


class ChildTraceback(Exception):  # noqa: N818  (only ever the cause of another error)
    """The traceback of an error in the TensorFlow process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _NoAnswer(Exception):  # noqa: N818  (never leaves this module)
    """The process ended, or was ended, before it answered; the text says how."""


class TensorFlowProcess:
    """One process for all calls that need TensorFlow, so that it is imported once.

    The process starts with the first call and lives until `close()`, or until pytest's process ends, however
    that ends. After a crash or a time-out, the next call starts another. Where TensorFlow or Keras is already
    imported in pytest's process, functions run there: TensorFlow would be imported twice, and only that
    process knows the layers that a test registered with Keras.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def runner(self, timeout_s: float = math.inf) -> Runner:
        """A Runner that calls functions in this process, each for at most `timeout_s` seconds."""

        def run(activity: str, function: Callable[..., _T], /, *arguments: Any) -> _T:
            return self.run(activity, function, *arguments, timeout_s=timeout_s)

        return run

    def run(
        self,
        activity: str,
        function: Callable[..., _T],
        /,
        *arguments: Any,
        timeout_s: float = math.inf,
    ) -> _T:
        """The function's result, computed in the process within `timeout_s` seconds.

        Time for which the machine slept does not count. Raises a TfjsError as the function raised it;
        TfjsError for any other error of the function; and ConversionError, with the end of the log, where the
        process ended before it answered or did not answer in time. In both cases it is gone afterwards.
        """
        if not sys.modules.keys().isdisjoint(_IMPORTED):
            return function(*arguments)
        call = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
        child = self._living_child()
        try:
            answer = child.answer(call, timeout_s)
        except _NoAnswer as end:
            log = child.log()
            self.close()
            raise ConversionError(
                f"{activity}: the TensorFlow process {end}" + (f"\nIts log ends with:\n{log}" if log else "")
            ) from None
        except BaseException:
            # Interrupted: the process still works on this call and would answer the next one with it.
            self.close()
            raise
        if answer.error is not None:
            raise _as_raised(activity, answer.error) from ChildTraceback(answer.traceback)
        value: _T = answer.value
        return value

    def close(self) -> None:
        """Ends the process, busy or not. May be called again."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _living_child(self) -> _Child:
        if self._child is not None and not self._child.lives():
            self.close()
        if self._child is None:
            self._child = _Child()
        return self._child


def _as_raised(activity: str, error: TfjsError | str) -> TfjsError:
    return error if isinstance(error, TfjsError) else TfjsError(f"{activity} failed: {error}")


class _Child:
    """A running process, the folder of its log and temporary files, and a queue of its answers."""

    def __init__(self) -> None:
        # A killed process leaves its temporary files behind: they are removed with this folder.
        self._folder = tempfile.TemporaryDirectory(prefix="pytest-tfjs-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / LOG
        self._log_start = 0
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest_tfjs.models.tensorflow.process_main", self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder.name),
                },
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._threads = [threading.Thread(target=self._receive, daemon=True)]
        self._threads[0].start()

    def lives(self) -> bool:
        return self._process.poll() is None

    def answer(self, call: bytes, timeout_s: float) -> Answer:
        """The answer to a pickled call. Raises _NoAnswer."""
        self._log_start = self._log.stat().st_size
        # In a thread: a process that hangs does not empty the pipe.
        sender = threading.Thread(target=self._send, args=(call,), daemon=True)
        self._threads.append(sender)
        sender.start()
        left = timeout_s
        while left > 0:
            poll = min(_POLL_S, left)
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=poll)
                if answer is None:
                    raise _NoAnswer(self._how_it_ended())
                sender.join()
                self._threads.remove(sender)
                return answer
            if not self.lives():
                raise _NoAnswer(self._how_it_ended())
            # The polls are counted and not the clock's seconds: the machine may have slept in one.
            left -= poll
        raise _NoAnswer(
            f"did not finish within {timeout_s:g} s and was stopped. Give it more time with"
            " --tfjs-timeout=SECONDS, or @pytest.mark.tfjs(timeout=...)"
        )

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            return "closed its end of the pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")

    def log(self) -> str:
        """The last lines that the process wrote during this call."""
        with self._log.open("rb") as stream:
            stream.seek(self._log_start)
            return Chatter(stream.read().decode("utf-8", "replace")).tail()

    def close(self) -> None:
        """Ends the process, busy or not, and removes its files."""
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=_END_S)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            # A thread that is still alive uses a pipe that another process holds open: closing would block.
            if not any(thread.is_alive() for thread in self._threads):
                with contextlib.suppress(OSError):  # from flushing bytes that the process did not read
                    stream.close()
        self._folder.cleanup()

    def _send(self, call: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the process has ended, which `answer` notices
            pickle.dump((sys.path, str(Path.cwd()), call), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()

    def _receive(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(Exception):  # the process has ended, perhaps in the middle of an answer
            while True:
                self._answers.put(pickle.load(self._process.stdout))  # noqa: S301  (written by process_main)
        self._answers.put(None)
