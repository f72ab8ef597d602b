"""Options, defaults, JSON keys and messages in docs/ match the code."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

import fixtures
import pytest_tfjs
from demo.fault import double_largest_weight
from pytest_tfjs import Checker, NotClose, Prebuilt, Sensitivity
from pytest_tfjs import fixtures as our_fixtures
from pytest_tfjs.browsers.targets import BACKENDS, VARIANTS
from pytest_tfjs.compare.diagnosis.diagnose import Cause
from pytest_tfjs.compare.layers import Coverage
from pytest_tfjs.compare.numbers.compression import Compression, Cost, default_allowance
from pytest_tfjs.compare.numbers.tolerances import default_tolerance
from pytest_tfjs.compare.results import Verdict
from pytest_tfjs.compare.task import Agreement, Flip, Measure
from pytest_tfjs.report.agreement_json import agreement_to_json
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.json_report import environment_to_json, write_json
from pytest_tfjs.settings.markers import ARGUMENTS
from pytest_tfjs.settings.options import OPTIONS, option_of
from pytest_tfjs.settings.quantisation import QUANTISED
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.timing import Timing
from pytest_tfjs.workflows.call_arguments import AgreementArguments, CompareArguments
from tests.support.comparisons import close, comparison, layer, target
from tests.support.paths import ROOT

DOCS = ROOT / "docs"


def rows(page, heading):
    """The cells of each table row under a heading, without the header rows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    _, found, section = f"\n{text}".partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading!r}"
    section = re.split(r"\n#+ ", section)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip() for cell in row] for row in cells if not set(row[0]) <= set("-: ")][1:]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_settings_table_is_complete():
    expected = {}
    for name, option in OPTIONS.items():
        flag = option_of(name) + ("" if option.metavar is None else f"={option.metavar}")
        calls = set(CompareArguments.__annotations__) - {"per_layer"}
        expected[flag] = (f"tfjs_{name}", name if name in ARGUMENTS else "", name if name in calls else "")
    documented = {
        code(row[0])[0]: tuple(code(cell)[0] if cell else "" for cell in row[1:4]) for row in _settings()
    }
    assert documented == expected


_NAMED_DEFAULTS = ("layers", "format", "weights", "weight_check", "alone")


def test_setting_defaults_match_the_code():
    default = Settings()
    documented = {code(row[1])[0].removeprefix("tfjs_"): row[5] for row in _settings()}
    shown = {"timeout": f"`{default.timeout:g}`", "backends": f"`{','.join(default.backends)}`"}
    shown["tap_budget"] = f"`{default.tap_budget // 1_000_000}MB`"
    shown |= {name: f"`{getattr(default, name)}`" for name in _NAMED_DEFAULTS}
    assert {name: documented[name] for name in shown} == shown
    unset = {name for name in documented if name not in shown}
    assert all(not getattr(default, name) for name in unset)


def _settings():
    return rows("settings.md", "# Settings")


def test_task_arguments_match_the_code():
    named = {name.partition("=")[0] for row in rows("task.md", "# Task level") for name in code(row[0])}
    assert named == set(AgreementArguments.__annotations__)


def test_backends_and_variants_match_the_code():
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    for backend in BACKENDS:
        assert f"`{backend}`" in text
    variants = {f"{backend}:{name}" for backend, names in VARIANTS.items() for name in names}
    documented = {code(row[0])[0] for row in rows("settings.md", "## Backends and variants")}
    assert {name for name in documented if ":" in name} == variants
    assert {name for name in documented if ":" not in name} <= set(BACKENDS)


def test_fixtures_match_the_code():
    named = {code(row[0])[0] for row in rows("settings.md", "## Fixtures to override")}
    there = {name for name in vars(our_fixtures) if name.startswith("tfjs")}
    assert named == there


def test_calls_and_public_names_match_the_code():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    calls = {name for name in vars(Checker) if not name.startswith("_")}
    documented = {re.findall(r"tfjs\.(\w+)", row[0])[0] for row in rows("index.md", "## The `tfjs` fixture")}
    assert documented == calls
    assert set(code(text.partition("has these public names:")[2])) - {"tfjs"} == set(pytest_tfjs.__all__)


@pytest.mark.parametrize("row", rows("tolerances.md", "## Defaults"))
def test_default_tolerances_match_the_code(row):
    dtypes, computed, rtol, atol = row
    half = "half" in computed
    backends = ["webgl"] if half else code(computed) or list(BACKENDS)
    assert backends
    examples = {
        "float": "float32",
        "complex": "complex64",
        "integer": "int32",
        "bool": "bool",
        "string": "str",
    }
    for dtype in dtypes.split(", "):
        for backend in backends:
            tolerance = default_tolerance(examples[dtype], backend, half)
            assert (tolerance.rtol, tolerance.atol, tolerance.absolute) == (float(rtol), float(atol), False)


