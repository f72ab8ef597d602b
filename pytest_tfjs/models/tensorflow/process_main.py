"""Main program of the TensorFlow process: answers calls from process.py over its pipes."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import queue
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.tensorflow import importing
from pytest_tfjs.models.tensorflow.process import LOG, Answer
from pytest_tfjs.models.tensorflow.refusals import is_of_tensorflow, read_refusal


def main() -> None:
    """Answers calls from the standard input, one by one, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest handles Ctrl-C and ends this process
    folder = Path(sys.argv[1])
    requests, answers = _take_over_pipes()
    faulthandler.enable(all_threads=False)
    _offer_to_the_oom_killer()
    importing.LOG_FILE.set(folder / LOG)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting, folder), daemon=True).start()
    while True:
        pickle.dump(_answer(*waiting.get()), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(path: list[str], folder: str, call: bytes) -> Answer:
    sys.path[:] = path
    with contextlib.suppress(OSError):  # the folder may have been removed
        os.chdir(folder)
    try:
        function, arguments = pickle.loads(call)  # noqa: S301  (written by process.py)
        return Answer(function(*arguments))
    except TfjsError as error:
        return Answer(error=error, traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001  (pytest's process cannot unpickle TensorFlow's errors)
        if is_of_tensorflow(error):
            refusal = read_refusal(error)
            text = f"{refusal.where}{refusal.reason}"
            return Answer(error=f"{type(error).__name__}: {text}", traceback=traceback.format_exc())
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}, in {last.name}"
        return Answer(error=f"{type(error).__name__}: {error} ({place})", traceback=traceback.format_exc())


def _listen(requests: BinaryIO, waiting: queue.SimpleQueue[Any], folder: Path) -> None:
    """Queues requests; when pytest's end of the pipe closes, removes the folder and ends the process."""
    with contextlib.suppress(Exception):
        while True:
            waiting.put(pickle.load(requests))  # noqa: S301  (written by process.py)
    for _ in range(3):  # a call in progress may create files meanwhile
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our ends of the pipes. From then on the standard input is empty and prints go to the log."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _offer_to_the_oom_killer() -> None:
    """Makes Linux end this process first when memory runs out, before pytest and the browser."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


if __name__ == "__main__":
    main()
