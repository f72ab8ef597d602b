"""Writes `fixtures/prebuilt/`: sample models converted by old versions of the converter.

`python -m tools.prebuilt_artifacts`, with the versions to convert, or none for all. Each version is installed
without its dependencies into a temporary folder and runs, in its own process, on the installed TensorFlow;
modules that it imports and does not use are empty. A source is written only where it is missing, so that the
artifacts of a new version come from the same source as the others.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np

from fixtures.prebuilt import FOLDER, SOURCES, VERSIONS
from fixtures.prebuilt.models import SAVE

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = ("twins", "loop")
LAYERS = ("net",)
_NOT_USED = (
    "tensorflow_hub",
    "tensorflow_decision_forests",
    "jax",
    "jax.experimental",
    "jax.experimental.jax2tf",
    "flax",
)


def main() -> None:
    """Makes sources that are missing, then the artifacts of each version named, or of all."""
    if sys.argv[1:2] == ["--convert"]:
        convert(sys.argv[2])
        return
    make_sources()
    for version in sys.argv[1:] or VERSIONS:
        run_with_converter(version, "tools.prebuilt_artifacts", "--convert", version)


def run_with_converter(version: str, module: str, *arguments: str) -> None:
    """Calls `main()` of `module` in a process whose tensorflowjs has that version."""
    with tempfile.TemporaryDirectory() as wheel:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--target", wheel, f"tensorflowjs=={version}"], check=True)
        code = f"import sys; sys.path.insert(0, {wheel!r}); from {module} import main; main()"
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)


def make_sources() -> None:
    """Writes `twins` and `loop`, SavedModels, and `net.h5`, a Keras 2 file, where they are not there."""
    for name, save in SAVE.items():
        if not (SOURCES / name).exists():
            save(SOURCES / name)


def convert(version: str) -> None:
    """Converts all sources with the version of tensorflowjs that is first on the path."""
    converter = import_converter()
    for name in GRAPHS:
        source, out = SOURCES / name, FOLDER / version / name
        shutil.rmtree(out, ignore_errors=True)
        # TensorFlow's newer names of operations, such as AddV2, were not known yet to the oldest.
        converter.convert_tf_saved_model(str(source), str(out), skip_op_check=version.startswith("1."))
        check(out, version)
    from tensorflowjs.converters import keras_h5_conversion

    for name in LAYERS:
        source, out = SOURCES / f"{name}.h5", FOLDER / version / name
        shutil.rmtree(out, ignore_errors=True)
        _convert_h5(keras_h5_conversion, source, out)
        check(out, version)


def import_converter() -> ModuleType:
    """The module of tensorflowjs that converts SavedModels, whatever its version."""
    import tensorflow.keras  # noqa: F401  (before the empty modules are there)
    import tf_keras  # noqa: F401

    for name in _NOT_USED:
        sys.modules[name] = ModuleType(name)
    vars(np)["object"] = object  # numpy removed the name
    from tensorflowjs.converters import tf_saved_model_conversion_v2

    return tf_saved_model_conversion_v2


def _convert_h5(conversion: ModuleType, source: Path, out: Path) -> None:
    import h5py

    out.mkdir(parents=True)
    with h5py.File(source, "r") as file:
        made = getattr(conversion, "HDF5Converter", None)
        if made is None:
            topology, groups = conversion.h5_merged_saved_model_to_tfjs_format(file)
        else:
            topology, groups = made().h5_merged_saved_model_to_tfjs_format(file)
    conversion.write_artifacts(topology, groups, str(out))


def check(out: Path, version: str) -> None:
    """Ends the program if another version of the converter made `out`."""
    converted_by = json.loads((out / "model.json").read_text())["convertedBy"]
    if not converted_by.endswith(version):
        raise SystemExit(f"{out} was made by {converted_by}")


if __name__ == "__main__":
    main()