def test_default_compression_allowances_match_the_code():
    documented = {code(row[0])[0]: float(row[1]) for row in rows("tolerances.md", "## Compression")}
    assert documented == {dtype: default_allowance(dtype) for dtype in QUANTISED}


def test_default_table_has_every_backend():
    table = rows("tolerances.md", "## Defaults")
    documented = [name for row in table[:2] for name in code(row[1])]
    assert sorted(documented) == sorted(BACKENDS)
    half = {f"{backend}:{name}" for backend, names in VARIANTS.items() for name in names if name == "f16"}
    assert set(code(table[2][1])) == half


def test_json_has_exactly_the_documented_keys(tmp_path):
    timing = Timing(1.0, 2.0, (3.0,))
    cost = Compression("uint8", 0.1, {"a": Cost(0.0, 0.0, 0.0, 4)}, ("a",))
    sensitivity = Sensitivity("digits", "webgl on chrome", 1, 0, ())
    given = {"timing": timing, "compression": cost, "sensitivity": sensitivity}
    data = comparison_to_json(comparison([layer("a", output=True)], {"a": close()}, **given))
    flip = Flip(0, (), 1, 0, 0.5, near_tie=False)
    measure = Measure("top-1 agreement", 0.5, (0.1, 0.9), "Wilson", 0.9)
    task = Agreement(
        *("m", "graph", "float32", target(), "a", 2, "diverged", "too low"), (measure,), worst_flips=(flip,)
    )
    tasks = [agreement_to_json(task)]
    write_json(
        tmp_path / "out.json",
        environment_to_json(tfjs="4.22.0", tensorflow="2.19.0", pytest_tfjs="1.0"),
        [data],
        tasks,
    )
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    found = document["comparisons"][0]
    sections = {
        "## The file": document,
        "## A comparison": found,
        "## A target": found["target"],
        "## A layer": found["layers"][0],
        "## Compression": found["compression"],
        "## Sensitivity": found["sensitivity"],
        "## Timing": found["timing"],
        "## A task": document["task"][0],
        "## A measure": document["task"][0]["measures"][0],
        "## A flip": document["task"][0]["worst_flips"][0],
    }
    for heading, value in sections.items():
        named = [name for row in rows("json.md", heading) for name in code(row[0])]
        assert sorted(named) == sorted(value), heading
    environment = next(row[1] for row in rows("json.md", "## The file") if "environment" in row[0])
    assert set(code(environment)) - {"null"} == set(document["environment"])


def test_verdicts_and_coverages_match_the_code():
    assert {code(row[0])[0] for row in rows("failures.md", "## Verdicts")} == set(get_args(Verdict))
    assert {code(row[0])[0] for row in rows("failures.md", "## Coverage")} == set(get_args(Coverage))
    kinds = {code(row[0])[0] for row in rows("failures.md", "## What made it diverge")}
    assert kinds == set(get_args(Cause)) == set(code(_diagnosis_row())) - {"kind", *_DIAGNOSIS}


_DIAGNOSIS = ("diagnosis", "diverged", "layer", "said", "evidence", "null")


def _diagnosis_row():
    return next("|".join(row) for row in rows("json.md", "## A comparison") if code(row[0]) == ["diagnosis"])


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_links_resolve_and_python_examples_compile(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith("http"):
            continue
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(block, page.name, "exec")


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.tfjs(backends="wasm,cpu", rtol=1e-3, atol=1e-4)
def test_message_shown_matches_the_real_one(tfjs, tmp_path, tmp_path_factory):
    """Compares all but numbers, which depend on the machine, and the last line, which names the test."""
    cnn = tmp_path_factory.getbasetemp() / "cnn.keras"
    if not cnn.exists():
        fixtures.build("cnn", 2).save(cnn)
    damaged = double_largest_weight(tfjs.convert(cnn, format="graph"), "mix_conv", tmp_path / "damaged")
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(Prebuilt(damaged.model_json, cnn), fixtures.inputs("cnn"))
    if tfjs.target.backend == "cpu":
        shown = re.search(r"```\n(cpu on chrome.*?)```", (DOCS / "failures.md").read_text(), re.DOTALL).group(
            1
        )
        assert _masked(str(failure.value)) == _masked(shown)


def _masked(message):
    """The lines with # for each number, unwrapped: where a line wraps depends on the numbers."""
    lines = re.sub(r"\n {10,}", " ", message.partition("\n  repeat")[0].strip()).splitlines()
    return [" ".join(re.sub(r"[-+]?\d[\d.]*(e[-+]\d+)?", "#", line).split()) for line in lines]
