"""Imports run downward only; heavy packages are imported only where the rules allow it."""

from __future__ import annotations

import ast
import itertools
import textwrap
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = "pytest_tfjs"
ROOT = paths.ROOT / PACKAGE

# Each part may import itself and the parts after it.
ORDER = (
    "plugin",
    "fixtures",
    "outcomes",
    "preflight",
    "checker",
    "workflows",
    "reference",
    "models",
    "browsers",
    "report",
    "compare",
    "timing",
    "settings",
    "errors",
    "formats",
)
INDEPENDENT = {("models", "browsers"), ("browsers", "models")}
MAY_IMPORT_PYTEST = {"plugin", "fixtures", "outcomes", "settings"}
TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tensorflowjs"}
MAY_IMPORT_TENSORFLOW = {"models", "reference"}
MAY_IMPORT_SELENIUM = ("browsers.launching", "browsers.engines")


@dataclass(frozen=True)
class Import:
    target: str
    line: int
    in_function: bool
    typing_only: bool


def module_names() -> list[str]:
    paths = (path.relative_to(ROOT.parent) for path in sorted(ROOT.rglob("*.py")))
    return [".".join(path.with_suffix("").parts) for path in paths]


def part_of(module: str) -> str:
    """The part that a module of the package belongs to; '' for the package itself."""
    return [*module.split("."), ""][1].removesuffix("__init__")


def imports(module: str, source: str) -> Iterator[Import]:
    """Every import of a module, resolved to absolute names: the module, and each name taken from it."""
    yield from _imports(module, ast.parse(source), in_function=False, typing_only=False)


def _imports(module: str, node: ast.AST, *, in_function: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in _targets(module, child):
                yield Import(target, child.lineno, in_function, typing_only)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        }:
            for part in child.body:
                yield from _imports(module, ast.Module([part], []), in_function=in_function, typing_only=True)
            for part in child.orelse:
                yield from _imports(
                    module, ast.Module([part], []), in_function=in_function, typing_only=typing_only
                )
        else:
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, child, in_function=inside, typing_only=typing_only)


