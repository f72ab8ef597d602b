"""Writes reproducers (`--tfjs-repro`): a folder for each blamed layer.

Users attach the folder to a TF.js issue. The layer alone is written as a model of its own and run in the
browser on the reference's inputs; the folder has the results and a page that shows them.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.browsers.targets import known_backends, parse_targets
from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.element_check import (
    allowed_by_allowance,
    allowed_by_tolerance,
    check_elements,
)
from pytest_tfjs.compare.results import Reproducer
from pytest_tfjs.errors import DistError, TfjsError
from pytest_tfjs.formats.folders import replaced_folder, safe_name
from pytest_tfjs.models.alone.layer_model import single_layer_model
from pytest_tfjs.report.reproducer_readme import Case, readme
from pytest_tfjs.workflows.retry import attach_console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.browsers.tfjs_dist import Dist
    from pytest_tfjs.compare.numbers.element_check import ElementCheck
    from pytest_tfjs.compare.results import Comparison, LayerResult
    from pytest_tfjs.models.alone.content import AloneContent
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel

    Array = NDArray[Any]

# A layer's inputs are often so small that TF.js would compute the layer in JavaScript instead.
_ON_GPU: Mapping[str, Mapping[str, bool]] = {
    "webgl": {"WEBGL_CPU_FORWARD": False},
    "webgpu": {"WEBGPU_CPU_FORWARD": False},
}

MOST = 4
"""How many layers of a comparison are written."""

_MARK = "reproducer.json"
_PAGE = Path(__file__).resolve().parents[1] / "page" / "repro"
_PAGE_FILES = ("index.html", "repro.css", "repro.js", "compute.js", "element_check.js")
_SCHEMA = 1


@dataclass(frozen=True)
class Allowed:
    """The limits of a layer's error: of each element, and its root mean square if that is judged."""

    elements: NDArray[np.float64]
    rms: float | None = None


@dataclass(frozen=True)
class _Alone:
    """A layer's own model, its inputs, and its outputs in Python and in the browser."""

    content: AloneContent
    fed: Mapping[str, Array]
    expected: Array
    actual: Array
    allowed: Allowed


def reproduced(comparison: Comparison, model: PreparedModel, context: Context) -> Comparison:
    """The comparison with reproducers of the layers that it blames, if the settings ask for them."""
    root = context.settings.repro
    if root is None or not comparison.first_divergence:
        return comparison
    context.progress(Progress("writing reproducers"))
    number = context.earlier.count(comparison.test)
    folder = folder_of(root, comparison.test, context.target, number)
    return replace(comparison, reproducers=_Reproduction(model, context, folder).write(comparison))


