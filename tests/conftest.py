from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from tests.support.inner_runs import TINY_CONFTEST, TINY_X, Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fixtures.family import Case
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.serving.page_channel import PageChannel
    from pytest_tfjs.browsers.serving.server import Server
    from pytest_tfjs.models.cache import ContentCache

pytest_plugins = ["pytester", "tests.support.sizes"]

# No test is timed: a busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

X = np.array(TINY_X, np.float32)


_FIGURE = "figure"


@pytest.fixture
def record_figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Records a line with what a test measured; the end of the run prints it."""
    return lambda line: request.node.user_properties.append((_FIGURE, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures that tests recorded, of all outcomes and all processes."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    lines = [line for report in reports for name, line in report.user_properties if name == _FIGURE]
    if lines:
        terminalreporter.section("figures")
        for line in dict.fromkeys(lines):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder of this run, which all workers of pytest-xdist share."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def cache(shared_folder: Path) -> Iterator[ContentCache]:
    """A cache that all tests of this run share: what one of them converted, the others need not."""
    from pytest_tfjs.models.cache import ContentCache

    with ContentCache(shared_folder / "cache") as cache:
        yield cache


@pytest.fixture(scope="session")
def tiny(shared_folder: Path) -> Path:
    """A folder of model files, with a cache of what is derived from them: runs over them need no TensorFlow.

    `tiny.h5` (Keras 2) and `tiny.keras` (Keras 3) compute the same from `x` (None, 3): `hidden`, then
    `scores`. `layers/` holds the artifacts of tiny.h5, `graph/` of tiny.keras; in `damaged/`, else as
    `layers/`, one weight of `scores` is a fifth larger. `cache/` is the cache.
    """
    pytest.importorskip("tf_keras")
    pytest.importorskip("keras")
    folder, done = shared_folder / "tiny", shared_folder / "tiny.done"
    with FileLock(shared_folder / "tiny.lock"):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            _build_tiny(folder)
            done.touch()
    return folder


def _build_tiny(folder: Path) -> None:
    import keras as keras3
    import tf_keras as keras2

    from pytest_tfjs.models.artifacts import with_weights
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.conversion import convert
    from pytest_tfjs.models.feeds import normalise_feeds
    from pytest_tfjs.models.sources import Prebuilt, as_source
    from pytest_tfjs.reference.capture import capture_reference

    _build(keras2).save(folder / "tiny.h5")
    _build(keras3).save(folder / "tiny.keras")
    with ContentCache(folder / "cache" / "d" / "tfjs") as cache:

        def derive(model: Any) -> Any:
            artifacts = convert(source := as_source(model), cache=cache)
            for feeds in (X, [X, 2 * X]):
                for which in ("all", "outputs"):
                    given = normalise_feeds(feeds, artifacts.inputs)
                    capture_reference(source, artifacts, given, which, cache, arithmetic=True)
            return artifacts

        layers, graph = derive(folder / "tiny.h5"), derive(folder / "tiny.keras")
        with_weights(graph, {}, folder / "graph")
        with_weights(layers, {}, folder / "layers")
        kernel = layers.read_weights()["scores/kernel"].copy()
        kernel[0, 0] *= 1.2
        with_weights(layers, {"scores/kernel": kernel}, folder / "damaged")
        derive(Prebuilt(folder / "damaged", folder / "tiny.h5"))


@pytest.fixture(scope="session")
def saved_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Gives a case's model as a file, built once: later targets find what was derived of it in the cache."""
    made: dict[tuple[str, int | None], Path] = {}

    def save(case: Case) -> Path:
        key = (case.family.name, case.keras)
        if key not in made:
            made[key] = case.family.save(case.keras, tmp_path_factory.mktemp(case.family.name))
        return made[key]

    return save


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    """A harness of the module's own, with the TF.js that is shipped."""
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.tfjs_dist import Dist

    with contextlib.closing(Harness(dist=Dist.shipped())) as harness:
        yield harness


@pytest.fixture
def channel(server: Server) -> Iterator[PageChannel]:
    """The channel of a page of the module's `server`."""
    channel = server.open_page({})
    yield channel
    server.close_page(channel)


def _build(keras: Any) -> Any:
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(hidden), name="tiny")
    # No unit is dead for X, so that every weight shows.
    model.set_weights(
        [
            np.linspace(0.1, 1.2, 12, dtype=np.float32).reshape(3, 4),
            np.linspace(-0.2, 0.3, 4, dtype=np.float32),
            np.linspace(0.9, -0.8, 8, dtype=np.float32).reshape(4, 2),
            np.array([0.5, -0.25], np.float32),
        ]
    )
    return model


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own; it must be empty again at the end."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


@pytest.fixture
def only_this_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner runs without other plugins, which take most of the time of a short one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_tfjs.plugin")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project of a user who has no models."""
    with contextlib.closing(Project(tmp_path / "project", tmp_path / "models")) as made:
        yield made


@pytest.fixture(scope="module")
def tiny_project(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Callable[[str], Project]]:
    """Makes projects whose conftest gives the tiny models: `x`, the feed, and `models`, their folder."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Project:
            made = stack.enter_context(contextlib.closing(Project(tmp_path_factory.mktemp(name), tiny)))
            made.write(conftest=TINY_CONFTEST)
            return made

        yield make
