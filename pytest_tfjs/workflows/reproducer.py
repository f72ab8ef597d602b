"""Reproducers: each blamed layer in a folder that stands alone, for a TF.js issue (`--tfjs-repro`).

The layer is cut out of the artifacts, run in the browser on the reference's own inputs, and what came of it
is written with the page that shows it.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import Activations, Job, Tap
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
from pytest_tfjs.models.alone.alone_model import alone_model
from pytest_tfjs.report.reproducer_readme import Case, readme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.browsers.tfjs_dist import Dist
    from pytest_tfjs.compare.numbers.element_check import ElementCheck
    from pytest_tfjs.compare.results import Comparison, LayerResult
    from pytest_tfjs.models.alone.alone_content import AloneContent
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.workflows.comparison import Subject

    Array = NDArray[Any]
    Perform = Callable[[Job, Callable[[Activations], None]], object]

MOST = 4
"""How many layers of a comparison are written."""

_MARK = "reproducer.json"
_PAGE = Path(__file__).resolve().parents[1] / "page" / "repro"
_PAGE_FILES = ("index.html", "repro.css", "repro.js", "compute.js", "element_check.js")
_SCHEMA = 1


@dataclass(frozen=True)
class Allowed:
    """What a layer's error may be: of each element, and of all together if that is judged."""

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


@dataclass(frozen=True)
class Reproducing:
    """What reproducers are made of: what was compared, on what, and where they go.

    `folder` is that of one comparison. `perform` does a job in the page of the target.
    """

    subject: Subject
    target: Target
    dist: Dist
    folder: Path
    perform: Perform

    def write(self, comparison: Comparison) -> tuple[Reproducer, ...]:
        """A reproducer for each layer that the comparison blames, and for the rest what is told of it.

        Whatever fails is told of the layer: it hides nothing of the divergence.
        """
        if comparison.growth is not None:  # then no layer is wrong by itself
            return ()
        by_name = {result.layer.name: result for result in comparison.layers}
        blamed = [by_name[name] for name in comparison.first_divergence if name in by_name]
        written = [self._try(comparison, result) for result in blamed[:MOST]]
        why = f"not written: only the first {MOST} layers get a reproducer"
        return (*written, *(Reproducer(result.layer.name, None, why) for result in blamed[MOST:]))

    def _try(self, comparison: Comparison, result: LayerResult) -> Reproducer:
        name = result.layer.name
        try:
            target = self.folder / safe_name(name)
            with replaced_folder(target, _MARK) as folder:
                held = self._write(comparison, result, folder)
        except Exception as error:  # noqa: BLE001 (what goes wrong here must not hide the divergence)
            return Reproducer(name, None, f"not written: {str(error) or type(error).__name__}")
        note = "run alone, its error is within its allowance" if held.passed else None
        return Reproducer(name, str(target), note)

    def _cut_out(self, result: LayerResult, model: Path) -> _Alone:
        """Writes the layer as a model of its own, and runs it in the browser for the feed it was worst in."""
        name, reference = result.layer.name, self.subject.reference
        feed = _worst_feed(result)
        known = {layer.name: layer.tap for layer in reference.plan.layers if layer.tap is not None}
        part = alone_model(self.subject.artifacts, known[name], known)
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
            target=self.target.backend_variant,
            environment=_environment(comparison, self.target),
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
            "format": self.subject.artifacts.format,
            "tensor": alone.content.address["node"] if self.subject.artifacts.format == "graph" else None,
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
        activations = self.subject.reference.activations(feed, rows)
        given = self.subject.feeds[feed].browser
        return {
            one.name: given[str(one.source_input)] if one.row is None else activations[one.row]
            for one in content.fed
        }

    def _run(self, model: Artifacts, address: Mapping[str, Any], fed: Mapping[str, Array]) -> Array:
        """The output of the layer's model in the browser."""
        found: list[Array] = []
        job = Job(model.model_json, model.format, (fed,), ((Tap("output", address),),))
        self.perform(job, lambda activations: found.extend(activations.tensors.values()))
        if not found:
            raise TfjsError("the browser returned no output for the layer run alone")
        return found[0]

    def _allowed(self, result: LayerResult, feed: int, expected: Array) -> Allowed:
        """What the layer's error was held against: its arithmetic's allowance, or the tolerance."""
        if result.tolerance is not None and (result.given or result.local is None):
            return Allowed(allowed_by_tolerance(result.tolerance, expected))
        name = result.layer.name
        arithmetic = self.subject.reference.arithmetic(feed, [name])[name]
        target = self.target
        found = allowance(result.layer, arithmetic, expected, backend=target.backend, half=target.half)
        elements = allowed_by_allowance(found, expected, arithmetic.magnitude)
        return Allowed(elements, found.rms if math.isfinite(found.rms) else None)

    def _copy_tfjs(self, folder: Path) -> list[dict[str, Any]]:
        """Copies TF.js for every backend that this copy of it has; the targets that the page can show."""
        folder.mkdir()
        targets = []
        for target in _targets(self.target):
            try:
                self.dist.require(target.backend)
            except DistError:
                continue
            for name in self.dist.files(target.backend):
                shutil.copyfile(self.dist.root / name, folder / PurePosixPath(name).name)
            targets.append(_described_target(target, self.dist))
        shutil.copyfile(_PAGE / "tfjs-notice.txt", folder / "NOTICE.txt")
        for path in _licences():
            shutil.copyfile(path, folder / path.name)
        return targets


def _worst_feed(result: LayerResult) -> int:
    if result.local is not None and not result.given:
        return result.local.metrics.worst_feed
    return 0 if result.metrics is None else result.metrics.worst_feed


def folder_of(root: Path, test: str, target: Target, number: int) -> Path:
    """Where the reproducers of a comparison go: the first of a test on a target has the number 0."""
    again = f"-{number + 1}" if number else ""
    return root / safe_name(test) / f"{safe_name(target.backend_variant)}{again}"


def _targets(target: Target) -> tuple[Target, ...]:
    """All in the browser of `target`, and that one, which may be a variant of the user's."""
    targets = parse_targets([target.browser], list(known_backends()))
    return tuple(dict.fromkeys((*targets, target)))


def _described_target(target: Target, dist: Dist) -> dict[str, Any]:
    scripts = [f"tfjs/{PurePosixPath(name).name}" for name in dist.scripts(target.backend)]
    return {
        "name": target.backend_variant,
        "backend": target.backend,
        "flags": dict(target.flags),
        "scripts": scripts,
    }


def _licences() -> list[Path]:
    """The licences that came with the plugin, which are those of the copy of TF.js in it."""
    try:
        files = metadata.files("pytest-tfjs") or []
    except metadata.PackageNotFoundError:
        return []
    found = [Path(str(file.locate())) for file in files if file.name in ("LICENSE", "THIRD_PARTY_LICENSES")]
    return [path for path in found if path.is_file()]


def _environment(comparison: Comparison, target: Target) -> dict[str, str]:
    """The facts that the page tells of itself too, under the same names."""
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
    """Writes bare numbers, little-endian; what the page has to know to read them."""
    plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    (folder / name).write_bytes(plain.tobytes())
    return {"file": name, "dtype": value.dtype.name, "shape": list(value.shape)}


def _values(held: ElementCheck, alone: _Alone) -> tuple[str, str] | None:
    if held.worst is None:
        return None
    return str(alone.actual[held.worst]), str(alone.expected[held.worst])