class _Reproduction:
    """Writes the reproducers of one comparison into `folder`."""

    def __init__(self, model: PreparedModel, context: Context, folder: Path) -> None:
        self._model = model
        self._context = context
        self._target = context.target
        self._dist = context.harness.dist
        self._folder = folder

    def write(self, comparison: Comparison) -> tuple[Reproducer, ...]:
        """A reproducer for each blamed layer, with a note if it could not be written."""
        if comparison.growth is not None:  # then no layer is wrong alone
            return ()
        by_name = {result.layer.name: result for result in comparison.layers}
        blamed = [by_name[name] for name in comparison.first_divergence if name in by_name]
        written = [self._try(comparison, result) for result in blamed[:MOST]]
        why = f"not written: only the first {MOST} layers get a reproducer"
        return (*written, *(Reproducer(result.layer.name, None, why) for result in blamed[MOST:]))

    def _try(self, comparison: Comparison, result: LayerResult) -> Reproducer:
        name = result.layer.name
        try:
            target = self._folder / safe_name(name)
            with replaced_folder(target, _MARK) as folder:
                held = self._write(comparison, result, folder)
        except Exception as error:  # noqa: BLE001 (must not hide the divergence)
            return Reproducer(name, None, f"not written: {str(error) or type(error).__name__}")
        note = "when the layer runs alone, its error is within its allowance" if held.passed else None
        return Reproducer(name, str(target), note)

    def _cut_out(self, result: LayerResult, model: Path) -> _Alone:
        """Writes the layer as a model of its own, and runs it in the browser on its worst feed."""
        name, reference = result.layer.name, self._model.reference
        feed = _worst_feed(result)
        known = {layer.name: layer.tap for layer in reference.plan.layers if layer.tap is not None}
        part = single_layer_model(self._model.artifacts, known[name], known)
        fed = self._fed(part.content, feed)
        expected = reference.activations(feed, [name])[name]
        if any(value.dtype.kind in "OSU" for value in (*fed.values(), expected)):
            raise TfjsError("its inputs or outputs are strings")
        actual = self._run(part.write(model, fed), part.content.address, fed)
        allowed = self._allowed(result, feed, expected)
        return _Alone(part.content, fed, expected, actual, allowed)

    def _write(self, comparison: Comparison, result: LayerResult, folder: Path) -> ElementCheck:
        alone = self._cut_out(result, folder / "model")
        held = check_elements(alone.actual, alone.expected, alone.allowed.elements, alone.allowed.rms)
        case = Case(
            comparison=comparison,
            result=result,
            held=held,
            target=self._target.backend_variant,
            environment=_environment(comparison, self._target),
            inputs=_write_inputs(alone, folder),
            operations=alone.content.described,
            values=_values(held, alone),
        )
        for name in _PAGE_FILES:
            shutil.copyfile(_PAGE / name, folder / name)
        described = {
            "schema": _SCHEMA,
            "layer": result.layer.name,
            "op": result.layer.op,
            "model": comparison.model,
            "test": comparison.test,
            "format": self._model.artifacts.format,
            "tensor": alone.content.address["node"] if self._model.artifacts.format == "graph" else None,
            "target": case.target,
            "targets": self._copy_tfjs(folder / "tfjs"),
            "wasmDirectory": "tfjs/",
            "inputs": case.inputs,
            "reference": _write_array(folder, "reference.bin", alone.expected),
            "browser": _write_array(folder, "browser.bin", alone.actual),
            "allowed": _write_array(folder, "allowed.bin", alone.allowed.elements),
            "rmsAllowed": alone.allowed.rms,
            "environment": case.environment,
            "diagnosis": None
            if case.diagnosis is None
            else {"said": case.diagnosis.said, "evidence": list(case.diagnosis.evidence)},
            "operations": case.operations,
        }
        (folder / "README.md").write_text(readme(case), encoding="utf-8")
        (folder / _MARK).write_text(json.dumps(described, indent=1, allow_nan=False), encoding="utf-8")
        return held

    def _fed(self, content: AloneContent, feed: int) -> dict[str, Array]:
        rows = [one.row for one in content.fed if one.row is not None]
        activations = self._model.reference.activations(feed, rows)
        inputs = self._model.feeds[feed].browser
        return {
            one.name: inputs[str(one.source_input)] if one.row is None else activations[one.row]
            for one in content.fed
        }

    def _run(self, model: Artifacts, address: Mapping[str, Any], fed: Mapping[str, Array]) -> Array:
        """The output of the layer's model in the browser."""
        found: list[Array] = []
        job = Job(model.model_json, model.format, (fed,), ((Tap("output", address),),))
        context = self._context
        timeout_s, on_progress = context.settings.timeout, context.progress
        page = context.harness.open(self._target, timeout_s=timeout_s, on_progress=on_progress)
        try:
            page.run(
                job,
                lambda activations: found.extend(activations.tensors.values()),
                timeout_s=timeout_s,
                on_progress=on_progress,
            )
        finally:
            attach_console(page, context)
        if not found:
            raise TfjsError("the browser returned no output for the layer run alone")
        return found[0]

    def _allowed(self, result: LayerResult, feed: int, expected: Array) -> Allowed:
        """The limits of the layer's error: its allowance, or the tolerance."""
        if result.tolerance is not None and (result.given or result.local is None):
            return Allowed(allowed_by_tolerance(result.tolerance, expected))
        name = result.layer.name
        arithmetic = self._model.reference.arithmetic(feed, [name])[name]
        target = self._target
        found = allowance(
            result.layer,
            arithmetic,
            expected,
            backend=target.backend,
            half=target.half,
            packed=target.packed,
        )
        elements = allowed_by_allowance(found, expected, arithmetic.magnitude)
        return Allowed(elements, found.rms if math.isfinite(found.rms) else None)

    def _copy_tfjs(self, folder: Path) -> list[dict[str, Any]]:
        """Copies TF.js for each backend that it has; gives the targets that the page can show."""
        folder.mkdir()
        targets = []
        for target in _targets(self._target):
            try:
                self._dist.require(target.backend)
            except DistError:
                continue
            for name in self._dist.files(target.backend):
                shutil.copyfile(self._dist.root / name, folder / PurePosixPath(name).name)
            targets.append(_described_target(target, self._dist))
        shutil.copyfile(_PAGE / "tfjs-notice.txt", folder / "NOTICE.txt")
        for path in _licences():
            shutil.copyfile(path, folder / path.name)
        return targets


