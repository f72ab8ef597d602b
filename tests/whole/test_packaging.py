"""Contents of the vendored TF.js and of the wheel."""

from __future__ import annotations

import base64
import configparser
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.browsers.tfjs_dist import Dist
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

BUILD_INPUTS = (
    ".gitignore",
    "LICENSE",
    "README.md",
    "THIRD_PARTY_LICENSES",
    "hatch_build.py",
    "package-lock.json",
    "package.json",
    "pyproject.toml",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor_tfjs", ROOT / "scripts" / "vendor_tfjs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Registry:
    """A fake npm: tarballs in a folder, and a script named npm that serves them."""

    def __init__(self, folder: Path, script: ModuleType) -> None:
        self.tarballs = folder / "tarballs"
        self.tarballs.mkdir(parents=True)
        self.project = folder / "project"
        self.project.mkdir()
        self.calls = folder / "calls"
        self.calls.touch()
        lock: dict[str, Any] = {"packages": {}}
        for package, names in script.FILES.items():
            content = self.publish(
                package, {name: f"{package} {name}" for name in (*names, "dist/unneeded.js")}
            )
            digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
            lock["packages"][f"node_modules/{package}"] = {
                "version": "1.2.3",
                "integrity": f"sha512-{digest}",
            }
        self.write_lock(lock)
        self.npm = folder / "bin" / "npm"
        self.npm.parent.mkdir()
        self.say(f'echo "$@" >> "{self.calls}"; cp "{self.tarballs}"/*.tgz .')

    def publish(self, package: str, files: dict[str, str]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(f"package/{name}")
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
        path = self.tarballs / f"{package.strip('@').replace('/', '-')}.tgz"
        path.write_bytes(buffer.getvalue())
        return buffer.getvalue()

    def lock(self) -> dict[str, Any]:
        return json.loads((self.project / "package-lock.json").read_text())

    def write_lock(self, lock: dict[str, Any]) -> None:
        (self.project / "package-lock.json").write_text(json.dumps(lock))

    def say(self, shell: str) -> None:
        self.npm.write_text(f"#!/bin/sh\n{shell}\n")
        self.npm.chmod(self.npm.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def registry(tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry(tmp_path, script)
    monkeypatch.setenv("PATH", str(registry.npm.parent), prepend=os.pathsep)
    return registry


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_only_files_the_page_needs_are_vendored(script: ModuleType, registry: Registry):
    assert script.ensure(registry.project) is True
    expected = {f"{package}/{name}" for package, names in script.FILES.items() for name in names}
    assert set(contents(registry.project / script.VENDOR)) == expected | {script.MANIFEST}


def test_npm_fetches_locked_versions_without_scripts(script: ModuleType, registry: Registry):
    script.ensure(registry.project)
    assert registry.calls.read_text().split() == [
        "pack",
        "--ignore-scripts",
        *[f"{package}@1.2.3" for package in script.FILES],
    ]


def test_current_copy_is_kept(script: ModuleType, registry: Registry):
    script.ensure(registry.project)
    registry.say("exit 1")
    assert script.ensure(registry.project) is False


def edit(folder: Path) -> None:
    (folder / "@tensorflow/tfjs/dist/tf.min.js").write_text("changed")


def remove(folder: Path) -> None:
    (folder / "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm").unlink()


def add(folder: Path) -> None:
    (folder / "@tensorflow/tfjs/dist/extra.js").write_text("extra")


def forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("damage", [edit, remove, add, forget])
def test_changed_copy_is_replaced(script: ModuleType, registry: Registry, damage: Callable[[Path], None]):
    script.ensure(registry.project)
    vendor = registry.project / script.VENDOR
    good = contents(vendor)
    damage(vendor)
    assert script.ensure(registry.project) is True
    assert contents(vendor) == good


def test_changed_lock_replaces_the_copy(script: ModuleType, registry: Registry):
    script.ensure(registry.project)
    content = registry.publish("@tensorflow/tfjs", dict.fromkeys(script.FILES["@tensorflow/tfjs"], "newer"))
    lock = registry.lock()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    lock["packages"]["node_modules/@tensorflow/tfjs"] |= {"version": "1.2.4", "integrity": f"sha512-{digest}"}
    registry.write_lock(lock)
    assert script.ensure(registry.project) is True
    bundle = registry.project / script.VENDOR / "@tensorflow/tfjs/dist/tf.min.js"
    assert bundle.read_text() == "newer"


def test_content_with_another_hash_is_rejected(script: ModuleType, registry: Registry):
    script.ensure(registry.project)
    vendor = registry.project / script.VENDOR
    edit(vendor)
    before = contents(vendor)
    registry.publish("@tensorflow/tfjs", dict.fromkeys(script.FILES["@tensorflow/tfjs"], "evil"))
    with pytest.raises(
        script.VendorError,
        match=r"downloaded a @tensorflow/tfjs@1\.2\.3 that package-lock\.json does not pin",
    ):
        script.ensure(registry.project)
    assert contents(vendor) == before
    assert [path.name for path in vendor.parent.iterdir()] == [vendor.name]


def test_npm_error_is_quoted(script: ModuleType, registry: Registry):
    registry.say("echo 'npm error network timed out' >&2; echo 'npm error    at stack' >&2; exit 7")
    with pytest.raises(script.VendorError) as caught:
        script.ensure(registry.project)
    assert "exit code 7" in str(caught.value)
    assert "network timed out" in str(caught.value)
    assert "at stack" not in str(caught.value)
    assert "npm config get registry" in str(caught.value)


def test_package_without_a_needed_file_is_named(script: ModuleType, registry: Registry):
    content = registry.publish("@tensorflow/tfjs", {"package.json": "{}"})
    lock = registry.lock()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    lock["packages"]["node_modules/@tensorflow/tfjs"]["integrity"] = f"sha512-{digest}"
    registry.write_lock(lock)
    with pytest.raises(script.VendorError, match=r"@tensorflow/tfjs has no dist/tf\.min\.js"):
        script.ensure(registry.project)


def test_lock_without_integrity_is_rejected(script: ModuleType, registry: Registry):
    lock = registry.lock()
    del lock["packages"]["node_modules/@tensorflow/tfjs"]["integrity"]
    registry.write_lock(lock)
    with pytest.raises(script.VendorError, match="no sha512 integrity for @tensorflow/tfjs"):
        script.ensure(registry.project)


def test_node_wheel_is_required_only_without_npm(
    script: ModuleType, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    assert script.build_requirements(registry.project) == []
    monkeypatch.setattr(script, "find_npm", lambda: None)
    assert script.build_requirements(registry.project) == [script.NODE_REQUIREMENT]
    with pytest.raises(script.VendorError, match="npm is not on PATH"):
        script.ensure(registry.project)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(registry.npm.parent), prepend=os.pathsep)
    script.ensure(registry.project)
    monkeypatch.setattr(script, "find_npm", lambda: None)
    assert script.build_requirements(registry.project) == []


def test_lock_has_no_download_urls():
    text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert all("integrity" in entry for name, entry in packages.items() if name)


def test_lock_matches_package_json():
    declared = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"][""]
    for kind in ("dependencies", "devDependencies"):
        assert declared[kind] == locked[kind]


def test_licences_name_the_shipped_versions():
    text = (ROOT / "THIRD_PARTY_LICENSES").read_text(encoding="utf-8")
    for package, version in Dist.shipped().versions.items():
        assert f"{package} {version} " in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy of the checkout, so the installed plugin does not change."""
    project = tmp_path_factory.mktemp("project")
    for name in BUILD_INPUTS:
        shutil.copy2(ROOT / name, project / name)
    for name in ("scripts", "pytest_tfjs"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    output = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", output, project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = output.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.build
class TestWheel:
    def test_it_holds_the_bundles_as_they_are(self, wheel: zipfile.ZipFile):
        prefix = "pytest_tfjs/page/vendor/"
        shipped = {
            name.removeprefix(prefix): wheel.read(name)
            for name in wheel.namelist()
            if name.startswith(prefix)
        }
        assert shipped == contents(Dist.shipped().root)

    def test_it_holds_every_module_and_the_page(self, wheel: zipfile.ZipFile):
        package = ROOT / "pytest_tfjs"
        files = {f"pytest_tfjs/{name}" for name in contents(package) if "__pycache__" not in name}
        assert {name for name in wheel.namelist() if name.startswith("pytest_tfjs/")} == files
        assert "pytest_tfjs/py.typed" in files

    def test_it_holds_nothing_else(self, wheel: zipfile.ZipFile):
        others = {name.partition("/")[0] for name in wheel.namelist()} - {"pytest_tfjs"}
        assert [re.sub(r"-\d[\w.]*\.dist-info$", "", name) for name in others] == ["pytest_tfjs"]
        assert not [name for name in wheel.namelist() if name.endswith(".map")]

    def test_it_registers_the_plugin(self, wheel: zipfile.ZipFile):
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        entry_points = configparser.ConfigParser()
        entry_points.read_string(wheel.read(name).decode())
        assert dict(entry_points["pytest11"]) == {"tfjs": "pytest_tfjs.plugin"}

    def test_it_holds_the_licences(self, wheel: zipfile.ZipFile):
        for name in ("LICENSE", "THIRD_PARTY_LICENSES"):
            (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/licenses/{name}")]
            assert wheel.read(path) == (ROOT / name).read_bytes()

    def test_it_weighs_little(self, wheel: zipfile.ZipFile):
        assert sum(entry.compress_size for entry in wheel.infolist()) < 2_000_000
