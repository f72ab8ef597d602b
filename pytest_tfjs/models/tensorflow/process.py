"""TensorFlow in a process of its own: a crash, or no memory left, ends a test there and not the run."""

from __future__ import annotations

import contextlib
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
"""The log's name in the folder that the process is given."""

# How long a process that is gone can go unnoticed where another holds its end of the pipe open.
_POLL_S = 1.0
_END_S = 5.0


class Place(Protocol):
    """Where a function that needs TensorFlow runs: here, or in a process of its own.

    `doing` says, in a message, what it does ("converting 'model.keras'"). The function is one of a module,
    and its arguments and result can be pickled.
    """

    def __call__(self, doing: str, function: Callable[..., _T], /, *arguments: Any) -> _T:
        """The function's result."""


def here(doing: str, function: Callable[..., _T], /, *arguments: Any) -> _T:  # noqa: ARG001  (of a Place)
    """Calls the function in this process."""
    return function(*arguments)


@dataclass(frozen=True)
class Answer:
    """What a call gave: a value, or an error, as text where it is not one of ours, and its traceback."""

    value: Any = None
    error: TfjsError | str | None = None
    traceback: str = ""


class ChildTraceback(Exception):  # noqa: N818  (tells of another error, as its cause)
    """The traceback of an error in the other process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class TensorFlowProcess:
    """A Place: one process for all that needs TensorFlow, so that it is imported once.

    The process starts at the first need and lives until `close()`, or until this process ends, whatever ends
    it. After it died, the next need starts another. Where TensorFlow or Keras is imported here already,
    functions run here: TensorFlow would be imported twice, and layers registered with Keras are not known
    elsewhere.

    A call raises TfjsErrors as they were raised there; a TfjsError that names any other error; and
    ConversionError, with the end of the log, where the process ended instead of answering.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, doing: str, function: Callable[..., _T], /, *arguments: Any) -> _T:
        """The function's result, from the process."""
        if not sys.modules.keys().isdisjoint(_IMPORTED):
            return function(*arguments)
        call = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
        child = self._living_child()
        try:
            answer = child.ask(call)
        except BaseException:
            # Interrupted: it still works on this, and would answer the next question with it.
            self.close()
            raise
        if answer is None:
            how, told = child.how_it_ended(), child.log()
            self.close()
            raise ConversionError(
                f"{doing}: the process that runs TensorFlow {how}"
                + (f"\nIts log ends with:\n{told}" if told else "; its log is empty")
            )
        if answer.error is not None:
            raise _as_raised(doing, answer.error) from ChildTraceback(answer.traceback)
        value: _T = answer.value
        return value

    def close(self) -> None:
        """Ends the process, whatever it does. May be called again."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _living_child(self) -> _Child:
        if self._child is not None and not self._child.lives():
            self.close()
        if self._child is None:
            self._child = _Child()
        return self._child


def _as_raised(doing: str, error: TfjsError | str) -> TfjsError:
    return error if isinstance(error, TfjsError) else TfjsError(f"{doing} failed: {error}")


class _Child:
    """The process, the folder of its log and temporary files, and the answers that it gave."""

    def __init__(self) -> None:
        # Removed with it: a process that is killed leaves its temporary files.
        self._folder = tempfile.TemporaryDirectory(prefix="pytest-tfjs-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / LOG
        self._asked_at = 0
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
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, call: bytes) -> Answer | None:
        """The answer to a pickled call; None where the process ended instead."""
        assert self._process.stdin is not None
        self._asked_at = self._log.stat().st_size
        with contextlib.suppress(OSError):  # it is gone, which is noticed below
            pickle.dump((sys.path, str(Path.cwd()), call), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_POLL_S)
            if not self.lives():
                return None

    def how_it_ended(self) -> str:
        """How the process ended, by itself."""
        try:
            code = self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            return "closed its end of the pipe"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")

    def log(self) -> str:
        """The last lines that it wrote since it was asked."""
        with self._log.open("rb") as stream:
            stream.seek(self._asked_at)
            return Chatter(stream.read().decode("utf-8", "replace")).tail()

    def close(self) -> None:
        """Ends the process, whatever it does, and removes its files."""
        self._process.kill()
        self._process.wait()
        self._listener.join(timeout=_END_S)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            if not self._listener.is_alive():  # else a process that it started holds the pipe open
                with contextlib.suppress(OSError):  # what it did not read
                    stream.close()
        self._folder.cleanup()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(Exception):  # it ended, perhaps in the midst of an answer
            while True:
                self._answers.put(pickle.load(self._process.stdout))  # noqa: S301  (of our own making)
        self._answers.put(None)
