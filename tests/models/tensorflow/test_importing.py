"""Imports of TensorFlow, Keras and the converter: missing packages, versions, output."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from pytest_tfjs.errors import MissingPackageError
from pytest_tfjs.models.tensorflow import importing
from tests.support.paths import ROOT


def run(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


BLOCK = """
import sys
import warnings
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise {error}
sys.meta_path.insert(0, Absent())
from pytest_tfjs.errors import MissingPackageError
from pytest_tfjs.models.tensorflow import importing
try:
    importing.{call}
except MissingPackageError as error:
    print(error)
"""


def blocked(package, call, error=None):
    error = error or f"ModuleNotFoundError('No module named {package}', name={package!r})"
    return run(BLOCK.format(package=package, call=call, error=error)).stdout


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("tensorflow", "import_tensorflow()"),
        ("tensorflow", "import_converter()"),
        ("tf_keras", "import_keras(2)"),
        ("keras", "import_keras(3)"),
        ("h5py", "import_h5py()"),
    ],
)
def test_a_missing_package_is_reported_with_the_install_commands(package, call):
    message = blocked(package, call)
    assert f"{package.replace('_', '-')} is needed" in message
    assert "it is not installed" in message
    assert "pip install 'pytest-tfjs[convert]'" in message
    assert "pip install --no-deps tensorflowjs==4.22.0" in message


@pytest.mark.convert
def test_a_missing_converter_is_reported():
    assert "tensorflowjs is needed to convert a model, but it is not installed" in blocked(
        "tensorflowjs", "import_converter()"
    )


def test_a_broken_package_is_reported_with_its_import_error():
    message = blocked("tensorflow", "import_tensorflow()", "OSError('libcuda is odd')")
    assert "tensorflow is needed" in message
    assert "cannot be imported (OSError: libcuda is odd)" in message


@pytest.mark.convert
def test_the_converter_imports_without_its_optional_packages():
    script = """
import sys
import warnings
from pytest_tfjs.models.tensorflow import importing
got = importing.import_converter()
assert callable(got.graph.convert_tf_saved_model) and callable(got.keras.write_artifacts)
names = ("tensorflow_decision_forests", "tensorflow_hub", "jax.experimental.jax2tf", "flax")
print([name for name in names if name in sys.modules])
"""
    result = run(script)
    assert result.stdout == "[]\n"
    assert result.stderr == ""


@pytest.mark.convert
def test_stand_ins_do_not_hide_real_packages():
    script = """
from pytest_tfjs.models.tensorflow import importing
importing.import_converter()
for name in ("jax", "flax", "tensorflow_hub"):
    try:
        module = __import__(name)
    except ImportError:
        continue
    assert getattr(module, "__file__", None) or name != "jax", name
print("ok")
"""
    assert run(script).stdout == "ok\n"


def test_stand_ins_keep_imported_packages_and_are_removed(monkeypatch):
    real = type(sys)("flax")
    monkeypatch.setitem(sys.modules, "flax", real)
    monkeypatch.delitem(sys.modules, "tensorflow_hub", raising=False)
    with importing._stand_ins():
        assert sys.modules["flax"] is real
        assert "tensorflow_hub" in sys.modules
    assert sys.modules["flax"] is real
    assert "tensorflow_hub" not in sys.modules


def test_versions_import_nothing():
    script = """
import sys
import warnings
from pytest_tfjs.models.tensorflow import importing
print(sorted(importing.versions()), "tensorflow" in sys.modules)
"""
    assert run(script).stdout == "['keras', 'pytest-tfjs', 'tensorflow', 'tensorflowjs', 'tf-keras'] False\n"


@pytest.mark.parametrize(
    "name",
    ["tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu"],
)
def test_versions_include_every_distribution_of_tensorflow(name, tmp_path, monkeypatch):
    """`versions` is part of the cache's keys: without it an upgrade would reuse old artifacts."""
    folder = tmp_path / f"{name.replace('-', '_')}-2.99.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.99.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importing.versions.cache_clear()
    try:
        assert importing.versions()["tensorflow"] == "2.99.0"
    finally:
        importing.versions.cache_clear()


def test_output_of_streams_descriptors_and_loggers_is_captured(capfd):
    import logging

    chatter = importing.Chatter()
    logger = logging.getLogger("absl")
    before = logger.handlers[:], logger.propagate
    with importing.captured(chatter):
        sys.stdout.write("from python\n")
        sys.stderr.write("from stderr\n")
        os.write(1, b"from fd 1\n")
        os.write(2, b"from fd 2\n")
        logger.error("from a logger")
    assert chatter.text.splitlines() == [
        "from python",
        "from stderr",
        "from fd 1",
        "from fd 2",
        "from a logger",
    ]
    assert capfd.readouterr() == ("", "")
    assert (logger.handlers, logger.propagate) == before


def test_a_stream_used_after_capture_writes_to_the_current_stream(capsys):
    with importing.captured():
        stream = sys.stderr
    print("late", file=stream)
    stream.flush()
    assert capsys.readouterr().err == "late\n"


def test_output_before_an_error_is_kept_without_notices():
    chatter = importing.Chatter()
    with pytest.raises(ValueError, match="bad"), importing.captured(chatter):  # noqa: PT012
        sys.stdout.write("useful\n")
        sys.stdout.write("WARNING: All log messages before absl::InitializeLog() is called\n")
        raise ValueError("bad")
    assert chatter.tail() == "useful"


def test_warnings_during_capture_do_not_become_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with importing.captured():
            warnings.warn("theirs", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)


def test_capture_works_with_a_closed_descriptor():
    script = """
import os, sys
from pytest_tfjs.models.tensorflow import importing
os.close(2)
with importing.captured():
    print("hidden")
print("shown")
"""
    assert run(script).stdout == "shown\n"


def test_missing_package_error_is_a_conversion_error():
    from pytest_tfjs.errors import ConversionError

    assert issubclass(MissingPackageError, ConversionError)
