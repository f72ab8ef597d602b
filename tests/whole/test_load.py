"""A run of many tests leaks no memory, in pytest or in the browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support import load_plugin
from tests.support.tiny_graphs import node, placeholder, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.inner_runs import InnerRun, Project

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

TARGETS = ("cpu", "wasm", "webgl")
GROWTH = 1.10
# Of pytest's memory at first, beyond what pytest itself keeps of its tests: 2.9 to 3.0 % if nothing else
# runs, up to 3.6 % beside other tests. About 1 MB of it is one step before the 100th test, in which Python
# doubles its table of interned strings.
OWN_GROWTH = 0.04
LIMIT_S = 900.0


class Size(NamedTuple):
    """How many tests run: `each` on every target, which take turns of `turns` tests, first and later.

    Stock is taken after `first` and `last` tests, both in a turn of the first target, so that every target
    had a turn before the first stock.
    """

    each: int
    turns: tuple[int, int]
    first: int
    last: int


SMALL = Size(each=22, turns=(12, 5), first=38, last=54)
FULL = Size(each=338, turns=(16, 45), first=50, last=1000)

# Of these numbers modulo 50: the first diverges, the second throws in the page, the third is a timing.
DIVERGES, THROWS, TIMES = (3,), (7,), (11, 31)
TESTS = """
import pytest
from pytest_tfjs import Prebuilt

@pytest.mark.parametrize("number", range(@EACH@))
def test_model(tfjs, models, x, number):
    kind = number % 50
    if kind in @DIVERGES@:
        tfjs.assert_close(Prebuilt(models / "damaged", models / "tiny.h5"), x)
    elif kind in @THROWS@:
        tfjs.time("unknown", x, runs=1)
    elif kind in @TIMES@:
        assert tfjs.time(models / "graph", x, runs=2).warm_ms
    elif kind % 2:
        tfjs.assert_close(models / "tiny.keras", [x, 2 * x])
    else:
        tfjs.assert_close(models / "tiny.h5", x)
"""


def inner_tests(size: Size) -> str:
    text = TESTS
    for name, value in (("EACH", size.each), ("DIVERGES", DIVERGES), ("THROWS", THROWS), ("TIMES", TIMES)):
        text = text.replace(f"@{name}@", str(value))
    return text


PLAIN_TESTS = """
import gc, pathlib, psutil, pytest

ended = []

@pytest.fixture(autouse=True)
def counted():
    yield
    ended.append(True)
    if len(ended) in @STOCK@:
        gc.collect()
        with pathlib.Path("memory").open("a") as stream:
            print(psutil.Process().memory_info().rss, file=stream)

@pytest.fixture(scope="session")
def harness():
    return object()

@pytest.fixture
def checker(harness):
    return object()

@pytest.mark.parametrize("target", @TARGETS@)
@pytest.mark.parametrize("number", range(@EACH@))
def test_model(checker, target, number):
    assert number % 50 not in @FAILS@
"""


def growth_without_the_plugin(folder: Path, size: Size) -> int:
    """By how many bytes pytest grows over as many tests with the same outcomes, which use no plugin.

    A fixture of theirs takes one of the session, as `tfjs` does: pytest keeps the request of each such
    fixture until the session ends.
    """
    text, values = PLAIN_TESTS, {"EACH": size.each, "TARGETS": TARGETS, "FAILS": DIVERGES + THROWS}
    for name, value in {**values, "STOCK": (size.first, size.last)}.items():
        text = text.replace(f"@{name}@", str(value))
    folder.mkdir()
    (folder / "test_plain.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:tfjs", "--rootdir=.", "-q", "test_plain.py"]
    subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=LIMIT_S)
    first, last = map(int, (folder / "memory").read_text(encoding="utf-8").split())
    return last - first


def run_long(project: Project, size: Size) -> tuple[InnerRun, list[dict[str, Any]]]:
    """The run, and what the plugin `load_plugin` measured during it."""
    project.write(test_many=inner_tests(size))
    unknown = [placeholder("x", -1, 3), node("NoSuchOp", "odd", "x"), node("Identity", "y", "odd")]
    write_graph(project.folder / "unknown", unknown, {}, inputs={"x": "x:0"}, outputs={"y": "y:0"})
    path = project.folder / "stock"
    run = project.run(
        f"--tfjs-backends={','.join(TARGETS)}",
        "--junitxml=",  # pytest's own file of results keeps more of a test than all else
        "-p",
        "tests.support.load_plugin",
        environment={
            **project.with_helpers(),
            load_plugin.TURN: ",".join(map(str, size.turns)),
            load_plugin.STOCK: f"{size.first},{(size.first + size.last) // 2},{size.last}:{path}",
        },
        limit_s=LIMIT_S,
    )
    return run, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_outcomes(run: InnerRun, size: Size) -> None:
    failing = sum(number % 50 in DIVERGES + THROWS for number in range(size.each)) * len(TARGETS)
    assert re.search(rf"= {failing} failed, {size.each * len(TARGETS) - failing} passed in ", run.text), (
        run.text[-2000:]
    )
    verdicts = Counter(one["verdict"] for one in run.results["comparisons"])
    compared = sum(number % 50 not in THROWS + TIMES for number in range(size.each))
    assert verdicts == {
        "diverged": failing // 2,
        "close": compared * len(TARGETS) - failing // 2,
    }


def check_nothing_is_left(stocks: list[dict[str, Any]], size: Size) -> None:
    first, last = stocks[0], stocks[-1]
    assert (first["tests"], last["tests"]) == (size.first, size.last)
    for stock in stocks:
        # What the jobs left in the page: tensors that they made, all tensors, their buffers and bytes.
        assert stock["left"] == [[0, 0, 0, 0]]
        assert (stock["tabs"], stock["pages"]) == (1, 1)
        assert stock["artifacts"] == first["artifacts"]
        assert stock["gpu"]["numBytesInGPU"] == 0
        assert stock["gpu"]["numBytesInGPUAllocated"] <= 2 * first["gpu"]["numBytesInGPUAllocated"]
        # A connection or a pool thread may be opening or closing.
        assert stock["files"] <= first["files"] + 2
        assert stock["threads"] <= first["threads"] + 1
    assert last["jobs"] > size.last


@pytest.mark.parametrize(
    "size", [pytest.param(SMALL, id="66"), pytest.param(FULL, id="1014", marks=pytest.mark.slow)]
)
def test_long_run_does_not_leak(
    tiny_project: Callable[[str], Project], record_figures: Callable[[str], None], size: Size
) -> None:
    """Memory is checked at full size only: a browser grows during its first tests."""
    project = tiny_project(f"load-{size.each}")
    run, stocks = run_long(project, size)
    check_outcomes(run, size)
    check_nothing_is_left(stocks, size)
    if size is FULL:
        first, last = stocks[0], stocks[-1]
        for key in ("pytest", "browser", "unshared"):
            record_figures(
                f"{key:<8} after {size.first} tests {first[key] / 1e6:.1f} MB, "
                f"after {size.last} {last[key] / 1e6:.1f} MB: {last[key] / first[key]:.3f}"
            )
        floor = growth_without_the_plugin(project.folder / "plain", size)
        own = last["pytest"] - first["pytest"] - floor
        record_figures(
            f"pytest keeps {floor / 1e6:.2f} MB of as many tests without the plugin; "
            f"with it {own / 1e6:.2f} MB more, {own / first['pytest']:.1%}"
        )
        assert own <= OWN_GROWTH * first["pytest"]
        assert last["browser"] <= GROWTH * first["browser"]
    assert project.left_behind() == []
