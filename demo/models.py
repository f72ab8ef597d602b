"""The models of the demonstration as files, so that a second run converts nothing and needs no TensorFlow."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "demo"
MODELS = BUILD / "models"
NAMES = ("mobilenet_v2", "cnn")

_STAMP = "made_from"


def make_models() -> bool:
    """Puts `NAME.keras` and `NAME.npy`, a feed, of each sample into `MODELS`; gives whether it had to.

    They are made again where the code that makes them has changed. Raises CalledProcessError where that
    fails, with what was said in `output`.
    """
    stamp = MODELS / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _code():
        return False
    # In a process of its own: TensorFlow's messages at start stay out of sight, and its memory is given back.
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [sys.executable, "-m", "demo.models"],
        cwd=ROOT,
        env=quiet,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return True


def _code() -> str:
    """A digest of all that decides what the models are."""
    digest = hashlib.sha256()
    for path in (Path(__file__), *sorted((ROOT / "fixtures").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _build() -> None:
    import numpy as np

    import fixtures

    BUILD.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="models-", dir=BUILD))
    try:
        for name in NAMES:
            fixtures.build(name, 2).save(made / f"{name}.keras")
            (feed,) = fixtures.inputs(name).values()
            np.save(made / f"{name}.npy", feed)
        (made / _STAMP).write_text(_code(), encoding="utf-8")
        shutil.rmtree(MODELS, ignore_errors=True)
        made.replace(MODELS)
    finally:
        shutil.rmtree(made, ignore_errors=True)


if __name__ == "__main__":
    _build()