def _targets(module: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parents = module.split(".")[: -node.level]
        base = ".".join([*parents, base]).rstrip(".")
    return [f"{base}.{alias.name}" for alias in node.names]


def violations(module: str, source: str) -> list[str]:
    return [
        f"{module}:{found.line} imports {found.target}: {rule}"
        for found in imports(module, source)
        for rule in (_internal_rule(module, found) or _external_rule(module, found),)
        if rule
    ]


def _internal_rule(module: str, found: Import) -> str | None:
    package, _, rest = found.target.partition(".")
    if package != PACKAGE:
        return None
    here, there = part_of(module), rest.partition(".")[0]
    if here == "":
        return None if found.in_function or found.typing_only else "the package itself imports lazily"
    if there not in ORDER:
        return "go to the module, not through the package"
    if (here, there) in INDEPENDENT:
        return f"{here} and {there} must not import each other"
    if ORDER.index(there) < ORDER.index(here):
        return "imports run downward only"
    return None


def _external_rule(module: str, found: Import) -> str | None:
    package, here = found.target.partition(".")[0], part_of(module)
    if package in {"pytest", "_pytest"} and here not in MAY_IMPORT_PYTEST:
        return f"pytest belongs to {', '.join(sorted(MAY_IMPORT_PYTEST))}"
    if package == "_pytest":
        return "no private pytest API"
    if package in TENSORFLOW:
        return _heavy_rule(found, allowed=here in MAY_IMPORT_TENSORFLOW, home="models and reference")
    if package == "selenium":
        return _heavy_rule(
            found,
            allowed=_launches(module),
            home="browsers/launching and browsers/engines",
        )
    return None


def _launches(module: str) -> bool:
    name = module.removeprefix(f"{PACKAGE}.")
    return any(name == home or name.startswith(f"{home}.") for home in MAY_IMPORT_SELENIUM)


def _heavy_rule(found: Import, *, allowed: bool, home: str) -> str | None:
    if not allowed:
        return f"belongs to {home}"
    return None if found.in_function or found.typing_only else "is imported inside functions only"


@pytest.mark.parametrize("module", module_names())
def test_imports_run_downward(module: str):
    path = ROOT.parent / Path(*module.split(".")).with_suffix(".py")
    assert violations(module, path.read_text(encoding="utf-8")) == []


def test_every_module_belongs_to_a_layer_of_the_order():
    assert {part_of(module) for module in module_names()} - {""} <= set(ORDER)


def edges(sources: Mapping[str, str]) -> set[tuple[str, str]]:
    """Pairs of a module and a module that it imports, imports for types included."""
    found = set()
    for module, source in sources.items():
        name = module.removesuffix(".__init__")
        for one in imports(name, source):
            target = one.target
            while target and target not in sources and f"{target}.__init__" not in sources:
                target = target.rpartition(".")[0]
            if target not in ("", PACKAGE, name) and name != PACKAGE:
                found.add((name, target))
    return found


def circles(found: set[tuple[str, str]]) -> list[str]:
    """The import cycles between modules and folders of the same folder."""
    inside: dict[str, dict[str, dict[str, str]]] = {}
    for source, target in sorted(found):
        path, other = source.split("."), target.split(".")
        shared = next((i for i, (a, b) in enumerate(zip(path, other, strict=False)) if a != b), None)
        if shared is not None:
            folder = inside.setdefault(".".join(path[:shared]), {})
            folder.setdefault(path[shared], {}).setdefault(other[shared], f"{source} -> {target}")
    return [f"{folder}: {circle}" for folder, graph in inside.items() for circle in _circles_in(graph)]


def _circles_in(graph: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    try:
        TopologicalSorter({name: targets.keys() for name, targets in graph.items()}).prepare()
    except CycleError as error:
        names = error.args[1][::-1]
        yield ", ".join(graph[a][b] for a, b in itertools.pairwise(names))


def test_there_are_no_circles_in_any_folder():
    paths = {module: ROOT.parent / Path(*module.split(".")).with_suffix(".py") for module in module_names()}
    assert circles(edges({module: path.read_text(encoding="utf-8") for module, path in paths.items()})) == []


@pytest.mark.parametrize(
    "sources",
    [
        {
            "compare.blame": "from pytest_tfjs.compare import verdict",
            "compare.verdict": "from . import blame",
        },
        {
            "compare.blame": "if TYPE_CHECKING:\n    from pytest_tfjs.compare.verdict import X",
            "compare.verdict": "def f():\n    from pytest_tfjs.compare.blame import Y",
        },
        {
            "reference.running.a": "from pytest_tfjs.reference.weights.b import X",
            "reference.weights.c": "from pytest_tfjs.reference.running.d import Y",
            "reference.weights.b": "",
            "reference.running.d": "",
        },
        {
            "models.a": "from pytest_tfjs.models.b import X",
            "models.b": "from pytest_tfjs.models.c import X",
            "models.c": "from pytest_tfjs.models.a import X",
        },
    ],
)
def test_an_import_cycle_is_detected(sources: dict[str, str]):
    sources = {f"{PACKAGE}.{module}": source for module, source in sources.items()}
    assert len(circles(edges(sources))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("settings", "from pytest_tfjs import plugin"),
        ("settings", "import pytest_tfjs.plugin"),
        ("errors", "from pytest_tfjs.settings.settings import Settings"),
        ("compare.metrics", "from ..report import table"),
        ("compare.metrics", "from .. import report"),
        ("timing.samples", "def f():\n    from pytest_tfjs.compare.verdict import Comparison"),
        ("timing.samples", "if TYPE_CHECKING:\n    from pytest_tfjs.report.text import Report"),
        ("models.cache", "from pytest_tfjs.browsers.tfjs_dist import Dist"),
        ("models.cache", "from pytest_tfjs.reference import graphs"),
        ("browsers.jobs", "from pytest_tfjs.models.artifacts import Artifacts"),
        ("checker", "from pytest_tfjs import Tolerance"),
        ("__init__", "from pytest_tfjs.errors import TfjsError"),
        ("__init__", "from .errors import TfjsError"),
        ("checker", "import pytest"),
        ("report.text", "if TYPE_CHECKING:\n    import pytest"),
        ("plugin", "from _pytest.python import Function"),
        ("compare.metrics", "def f():\n    import tensorflow as tf"),
        ("plugin", "def f():\n    import keras"),
        ("models.converter", "import tensorflow as tf"),
        ("models.converter", "try:\n    import tensorflowjs\nexcept ImportError:\n    pass"),
        ("reference.graphs", "class A:\n    from tf_keras import Model"),
        ("browsers.launching.launch", "from selenium import webdriver"),
        ("browsers.engines.chrome", "from selenium import webdriver"),
        ("browsers.server", "def f():\n    from selenium import webdriver"),
        ("browsers.server", "if TYPE_CHECKING:\n    pass\nelse:\n    import selenium"),
        ("models.converter", "if not TYPE_CHECKING:\n    import tensorflow"),
    ],
)
def test_a_violated_rule_is_detected(module: str, source: str):
    assert len(violations(f"{PACKAGE}.{module}", textwrap.dedent(source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("plugin", "import pytest\nfrom pytest_tfjs.settings.settings import Settings"),
        (
            "checker",
            "from pytest_tfjs.models.sources import as_source\nfrom pytest_tfjs.browsers.jobs import Job",
        ),
        (
            "reference.graphs",
            "from pytest_tfjs.models.artifacts import Artifacts\nfrom .comparison_plan import Plan",
        ),
        ("compare.metrics", "from . import layers\nfrom ..errors import ToleranceError\nimport numpy"),
        ("report.text", "from pytest_tfjs.compare.verdict import Comparison"),
        ("__init__", "if TYPE_CHECKING:\n    from pytest_tfjs.errors import TfjsError"),
        ("__init__", "def __getattr__(name):\n    from pytest_tfjs import errors"),
        (
            "models.converter",
            "def f():\n    import tensorflow as tf\n    from tensorflowjs import converters",
        ),
        ("reference.graphs", "if TYPE_CHECKING:\n    import tensorflow as tf"),
        ("browsers.launching.launch", "async def f():\n    from selenium import webdriver"),
        ("browsers.engines.chrome", "def f():\n    from selenium import webdriver"),
    ],
)
def test_allowed_imports_have_no_violation(module: str, source: str):
    assert violations(f"{PACKAGE}.{module}", textwrap.dedent(source)) == []
