"""The process of its own that runs what needs TensorFlow; process.py is the other end."""

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


def main() -> None:
    """Answer calls from the standard input, one by one, until its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends this process
    folder = Path(sys.argv[1])
    requests, answers = _take_over_pipes()
    faulthandler.enable(all_threads=False)
    _offer_to_the_oom_killer()
    importing.KEPT_LOG.set(folder / LOG)
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting, folder), daemon=True).start()
    while True:
        pickle.dump(_answer(*waiting.get()), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(path: list[str], folder: str, call: bytes) -> Answer:
    sys.path[:] = path
    with contextlib.suppress(OSError):  # pytest's folder may be gone for it as well
        os.chdir(folder)
    try:
        function, arguments = pickle.loads(call)  # noqa: S301  (of our own making)
        return Answer(function(*arguments))
    except TfjsError as error:
        return Answer(error=error, traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001  (TensorFlow's own could be read only where that is imported)
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}, in {last.name}"
        return Answer(error=f"{type(error).__name__}: {error} ({place})", traceback=traceback.format_exc())


def _listen(requests: BinaryIO, waiting: queue.SimpleQueue[Any], folder: Path) -> None:
    """Passes requests on; once pytest is gone, however it went, removes the folder and ends the process."""
    with contextlib.suppress(Exception):
        while True:
            waiting.put(pickle.load(requests))  # noqa: S301  (of our own making)
    for _ in range(3):  # what is at work may put files there meanwhile
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our ends of the pipes; after this the standard input is empty, and what is printed goes to the log."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _offer_to_the_oom_killer() -> None:
    """Where memory runs out, Linux is to end this process, and neither pytest nor the browser."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


if __name__ == "__main__":
    main()