def _worst_feed(result: LayerResult) -> int:
    if result.local is not None and not result.given:
        return result.local.metrics.worst_feed
    return 0 if result.metrics is None else result.metrics.worst_feed


def folder_of(root: Path, test: str, target: Target, number: int) -> Path:
    """The folder of a comparison's reproducers; `number` counts the comparisons of the test from 0."""
    again = f"-{number + 1}" if number else ""
    return root / safe_name(test) / f"{safe_name(target.backend_variant)}{again}"


def _targets(target: Target) -> tuple[Target, ...]:
    """All targets in the browser of `target`, and `target` itself, which may be a user's variant."""
    targets = parse_targets([target.browser], list(known_backends()))
    return tuple(dict.fromkeys((*targets, target)))


def _described_target(target: Target, dist: Dist) -> dict[str, Any]:
    scripts = [f"tfjs/{PurePosixPath(name).name}" for name in dist.scripts(target.backend)]
    return {
        "name": target.backend_variant,
        "backend": target.backend,
        "flags": {**dict(target.flags), **_ON_GPU.get(target.backend, {})},
        "scripts": scripts,
    }


def _licences() -> list[Path]:
    """The licences in the plugin's distribution, which cover its copy of TF.js."""
    try:
        files = metadata.files("pytest-tfjs") or []
    except metadata.PackageNotFoundError:
        return []
    found = [Path(str(file.locate())) for file in files if file.name in ("LICENSE", "THIRD_PARTY_LICENSES")]
    return [path for path in found if path.is_file()]


def _environment(comparison: Comparison, target: Target) -> dict[str, str]:
    """The environment of the comparison, under the names that the reproducer's page uses."""
    facts = comparison.target
    textures = {True: "yes", False: "no", None: ""}[facts.float32_textures]
    software = " (software, no GPU)" if facts.software else ""
    return {
        "target": target.backend_variant,
        "flags": ", ".join(f"{name}={str(value).lower()}" for name, value in facts.flags.items()),
        "TF.js": comparison.tfjs_version or "",
        "browser": f"{facts.browser} {facts.browser_version}".strip(),
        "renderer": "" if facts.renderer is None else f"{facts.renderer}{software}",
        "float32 textures": textures,
    }


def _write_inputs(alone: _Alone, folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "standsFor": one.stands_for,
            **_write_array(folder, f"input-{number}.bin", alone.fed[one.name]),
        }
        for number, one in enumerate(alone.content.fed)
    ]


def _write_array(folder: Path, name: str, value: Array) -> dict[str, Any]:
    """Writes the numbers only, little-endian; gives the header that the page needs to read them."""
    plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    (folder / name).write_bytes(plain.tobytes())
    return {"file": name, "dtype": value.dtype.name, "shape": list(value.shape)}


def _values(held: ElementCheck, alone: _Alone) -> tuple[str, str] | None:
    if held.worst is None:
        return None
    return str(alone.actual[held.worst]), str(alone.expected[held.worst])
