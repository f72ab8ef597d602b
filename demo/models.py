"""Builds the demonstration's models as files, so that a second run needs no TensorFlow."""

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
    """Writes each sample model as `NAME.keras`, and a feed as `NAME.npy`, into `MODELS`.

    Returns False if they exist already and the code that builds them has not changed. Raises
    CalledProcessError if building fails, with the messages in `output`.
    """
    stamp = MODELS / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == _code():
        return False
    # In a separate process, which hides TensorFlow's messages and frees its memory at the end.
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
    """A digest of the code that builds the models."""
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
