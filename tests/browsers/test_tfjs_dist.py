from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_tfjs.browsers.tfjs_dist import TFJS, WASM, WEBGPU, Dist
from pytest_tfjs.errors import DistError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {
    TFJS: ["dist/tf.min.js"],
    WASM: [
        "dist/tf-backend-wasm.min.js",
        "dist/tfjs-backend-wasm.wasm",
        "dist/tfjs-backend-wasm-simd.wasm",
        "dist/tfjs-backend-wasm-threaded-simd.wasm",
    ],
    WEBGPU: ["dist/tf-backend-webgpu.min.js"],
}
BACKENDS = ("cpu", "webgl", "wasm", "webgpu")


def install(node_modules: Path, package: str, version: str = "4.22.0") -> None:
    for name in FILES.get(package, []):
        file = node_modules / package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("content")
    description = node_modules / package / "package.json"
    description.parent.mkdir(parents=True, exist_ok=True)
    description.write_text(json.dumps({"name": package, "version": version}))


@pytest.fixture
def node_modules(tmp_path: Path) -> Path:
    folder = tmp_path / "app" / "node_modules"
    for package in FILES:
        install(folder, package)
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_shipped_copy_serves_every_backend(backend: str):
    dist = Dist.shipped()
    dist.require(backend)
    assert all((dist.root / name).is_file() for name in dist.files(backend))


def test_shipped_copy_has_the_locked_version(pytestconfig: pytest.Config):
    lock = json.loads((pytestconfig.rootpath / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    versions = {package: lock[f"node_modules/{package}"]["version"] for package in FILES}
    assert dict(Dist.shipped().versions) == versions


@pytest.mark.parametrize("place", ["node_modules", "project", "scope"])
def test_copy_is_found_from_each_folder_a_user_may_name(node_modules: Path, place: str):
    named = {
        "node_modules": node_modules,
        "project": node_modules.parent,
        "scope": node_modules / "@tensorflow",
    }[place]
    dist = Dist.from_directory(named)
    assert dist.root == node_modules.resolve()
    assert dist.version == "4.22.0"


def test_parent_folder_is_searched_only_from_the_scope_folder(node_modules: Path):
    (node_modules / "other").mkdir()
    with pytest.raises(DistError, match="without '@tensorflow'"):
        Dist.from_directory(node_modules / "other")


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("cpu", [f"{TFJS}/dist/tf.min.js"]),
        ("webgl", [f"{TFJS}/dist/tf.min.js"]),
        ("wasm", [f"{TFJS}/dist/tf.min.js", f"{WASM}/dist/tf-backend-wasm.min.js"]),
        ("webgpu", [f"{TFJS}/dist/tf.min.js", f"{WEBGPU}/dist/tf-backend-webgpu.min.js"]),
    ],
)
def test_scripts_are_in_load_order(node_modules: Path, backend: str, expected: list[str]):
    assert list(Dist.from_directory(node_modules).scripts(backend)) == expected


def test_wasm_directory_holds_the_binaries(node_modules: Path):
    dist = Dist.from_directory(node_modules)
    binaries = [name for name in dist.files("wasm") if name.endswith(".wasm")]
    assert len(binaries) == 3
    assert all(name.startswith(dist.wasm_directory) for name in binaries)


@pytest.mark.parametrize(
    ("backend", "file"),
    [
        ("cpu", f"{TFJS}/dist/tf.min.js"),
        ("webgl", f"{TFJS}/dist/tf.min.js"),
        ("wasm", f"{TFJS}/dist/tf.min.js"),
        *[("wasm", f"{WASM}/{name}") for name in FILES[WASM]],
        ("webgpu", f"{WEBGPU}/dist/tf-backend-webgpu.min.js"),
    ],
)
@pytest.mark.parametrize(
    "damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")], ids=["missing", "empty"]
)
def test_each_needed_file_is_required(
    node_modules: Path, backend: str, file: str, damage: Callable[[Path], object]
):
    damage(node_modules / file)
    package = TFJS if file.startswith(f"{TFJS}/") else file.partition("/dist/")[0]
    with pytest.raises(DistError) as caught:
        Dist.from_directory(node_modules).require(backend)
    assert file in str(caught.value)
    assert f"npm install {package}@4.22.0'" in str(caught.value)


def test_all_missing_files_are_named_at_once(node_modules: Path):
    for name in FILES[WASM]:
        (node_modules / WASM / name).unlink()
    with pytest.raises(DistError) as caught:
        Dist.from_directory(node_modules).require("wasm")
    assert all(name in str(caught.value) for name in FILES[WASM])


def test_backend_needs_only_its_own_packages(tmp_path: Path):
    install(tmp_path, TFJS)
    dist = Dist.from_directory(tmp_path)
    dist.require("cpu")
    dist.require("webgl")
    for backend in ("wasm", "webgpu"):
        with pytest.raises(DistError, match=f"lacks files of the backend {backend}"):
            dist.require(backend)


@pytest.mark.parametrize(("backend", "package"), [("wasm", WASM), ("webgpu", WEBGPU)])
def test_packages_of_different_versions_are_rejected(node_modules: Path, backend: str, package: str):
    install(node_modules, TFJS, "4.20.0")
    dist = Dist.from_directory(node_modules)
    dist.require("webgl")
    with pytest.raises(DistError) as caught:
        dist.require(backend)
    assert f"{TFJS} 4.20.0 with {package} 4.22.0" in str(caught.value)
    assert f"npm install {package}@4.20.0" in str(caught.value)


def test_backend_package_without_package_json_is_rejected(node_modules: Path):
    (node_modules / WASM / "package.json").unlink()
    with pytest.raises(DistError, match="without a version"):
        Dist.from_directory(node_modules).require("wasm")


def test_app_without_the_union_package_is_told_what_to_install(tmp_path: Path):
    install(tmp_path, "@tensorflow/tfjs-core", "4.17.0")
    with pytest.raises(DistError, match=r"npm install @tensorflow/tfjs@4\.17\.0'"):
        Dist.from_directory(tmp_path)


@pytest.mark.parametrize(("make", "message"), [(True, "without '@tensorflow'"), (False, "not a folder")])
def test_directory_without_tfjs_is_rejected(tmp_path: Path, make: bool, message: str):
    directory = tmp_path / "elsewhere"
    if make:
        directory.mkdir()
    with pytest.raises(DistError) as caught:
        Dist.from_directory(directory)
    assert message in str(caught.value)
    assert str(directory) in str(caught.value)
    assert "npm install @tensorflow/tfjs'" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null"])
def test_damaged_package_json_is_named(node_modules: Path, text: str):
    description = node_modules / TFJS / "package.json"
    description.write_text(text)
    with pytest.raises(DistError, match="install the package again") as caught:
        Dist.from_directory(node_modules)
    assert str(description.resolve()) in str(caught.value)


def test_unknown_backend_is_rejected(node_modules: Path):
    with pytest.raises(DistError, match="no backend 'opengl': expected one of cpu, webgl, wasm, webgpu"):
        Dist.from_directory(node_modules).require("opengl")


def test_damaged_installation_asks_to_reinstall(node_modules: Path):
    dist = Dist(node_modules, {TFJS: "4.22.0"}, shipped_copy=True)
    (node_modules / TFJS / "dist" / "tf.min.js").unlink()
    with pytest.raises(DistError, match="install pytest-tfjs again"):
        dist.require("cpu")


def test_import_loads_only_the_standard_library():
    code = "import sys; import pytest_tfjs.browsers.tfjs_dist; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert roots.isdisjoint({"numpy", "selenium", "starlette", "uvicorn", "pytest", "tensorflow"})
