"""A copy of TF.js's browser bundles: the one shipped with the plugin, or the user's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfjs.errors import DistError

if TYPE_CHECKING:
    from collections.abc import Mapping

TFJS = "@tensorflow/tfjs"
WASM = "@tensorflow/tfjs-backend-wasm"
WEBGPU = "@tensorflow/tfjs-backend-webgpu"

_SCRIPTS = {
    TFJS: "dist/tf.min.js",
    WASM: "dist/tf-backend-wasm.min.js",
    WEBGPU: "dist/tf-backend-webgpu.min.js",
}
_BINARIES = {
    WASM: (
        "dist/tfjs-backend-wasm.wasm",
        "dist/tfjs-backend-wasm-simd.wasm",
        "dist/tfjs-backend-wasm-threaded-simd.wasm",
    ),
}
_PACKAGES = {
    "cpu": (TFJS,),
    "webgl": (TFJS,),
    "wasm": (TFJS, WASM),
    "webgpu": (TFJS, WEBGPU),
}
_REINSTALL = "install pytest-tfjs again ('pip install --force-reinstall --no-deps', or '-e .' in a checkout)"


@dataclass(frozen=True)
class Dist:
    """A folder that holds `@tensorflow/tfjs` and the packages of some backends, laid out as npm does.

    `versions` maps each package in it to its version. Only `require` checks whether a backend can run.
    """

    root: Path
    versions: Mapping[str, str]
    shipped_copy: bool = False

    wasm_directory = f"{WASM}/dist/"

    @classmethod
    def shipped(cls) -> Dist:
        """The copy that comes with the plugin; raises DistError if the installation lacks it."""
        root = Path(__file__).resolve().parents[1] / "page" / "vendor"
        if not (root / TFJS).is_dir():
            raise DistError(f"The TF.js bundles of pytest-tfjs are missing from {root}: {_REINSTALL}.")
        return cls(root, _read_versions(root), shipped_copy=True)

    @classmethod
    def from_directory(cls, directory: Path) -> Dist:
        """The user's own copy: `directory` is a node_modules folder, a project with one, or `@tensorflow`.

        Raises DistError if it is none of these, or lacks the package `@tensorflow/tfjs`.
        """
        root = _find_root(directory)
        if root is None:
            what = "a folder without '@tensorflow'" if directory.is_dir() else "not a folder"
            raise DistError(
                f"--tfjs-dist={directory} is {what}. Expected a node_modules folder that holds the package"
                f" {TFJS}, or a project with such a folder. Run 'npm install {TFJS}' in the project, or leave"
                " the option out to use the copy that comes with pytest-tfjs."
            )
        versions = _read_versions(root.resolve())
        if TFJS not in versions:
            raise DistError(
                f"--tfjs-dist={directory}: {root / TFJS} does not exist. The page loads the browser bundle of"
                " this package, even for an app built from single packages such as tfjs-core."
                f" {_npm_install([TFJS], _core_version(root))}"
            )
        return cls(root.resolve(), versions)

    @property
    def version(self) -> str:
        """The version of `@tensorflow/tfjs`."""
        return self.versions[TFJS]

    def scripts(self, backend: str) -> tuple[str, ...]:
        """The scripts that `backend` needs, in load order: POSIX paths relative to `root`."""
        return tuple(f"{package}/{_SCRIPTS[package]}" for package in _packages(backend))

    def files(self, backend: str) -> tuple[str, ...]:
        """Every file that a page loads for `backend`: its scripts, and for wasm the `.wasm` files."""
        binaries = (
            f"{package}/{name}" for package in _packages(backend) for name in _BINARIES.get(package, ())
        )
        return (*self.scripts(backend), *binaries)

    def require(self, backend: str) -> None:
        """Check that `backend` can be loaded from this copy.

        Raises DistError that names each missing file, or each package whose version differs from TF.js's.
        """
        absent = [name for name in self.files(backend) if not _has_content(self.root / name)]
        if absent:
            lacking = [
                package for package in _packages(backend) if any(_within(name, package) for name in absent)
            ]
            raise DistError(
                f"{self._description()} lacks files of the backend {backend}: {', '.join(absent)}."
                f" {self._remedy(lacking)}"
            )
        different = [name for name in _packages(backend) if self.versions.get(name) != self.version]
        if different:
            pairs = ", ".join(f"{name} {self.versions.get(name, 'without a version')}" for name in different)
            raise DistError(
                f"{self._description()} mixes versions: {TFJS} {self.version} with {pairs}."
                f" TF.js needs all its packages in one version. {self._remedy(different)}"
            )

    def _description(self) -> str:
        return (
            "The copy of TF.js"
            f" {'shipped with pytest-tfjs' if self.shipped_copy else 'from --tfjs-dist'} ({self.root})"
        )

    def _remedy(self, packages: list[str]) -> str:
        if self.shipped_copy:
            return f"The installation is damaged: {_REINSTALL}."
        return _npm_install(packages, self.version)


def _packages(backend: str) -> tuple[str, ...]:
    if backend not in _PACKAGES:
        raise DistError(f"TF.js has no backend {backend!r}: expected one of {', '.join(_PACKAGES)}.")
    return _PACKAGES[backend]


def _find_root(directory: Path) -> Path | None:
    """The folder that holds `@tensorflow`: `directory`, its node_modules, or its parent."""
    candidates = [directory, directory / "node_modules"]
    if directory.name == "@tensorflow":
        candidates.append(directory.parent)
    return next((folder for folder in candidates if (folder / "@tensorflow").is_dir()), None)


def _within(name: str, package: str) -> bool:
    return name.startswith(f"{package}/")


def _has_content(path: Path) -> bool:
    """Whether the file exists and is not empty, as after a broken download or checkout."""
    return path.is_file() and path.stat().st_size > 0


def _npm_install(packages: list[str], version: str | None) -> str:
    pinned = " ".join(name if version is None else f"{name}@{version}" for name in packages)
    return f"Run 'npm install {pinned}' in that project."


def _read_versions(root: Path) -> dict[str, str]:
    versions = {package: _read_version(root / package) for package in (TFJS, WASM, WEBGPU)}
    return {package: version for package, version in versions.items() if version is not None}


def _core_version(root: Path) -> str | None:
    """The version of the packages that an app without `@tensorflow/tfjs` is built from."""
    return _read_version(root / "@tensorflow" / "tfjs-core")


def _read_version(package: Path) -> str | None:
    """The version in a package's package.json; None if there is no such package."""
    path = package / "package.json"
    try:
        version = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DistError(
            f"{path} is not a valid package.json ({error!r}): install the package again."
        ) from error
    return str(version)
